#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the audit log whole."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verify_ledger
short_description: Check that a credential's audit log is whole and agrees with its keyring
version_added: 0.1.0
description:
  - Checks the hash of every line, the chain between them, and the end against what the keyring remembers, so that a line that
    was removed, changed or cut is found.
  - Reads a ledger in Vault, a ledger's file, and a file with lines that were exported from the system log. What was sent to
    C(ref+syslog://) cannot be read back from there.
  - A line that was sent twice, as a run does after an earlier one whose end it cannot know, counts once.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes.info
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Check the audit log
  keyturn.runbooks.verify_ledger:
    keyring: ref+vault://secret/keyrings/db_musehub
    ledger: beside
    credential: db_musehub

- name: Check lines that were exported with 'journalctl -t keyturn -o cat'
  keyturn.runbooks.verify_ledger:
    keyring: ref+vault://secret/keyrings/db_musehub
    ledger: ref+file:///root/exported.log
    credential: db_musehub
"""

RETURN = r"""
lines:
  description: How many lines the credential has, a repeated one counted once.
  returned: when the ledger could be read
  type: int
  sample: 42
recovered:
  description: Numbers of the lines that were added late, after a run was killed between the keyring's write and the log's.
  returned: success
  type: list
  elements: int
faults:
  description: What is wrong, in words; empty when the task succeeds.
  returned: when the ledger could be read
  type: list
  elements: str
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._verify_ledger import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
