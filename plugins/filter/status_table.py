# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that sets out the state of many credentials as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

DOCUMENTATION = r"""
name: status_table
short_description: Set out the state of credentials as a table
version_added: 0.1.0
description:
  - Takes results of M(keyturn.runbooks.keyring_info), by the names of their credentials, and returns the lines of a table.
options:
  _input:
    description: Names of credentials and the results of M(keyturn.runbooks.keyring_info) for them.
    type: dict
    required: true
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Show two credentials
  ansible.builtin.debug:
    msg: "{{ {'db_musehub': musehub_keyring, 'db_nova': nova_keyring} | keyturn.runbooks.status_table }}"
"""

RETURN = r"""
_value:
  description: The lines of the table, headings first.
  type: list
  elements: str
"""

HEADINGS = ("CREDENTIAL", "DUE", "AGE", "CURRENT", "PREVIOUS", "PENDING", "AT WORK")


def _stage(stages: Mapping[str, Any], name: str) -> str:
    stage = stages.get(name)
    if not stage:
        return "-"
    words = [
        stage["fields"].get("username", ""),
        stage["status"],
        *(mark for mark in ("failed", "compromised") if stage.get(mark)),
    ]
    if name == "previous" and stage.get("retire_after"):
        words.append(f"until {stage['retire_after'][:16].replace('T', ' ')}")
    return " ".join(word for word in words if word)


def _row(name: str, result: Mapping[str, Any]) -> list[str]:
    state = result.get("keyring")
    if not state:
        return [name, "unreadable", "-", str(result.get("msg", "no answer"))[:100], "-", "-", "-"]
    stages, claim = state["stages"], state.get("claim")
    age = (stages.get("current") or {}).get("age") or "-"
    due = result.get("due", {}).get("state", "-").replace("_", " ")
    worker = f"{claim['host']} ({claim['pid']})" if claim else "-"
    return [
        name,
        due,
        age,
        _stage(stages, "current"),
        _stage(stages, "previous"),
        _stage(stages, "pending"),
        worker,
    ]


def table(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines with columns as wide as they need to be."""
    rows = [list(HEADINGS), *(_row(name, result) for name, result in sorted(results.items()))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"status_table": table}
