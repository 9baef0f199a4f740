# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preflight against a real server and real sinks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Claim,
)
from estate.databases import Database
from one_credential import DAY, NOW, POLICY, Estate, make_estate, sink

pytestmark = pytest.mark.pg_versions("16")


@pytest.fixture
def estate(database: Database, tmp_path: Path) -> Estate:
    return make_estate(database, tmp_path)


def test_ready_to_rotate(estate: Estate, tmp_path: Path) -> None:
    estate.save(current=estate.role("app_a"))
    before = estate.keyring.read_bytes()
    result = estate.preflight(sinks=[sink(tmp_path / "url")])
    assert (result["todo"], result["due"], result["overlap"], result["can_return"]) == (
        "rotate",
        True,
        True,
        True,
    )
    assert result["refusals"] == []
    assert result["status"]["state"] == "overdue"
    assert result["baseline"][0]["ok"] is True
    assert estate.keyring.read_bytes() == before
    assert not (tmp_path / "url").exists()
    assert estate.database.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'app_b'") == [
        (0,)
    ]


def test_the_first_rotation_of_all(estate: Estate) -> None:
    estate.role("app_a")
    result = estate.preflight()
    assert (result["todo"], result["status"]["state"], result["can_return"]) == (
        "rotate",
        "never_rotated",
        False,
    )
    with pytest.raises(Absent, match="no keyring yet"):
        estate.probe()


def test_every_refusal_at_once(estate: Estate, tmp_path: Path) -> None:
    estate.save(
        current=estate.role("app_a"),
        previous=replace(estate.role("app_b"), status="grace", retire_after=NOW + DAY),
    )
    folder = tmp_path / "folder"
    folder.mkdir()
    day = (NOW + 3 * DAY).strftime("%a").lower()
    policy = {
        **POLICY,
        "window": {"days": day, "start": "01:00", "end": "02:00"},
        "reason_required": True,
        "alert": {"command": ["false"]},
        "contacts": [{"type": "pager"}],
    }
    with pytest.raises(Refused) as caught:
        estate.preflight(
            policy=policy,
            probes=[],
            sinks=[sink(folder, "{current.password}")],
            unreadable=["sink 'x' on app1: denied"],
        )
    refused = caught.value.details["refusals"]
    names = sorted(text.split(":")[0] for text in refused)
    assert names == ["alert", "contacts", "previous", "probes", "reason", "sinks", "window"]
    assert caught.value.message.startswith(
        "db: 7 gates are closed. (1) contacts: keyturn_policy.contacts[0].type"
    )
    sinks = next(text for text in refused if text.startswith("sinks: "))
    assert all(part in sinks for part in ("denied", "{current.username}", str(folder)))
    assert all(text in caught.value.message for text in refused)
    estate.no_secret_in(caught.value.message + json.dumps(caught.value.details))


@pytest.mark.parametrize(
    ("more", "gate", "told"),
    [
        ({"policy": {**POLICY, "max_ege": "1d"}}, "policy", "unknown key max_ege"),
        ({"keyring": "ref+vault://"}, "keyring", "keyturn_keyring"),
        ({"issuer": {"type": "oracle"}}, "issuer", "keyturn_issuer.type"),
        ({"sinks": [{"ref": "nothing"}]}, "sinks", "keyturn_sinks[0]"),
        ({"consumers": [{"type": "pigeon"}]}, "consumers", "keyturn_consumers[0]"),
        ({"probes": [{"type": "ping"}]}, "probes", "keyturn_probes[0].type"),
        (
            {"policy": {**POLICY, "alert": {"url": "http://127.0.0.1:1/x?token=t"}}},
            "alert",
            "cannot be told: http://127.0.0.1:1/x: nothing",
        ),
    ],
)
def test_definitions_are_gates_too(
    estate: Estate, more: dict[str, Any], gate: str, told: str
) -> None:
    estate.save(current=estate.role("app_a"))
    with pytest.raises(Refused) as caught:
        estate.preflight(**more)
    assert any(
        text.startswith(f"{gate}: ") and told in text for text in caught.value.details["refusals"]
    )


def test_an_owner_role_that_is_not_there_is_refused(estate: Estate) -> None:
    """It would be made, own nothing, and the rotation would fail after the new role was made, too."""
    estate.save(current=estate.role("app_a"))
    with pytest.raises(Refused) as caught:
        estate.preflight(issuer={**estate.issuer, "owner_role": "nobody_owns"})
    [refused] = caught.value.details["refusals"]
    assert "owner_role: there is no role nobody_owns; correct the name" in refused


def test_a_role_in_use_that_the_definition_does_not_name_is_told(estate: Estate) -> None:
    estate.save(current=estate.role("app_a"))
    free = [f"{name}_other" for name in estate.issuer["roles"]]
    with pytest.raises(Refused):
        estate.preflight(issuer={**estate.issuer, "roles": free, "owner_role": "nobody_owns"})
    told = [text for text in estate.warnings if "is none of keyturn_issuer.roles" in text]
    assert len(told) == 1 and free[0] in told[0]


