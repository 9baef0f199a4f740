# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keyring in its store: compare-and-set, claims, check mode, and the ledger beside it."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import parse_document
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    chain_faults,
    tail_faults,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers import FileLedger
from ansible_collections.keyturn.runbooks.plugins.module_utils._process import describe_process
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

PROOF = ({"type": "postgres", "against": "db", "at": "2026-01-31T22:00:00Z"},)


class Place:
    """A keyring and a ledger in files."""

    def __init__(self, folder: Path) -> None:
        self.keyring = folder / "db_app.json"
        self.ledger = folder / "db_app.jsonl"

    def open(self, run: Any = "run1", check: bool = False, replay: Any = ()) -> KeyringAccess:
        given = run if isinstance(run, dict) else {"run_id": run, "host": "elsewhere", "pid": 1}
        params = {
            "keyring": f"ref+file://{self.keyring}",
            "credential": "db_app",
            "ledger": f"ref+file://{self.ledger}",
            "run": given,
            "replay": list(replay),
        }
        return open_keyring(params, Context.system(check_mode=check))

    def lines(self) -> list[dict[str, Any]]:
        return list(FileLedger(str(self.ledger)).read("db_app").lines)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def ask(name: str, user: str = "app_a") -> Request:
    fields = {"username": user, "password": Secret(secrets.token_urlsafe(16))}
    return Request(
        name, Run(""), rotation_id=f"r-{user}", definition="d", fields=fields, evidence=PROOF
    )


def test_each_step_is_one_version_and_one_line(place: Place) -> None:
    access = place.open()
    names = ("stage", "applied", "proved", "promote", "observed", "release")
    assert [access.step(ask(name)) for name in names] == [True] * len(names)
    assert [line["phase"] for line in place.lines()] == list(names)
    document = parse_document(place.keyring.read_text())
    assert chain_faults(place.lines()) == [] and tail_faults(place.lines(), document.ledger) == []
    assert document.claim is None
    assert place.keyring.stat().st_mode & 0o777 == 0o600


def test_the_keyring_of_another_credential_is_refused_before_anything(place: Place) -> None:
    place.open().step(ask("stage"))
    other = place.keyring.read_text().replace('"db_app"', '"db_other"')
    place.keyring.write_text(other)
    with pytest.raises(BadInput, match="belongs to 'db_other', not to 'db_app'"):
        place.open()


def test_no_value_reaches_the_ledger(place: Place) -> None:
    access = place.open()
    access.step(ask("stage"))
    secret = access.need().pending.secret("password")  # type: ignore[union-attr]
    assert secret and secret.reveal() in place.keyring.read_text()
    assert secret.reveal() not in place.ledger.read_text()


def test_a_step_done_before_writes_nothing(place: Place) -> None:
    place.open().step(ask("stage"))
    before = place.keyring.read_bytes()
    assert place.open().step(ask("stage")) is False
    assert place.keyring.read_bytes() == before


def test_check_mode_writes_nothing_and_hands_on_what_it_predicts(place: Place) -> None:
    access = place.open(check=True)
    for name in ("stage", "applied", "proved", "promote"):
        assert access.step(ask(name))
    assert not place.keyring.exists() and not place.ledger.exists()
    later = place.open(check=True, replay=access.replay)
    current = later.need().current
    assert (
        current
        and current.text("username") == "app_a"
        and current.fingerprints["password"] == "(new)"
    )
    assert not any("password" in str(entry["fields"]) for entry in access.replay)


def test_a_real_run_ignores_what_was_predicted(place: Place) -> None:
    access = place.open(check=True)
    access.step(ask("stage"))
    assert place.open(replay=access.replay).document is None


def test_two_runs_one_wins_and_the_other_is_told_who(place: Place) -> None:
    first, second = place.open("run1"), place.open("run2")
    first.step(ask("stage"))
    with pytest.raises(Refused, match="another run is working on it: run run1"):
        second.step(ask("stage", "app_b"))
    assert len(place.lines()) == 1


