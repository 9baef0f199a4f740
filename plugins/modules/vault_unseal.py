#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unseal Vault with shares that are each kept in a place of their own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_unseal
short_description: Unseal Vault with shares that are each kept in a place of their own
version_added: 0.1.0
description:
  - Gives a sealed HashiCorp Vault, or OpenBao, shares of its unseal key until it is open, and waits until it serves.
  - A Vault that is open is left alone, and no share is even read for it.
  - Shares are only taken as references. They are read where the task runs, when they are needed and not more of them than needed, and
    no message, result or command line has one.
  - When a share cannot be read, the others are used if they are enough. When they are not, none is given to Vault.
  - Vault takes any share and says only at the last one that is needed that they do not fit together. Which one is wrong nobody can
    tell then.
  - A Vault that unseals itself by a key management service needs no shares. The module waits for it, and says where to look when it
    stays sealed. Recovery shares open no seal.
  - In check mode the seal and the shares are read, so that a share that is missing is found, and nothing is given to Vault.
extends_documentation_fragment:
  - keyturn.runbooks.attributes
attributes:
  action_group:
    support: none
    membership: []
  diff_mode:
    description: Shows which nodes are sealed and unsealed.
options:
  url:
    description:
      - The addresses of Vault's nodes, such as V(https://vault1.example:8200). Each node is sealed for itself. Nodes that are down do not
        keep the others from being unsealed; the task fails in the end.
      - Without it E(ANSIBLE_HASHI_VAULT_ADDR), then E(VAULT_ADDR). E(VAULT_AGENT_ADDR) is not read, because a share is for the node itself.
    type: list
    elements: str
  ca_cert:
    description:
      - The file with the certificates of the authorities to trust. Without it E(ANSIBLE_HASHI_VAULT_CA_CERT), then E(VAULT_CACERT), then
        the folder in E(VAULT_CAPATH).
    type: path
    aliases: [cacert]
  validate_certs:
    description:
      - Whether the server's certificate is checked. Without it E(ANSIBLE_HASHI_VAULT_VALIDATE_CERTS), then the opposite of
        E(VAULT_SKIP_VERIFY), else it is.
    type: bool
  timeout:
    description:
      - The deadline of one call with all its retries, as a duration or in seconds. Without it E(ANSIBLE_HASHI_VAULT_TIMEOUT), then
        E(VAULT_CLIENT_TIMEOUT), else 10 seconds.
    type: str
  retries:
    description:
      - How often a call is tried again at most. Without it E(ANSIBLE_HASHI_VAULT_RETRIES), then E(VAULT_MAX_RETRIES), else as often as the
        deadline allows.
    type: int
  shares:
    description:
      - Where the shares are kept, each as a reference, such as V(ref+file:///media/holder1/share) or
        V(ref+awssecrets://vault-share-2?profile=holder2). A share itself is refused here.
      - More than are needed may be named; they are read in this order until there are enough.
    type: list
    elements: str
    required: true
  shares_together:
    description:
      - Allow several shares in one place, such as one file. Whoever reads that file can open the Vault alone then, as if its key had
        not been shared.
    type: bool
    default: false
  reset:
    description:
      - Have Vault forget shares that somebody has given before. Without it, those count, and only the missing ones are given.
    type: bool
    default: false
  wait:
    description:
      - How long, after the shares were given, all nodes may take until they serve. A node of a cluster serves once more than half of the
        nodes are unsealed.
    type: str
    default: 30s
requirements:
  - hvac
notes:
  - On the controller this runs inside Ansible's own process; delegated to another host it runs there as an ordinary module,
    with the same options and the same result.
  - No result holds a secret value, so no task needs C(no_log), which would hide its diff.
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Unseal all nodes of a cluster after a power cut
  keyturn.runbooks.vault_unseal:
    url: [https://vault1.example:8200, https://vault2.example:8200, https://vault3.example:8200]
    ca_cert: /etc/ssl/vault-ca.pem
    shares:
      - ref+file:///media/holder1/share
      - ref+awssecrets://vault-share-2?profile=holder2
      - ref+envsubst://$VAULT_SHARE_3

- name: Is every node open, and could it be opened?
  keyturn.runbooks.vault_unseal:
    url: "{{ vault_nodes }}"
    shares: "{{ keyturn_vault_shares }}"
  check_mode: true
  register: seen
  failed_when: seen is changed
"""

RETURN = r"""
nodes:
  description: Each node, as it was found. Also returned with a failure.
  returned: always
  type: list
  elements: dict
  contains:
    url:
      description: Its address.
      type: str
    changed:
      description: Whether it was unsealed, or would be in check mode.
      type: bool
    sealed_before:
      description: Whether it was sealed.
      returned: when the node answered
      type: bool
    progress_before:
      description: How many shares it had been given before, of how many it needs, such as V(2 of 3).
      returned: when the node answered
      type: str
    threshold:
      description: How many shares open it.
      returned: when the node answered
      type: int
    shares:
      description: Of how many there are.
      returned: when the node answered
      type: int
    seal_type:
      description: V(shamir), or the service by which it unseals itself.
      returned: when the node answered
      type: str
    version:
      description: The server's version.
      returned: when the node answered
      type: str
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_unseal import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
