#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bootstrap made of many credentials; the action plugin of this name does it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bootstrap_report
short_description: Show what a bootstrap made of many credentials
version_added: 0.1.0
description:
  - Takes results of M(keyturn.runbooks.procedure) that was given O(keyturn.runbooks.procedure#module:only_missing), by the names of their
    credentials, and prints one list of them, as a table for people or as JSON for programs. It writes it to a file if one is named.
  - This runs on the controller alone and reads nothing but its options.
extends_documentation_fragment:
  - keyturn.runbooks.report
options:
  results:
    description: Names of credentials and the results of M(keyturn.runbooks.procedure) for them. An empty one is told as failed.
    type: dict
    required: true
  width:
    description: How many columns sentences are wrapped to.
    type: int
    default: 100
seealso:
  - module: keyturn.runbooks.procedure
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Show what was made of two credentials
  keyturn.runbooks.bootstrap_report:
    results: {db_musehub: "{{ musehub_run }}", runner_token: "{{ token_run }}"}
"""

RETURN = r"""
report:
  description: The list, as it is printed and written as JSON.
  returned: always
  type: dict
  contains:
    kind:
      description: V(keyturn.bootstrap).
      type: str
    schema:
      description: The version of this layout. It grows when a key is removed or gets another meaning.
      type: int
    at:
      description: When the list was made.
      type: str
    check:
      description: Whether it was a dry run, so that what is told as made would be made.
      type: bool
    summary:
      description: How many C(credentials) there are, and by C(states) how many are in each.
      type: dict
    credentials:
      description:
        - The credentials by name, each with C(state), C(issuer), C(keyring), C(places) and C(message). What wants a person comes first.
        - C(state) is V(failed), V(waiting) for a person, V(left_alone), V(go_on) for a first value that was begun before, V(make), or
          V(there) where nothing was missing.
      type: dict
  sample:
    kind: keyturn.bootstrap
    schema: 1
    at: '2026-01-09T12:00:00.000000Z'
    check: true
    summary: {credentials: 1, states: {make: 1}}
    credentials:
      runner_token: {state: make, issuer: generated, keyring: 'ref+file:///srv/k.json', places: [], message: ''}
summary:
  description: The counts of the list.
  returned: always
  type: dict
  sample: {credentials: 1, states: {make: 1}}
"""
