#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found in many images, on the screen and in a file; the action plugin of this name does it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_audit_report
short_description: Show what was found in container images as a table, or as JSON
version_added: 0.1.0
description:
  - Takes results of M(keyturn.runbooks.image_audit), by host, and makes one report of them, which it prints as a table for each image or
    as JSON for programs, and writes to a file if one is named.
  - The screen gets the plain lines or the JSON document, with nothing of Ansible's in it.
  - This runs on the controller alone and reads nothing but its options.
extends_documentation_fragment:
  - keyturn.runbooks.report
options:
  results:
    description:
      - Names of hosts, and for each a list of the results of the tasks that looked at its images.
      - A result that failed is reported with its message, as not looked at.
    type: dict
    required: true
  fail_on:
    description:
      - For what an image is listed in RV(failing). With V(found) for findings that no entry of the list of false positives lets pass, and
        for what could not be looked at, because nobody knows whether it is clean.
    type: str
    choices: [found, nothing]
    default: found
seealso:
  - module: keyturn.runbooks.image_audit
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Show what was found in one image
  keyturn.runbooks.image_audit_report:
    results: {app1: ["{{ seen }}"]}
    output_file: ./image.json
"""

RETURN = r"""
report:
  description: The report, as it is printed and written as JSON.
  returned: always
  type: dict
  contains:
    kind:
      description: V(keyturn.image_audit).
      type: str
    schema:
      description: The version of this layout. It grows when a key is removed or gets another meaning.
      type: int
    at:
      description: When the report was made.
      type: str
    summary:
      description: How many C(images), C(findings), C(allowed) ones, C(unknown) places and C(expired) entries there are.
      type: dict
    images:
      description: For each image its C(host), and what M(keyturn.runbooks.image_audit) returned.
      type: list
      elements: dict
failing:
  description: By image, why O(fail_on) lists it.
  returned: always
  type: dict
  sample: {'musehub:1 on app1': 'musehub:1 on app1: 2 findings'}
"""
