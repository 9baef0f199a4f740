# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which failures are answered by a return to the value before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import _procedure
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedure_account import Failed
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedures import PROCEDURES

[PROMOTE, BRING] = [step for step in PROCEDURES["rotate"] if step.key in ("promote", "bring")]
TURNED = "The return to the previous value"


def made(folder: Path, overlap: bool) -> _procedure.Procedure:
    """A procedure without a keyring."""
    options = {"purpose": "rotate", "keyring": f"ref+file://{folder}/db.json"}
    issuer = {"type": "generated", "overlap": overlap}
    spec = ArgumentSpecValidator(dict(_procedure.MODULE.argument_spec))
    given = spec.validate({**options, "credential": "db", "issuer": issuer})
    assert not given.error_messages
    params = {**given.validated_parameters, "run": {"run_id": "run1"}}
    return _procedure.Procedure(params, Context())


def answer(folder: Path, overlap: bool, details: dict[str, Any]) -> str:
    """What is said when a promoted value cannot be brought. There is no keyring, so that a return, where one is begun, fails."""
    procedure = made(folder, overlap)
    procedure.progress.checked = {"overlap": overlap, "can_return": True, "todo": "use"}
    with pytest.raises(_procedure.Ended) as caught:
        procedure.answer(Failed(BRING, "it failed", **details))
    return caught.value.message


@pytest.mark.parametrize(
    ("overlap", "details", "held"),
    [
        (True, {"kind": "Denied", "unwritten": ["app"]}, True),
        (True, {"kind": "Unreachable", "unwritten": ["app"]}, True),
        # Nobody accepts the value before any more, unless it is returned to.
        (False, {"kind": "Denied", "unwritten": ["app"]}, False),
        # A consumer that failed speaks against the value.
        (True, {"kind": "ProbeFailed"}, False),
        # So does a text that its place cannot hold.
        (True, {"kind": "BadInput", "unwritten": ["app"]}, False),
    ],
)
def test_only_a_refusing_place_is_waited_for(
    tmp_path: Path, overlap: bool, details: dict[str, Any], held: bool
) -> None:
    answered = answer(tmp_path, overlap, details)
    assert ("it goes on from here" in answered, TURNED in answered) == (held, not held)


@pytest.mark.parametrize("place", ["keyring", "ledger"])
@pytest.mark.parametrize(
    ("kind", "overlap", "held"),
    [
        ("Denied", True, True),
        ("Sealed", True, True),
        ("Unreachable", True, True),
        ("Unreachable", False, False),
        ("Refused", True, False),
    ],
)
def test_a_return_would_be_one_more_step_that_is_not_taken(
    tmp_path: Path, place: str, kind: str, overlap: bool, held: bool
) -> None:
    answered = answer(tmp_path, overlap, {"kind": kind, "place": place})
    assert ("it goes on from here" in answered, TURNED in answered) == (held, not held)


def test_a_value_whose_line_was_refused_is_promoted_all_the_same(tmp_path: Path) -> None:
    """The keyring was written before, so that there is nothing to abandon."""
    procedure = made(tmp_path, overlap=True)
    procedure.progress.checked = {"overlap": True, "can_return": True, "todo": "rotate"}
    procedure.progress.staged = True
    said = {"msg": "denied", "kind": "Denied", "place": "ledger", "changed": True}
    procedure._note_failed(PROMOTE, said)
    with pytest.raises(_procedure.Ended) as caught:
        procedure.answer(Failed(PROMOTE, "denied", **said))
    assert "it goes on from here" in caught.value.message
    assert "abandon" not in caught.value.message
