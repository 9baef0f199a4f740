#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of many credentials on the screen and in a file; the action plugin of this name does it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: status_report
short_description: Show the state of many credentials as a table, or as JSON
version_added: 0.1.0
description:
  - Takes results of M(keyturn.runbooks.keyring_info), by the names of their credentials, and makes one report of them, which it prints
    as a table for people or as JSON for programs, and writes to a file if one is named.
  - The screen gets the plain text of the table or of the JSON document, with nothing of Ansible's in its lines.
  - This runs on the controller alone and reads nothing but its options.
extends_documentation_fragment:
  - keyturn.runbooks.report
options:
  results:
    description:
      - Names of credentials and the results of M(keyturn.runbooks.keyring_info) for them.
      - A result that failed is reported with its message, and an empty one as unreadable.
    type: dict
    required: true
  fail_on:
    description:
      - Which credentials are listed in RV(failing). V(unreadable) lists those that could not be read, because nobody knows whether they
        are in time. V(overdue) lists them and those that are overdue, and V(due) also those that are due or were never rotated.
      - With V(nothing) the list is empty, whatever was found.
    type: str
    choices: [nothing, unreadable, overdue, due]
    default: unreadable
  width:
    description: How many columns the table has; V(0) is the width of the screen, or of E(COLUMNS), and at most 120.
    type: int
    default: 0
seealso:
  - module: keyturn.runbooks.keyring_info
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Show two credentials and keep the report
  keyturn.runbooks.status_report:
    results: {db_musehub: "{{ musehub_keyring }}", db_nova: "{{ nova_keyring }}"}
    output_file: ./status.json
"""

RETURN = r"""
report:
  description: The report, as it is printed and written as JSON.
  returned: always
  type: dict
  contains:
    kind:
      description: V(keyturn.status).
      type: str
    schema:
      description: The version of this layout. It grows when a key is removed or gets another meaning.
      type: int
    at:
      description: When the report was made.
      type: str
    summary:
      description: How many C(credentials) there are, and by C(states) how many are in each.
      type: dict
    credentials:
      description: The credentials by name; what is overdue comes first.
      type: dict
      contains:
        state:
          description:
            - C(state) of RV(keyturn.runbooks.keyring_info#module:due), or V(unreadable). What follows is then null, but for the owner, the
              attention and the error.
          type: str
        owner:
          description: Who is responsible.
          type: str
        attention:
          description: What a person should look at, each a sentence that says what to do.
          type: list
          elements: str
        error:
          description: Why it could not be read, as C(kind) and C(message); else null.
          type: dict
        waiting:
          description: RV(keyturn.runbooks.keyring_info#module:waiting).
          type: dict
        clock_skew_seconds:
          description: RV(keyturn.runbooks.keyring_info#module:clock_skew_seconds).
          type: int
        due:
          description: RV(keyturn.runbooks.keyring_info#module:due).
          type: dict
        keyring:
          description: RV(keyturn.runbooks.keyring_info#module:keyring).
          type: dict
        gates:
          description: RV(keyturn.runbooks.keyring_info#module:gates).
          type: dict
  sample:
    kind: keyturn.status
    schema: 1
    at: '2026-01-09T12:00:00.000000Z'
    summary: {credentials: 1, states: {fresh: 1}}
    credentials: {db_musehub: {state: fresh, owner: platform, attention: [], error: null}}
brief:
  description: The report without RV(report.credentials.keyring), RV(report.credentials.gates) and most dates, for
    C(ansible.builtin.set_stats).
  returned: always
  type: dict
  sample:
    at: '2026-01-09T12:00:00.000000Z'
    summary: {credentials: 1, states: {fresh: 1}}
    credentials:
      db_musehub: {state: fresh, owner: platform, attention: [], due_at: '2026-06-30T02:03:04.000000Z', retire_at: null}
failing:
  description: By credential, why O(fail_on) lists it.
  returned: always
  type: dict
  sample: {db_nova: 'db_nova is overdue: 200d old of at most 180d'}
"""
