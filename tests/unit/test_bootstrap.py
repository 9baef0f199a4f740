# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bootstrap makes and leaves alone, and the list of it."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._bootstrap import (
    awaited,
    is_missing,
    left_alone,
    there,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._gates import Facts, gates
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import parse_policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._bootstrap_report import (
    build_report,
    table,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def stage(status: str) -> Stage:
    return Stage("r1", status, {"value": Secret(secrets.token_urlsafe(20))}, made=NOW)


def document(**stages: str) -> Document:
    parts: dict[str, Any] = {name: stage(status) for name, status in stages.items()}
    return Document("token", secrets.token_bytes(32), **parts)


@pytest.mark.parametrize(
    ("stages", "missing"),
    [
        ({}, True),
        ({"pending": "intended"}, True),
        ({"pending": "proved"}, True),
        ({"current": "promoted"}, True),
        ({"current": "cutover"}, True),
        ({"current": "observed"}, False),
        ({"current": "observed", "pending": "proved"}, False),
        ({"current": "promoted", "previous": "grace"}, False),
        ({"current": "observed", "previous": "grace"}, False),
    ],
)
def test_only_a_first_value_is_missing(stages: dict[str, str], missing: bool) -> None:
    assert is_missing(document(**stages)) is missing
    assert is_missing(None)
    left = there(document(**stages))
    assert (left is None) is missing
    begun = "pending" in stages or stages.get("current") == "promoted"
    assert left is None or ("playbook rotate goes on" in left.message) is begun


def test_what_somebody_may_use_is_left_alone() -> None:
    unknown = Facts(credential="token", unknown=("sink 'app' (ref+file:///srv/app)",))
    found = left_alone(None, unknown, [])
    assert found and found.state == "left_alone" and "sink 'app'" in found.message
    assert "--limit token" in found.message
    stands = left_alone(None, Facts(credential="token"), ["app_a can log in"])
    assert stands and "app_a can log in" in stands.message
    assert left_alone(None, Facts(), []) is None
    # What a first rotation wrote itself is no stranger's.
    assert left_alone(document(pending="applied"), unknown, []) is None


def test_a_person_is_waited_for_without_a_write(tmp_path: Path) -> None:
    handed, context = tmp_path / "key", Context()
    values = {"key": f"ref+file://{handed}"}
    definition = {"type": "operator", "overlap": False, "make": "there", "values": values}
    operator = open_issuer(definition, context, "keyturn_issuer")
    facts = Facts(credential="person")
    wait = awaited(None, operator, facts, context)
    assert wait and wait.state == "waiting" and str(handed) in wait.message
    handed.touch(0o600)
    handed.write_text(secrets.token_urlsafe(20))
    assert awaited(None, operator, facts, context) is None
    begun = document(pending="intended")
    assert awaited(begun, operator, facts, context)
    assert awaited(begun, operator, Facts(credential="person", given=True), context) is None
    generated = open_issuer({"type": "generated", "overlap": True}, context, "keyturn_issuer")
    assert awaited(None, generated, facts, context) is None


@pytest.mark.parametrize("rotate", ["never", "on_compromise", "on_provider_change"])
def test_no_policy_keeps_a_first_value_back_and_each_keeps_a_second_one(rotate: str) -> None:
    policy = parse_policy({"rotate": rotate})

    def passes(held: Document | None) -> bool:
        found = gates("rotate", held, policy, NOW, Facts(first=True, probes=1))
        return next(gate.passed for gate in found if gate.name == "policy")

    assert passes(None)
    assert not passes(document(current="observed"))


def step(state: str, **more: Any) -> dict[str, Any]:
    places = ["sink 'app' (ref+file:///srv/app)"]
    found = {"state": state, "issuer": "generated", "keyring": "ref+file:///k", "places": places}
    return {"msg": "why so", "steps": [{"step": "Check", "bootstrap": found}], **more}


def test_the_list_says_what_wants_a_person_first_and_where_something_is_written() -> None:
    results = {
        "there": step("there"),
        "new": step("make"),
        "begun": step("go_on"),
        "hand": step("waiting"),
        "used": step("left_alone"),
        "bad": step("make", failed=True),
        "gone": {},
    }
    report = build_report(results, NOW, check=True)
    order = ["bad", "gone", "hand", "used", "begun", "new", "there"]
    assert list(report["credentials"]) == order
    assert report["summary"]["states"]["failed"] == 2
    lines = table(report)
    text = "\n".join(lines)
    assert "new         generated  would be made" in text
    assert text.count("/srv/app") == 2
    assert lines[-1].startswith("7 credentials: 2 FAILED, 1 waits for a person, 1 left alone")
    assert "it was not looked at" in text
    assert table(build_report({}, NOW, check=False))[-1] == "0 credentials: none"
    done = "\n".join(table(build_report({"new": step("make")}, NOW, check=False)))
    assert "generated  made" in done and "would" not in done
