# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment: how the modules behave in check mode, with diff, and when repeated."""

from __future__ import annotations


class ModuleDocFragment:
    """Shared attributes."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Reads for real, writes nothing, and predicts the status and the diff of the run that follows.
    support: full
  diff_mode:
    description: Shows names, stages, versions and fingerprints, never a value.
    support: full
  idempotent:
    description: Running it again changes nothing when everything is as asked.
    support: full
  action_group:
    description:
      - With C(group/NAME) in C(module_defaults), the options that the members of a group have in common are given once. Those of
        C(keyturn.runbooks.keyturn) are C(keyring), C(credential), C(ledger) and others of the keyring, and those of
        C(keyturn.runbooks.vault) say which Vault and as whom.
    support: full
    membership:
      - keyturn.runbooks.keyturn
  platform:
    description: Where it runs, on the controller or on the host that it is delegated to.
    support: full
    platforms: posix
notes:
  - A failed result says in C(kind) what kind of failure it is. V(BadInput) is an option, a variable or a file that cannot be meant,
    V(MissingLibrary) a Python library that is not installed, V(Refused) a gate that is closed or a step that is not allowed now, and
    V(ProbeFailed) a proof that did not succeed.
  - What a service or a file said is V(Absent) (there is no such thing), V(Denied) (this identity may not), V(Sealed) (a secret store that
    is sealed or not initialised), V(Conflict) (somebody else wrote first), V(Corrupt) (it is not what was written) or V(Unreachable)
    (no answer, or none that can be trusted). One is never told as another.
  - C(kind) is V(Host) for what is wrong with the host of the task, and V(Internal) for a defect of this collection.
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Only reads, in check mode as otherwise.
    support: full
  diff_mode:
    description: Changes nothing, so there is nothing to show.
    support: N/A
  idempotent:
    description: Changes nothing.
    support: full
  action_group:
    description:
      - With C(group/NAME) in C(module_defaults), the options that the members of a group have in common are given once. Those of
        C(keyturn.runbooks.keyturn) are C(keyring), C(credential), C(ledger) and others of the keyring, and those of
        C(keyturn.runbooks.vault) say which Vault and as whom.
    support: full
    membership:
      - keyturn.runbooks.keyturn
  platform:
    description: Where it runs, on the controller or on the host that it is delegated to.
    support: full
    platforms: posix
notes:
  - A failed result says in C(kind) what kind of failure it is. V(BadInput) is an option, a variable or a file that cannot be meant,
    V(MissingLibrary) a Python library that is not installed, V(Refused) a gate that is closed or a step that is not allowed now, and
    V(ProbeFailed) a proof that did not succeed.
  - What a service or a file said is V(Absent) (there is no such thing), V(Denied) (this identity may not), V(Sealed) (a secret store that
    is sealed or not initialised), V(Conflict) (somebody else wrote first), V(Corrupt) (it is not what was written) or V(Unreachable)
    (no answer, or none that can be trusted). One is never told as another.
  - C(kind) is V(Host) for what is wrong with the host of the task, and V(Internal) for a defect of this collection.
"""

    FILE = r"""
options: {}
attributes:
  safe_file_operations:
    description: A file is replaced as a whole, by one that was written beside it. A reader sees the old one or the new one.
    support: full
"""
