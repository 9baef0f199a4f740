#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look how well a Vault is set up."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_posture
short_description: Look how well a Vault is set up
version_added: 0.1.0
description:
  - Asks HashiCorp Vault, or OpenBao, about its seal, its version, its listeners, its settings, its audit devices and its tokens, and looks
    at the certificate that it shows. Each thing that should be otherwise is a finding, with what to do.
  - What the token may not look at, or what is out of reach, is a finding of its own with the level V(unknown), and never taken for a thing
    that is not there. The task does not fail for it.
  - Nothing is looked up elsewhere, and nothing is changed.
  - No finding has a token, an accessor or a value.
  - The page C(docs/vault-posture.md) has the least policy for the token, and what each finding means.
extends_documentation_fragment:
  - keyturn.runbooks.vault
  - keyturn.runbooks.attributes.info
attributes:
  action_group:
    membership: [keyturn.runbooks.vault]
options:
  certificate_left:
    description: How long the certificate should still be valid, as a duration.
    type: str
    default: 30d
  oldest_version:
    description: The oldest version that is no finding. The empty text leaves this check out.
    type: str
    default: 1.19.0
  token_max_ttl:
    description: How long a token may last from its making, as a duration.
    type: str
    default: 768h
notes:
  - E(VAULT_AGENT_ADDR) is not read, because the look is at the node itself, and what is asked as nobody must not get an agent's token.
    Without O(url) it is E(ANSIBLE_HASHI_VAULT_ADDR), then E(VAULT_ADDR).
  - On the controller this runs inside Ansible's own process; delegated to another host it runs there as an ordinary module,
    with the same options and the same result.
seealso:
  - module: keyturn.runbooks.vault_posture_host
  - module: keyturn.runbooks.vault_posture_snapshot
  - module: keyturn.runbooks.vault_posture_report
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Is this Vault set up well?
  keyturn.runbooks.vault_posture:
    url: https://vault1.example:8200
    ca_cert: /etc/ssl/vault-ca.pem
    token: ref+file:///run/keyturn/posture-token
  register: seen
  failed_when: seen.findings | selectattr('level', 'in', ['high', 'unknown']) | length > 0
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
version:
  description: The server's version; empty when it could not be asked.
  returned: success
  type: str
sealed:
  description: Whether it is sealed; none when it could not be asked.
  returned: success
  type: bool
active:
  description: Whether this node answers requests itself, instead of passing them on to another one.
  returned: success
  type: bool
storage:
  description: The kind of its storage.
  returned: success
  type: str
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
