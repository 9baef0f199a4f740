# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment: the options of every module that reads a credential's keyring."""

from __future__ import annotations


class ModuleDocFragment:
    """Shared options."""

    DOCUMENTATION = r"""
options:
  keyring:
    description:
      - Reference to the credential's keyring, such as V(ref+vault://secret/keyrings/db_musehub) or
        V(ref+file:///etc/keyturn/db_musehub.json).
      - Modules that can be used without a keyring leave it out.
    type: str
  credential:
    description: Name of the credential, as the keyring keeps it. The role gives the inventory name of the host.
    type: str
  ledger:
    description:
      - Reference to the audit log that each step is written to, such as V(ref+vault://secret/ledgers),
        V(ref+file:///var/log/keyturn.jsonl) or V(ref+syslog://log.example:601), which cannot be read back.
      - V(beside) stands for a place beside the keyring, which lasts as long, wherever the run takes place. For a keyring in Vault that is
        a path of its own that ends in C(.ledger), at the same server and with the same login, for one in a file a file of its own that
        ends in C(.ledger.jsonl).
      - Without it no log is kept.
      - A credential whose steps are logged needs it in every task that writes a step; the role C(keyturn.runbooks.keyturn) gives
        V(beside) to each. A step that was written without it is missing in the log for good, and every later run says so.
    type: str
  run:
    description:
      - Who is running this. Made by the collection from the process of C(ansible-playbook); there is no need to give it.
      - Its keys C(who) and C(why) go to the ledger.
    type: dict
  replay:
    description: Steps that earlier tasks of this run predicted, as they returned them. Used in check mode only.
    type: list
    elements: dict
    default: []
  take_over:
    description: Take over the claim of another run that is known to be dead.
    type: bool
    default: false
  grace:
    description: How long the previous value stays accepted once the current one was observed in use, as a duration such as V(48h).
    type: str
    default: 48h
notes:
  - On the controller this runs inside Ansible's own process; delegated to another host it runs there as an ordinary module,
    with the same options and the same result.
  - No result holds a secret value, so no task needs C(no_log), which would hide its diff.
"""

    STEP = r"""
options:
  transition:
    description: A step to write to the keyring once this task has succeeded, such as V(applied), V(proved) or V(observed).
    type: str
"""
