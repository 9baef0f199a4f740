# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people are told at the end of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._outcome import (
    Pending,
    advice,
    outcome,
    returned,
    returned_from,
    still_as_it_was,
)

CURRENT: dict[str, Any] = {"rotation_id": "r2", "outage_seconds": None}
PREVIOUS: dict[str, Any] = {
    "rotation_id": "r1",
    "failed": False,
    "retire_after": "2026-01-02T00:00:00Z",
}


def keyring(**stages: dict[str, Any]) -> dict[str, Any]:
    return {"stages": {"current": CURRENT, **stages}}


@pytest.mark.parametrize("purpose", ["rotate", "rollback", "adopt"])
def test_what_is_in_use_is_named(purpose: str) -> None:
    assert outcome(purpose, keyring()) == "Rotation r2 is in use"


def test_the_end_of_the_grace_period_is_told() -> None:
    told = outcome("rotate", keyring(previous=PREVIOUS))
    assert told == (
        "Rotation r2 is in use; the previous value is accepted until the retire_due playbook ends it, at 2026-01-02T00:00:00Z or later"
    )
    assert not returned_from(keyring(previous=PREVIOUS)) and not returned_from(keyring())


def test_where_one_value_is_accepted_at_a_time_nobody_says_that_the_previous_one_is() -> None:
    told = outcome("rotate", keyring(previous=PREVIOUS), overlap=False)
    assert "accepted until" not in told
    assert told == (
        "Rotation r2 is in use; the previous value is not accepted any more, and is kept for a rollback until the retire_due playbook "
        "removes it, at 2026-01-02T00:00:00Z or later"
    )
    ended = outcome("rotate", keyring(previous=PREVIOUS), returns=False, overlap=False)
    assert ended.endswith("the issuer ended the previous value when it made this one")


def test_no_grace_is_promised_to_a_compromised_value() -> None:
    told = outcome("rotate", keyring(previous={**PREVIOUS, "compromised": True, "status": "grace"}))
    assert "accepted until" not in told and "ended next" in told and "retire_due" in told


def test_a_value_that_was_returned_from_is_named() -> None:
    found = keyring(previous={**PREVIOUS, "failed": True})
    assert returned_from(found)
    assert outcome("rollback", found) == (
        "Rotation r2 is in use again: the one that failed, r1, was returned from and is kept until retire_due"
    )


def test_an_interruption_is_told_in_seconds() -> None:
    interrupted = {**CURRENT, "outage_seconds": 0.5312}
    told = outcome("rotate", keyring(current=interrupted))
    assert told == "Rotation r2 is in use; new logins and calls could fail for at most 0.5 s"


def test_the_ends_speak_of_what_was_ended() -> None:
    assert outcome("retire", keyring()) == "The previous value is refused now and was removed"
    kept = {"rotation_id": "r1", "status": "retained", "compromised": True, "destroyed": None}
    told = outcome("retire", {**keyring(), "retained_stages": [kept]})
    assert "was removed" not in told and "is refused now" in told
    assert "until what places keep of it is destroyed" in told
    gone = {**kept, "destroyed": "2026-01-02T00:00:00Z"}
    assert outcome("retire", {**keyring(), "retained_stages": [gone]}).endswith("was removed")
    assert outcome("abandon", keyring()) == "The pending value is refused now and was removed"


def test_only_a_value_that_waits_needs_advice() -> None:
    assert advice(None, False) == ""
    said = advice(Pending(), False)
    assert "run the same playbook again, or undo the new value with the abandon" in said
    assert "applications go on with the old one" in said
    assert "which goes on from there" in advice(None, True)


@pytest.mark.parametrize("handed", [True, False])
def test_nobody_is_sent_to_abandon_what_nothing_refused(handed: bool) -> None:
    ended = Pending(ends=True, ended=True, handed=handed)
    said = advice(ended, False)
    assert "may be the only one that works: mend the cause and run the same playbook again" in said
    assert said.endswith("Do not abandon it: nothing refused it")
    refused = advice(replace(ended, refused=True), False)
    assert "the abandon playbook" in refused and "Do not abandon" not in refused
    assert ("-e keyturn_force=true, put the right one there" in refused) is handed
    assert ("wrong text" in refused) is handed


def test_what_was_asked_for_may_have_been_made() -> None:
    asked = Pending(made=False, ends=True)
    assert "Where the new value was made by now, the one in use may have ended" in advice(asked, False)  # fmt: skip
    assert "what was accepted before it may have ended" in advice(replace(asked, first=True), False)
    # Nobody was sent to make one yet, or it is known that there is nothing left to end.
    for other in (replace(asked, asked=False), replace(asked, ended=True), replace(asked, ends=False)):  # fmt: skip
        assert "may have ended" not in advice(other, False)


@pytest.mark.parametrize("ends", [True, False])
def test_of_a_first_value_nobody_says_that_another_is_in_use(ends: bool) -> None:
    said = advice(Pending(ends=ends, ended=ends, first=True, handed=True, refused=True), False)
    assert "no value is in use; what stood in the places before may be gone" in said
    assert said.endswith("or undo the new value with the abandon playbook, put the right one there, and rotate")  # fmt: skip
    unclear = advice(Pending(ends=ends, ended=ends, first=True, handed=True), False)
    assert unclear.endswith("Do not abandon it: nothing refused it") is ends
    for wrong in ("go on with the old one", "the keyring knows", "one in use ended"):
        assert wrong not in said


def test_after_a_return_a_value_that_stays_accepted_is_ended_first() -> None:
    assert returned(overlap=False) == "Mend the cause and run the same playbook again"
    assert returned(overlap=True) == (
        "Mend the cause, run the retire_due playbook, which ends the value that failed, and then run the same playbook again"
    )


def test_a_look_that_found_something_says_the_way_on() -> None:
    assert still_as_it_was("ProbeFailed", kept=True).endswith(
        "keyturn_force=true, or return to the value before with the rollback playbook"
    )
    assert "rollback" not in still_as_it_was("ProbeFailed", kept=False)
    assert "says nothing about the value" in still_as_it_was("Unreachable", kept=True)
