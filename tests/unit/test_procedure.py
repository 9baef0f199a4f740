# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a procedure may go on: only where an earlier call of the same run stopped."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedure import MODULE

STOPPED: dict[str, Any] = {
    "purpose": "retire",
    "run_id": "this",
    "after": "check",
    "checked": {"todo": "retire", "overlap": True},
}


def go(failure: str = "", **options: Any) -> None:
    """Call the core as a task would."""
    defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
    given = {"purpose": "retire", "keyring": "ref+file:///nowhere/k.json", "credential": "db"}
    run = {"run": {"run_id": "this"}}
    found = {"unreadable": [], "behind": [], "unready": [], "failure": failure, "kind": "Host"}
    params = {**defaults, **given, **run, "found": found, **options}
    MODULE.run(params, Context(environ={}))


@pytest.mark.parametrize(
    "change",
    [{"run_id": "another"}, {"run_id": ""}, {"purpose": "rotate"}, {"after": "nothing"}],
    ids=["another run", "no run", "another purpose", "no step"],
)
def test_it_goes_on_only_where_this_run_stopped(change: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="no place where 'retire' stopped in this run"):
        go(resume={**STOPPED, **change})


def test_a_failure_needs_the_place_where_it_was() -> None:
    with pytest.raises(BadInput, match="failure: it needs 'resume'"):
        go(failure="it has failed")
