#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a stage accepted, or no longer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: issuer
short_description: Make a stage of a credential accepted, or no longer, at its issuer
version_added: 0.1.0
description:
  - One interface to every kind of issuer. It reads the stage from the keyring, so that no value is passed through a task.
  - Revoking and dropping are refused unless the keyring says that this stage was marked for it.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes
options:
  issuer:
    description: The credential's issuer, as in C(keyturn_issuer). Its key C(type) says which kind.
    type: dict
    required: true
  operation:
    description:
      - V(apply) makes the issuer accept the stage.
      - V(use) does what is left to do at the issuer once the stage is current, such as binding a broadcast to its stream.
      - V(revoke) makes it refuse the stage and ends what still uses it.
      - V(drop) removes what is left of it.
    type: str
    required: true
    choices: [apply, drop, revoke, use]
  stage:
    description: Which stage of the keyring.
    type: str
    required: true
    choices: [pending, current, previous]
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Let the database accept the pending password, and say so in the keyring
  keyturn.runbooks.issuer:
    keyring: "{{ keyturn_keyring }}"
    credential: db_musehub
    issuer: "{{ keyturn_issuer }}"
    operation: apply
    stage: pending
    transition: applied
"""

RETURN = r"""
facts:
  description: What was found and done, as booleans, counts and names.
  returned: success
  type: dict
  sample: {role: musehub_b, created: false}
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
replay:
  description: The steps predicted so far, for the tasks that follow.
  returned: in check mode, when O(transition) is given
  type: list
  elements: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._issue import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
