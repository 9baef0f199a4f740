#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One step of a credential's keyring."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keyring
short_description: Do one step of a credential's rotation in its keyring
version_added: 0.1.0
description:
  - A keyring is one small document per credential, kept in a secret store. It holds the value that is in use, the one that is
    about to be, and the one that is still accepted for a while.
  - This module does exactly one step, as one compare-and-set write. A step that is already done changes nothing; a step that
    is not allowed in the present state is refused with the state and with what to run instead.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes
options:
  transition:
    description:
      - The step.
      - V(stage) makes the new value and writes it as pending, before any target hears of it.
      - V(issued) has an issuer that makes values itself make the one that V(stage) wrote as intended. Where a person has to make it, the
        step fails until it is there, and says what to do.
      - V(applied), V(proved), V(promote) and V(observed) follow in this order; V(cutover) takes the place of V(applied) where the
        issuer knows only one value at a time.
      - V(rollback) makes the previous value current again.
      - V(retire) marks the previous value, V(retired) removes it when it was proved to be refused.
      - V(abandon) marks a pending value, V(abandoned) removes it.
      - V(adopt) takes over a value that is in use without changing it.
      - V(compromise) names the value in use and the one before it as compromised, V(revoke_first) takes such a value out of use before
        there is another.
      - V(claim), V(release) and V(note) keep out other runs, let them in again, and write a line to the ledger.
    type: str
    required: true
    choices:
      - claim
      - stage
      - issued
      - applied
      - proved
      - promote
      - cutover
      - observed
      - rollback
      - retire
      - retired
      - adopt
      - abandon
      - abandoned
      - note
      - compromise
      - revoke_first
      - release
  issuer:
    description:
      - The credential's issuer, as in C(keyturn_issuer). Needed by V(stage), V(issued) and V(adopt).
      - With it V(issued) marks a value in use that ended by the making of the new one, and V(abandoned) keeps a fingerprint of a value that
        a person handed over, so that it is not taken again.
    type: dict
    default: {}
  generate:
    description: How secret fields are made, as in C(keyturn_generate), by field.
    type: dict
    default: {}
  value:
    description: The fields to adopt, each as a reference or a text.
    type: dict
    default: {}
  evidence:
    description: What was proved, as the module M(keyturn.runbooks.probe) returns it. Demanded by V(proved), V(retired) and V(adopt).
    type: list
    elements: dict
    default: []
  made:
    description: When an adopted value was made, as RFC 3339 with a zone. Without it its age is unknown and it counts as due.
    type: str
  made_before:
    description: For O(transition=compromise), what was made at this time or later is not named, as RFC 3339 with a zone.
    type: str
    default: ""
  notices:
    description: Notifications that were sent, with their times, so that they are not sent again.
    type: dict
    default: {}
  retain:
    description: Keep the retired value for verifying or decrypting what was made with it.
    type: bool
    default: false
  force:
    description: With V(issued), take a value that was handed over and abandoned before once more.
    type: bool
    default: false
  rotation_id:
    description: Name of the rotation. Made by V(stage) and V(adopt) when left out.
    type: str
  text:
    description: A text for the ledger.
    type: str
    default: ''
  outcome:
    description: The outcome for the ledger.
    type: str
    choices: [done, failed, refused]
    default: done
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Make the next password and write it as pending
  keyturn.runbooks.keyring:
    keyring: ref+vault://secret/keyrings/db_musehub
    credential: db_musehub
    transition: stage
    issuer:
      type: postgres_role
      strategy: alternate_roles
      roles: [musehub_a, musehub_b]
      login:
        host: db1.example
        dbname: musehub
        admin: ref+vault://secret/postgres/admin

- name: Let other runs in again
  keyturn.runbooks.keyring:
    keyring: ref+vault://secret/keyrings/db_musehub
    credential: db_musehub
    transition: release
"""

RETURN = r"""
keyring:
  description: The state after the step, without any value.
  returned: success
  type: dict
  sample:
    exists: true
    credential: db_musehub
    step: 7
    stages:
      current:
        status: observed
        rotation_id: r20260131220000a1b2c3
        fields: {username: musehub_b}
        fingerprints: {password: 'hmac:0123456789abcdef'}
replay:
  description: The steps predicted so far, for the tasks that follow.
  returned: in check mode
  type: list
  elements: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_step import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
