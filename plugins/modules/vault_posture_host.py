#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look how well the machine of a Vault is set up."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_posture_host
short_description: Look how well the machine that a Vault runs on is set up
version_added: 0.1.0
description:
  - Looks at modes and owners of files and directories, at the age of backups, at swap and at the audit log. Run it on the machine
    itself, as root.
  - A file with shares of the unseal key is also looked into, to count the shares in it and to see whether it has a root token. Nothing of
    it is kept.
  - The audit log is searched for uses of root tokens, for denied requests, and for requests from addresses that are not expected.
    Only paths, display names, addresses and counts are told.
extends_documentation_fragment:
  - keyturn.runbooks.attributes
attributes:
  action_group:
    support: none
    membership: []
  check_mode:
    description: Looks as otherwise. The place where the look at the audit log ended is not kept.
  diff_mode:
    description: There is nothing to show of a look.
    support: none
  idempotent:
    description: With O(audit_cursor), the place where the look ended moves on as the log grows.
    support: partial
options:
  key_files:
    description: Files that may hold shares of the unseal key. One that is not there is no finding; one that is there always is.
    type: list
    elements: path
    default: []
  token_files:
    description: Files that may hold a token. They should be closed to others.
    type: list
    elements: path
    default: []
  tls_keys:
    description: The private keys of listeners. They should be closed to others.
    type: list
    elements: path
    default: []
  owners:
    description: Who may own all these.
    type: list
    elements: str
    default: [root, vault]
  data_directory:
    description: The directory of Vault's storage.
    type: path
  backups:
    description: Patterns of backup files, such as V(/srv/backup/vault-*.snap). The newest one of each is looked at.
    type: list
    elements: path
    default: []
  backup_max_age:
    description: How old the newest backup may be, as a duration.
    type: str
    default: 7d
  swap:
    description: Whether to look for swap, which secrets in memory can be written to.
    type: bool
    default: true
  audit_log:
    description: The file of Vault's audit device.
    type: path
  audit_quiet:
    description:
      - How long ago the last entry of the log may be, as a duration. Only useful right after Vault was asked something, and on the node
        that answered. The empty text leaves this check out.
    type: str
    default: ""
  audit_since:
    description:
      - From when on the log is searched, as a duration back from now or as an RFC 3339 time. The empty text stands for all of it.
      - Where O(audit_cursor) knows the last look, that counts.
    type: str
    default: 24h
  audit_cursor:
    description:
      - A file on that machine that keeps where the last look ended, so that no entry is told twice and none is left out, also when the
        log was moved aside in between.
    type: path
  audit_addresses:
    description: Addresses and networks that requests may come from. Without any, addresses are not looked at.
    type: list
    elements: str
    default: []
  audit_denied:
    description: How many denied requests are no finding.
    type: int
    default: 20
seealso:
  - module: keyturn.runbooks.vault_posture
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Are the files of this Vault closed, and who used a root token since the last look?
  keyturn.runbooks.vault_posture_host:
    key_files: [/opt/vault/.vault-keys]
    data_directory: /opt/vault/data
    backups: ["/srv/backup/vault-*.snap"]
    audit_log: /var/log/vault/audit.log
    audit_cursor: /var/lib/keyturn/vault-audit.json
    audit_addresses: [10.0.0.0/8, 127.0.0.1]
  become: true
  register: seen
"""

RETURN = r"""
findings:
  description: What was found; what wants looking at first comes first.
  returned: success
  type: list
  elements: dict
  contains:
    check:
      description: The check that found it.
      type: str
    level:
      description: V(high), V(unknown) for what could not be looked at, V(medium) or V(low).
      type: str
    message:
      description: What is wrong.
      type: str
    remedy:
      description: What to do.
      type: str
checked:
  description: The checks that were made, also those that found nothing.
  returned: success
  type: list
  elements: str
audit:
  description: What was seen in the audit log; empty when it was not looked at.
  returned: success
  type: dict
  contains:
    entries:
      description: How many requests were looked at.
      type: int
    unreadable:
      description: How many lines are no entries of Vault.
      type: int
    last:
      description: When the last of them was made.
      type: str
    root:
      description: What was done with a root token, and how often.
      type: dict
    denied:
      description: What was denied and to whom, and how often.
      type: dict
    strangers:
      description: Addresses that are not in O(audit_addresses), and how often.
      type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_host import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
