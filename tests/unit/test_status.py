# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of many credentials, as a table for people and as a report for programs."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.filter.status_table import FilterModule
from ansible_collections.keyturn.runbooks.plugins.module_utils import _keyring_info
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Claim,
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._report_file import write_file
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status import (
    brief,
    build_report,
    failing,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status_table import table

NOW = datetime(2026, 1, 9, 12, 0, tzinfo=timezone.utc)
DAY = timedelta(days=1)
POLICY = {"rotate": "age", "max_age": "180d"}


def look(folder: Path, policy: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    """What the module tells of a keyring with these parts."""
    path = folder / f"{secrets.token_hex(4)}.json"
    if parts:
        path.touch(0o600)
        path.write_text(dump_text(Document("db", secrets.token_bytes(32), **parts)))
    spec = {name: option.get("default") for name, option in _keyring_info.SPEC.items()}
    given = {"keyring": f"ref+file://{path}", "credential": "db", "policy": policy or POLICY}
    return _keyring_info.run({**spec, **given}, Context(now=lambda: NOW))


def stage(name: str, status: str = "observed", age: timedelta = DAY, **more: Any) -> Stage:
    return Stage(f"r_{name}", status, {"username": name}, made=NOW - age, **more)


def lines_of(results: dict[str, Any], name: str, width: int = 300) -> list[str]:
    """The lines of one credential, each with single spaces."""
    lines = table(build_report(results, NOW), width)
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{name} "))
    found = [lines[start]]
    for line in lines[start + 1 :]:
        if not line.startswith(" "):
            break
        found.append(line)
    return [" ".join(line.split()) for line in found]


def test_what_is_overdue_comes_first_and_everything_has_a_row(tmp_path: Path) -> None:
    results = {
        "a_fresh": look(tmp_path, current=stage("app_a")),
        "b_soon": look(tmp_path, current=stage("app_a", age=170 * DAY)),
        "c_absent": look(tmp_path),
        "d_broken": {"failed": True, "msg": "keyturn_keyring: missing", "kind": "BadInput"},
        "e_due": look(tmp_path, current=stage("app_a", age=183 * DAY)),
        "f_overdue": look(tmp_path, current=stage("app_a", age=210 * DAY)),
        "g_later": look(tmp_path, current=stage("app_a", age=300 * DAY)),
        "h_asked": look(tmp_path, {"rotate": "never"}, current=stage("app_a")),
        "i_unheard": {},
    }
    lines = table(build_report(results, NOW), 100)
    names = [line.split()[0] for line in lines[1:-2] if not line.startswith(" ")]
    assert names == [
        "g_later",
        "f_overdue",
        "d_broken",
        "i_unheard",
        "e_due",
        "c_absent",
        "b_soon",
        "a_fresh",
        "h_asked",
    ]
    assert lines_of(results, "g_later") == ["g_later overdue 120d 300d current app_a observed"]
    assert lines_of(results, "a_fresh") == ["a_fresh in 179d 1d current app_a observed"]
    assert lines_of(results, "c_absent")[0].startswith(
        "c_absent never rotated - no keyring yet: rotate or adopt it"
    )
    assert lines_of(results, "d_broken") == [
        "d_broken unreadable - -",
        "! keyturn_keyring: missing",
    ]
    assert lines_of(results, "i_unheard")[1].startswith("! it was not read")
    assert lines_of(results, "h_asked")[0].startswith("h_asked on demand 1d")
    assert lines[-1] == (
        "9 credentials: 2 overdue, 2 unreadable, 1 due, 1 never rotated, 1 soon, 1 fresh, 1 on demand"
    )


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("count", [1, 50])
def test_the_table_fits_its_width(tmp_path: Path, width: int, count: int) -> None:
    one = look(
        tmp_path,
        current=stage("app_20260109"),
        previous=stage("app_20250709", "grace", retire_after=NOW + DAY),
        pending=stage("app_20260110", "applied"),
    )
    results = {f"db_musehub_{number}": {**one, "owner": "platform"} for number in range(count)}
    lines = table(build_report(results, NOW), width)
    assert max(map(len, lines)) <= width
    assert "OWNER" in lines[0] and lines[1].count("platform") == 1
    assert len(lines) <= 3 + 5 * count
    assert not any(line.endswith(" ") for line in lines)


def test_the_filter_gives_the_lines_of_the_table(tmp_path: Path) -> None:
    lines = FilterModule().filters()["status_table"]({"db": look(tmp_path)}, 80)
    assert lines[0] == "CREDENTIAL  DUE            AGE  STATE"
    assert lines[-1] == "1 credential: 1 never rotated"


def test_what_ansible_adds_to_a_message_is_left_out() -> None:
    told = "'x' is undefined The error appears to be in '/a/status.yml': line 5"
    report = build_report({"db": {"failed": True, "msg": told}}, NOW)
    assert report["credentials"]["db"]["attention"] == ["'x' is undefined"]


def test_a_grace_period_shows_its_end_and_then_what_to_run(tmp_path: Path) -> None:
    def kept(until: datetime, **more: Any) -> dict[str, Any]:
        previous = stage("app_b", "grace", retire_after=until, **more)
        return {"db": look(tmp_path, current=stage("app_a"), previous=previous)}

    text = "current app_a observed; previous app_b until 2026-01-10 12:00Z"
    assert lines_of(kept(NOW + DAY), "db") == [f"db in 179d 1d {text}"]
    over = lines_of(kept(NOW - DAY), "db")
    assert over[1:] == ["! the grace of the previous value is over: run the retire_due playbook"]
    failed = lines_of(kept(NOW, failed=True), "db")
    assert "previous app_b failed" in failed[0] and "run the retire_due playbook" in failed[1]


def test_closed_gates_are_shown_where_they_stand_in_the_way(tmp_path: Path) -> None:
    night = {**POLICY, "window": [{"days": ["sat"], "start": "01:00", "end": "03:00"}]}
    fresh = {"db": look(tmp_path, night, current=stage("app_a"))}
    assert len(lines_of(fresh, "db")) == 1
    due = {"db": look(tmp_path, night, current=stage("app_a", age=190 * DAY))}
    assert lines_of(due, "db")[1].startswith(
        "! rotate, gate window: the maintenance window opens at 2026-01-10T01:00"
    )
    left = {
        "db": look(tmp_path, current=stage("app_a"), pending=stage("app_b", "abandoning")),
    }
    assert "! rotate, gate leftover: " in lines_of(left, "db")[1]


def claim(**changes: Any) -> Claim:
    fixed = {"run_id": "run7", "host": "elsewhere", "pid": 7, "boot_id": "b", "started": "1"}
    times = {"renewed": NOW - DAY / 24, "expires": NOW + DAY / 48}
    return Claim(**{**fixed, **times, **changes})


@pytest.mark.parametrize(
    ("alive", "changes", "words"),
    [
        (True, {}, "at work: run run7 on elsewhere (process 7), last heard of 1h ago"),
        (
            False,
            {},
            "! run run7 on elsewhere (process 7) is dead: run the same playbook again, it takes over and goes on from there",
        ),
        (None, {}, "! run run7 on elsewhere (process 7) is working on it, last seen 1h ago: wait"),
        (None, {"expires": NOW}, "! the claim of run run7 on elsewhere (process 7) expired at"),
    ],
    ids=["alive", "dead", "untold", "expired"],
)
def test_who_works_on_it_is_said_with_what_to_do(
    tmp_path: Path, alive: bool | None, changes: dict[str, Any], words: str
) -> None:
    pending = stage("app_b", "applied")
    seen = look(tmp_path, current=stage("app_a"), pending=pending, claim=claim(**changes))
    seen["keyring"]["claim"]["alive"] = alive
    lines = lines_of({"db": seen}, "db")
    assert len(lines) == 2 and lines[1].startswith(words)


def test_a_rotation_that_nobody_goes_on_with_is_said(tmp_path: Path) -> None:
    left = look(tmp_path, current=stage("app_a"), pending=stage("app_b", "applied"))
    assert (
        "! begun and not at its end: run the same playbook again" in lines_of({"db": left}, "db")[1]
    )


@pytest.mark.parametrize("policy", [None, {"rotate": "on_compromise"}])
def test_a_compromise_is_told_with_the_way_on(
    tmp_path: Path, policy: dict[str, Any] | None
) -> None:
    named = stage("app_a", compromised=True)
    taken_out = replace(named, status="retiring", ended=NOW)
    replaced = replace(named, status="grace", retire_after=NOW)
    for parts in (
        {"current": named},
        {"previous": taken_out},
        {"current": stage("app_b", "cutover"), "previous": replaced},
        {"current": stage("app_b"), "previous": replaced},
    ):
        told = lines_of({"db": look(tmp_path, policy, **parts)}, "db")
        assert "run the respond_compromise playbook again" in " ".join(told)
        assert "rotate_db" not in " ".join(told)
        assert "the grace of" not in " ".join(told)
        assert told[0].startswith("db overdue: compromised") or "current" in parts
    assert lines_of({"db": look(tmp_path, policy, current=named)}, "db")[0].startswith(
        "db overdue: compromised 1d"
    )


def test_what_is_kept_of_a_compromised_value_is_told_until_it_is_destroyed(tmp_path: Path) -> None:
    kept = stage("app_a", "retained", compromised=True)
    told = lines_of({"db": look(tmp_path, current=stage("app_b"), retained=(kept,))}, "db")
    (line,) = told[1:]
    assert "of rotation r_app_a is not destroyed" in line and "destroy_old_versions" in line
    gone = replace(kept, destroyed=NOW)
    told = lines_of({"db": look(tmp_path, current=stage("app_b"), retained=(gone,))}, "db")
    assert not told[1:]


@pytest.mark.parametrize("seconds", [-125, 125])
def test_a_clock_that_differs_from_the_store_s_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    theirs = NOW + timedelta(seconds=seconds)
    monkeypatch.setattr(_keyring_info.KeyringAccess, "store_time", lambda _access: theirs)
    previous = stage("app_b", "grace", retire_after=NOW - DAY)
    seen = {"db": look(tmp_path, current=stage("app_a"), previous=previous)}
    (clock,) = lines_of(seen, "db")[1:]
    assert clock.startswith("! rotate, gate clock: the clock here says 2026-01-09T12:00:00")
    assert clock.endswith("125 s apart (at most 60 s are tolerated): set them right (NTP)")
    assert build_report(seen, NOW)["credentials"]["db"]["clock_skew_seconds"] == seconds


def test_the_report_is_json_and_its_artifact_is_short(tmp_path: Path) -> None:
    results = {
        "db_ok": look(tmp_path, current=stage("app_a")),
        "db_gone": {"failed": True, "msg": "vault: denied", "kind": "Denied", "owner": "platform"},
    }
    report = json.loads(json.dumps(build_report(results, NOW)))
    assert report["kind"] == "keyturn.status" and report["schema"] == 1
    assert report["at"] == "2026-01-09T12:00:00.000000Z"
    assert report["summary"] == {"credentials": 2, "states": {"unreadable": 1, "fresh": 1}}
    gone = report["credentials"]["db_gone"]
    assert gone["state"] == "unreadable" and gone["owner"] == "platform"
    assert gone["error"] == {"kind": "Denied", "message": "vault: denied"}
    assert [gone[name] for name in ("due", "keyring", "gates", "clock_skew_seconds")] == [None] * 4
    fine = report["credentials"]["db_ok"]
    assert fine["error"] is None and fine["attention"] == []
    assert set(fine["gates"]) == {"rotate", "retire", "rollback"}
    assert fine["keyring"]["stages"]["current"]["status"] == "observed"
    short = brief(report)["credentials"]["db_ok"]
    assert short == {
        "state": "fresh",
        "owner": "",
        "due_at": "2026-07-07T12:00:00.000000Z",
        "retire_at": None,
        "attention": [],
    }


@pytest.mark.parametrize(
    ("fail_on", "names"),
    [
        ("nothing", set()),
        ("unreadable", {"gone"}),
        ("overdue", {"late", "gone"}),
        ("due", {"late", "gone", "due", "none"}),
    ],
)
def test_what_an_audit_fails_on(tmp_path: Path, fail_on: str, names: set[str]) -> None:
    results = {
        "late": look(tmp_path, current=stage("app_a", age=300 * DAY)),
        "due": look(tmp_path, current=stage("app_a", age=185 * DAY)),
        "none": look(tmp_path),
        "soon": look(tmp_path, current=stage("app_a", age=170 * DAY)),
        "gone": {"failed": True, "msg": "denied"},
    }
    found = failing(build_report(results, NOW), fail_on)
    assert set(found) == names
    assert "late" not in found or found["late"].startswith("late is overdue: 300d old of at most")
    assert found.get("gone", "gone is unreadable: denied") == "gone is unreadable: denied"


def test_a_report_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_text("old")
    path.chmod(0o644)
    write_file(str(path), "new\n")
    assert path.read_text() == "new\n" and path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["status.json"]
    with pytest.raises(KeyturnError, match="output_file: cannot write /nowhere/at/all"):
        write_file("/nowhere/at/all", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(KeyturnError, match="output_file: "):
        write_file(str(tmp_path / "folder"), "x")
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(KeyturnError, match="is a symbolic link"):
        write_file(str(link), "x")
    assert path.read_text() == "new\n"