def test_one_that_is_too_young_is_left_alone_and_nobody_is_asked(estate: Estate) -> None:
    estate.save(current=replace(estate.role("app_a"), made=NOW - 20 * DAY))
    login = {**estate.issuer["login"], "port": 1}
    gone = {**estate.issuer, "login": login}
    result = estate.preflight(issuer=gone)
    assert (result["todo"], result["due"]) == ("nothing", False)
    assert "keyturn_force=true" in result["msg"]
    with pytest.raises(Refused, match="policy: too young"):
        estate.preflight(not_due="refuse")
    assert estate.preflight(force=True)["todo"] == "rotate"
    with pytest.raises(Refused, match="nothing listens there"):
        estate.preflight(issuer=gone, force=True)


def test_a_broken_current_value_is_a_warning_because_rotating_repairs_it(estate: Estate) -> None:
    estate.save(current=estate.role("app_a"))
    estate.database.execute("ALTER ROLE app_a PASSWORD 'x'")
    result = estate.preflight()
    assert result["baseline"][0]["ok"] is False
    assert any("the password is not accepted" in text for text in estate.warnings)


def test_another_run_and_one_that_is_dead(estate: Estate) -> None:
    claim = Claim("other", "elsewhere", 1, "b", "1", NOW, NOW + timedelta(minutes=30))
    estate.save(current=estate.role("app_a"), claim=claim)
    with pytest.raises(Refused, match="claim: run other on elsewhere"):
        estate.preflight()
    assert estate.preflight(take_over=True)["todo"] == "rotate"
    estate.save(current=estate.role("app_a"), claim=replace(claim, expires=NOW))
    assert estate.preflight()["todo"] == "rotate"


def test_what_is_left_of_an_interrupted_run(estate: Estate) -> None:
    a, b = estate.role("app_a"), estate.role("app_b")
    estate.save(
        current=replace(b, status="promoted", promoted=NOW, made=NOW),
        previous=replace(a, status="grace"),
    )
    result = estate.preflight(policy={**POLICY, "alert": {"command": ["false"]}})
    assert (result["todo"], result["can_return"]) == ("use", True)
    estate.save(
        current=replace(a, status="promoted", promoted=NOW),
        previous=replace(b, status="grace", failed=True),
    )
    assert estate.preflight(purpose="rollback")["todo"] == "use"
    result = estate.preflight()
    assert (result["todo"], result["can_return"]) == ("use", False)


def test_retiring(estate: Estate, tmp_path: Path) -> None:
    a, b = estate.role("app_a"), estate.role("app_b")
    estate.save(current=b, previous=replace(a, status="grace", retire_after=NOW + DAY))
    result = estate.preflight(purpose="retire")
    assert (result["todo"], result["due"]) == ("nothing", False)
    assert "its grace ends in" in result["msg"]
    estate.save(current=b, previous=replace(a, status="grace", retire_after=NOW - DAY))
    held = estate.database.connect(
        "app_a", estate.passwords["app_a"], application_name="nightly report"
    )
    path = tmp_path / "url"
    path.write_text("something else")
    more = {
        "sinks": [sink(path)],
        "behind": ["env of app2"],
        "consumers": [{"type": "systemd", "host": "app1", "unit": "app.service"}],
    }
    with pytest.raises(Refused) as caught:
        estate.preflight(purpose="retire", **more)
    found = {text.split(":")[0]: text for text in caught.value.details["refusals"]}
    assert set(found) == {"behind", "receipts", "sessions"}
    assert "env of app2; app" in found["behind"]
    assert "session 'nightly report' from 127.0.0.1:" in found["sessions"]
    held.close()
    while estate.database.execute("SELECT 1 FROM pg_stat_activity WHERE usename = 'app_a'"):
        pass
    assert estate.preflight(purpose="retire")["todo"] == "retire"


def test_the_other_purposes(estate: Estate) -> None:
    a, b = estate.role("app_a"), estate.role("app_b")
    estate.save(current=b, previous=replace(a, status="grace"))
    assert estate.preflight(purpose="rollback")["todo"] == "rollback"
    assert estate.preflight(purpose="rollback", rotation_id="r_app_b")["todo"] == "rollback"
    with pytest.raises(Refused, match="target: rotation r_old is not the one in use"):
        estate.preflight(purpose="rollback", rotation_id="r_old")
    assert estate.preflight(purpose="abandon")["todo"] == "nothing"
    estate.save(current=a, pending=replace(b, status="applied"))
    assert estate.preflight(purpose="abandon")["todo"] == "abandon"
    with pytest.raises(Refused, match="proof: the pending value is not proved"):
        estate.preflight(purpose="promote")
    with pytest.raises(Refused, match="unmanaged: this keyring already manages"):
        estate.preflight(purpose="adopt")
    estate.keyring.unlink()
    assert estate.preflight(purpose="adopt")["todo"] == "adopt"


def test_people_are_told_before_a_grace_ends_with_the_old_value_in_use(estate: Estate) -> None:
    a, b = estate.role("app_a"), estate.role("app_b")
    estate.save(
        current=replace(b, made=NOW),
        previous=replace(a, status="grace", retire_after=NOW + DAY / 2),
    )
    held = estate.database.connect("app_a", estate.passwords["app_a"])
    policy = {**POLICY, "contacts": [{"type": "command", "argv": ["true"]}]}
    told = estate.preflight(policy=policy)["notices"]
    assert [(item["event"], item["mark"]) for item in told] == [("grace_24h_in_use", "r_app_a")]
    held.close()
