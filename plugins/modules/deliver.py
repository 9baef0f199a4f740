#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a credential to its sinks and consumers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deliver
short_description: Bring a credential to its sinks and consumers, as far as they are reached from here
version_added: 0.1.0
description:
  - Writes the sinks that differ from what the keyring says, then has each consumer that was not seen using it pick it up, in the order
    that C(after) and C(barrier) give. Sinks and consumers with a C(host), and consumers that read such a sink or come after such a
    consumer, are left to M(keyturn.runbooks.publish) and M(keyturn.runbooks.consumer), delegated to that host.
  - With O(transition) it first writes that step to the keyring and has the issuer accept the value that is current by it. This is how an
    issuer without overlap is cut over, such as the strategy C(same_role) of a PostgreSQL role. There, from the moment when the
    issuer takes the new value until the last consumer uses it, new logins with the old value fail. One task keeps that time short.
  - Run again after a failure it goes on from where it was.
  - How long a cut-over took is measured by the step V(observed), and kept in the keyring as C(outage_seconds) of the stage.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes
options:
  keyring:
    required: true
  transition:
    description:
      - V(cutover) makes the pending value the current one, for issuers without overlap. When nothing is pending, the current value is
        brought to where it should be.
      - V(rollback) makes the previous value the current one again.
    type: str
    choices: [cutover, rollback]
  issuer:
    description: The credential's issuer, as in C(keyturn_issuer). Its key C(type) says which kind.
    type: dict
    required: true
  sinks:
    description: The places that the credential is published to, as in C(keyturn_sinks).
    type: list
    elements: dict
    default: []
  consumers:
    description: What must pick it up, as in C(keyturn_consumers).
    type: list
    elements: dict
    default: []
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Bring what the keyring says to the application and to the pooler
  keyturn.runbooks.deliver:
    keyring: "{{ keyturn_keyring }}"
    credential: db_musehub
    issuer: "{{ keyturn_issuer }}"
    sinks: "{{ keyturn_sinks }}"
    consumers: "{{ keyturn_consumers }}"

- name: Change the password of the role, and tell the application at once
  keyturn.runbooks.deliver:
    keyring: "{{ keyturn_keyring }}"
    credential: db_musehub
    transition: cutover
    issuer: "{{ keyturn_issuer }}"
    sinks: "{{ keyturn_sinks }}"
    consumers: "{{ keyturn_consumers }}"
"""

RETURN = r"""
keyring:
  description: The state of the keyring afterwards, without values. A failure that came after a step returns it too.
  returned: success
  type: dict
facts:
  description: What the issuer found and did, as booleans, counts and names; empty without O(transition).
  returned: success
  type: dict
  sample: {role: musehub, created: false}
sinks:
  description: The sinks that were written, as M(keyturn.runbooks.publish) returns them.
  returned: success
  type: list
  elements: dict
consumers:
  description: The consumers that were told from here.
  returned: success
  type: list
  elements: dict
  sample: [{consumer: app, action: reload, seen: true}]
sink_hosts:
  description: The hosts where sinks are left to be written.
  returned: success
  type: list
  elements: str
waiting:
  description: The names of consumers that are left, because they are told on another host or come after one that is.
  returned: success
  type: list
  elements: str
replay:
  description: The steps predicted so far, for the tasks that follow.
  returned: in check mode
  type: list
  elements: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._deliver import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