def test_the_guard_stops_a_run_that_lost_its_claim(place: Place) -> None:
    first = place.open("run1")
    first.step(ask("stage"))
    first.guard()
    second = place.open("run2")
    second.take_over = True
    second.step(ask("applied"))
    with pytest.raises(Conflict, match=r"lost its claim .*run run2 holds it now"):
        first.guard()


def test_the_guard_lets_a_module_work_on_a_keyring_that_nobody_claimed(place: Place) -> None:
    first = place.open("run1")
    first.step(ask("stage"))
    first.step(ask("release"))
    alone = place.open("run2")
    alone.guard()
    place.open("run3").step(ask("applied"))
    with pytest.raises(Conflict, match=r"lost its claim .*run run3 holds it now"):
        alone.guard()


def test_a_dead_run_on_this_machine_is_taken_over_at_once(place: Place) -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    dead = describe_process(sleeper.pid)
    place.open(dead).step(ask("stage"))
    mine = describe_process(os.getpid())
    with pytest.raises(Refused, match="another run"):
        place.open(mine).step(ask("applied"))
    sleeper.kill()
    sleeper.wait()
    assert place.open(mine).step(ask("applied"))


def test_a_line_lost_between_keyring_and_ledger_is_recovered(place: Place) -> None:
    place.open().step(ask("stage"))
    lines = place.ledger.read_text().splitlines(keepends=True)
    place.open().step(ask("applied"))
    place.ledger.write_text("".join(lines))
    place.open().step(ask("proved"))
    found = place.lines()
    assert [line["phase"] for line in found] == ["stage", "applied", "proved"]
    assert found[1]["recovered"] is True and chain_faults(found) == []


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda lines: [lines[0], *lines[2:]], "after line 1 comes line 3"),
        (lambda lines: [*lines[:-1], lines[-1].replace('"ann"', '"eve"')], "line 4: its content"),
        (lambda lines: lines[:-2], "the end is cut"),
        (lambda lines: [], "the end is cut"),
    ],
    ids=["removed", "last changed", "cut", "emptied"],
)
def test_a_run_that_finds_the_ledger_not_whole_warns_once(
    place: Place, harm: Any, words: str
) -> None:
    before = {"run_id": "run1", "host": "elsewhere", "pid": 1, "who": "ann"}
    for name in ("stage", "applied", "proved", "release"):
        place.open(before).step(ask(name))
    lines = place.ledger.read_text().splitlines(keepends=True)
    place.ledger.write_text("".join(harm(lines)))
    warnings: list[str] = []
    for name in ("promote", "note", "observed"):
        access = place.open("run2")
        access.context.warn = warnings.append
        access.step(ask(name))
    told = [text for text in warnings if "ledger" in text]
    assert len(told) == 1 and words in told[0] and "verify_ledger" in told[0]
    assert place.lines()[-1]["phase"] == "observed"


def test_a_whole_ledger_and_a_recovered_line_do_not_warn(place: Place) -> None:
    place.open("run1").step(ask("stage"))
    kept = place.ledger.read_text()
    place.open("run1").step(ask("release"))
    place.ledger.write_text(kept)
    warnings: list[str] = []
    for name in ("applied", "proved"):
        access = place.open("run2")
        access.context.warn = warnings.append
        access.step(ask(name))
    assert not [text for text in warnings if "ledger" in text]
    assert [line["phase"] for line in place.lines()] == ["stage", "release", "applied", "proved"]


def test_check_mode_tells_of_a_ledger_that_cannot_be_meant(place: Place) -> None:
    params = {
        "keyring": f"ref+file://{place.keyring}",
        "credential": "db_app",
        "ledger": "ref+syslog://nowhere",
    }
    with pytest.raises(BadInput, match="keyturn_ledger: "):
        open_keyring(params, Context.system(check_mode=True)).step(ask("stage"))


def test_an_absent_keyring_names_what_makes_one(place: Place) -> None:
    with pytest.raises(Absent, match=r"rotate the credential for the first time, or .* adopt"):
        place.open().need()


def test_a_missing_option_is_named() -> None:
    with pytest.raises(BadInput, match="keyturn_keyring: missing"):
        open_keyring({"credential": "db_app"}, Context.system())
