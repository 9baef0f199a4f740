# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a keyring shows of itself without asking a server: dates, gates, who works on it; never a value."""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import _keyring_info
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._gates import Facts, gates
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Claim,
    Document,
    Receipt,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_step import definition_hash
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import parse_policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._process import describe_process
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

NOW = datetime(2026, 1, 9, 12, 0, tzinfo=timezone.utc)  # a Friday
DAY = timedelta(days=1)
POLICY = {"rotate": "age", "max_age": "100d", "owner": "platform"}
ISSUER: dict[str, Any] = {
    "type": "postgres_role",
    "strategy": "alternate_roles",
    "roles": ["app_a", "app_b"],
    "login": {"host": "127.0.0.1", "dbname": "app", "admin": "ref+file:///nowhere/admin.json"},
}
DEFINITION = definition_hash(ISSUER, {})


def stage(name: str, status: str, **changes: Any) -> Stage:
    fields = {"username": name, "password": Secret(secrets.token_urlsafe(20))}
    return replace(Stage(f"r_{name}", status, fields, DEFINITION), **changes)


def current(age: timedelta = 99 * DAY, status: str = "observed") -> Stage:
    return stage("app_a", status, made=NOW - age)


def save(path: Path, **parts: Any) -> Document:
    document = Document("db", secrets.token_bytes(32), **{"current": current(), **parts})
    filled: dict[str, Any] = {
        name: document.with_fingerprints(found) for name, found in document.stages.items()
    }
    filled["retained"] = tuple(document.with_fingerprints(item) for item in document.retained)
    document = replace(document, **filled)
    path.touch(0o600)
    path.write_text(dump_text(document))
    return document


def info(path: Path, **more: Any) -> dict[str, Any]:
    options = {
        "keyring": f"ref+file://{path}",
        "credential": "db",
        "policy": POLICY,
        "issuer": ISSUER,
    }
    spec = dict(_keyring_info.MODULE.argument_spec)
    validated = ArgumentSpecValidator(spec).validate({**options, **more})
    assert not validated.error_messages
    result: dict[str, Any] = _keyring_info.MODULE.run(
        dict(validated.validated_parameters), Context(now=lambda: NOW)
    )
    return result


