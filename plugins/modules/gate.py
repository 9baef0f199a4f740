#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Those of a credential's own gates that are asked on a machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gate
short_description: See on a machine whether somebody may be live there
version_added: 0.1.0
description:
  - Asks those of a credential's own gates that only the machine itself can answer, such as who has a connection to a port.
  - A gate that is closed is no failure. What cannot be found out closes one, too.
  - The role C(keyturn) asks them so before a rotation, a rollback and an end, and again right before what cannot be undone.
extends_documentation_fragment:
  - keyturn.runbooks.attributes.info
attributes:
  action_group:
    support: none
    membership: []
options:
  gates:
    description: Gates, as O(keyturn.runbooks.preflight#module:gates) documents them. Those of another machine are left
      out, and one at least has to be there.
    type: list
    elements: dict
    required: true
  host:
    description: The C(host) of the gates that are asked. Without it those are asked that name none.
    type: str
    default: ""
seealso:
  - module: keyturn.runbooks.preflight
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Wait until nobody is connected to the ingest, but for the relay that fetches from it
  keyturn.runbooks.gate:
    gates:
      - {type: not_connected, ports: [1935], except: [192.0.2.7]}
  delegate_to: ingest1
  register: seen
  until: seen.closed == []
  retries: 60
  delay: 60
"""

RETURN = r"""
closed:
  description: Why gates are closed, each a sentence with the addresses of who is there, and never a key. None when all are open.
  returned: success
  type: list
  elements: str
  sample: ["somebody may be live: port 1935 of ingest1 has 1 connection, from 192.0.2.9. Nothing is changed while that is so"]
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._gate import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
