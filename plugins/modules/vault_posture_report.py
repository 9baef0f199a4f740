#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found at many Vaults, on the screen and in a file; the action plugin of this name does it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_posture_report
short_description: Show what was found at Vaults, one line for each finding
version_added: 0.1.0
description:
  - Takes results of M(keyturn.runbooks.vault_posture) and its neighbours, by host, and makes one report of them, which it prints with one
    line for each finding or as JSON for programs, and writes to a file if one is named.
  - The screen gets the plain lines or the JSON document, with nothing of Ansible's in it.
  - This runs on the controller alone and reads nothing but its options.
extends_documentation_fragment:
  - keyturn.runbooks.report
options:
  results:
    description:
      - Names of hosts, and for each a list of the results of the tasks that looked at it.
      - A result that failed is reported with its message, as V(unknown).
    type: dict
    required: true
  output:
    description: What is printed. V(table) is one line for each finding.
    type: str
    choices: [table, json]
    default: table
  fail_on:
    description:
      - From which level on a host is listed in RV(failing). What could not be looked at is listed with each of them, because nobody
        knows whether it is well.
    type: str
    choices: [nothing, high, medium, low]
    default: nothing
seealso:
  - module: keyturn.runbooks.vault_posture
  - module: keyturn.runbooks.vault_posture_host
  - module: keyturn.runbooks.vault_posture_snapshot
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Show what was found at one Vault
  keyturn.runbooks.vault_posture_report:
    results: {vault1: ["{{ seen }}"]}
    output_file: ./posture.json
"""

RETURN = r"""
report:
  description: The report, as it is printed and written as JSON.
  returned: always
  type: dict
  contains:
    kind:
      description: V(keyturn.vault_posture).
      type: str
    schema:
      description: The version of this layout. It grows when a key is removed or gets another meaning.
      type: int
    at:
      description: When the report was made.
      type: str
    summary:
      description: How many C(vaults) and C(findings) there are, and by C(levels) how many are of each.
      type: dict
    vaults:
      description: By host its C(findings), and the C(checked) names of the checks that were made.
      type: dict
failing:
  description: By host, why O(fail_on) lists it.
  returned: always
  type: dict
  sample: {vault1: 'vault1 has findings: 1 high'}
"""