def closed(result: dict[str, Any], purpose: str) -> dict[str, str]:
    return {
        gate["name"]: gate["message"] for gate in result["gates"][purpose] if not gate["passed"]
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keyring.json"


def test_what_is_due_and_free_has_no_closed_gate(path: Path) -> None:
    save(path)
    result = info(path)
    assert set(result["gates"]) == {"rotate", "retire", "rollback"}
    assert closed(result, "rotate") == {}
    assert set(closed(result, "retire")) == {"grace"}
    assert set(closed(result, "rollback")) == {"target"}
    assert result["due"]["state"] == "soon" and result["owner"] == "platform"


def test_gates_that_only_a_server_or_a_definition_can_tell_are_left_out() -> None:
    """Each gate is told here exactly when nothing that must be asked for can change it."""
    previous = stage("app_b", "grace", retire_after=NOW - DAY)
    document = Document("db", secrets.token_bytes(32), current=current(), previous=previous)
    known = Facts(credential="db", definition=DEFINITION)
    bad = replace(
        known,
        issuer_problems=("no",),
        unreadable=("no",),
        unknown=("no",),
        behind=("no",),
        lagging=("no",),
        sessions=("somebody",),
        alert="firing",
        probes=0,
    )
    for purpose in ("rotate", "retire", "rollback"):
        policy = parse_policy(POLICY)
        quiet = gates(purpose, document, policy, NOW, known)
        loud = gates(purpose, document, policy, NOW, bad)
        asked = {one.name for one, other in zip(quiet, loud, strict=True) if one != other}
        told = {
            gate.name for gate in _keyring_info.told_gates(purpose, document, policy, NOW, known)
        }
        assert told == {gate.name for gate in quiet} - asked


def test_a_value_that_is_kept_stops_a_new_one_only_with_overlap(path: Path) -> None:
    until = NOW + DAY
    save(path, previous=stage("app_b", "grace", retire_after=until))
    result = info(path)
    assert "still kept, its grace ends at 2026-01-10" in closed(result, "rotate")["previous"]
    assert "its grace ends in 1d" in closed(result, "retire")["grace"]
    assert closed(result, "rollback") == {}
    assert result["due"]["retire_at"] == "2026-01-10T12:00:00.000000Z"
    same = {**ISSUER, "strategy": "same_role", "role": "app_a"}
    del same["roles"]
    assert "previous" not in closed(info(path, issuer=same), "rotate")


def test_a_leftover_of_another_definition_is_told(path: Path) -> None:
    save(path, pending=stage("app_b", "issued", definition="other"))
    assert "made for another definition" in closed(info(path), "rotate")["leftover"]
    # Without the definition nobody can compare.
    assert closed(info(path, issuer={}), "rotate") == {}


def test_a_wrong_definition_closes_its_gate_and_hides_nothing(path: Path) -> None:
    save(path)
    result = info(path, issuer={"type": "moon"})
    assert "there is no issuer 'moon'" in closed(result, "rotate")["issuer"]
    assert result["keyring"]["stages"]["current"]["status"] == "observed"


def test_the_window_tells_when_it_opens(path: Path) -> None:
    save(path)
    night = [{"days": ["sat"], "start": "01:00", "end": "03:00"}]
    result = info(path, policy={**POLICY, "window": night})
    assert set(closed(result, "rotate")) == {"window"}
    assert result["due"]["window_opens"] == "2026-01-10T01:00:00.000000Z"
    assert info(path)["due"]["window_opens"] is None


def claim(**changes: Any) -> Claim:
    found = describe_process(os.getpid())
    fixed = {**found, "run_id": "another", "renewed": NOW - DAY / 24, "expires": NOW + DAY / 48}
    return Claim(**{**fixed, **changes})


@pytest.mark.parametrize(
    ("changes", "alive", "stops"),
    [
        ({}, True, True),
        ({"started": "1"}, False, False),
        ({"host": "elsewhere"}, None, True),
        ({"host": "elsewhere", "expires": NOW}, None, False),
        ({"boot_id": "before"}, None, True),
        ({"started": ""}, None, True),
    ],
    ids=["alive", "dead", "elsewhere", "expired", "rebooted", "untold"],
)
def test_who_works_on_it_and_whether_they_live(
    path: Path, changes: dict[str, Any], alive: bool | None, stops: bool
) -> None:
    save(path, claim=claim(**changes))
    result = info(path)
    shown = result["keyring"]["claim"]
    assert shown["alive"] is alive
    assert shown["host"] == changes.get("host", socket.gethostname())
    assert shown["renewed"] == "2026-01-09T11:00:00.000000Z"
    for purpose in ("rotate", "retire", "rollback"):
        assert ("claim" in closed(result, purpose)) is stops


def test_ages_receipts_and_retained_stages_are_told_and_no_value(path: Path) -> None:
    document = save(
        path,
        retained=(stage("app_z", "retained", made=NOW - 300 * DAY),),
        receipts={"hub": Receipt("digest-of-what-it-reads", NOW - DAY, "r_app_a")},
    )
    result = info(path)
    shown = result["keyring"]
    assert shown["stages"]["current"]["age_seconds"] == 99 * 86400
    assert [item["rotation_id"] for item in shown["retained_stages"]] == ["r_app_z"]
    assert shown["retained_stages"][0]["age"] == "300d"
    assert shown["receipts"]["hub"] == {
        "at": "2026-01-08T12:00:00.000000Z",
        "rotation_id": "r_app_a",
    }
    text = json.dumps(result)
    assert "digest-of-what-it-reads" not in text
    for kept in (document.current, *document.retained):
        password = kept.secret("password") if kept else None
        assert password and password.reveal() not in text


def test_an_absent_keyring_was_never_rotated(path: Path) -> None:
    result = info(path)
    assert result["keyring"]["exists"] is False and result["keyring"]["retained_stages"] == []
    assert result["due"]["state"] == "never_rotated" and result["due"]["retire_at"] is None
    assert closed(result, "rotate") == {}


def test_an_error_names_the_owner_as_well(path: Path) -> None:
    path.touch(0o600)
    path.write_text("{")
    with pytest.raises(KeyturnError, match="no JSON document") as caught:
        info(path, owner="platform")
    assert caught.value.details["owner"] == "platform"
