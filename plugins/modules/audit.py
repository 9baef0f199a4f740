#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many credentials in one task; the action plugin of this name does it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: audit
short_description: Look at every credential of a play in one task
version_added: 0.1.0
description:
  - Reads the definitions of all hosts of the play, their keyrings, and the places that are reached from the controller, and makes one
    report. It prints it as a table for people or as JSON for programs, and writes it to a file if one is named.
  - Parameters of AWS are read ten with a call, keyrings in Parameter Store by their folder. Other stores are asked by several threads.
  - A definition is what the variables C(keyturn_keyring), C(keyturn_policy), C(keyturn_issuer), C(keyturn_generate), C(keyturn_owner) and
    C(keyturn_sinks) of a host say.
  - Run it once for a play (C(run_once)). It runs on the controller alone, and asks no issuer and no consumer.
extends_documentation_fragment:
  - keyturn.runbooks.report
options:
  prefixes:
    description:
      - References to paths of Parameter Store. What is below one, and is neither a sink nor a keyring of a credential, nor named by an
        issuer, a consumer, a probe or a gate, is told as unknown. Credentials that C(--limit) leaves out claim what is theirs all the same.
      - Write them with the parameters that the sinks have, such as C(?region=).
    type: list
    elements: str
    default: []
  expected:
    description: Patterns of names of parameters that need not be claimed, such as V(/musehub/production/FEATURE_*).
    type: list
    elements: str
    default: []
  notice:
    description: How long before its age is reached a credential counts as soon due, where the last tenth of that age is shorter.
    type: str
    default: 14d
  fail_on:
    description:
      - For which classes there are sentences in RV(failing), or V(nothing) alone.
      - V(overdue), V(due), V(never_rotated), V(soon) and V(unreadable) are states of RV(keyturn.runbooks.status_report#module:report).
        V(left) was begun and nobody is at work on it, V(waiting) waits for a person. V(changed) has a place with another value than the
        keyring says, V(gone) one that is not there any more, V(unreadable) also one that cannot be read. V(unknown) is a parameter that
        nobody claims.
    type: list
    elements: str
    default: [overdue, unreadable, left, changed, gone, unknown]
  output:
    description: What is printed. The table counts what is as it should be, and JSON has all.
    type: str
    choices: [table, json]
    default: table
  threads:
    description: How many calls are made at a time.
    type: int
    default: 12
seealso:
  - module: keyturn.runbooks.keyring_info
  - module: keyturn.runbooks.status_report
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Look at everything, and at what nobody claims
  keyturn.runbooks.audit:
    prefixes: ['ref+awsssm://musehub/production/']
    expected: ['/musehub/production/FEATURE_*']
    output_file: ./audit.json
  run_once: true
"""

RETURN = r"""
summary:
  description: How many C(credentials) there are, by C(states) how many are in each, and by C(findings) what was found beside.
  returned: success
  type: dict
  sample: {credentials: 4, states: {fresh: 3, overdue: 1}, findings: {changed: 1, unknown: 2}}
brief:
  description: The counts, what wants something, and what nobody claims, for C(ansible.builtin.set_stats).
  returned: success
  type: dict
failing:
  description: A sentence for each finding that O(fail_on) names; the first twenty.
  returned: success
  type: list
  elements: str
  sample: ['db_nova is overdue, changed', '/musehub/production/OLD_TOKEN is unknown']
"""
