# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one run found out is not written when another one went on meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Conflict, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_step import MODULE as STEP
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
    execute,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run

EVIDENCE = ({"type": "login", "against": "the pooler"},)


class Runs:
    """Several runs at one keyring in a file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "keyring.json"

    def params(self, run: str) -> Params:
        """What each task of a run is given."""
        shared = {name: option.get("default") for name, option in KEYRING_OPTIONS.items()}
        own = {"keyring": f"ref+file://{self._path}", "credential": "db", "take_over": True}
        return {**shared, **own, "run": {"run_id": run, "host": "x", "pid": 1}}

    def access(self, run: str) -> KeyringAccess:
        """The keyring as a task of that run reads it now."""
        return open_keyring(self.params(run), Context(environ={}))

    def do(self, run: str, *steps: str, rotation: str = "", user: str = "") -> None:
        """Steps of a run, each in a task of its own."""
        for step in steps:
            self.access(run).step(asked(step, rotation, user))


def asked(step: str, rotation: str = "", user: str = "") -> Request:
    """A step; with a user it makes a value."""
    fields = {"username": user} if user else {}
    return Request(
        step, Run(""), rotation_id=rotation, definition="d", fields=fields, evidence=EVIDENCE
    )


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_a_value_is_not_proposed_for_a_keyring_that_has_one_by_now(runs: Runs) -> None:
    ann = runs.access("ann")
    runs.do("bob", "stage", rotation="r1", user="app_a")
    runs.do("bob", "applied", "proved", "promote", "observed", "release")
    with pytest.raises(Conflict, match="changed while a value was proposed for it"):
        ann.step(asked("stage", "r2", "app_a"))
    document = runs.access("carl").document
    assert document and document.pending is None


def test_who_is_at_work_is_named_before_a_value_is_proposed(runs: Runs) -> None:
    for rotation, user in (("r1", "app_a"), ("r2", "app_b")):
        runs.do("bob", "stage", rotation=rotation, user=user)
        runs.do("bob", "applied", "proved", "promote", "observed")
    issuer = {"type": "postgres_role", "roles": ["app_a", "app_b"], "login": {"admin": "ref+x"}}
    options = {name: option.get("default") for name, option in STEP.argument_spec.items()}
    shared = {**runs.params("ann"), "take_over": False, "transition": "stage", "issuer": issuer}
    with pytest.raises(Refused, match="another run is working on it: run bob on x"):
        execute(STEP, {**options, **shared}, Context(environ={}))


def test_a_value_that_was_there_and_is_not_any_more_leaves_no_empty_one(runs: Runs) -> None:
    runs.do("bob", "stage", rotation="r1", user="app_a")
    ann = runs.access("ann")
    runs.do("bob", "abandon", "abandoned", "release")
    with pytest.raises(Conflict, match="changed while a value was proposed for it"):
        ann.step(asked("stage", "r2"))
    document = runs.access("carl").document
    assert document and document.pending is None


def test_a_proof_counts_only_for_the_rotation_that_was_proved(runs: Runs) -> None:
    def prove(_params: Params, _context: Context) -> Result:
        # It takes its time: somebody who takes this run for dead goes on with another value.
        runs.do("bob", "abandon", "abandoned")
        runs.do("bob", "stage", rotation="r2", user="app_a")
        runs.do("bob", "applied", "release")
        return {"changed": False, "evidence": list(EVIDENCE)}

    runs.do("ann", "stage", rotation="r1", user="app_a")
    runs.do("ann", "applied")
    params: dict[str, Any] = {**runs.params("ann"), "transition": "proved"}
    with pytest.raises(Conflict, match="'proved' is for rotation r1, and the keyring is about r2"):
        execute(ModuleCore("probe", {}, prove), params, Context(environ={}))
    document = runs.access("carl").document
    assert document and document.pending and document.pending.status == "applied"
