# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct execution before anything is executed: which arguments are refused, and which go to an ordinary module."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import ModuleCore
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._direct import DirectAction

ITEM: dict[str, Any] = {
    "name": {"type": "str", "required": True, "aliases": ["title"]},
    "kind": {"type": "str", "choices": ["a", "b"]},
}
SPEC: dict[str, Any] = {
    "one": {"type": "dict", "options": ITEM},
    "many": {"type": "list", "elements": "dict", "options": ITEM},
    "free": {"type": "dict"},
    "count": {"type": "int"},
    "value": {"type": "str", "no_log": True},
}


class Sent(Exception):
    """Carries what an ordinary module would be given."""


class Example(DirectAction):
    module = ModuleCore("example", SPEC, lambda params, context: {})

    def __init__(self) -> None:
        # Without a task: nothing here is run.
        self._task = type("Task", (), {"async_val": 0, "environment": [], "args": {}})()

    def _execute_module(self, **given: Any) -> dict[str, Any]:
        raise Sent(dict(given["module_args"]))

    def refusal(self, **arguments: Any) -> str:
        """Why these are refused."""
        with pytest.raises(BadInput) as caught:
            self._validated(arguments)
        return caught.value.message

    def sent(self, **arguments: Any) -> Any:
        """What of these goes to an ordinary module."""
        with pytest.raises(Sent) as caught:
            self._remote(self._validated(arguments), {}, carries_secrets=False)
        return caught.value.args[0]


def test_an_option_that_there_is_not_is_called_unsupported() -> None:
    known = "count, free, many, one, value"
    assert Example().refusal(stat="x") == (
        f"keyturn.runbooks.example: unsupported option: stat. Supported parameters include: {known}."
    )
    inner = "unsupported option: many.stat. Supported parameters include: kind, name (title)."
    assert Example().refusal(many=[{"name": "a", "stat": 1}]).endswith(inner)


def test_other_complaints_are_as_ansible_makes_them_and_values_are_masked() -> None:
    value = secrets.token_urlsafe(12)
    told = Example().refusal(count=f"<{value}>", stat="x", value=value)
    first, second = told.split("; ")
    assert "of type" in first and "int" in first
    assert second.startswith("unsupported option: stat")
    assert value not in told


def test_an_ordinary_module_gets_what_was_said_under_one_name() -> None:
    given = {"one": {"title": "a"}, "many": [{"name": "b"}, {"name": "c", "kind": "b"}]}
    assert Example().sent(**given, free={"x": None}) == {
        "one": {"name": "a"},
        "many": [{"name": "b"}, {"name": "c", "kind": "b"}],
        "free": {"x": None},
    }
