#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which consumers lag."""

from __future__ import annotations

DOCUMENTATION = r"""
module: receipts
short_description: Find the consumers that were not seen using the credential as it is published
version_added: 0.1.0
description:
  - A receipt is a keyed digest of what a consumer reads, kept in the keyring when the consumer was B(seen) using it.
  - This module compares the receipts with what is rendered now and reports those that lag, in the order in which they are to be
    brought up to date. It reports V(changed) when there are any, so that it can notify a handler; a reload that was lost when a
    run was killed is thus made up by the next run.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes.info
options:
  consumers:
    description: The credential's consumers, as in C(keyturn_consumers).
    type: list
    elements: dict
    default: []
  sinks:
    description: The credential's sinks, as in C(keyturn_sinks).
    type: list
    elements: dict
    default: []
  demand:
    description: Fail when there are any, instead of reporting them.
    type: bool
    default: false
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Which services still use the old password
  keyturn.runbooks.receipts:
    keyring: "{{ keyturn_keyring }}"
    credential: db_musehub
    sinks: "{{ keyturn_sinks }}"
    consumers: "{{ keyturn_consumers }}"
  register: lag
  notify: Reload consumers
"""

RETURN = r"""
consumers:
  description: The consumers that lag, each with its C(name), C(host) and C(definition), in order.
  returned: success
  type: list
  elements: dict
turns:
  description:
    - The same ones, with one item for those behind one barrier on one host. Each has the C(definition) of the first one, in C(together)
      those of the others, as M(keyturn.runbooks.consumer) takes them, and all names in C(name).
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._receipts import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
