#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a snapshot of a Vault, and restore it somewhere safe."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_posture_snapshot
short_description: Take a snapshot of a Vault and restore it somewhere safe
version_added: 0.1.0
description:
  - Takes a snapshot of a Vault with raft storage, starts a throw-away server from a C(vault) or C(bao) program, restores the snapshot
    into it, opens that with the shares of the real Vault, and compares mounts and a canary. So it is known that the backup is whole and
    that the shares open it.
  - A restored Vault believes to be the real one. Once open it would revoke leases and rotate passwords at the real databases. So the server
    gets a network and a file system of its own, in which it reaches neither the network nor any socket or file of this machine but one
    directory. It answers through a socket in that directory only. Where this system does not allow that, nothing is started, and that is a
    finding. It needs Linux 5.12 or newer and root, or user namespaces for everybody.
  - Snapshot, server and directory are gone when the task ends. What a killed run left there is removed by the next one.
  - Nothing is written to the real Vault.
extends_documentation_fragment:
  - keyturn.runbooks.vault
  - keyturn.runbooks.attributes.info
attributes:
  action_group:
    membership: [keyturn.runbooks.vault]
options:
  shares:
    description:
      - Where the shares of the unseal key are kept, as in M(keyturn.runbooks.vault_unseal). Without any, that no backup was tried is a
        finding.
    type: list
    elements: str
    default: []
  shares_together:
    description: Allow several shares in one place.
    type: bool
    default: false
  program:
    description: The program, by path or name; V(vault) on the path by default. It should be of the version of the real Vault, or newer.
    type: path
  snapshot:
    description:
      - A snapshot that is there already, such as the newest of the nightly ones. Without it one is taken.
      - Mounts are not compared then, because they may have changed since.
    type: path
  directory:
    description: Where the private directory is made. It needs room for several snapshots. By default the directory for temporary files.
    type: path
  canary:
    description: A field of a secret that both must have alike, such as V(ref+vault://secret/canary#/value).
    type: str
  restore_timeout:
    description: How long all of it may take, as a duration. Vault takes about 6 seconds at least.
    type: str
    default: 120s
notes:
  - E(VAULT_AGENT_ADDR) is not read, because a snapshot holds all of a Vault and comes from the node itself.
    Without O(url) it is E(ANSIBLE_HASHI_VAULT_ADDR), then E(VAULT_ADDR).
  - On the controller this runs inside Ansible's own process; delegated to another host it runs there as an ordinary module,
    with the same options and the same result.
seealso:
  - module: keyturn.runbooks.vault_posture
  - module: keyturn.runbooks.vault_unseal
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Can what we back up be restored?
  keyturn.runbooks.vault_posture_snapshot:
    url: https://vault1.example:8200
    ca_cert: /etc/ssl/vault-ca.pem
    token: ref+file:///run/keyturn/posture-token
    shares: [ref+file:///media/holder1/share, ref+file:///media/holder2/share, ref+envsubst://$VAULT_SHARE_3]
    program: /usr/bin/vault
    canary: ref+vault://secret/canary#/value
  register: seen
  failed_when: not seen.restored
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
restored:
  description: Whether a snapshot was restored and is the same as the real Vault.
  returned: success
  type: bool
snapshot_bytes:
  description: Its size.
  returned: success
  type: int
mounts:
  description: How many mounts this token sees.
  returned: success
  type: int
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_snapshot import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
