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

[BRING] = [step for step in PROCEDURES["rotate"] if step.key == "bring"]


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
    options = {"purpose": "rotate", "keyring": f"ref+file://{tmp_path}/db.json"}
    issuer = {"type": "generated", "overlap": overlap}
    spec = ArgumentSpecValidator(dict(_procedure.MODULE.argument_spec))
    given = spec.validate({**options, "credential": "db", "issuer": issuer})
    assert not given.error_messages
    params = {**given.validated_parameters, "run": {"run_id": "run1"}}
    procedure = _procedure.Procedure(params, Context())
    procedure.progress.checked = {"overlap": overlap, "can_return": True, "todo": "use"}
    with pytest.raises(_procedure.Ended) as caught:
        procedure.answer(Failed(BRING, "it failed", **details))
    # There is no keyring, so that a return, where one is begun, fails.
    begun = "The return to the previous value" in caught.value.message
    assert ("it goes on from here" in caught.value.message, begun) == (held, not held)
