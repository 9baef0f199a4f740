# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that sets out the state of many credentials as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status import build_report
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status_table import table

DOCUMENTATION = r"""
name: status_table
short_description: Set out the state of credentials as a table
version_added: 0.1.0
description:
  - Takes results of M(keyturn.runbooks.keyring_info), by the names of their credentials, and returns the lines of a table.
  - What is overdue comes first. A result that failed is a row with its message.
options:
  _input:
    description: Names of credentials and the results of M(keyturn.runbooks.keyring_info) for them.
    type: dict
    required: true
  width:
    description: How many columns the last column is wrapped to.
    type: int
    default: 100
seealso:
  - module: keyturn.runbooks.status_report
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Send the state of two credentials by mail
  community.general.mail:
    subject: Credentials
    to: platform@example.com
    body: "{{ {'db_musehub': musehub_keyring, 'db_nova': nova_keyring} | keyturn.runbooks.status_table | join('\n') }}"
"""

RETURN = r"""
_value:
  description: The lines of the table, headings first, counts last.
  type: list
  elements: str
"""


def status_table(results: Mapping[str, Mapping[str, Any]], width: int = 100) -> list[str]:
    """Lines with columns as wide as they need to be, and the last one wrapped."""
    return table(build_report(results, datetime.now(timezone.utc)), int(width))


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"status_table": status_table}
