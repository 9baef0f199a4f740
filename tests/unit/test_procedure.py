# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a procedure may go on, which is only where an earlier call of the same run stopped; and what follows a failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _procedure_account
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    ProbeFailed,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedure import MODULE, Ended

STOPPED: dict[str, Any] = {
    "purpose": "retire",
    "run_id": "this",
    "after": "check",
    "checked": {"todo": "retire", "overlap": True},
}


def go(
    failure: str = "",
    warn: Callable[[str], None] = lambda _line: None,
    check_mode: bool = False,
    **options: Any,
) -> Any:
    """Call the core as a task would."""
    defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
    given = {"purpose": "retire", "keyring": "ref+file:///nowhere/k.json", "credential": "db"}
    run = {"run": {"run_id": "this"}}
    seen: dict[str, list[str]] = {
        name: [] for name in ("unreadable", "behind", "unready", "unknown", "closed")
    }
    found = {**seen, "failure": failure, "kind": "Host"}
    params = {**defaults, **given, **run, "found": found, **options}
    return MODULE.run(params, Context(check_mode=check_mode, environ={}, warn=warn))


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


class Scripted:
    """Modules that answer as they are told to, and what they were asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.warnings: list[str] = []

    def execute(self, core: Any, params: dict[str, Any], _context: Context) -> dict[str, Any]:
        """What the module of that name returns, or its transition, or the event that it tells."""
        name = params.get("event") or params.get("transition") or core.name
        self.asked.append(name if params["keyring"] else f"{name} without keyring")
        found = self.answers.get(name, {})
        if isinstance(found, Exception):
            raise found
        return {"changed": False, **found}

    def failed(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Ended:
        """Run it to its failure."""
        monkeypatch.setattr(_procedure_account, "execute", self.execute)
        contacts = {"policy": {"contacts": [{"type": "command"}]}}
        with pytest.raises(Ended) as caught:
            go(warn=self.warnings.append, **{"purpose": "rotate", **contacts, **options})
        return caught.value


PLACE = "keyturn_keyring: Vault path secret/db at http://127.0.0.1:8200"
GONE = Unreachable(f"{PLACE}: no connection", place="keyring")
CHECKED = {
    "todo": "rotate",
    "overlap": True,
    "cutover": False,
    "returns": True,
    "handed": False,
    "watched": False,
    "others": False,
    "can_return": True,
    "notices": [],
    "status": {"under_way": False},
    "msg": "",
    "reason": "",
    "interruption": "",
    "elsewhere": {},
}
NOTICE = {"event": "window_opens", "mark": "m", "message": "soon"}
CLAIMED = {
    "keyring": {
        "stages": {"pending": {"rotation_id": "r1", "evidence": [{"type": "postgres"}]}},
        "retained_stages": [{"rotation_id": "r0", "evidence": [{"type": "postgres"}]}],
        "claim": {"run_id": "this", "expires": "2026-01-09T12:30:00Z"},
    }
}


def refused(sentence: str, *gates: str) -> Refused:
    """A check that found something closed; no gate is told of a keyring that it could not open."""
    about = {"gates": [{"name": name} for name in gates], "refusals": [sentence], "status": {}}
    return Refused(
        f"db: 1 gate is closed. (1) {sentence}", **about, notices=[NOTICE], todo="rotate"
    )


def test_a_keyring_that_cannot_be_opened_is_tried_once_and_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Scripted(preflight=refused(f"keyring: {GONE.message}"))
    ended = script.failed(monkeypatch)
    assert script.asked == ["preflight", "failure without keyring"]
    assert script.warnings == []
    assert ended.message == f"db: 1 gate is closed. (1) keyring: {GONE.message}"
    assert set(ended.details) == {"kind", "steps", "say", "elsewhere", "changed"}


def test_a_closed_gate_is_noted_and_notices_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"changed": True}
    script = Scripted(preflight=refused("window: closed", "claim"), window_opens=told)
    script.failed(monkeypatch)
    assert script.asked == ["preflight", "note", "failure", "window_opens", "note", "release"]


def test_where_the_ledger_refuses_it_is_tried_to_note_and_no_notice_is_told_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = "keyturn_ledger: Vault denies this token to write"
    script = Scripted(preflight=refused(f"ledger: {ledger}", "claim"), note=Denied(ledger))
    script.failed(monkeypatch)
    assert script.asked == ["preflight", "note", "failure"]
    assert script.warnings == [
        "db: Write it down in the keyring and the ledger: not done, for the same reason"
    ]


def test_a_run_that_held_the_claim_and_lost_the_keyring_tries_to_release_it_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Scripted(preflight=CHECKED, stage=CLAIMED, applied=GONE, release=GONE)
    ended = script.failed(monkeypatch)
    asked = ["preflight", "stage", "applied", "failure without keyring", "release"]
    assert script.asked == asked
    assert GONE.message in ended.message
    (warning,) = script.warnings
    assert warning.startswith(
        "db: Let other runs in again: not done, for the same reason. The claim"
    )
    assert "ends by itself at 2026-01-09T12:30:00Z" in warning
    assert "keyturn_take_over=true" in warning


def test_a_keyring_that_is_back_gets_the_note_after_the_release(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Scripted(preflight=CHECKED, stage=CLAIMED, applied=GONE)
    script.failed(monkeypatch)
    assert script.asked[3:] == ["failure without keyring", "release", "note"]
    assert script.warnings == []


@pytest.mark.parametrize(
    "error",
    [Unreachable("sink 'app': no connection"), Denied(f"{PLACE}: denied", place="keyring")],
    ids=str,
)
def test_a_failure_of_something_else_is_noted_first(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    script = Scripted(preflight=CHECKED, stage=CLAIMED, applied=error)
    ended = script.failed(monkeypatch)
    assert script.asked[3:] == ["note", "failure", "release"]
    # Of the keyring's state, which is printed, what a person needs.
    shown = ended.details["keyring"]
    assert shown["stages"] == {"pending": {"rotation_id": "r1"}}
    assert shown["retained_stages"] == [{"rotation_id": "r0"}]
    assert shown["claim"] == CLAIMED["keyring"]["claim"]


ENDED_AT = "2026-01-09T12:00:00.000000Z"
VERIFIED = {**CHECKED, "todo": "verify", "status": {"under_way": False, "ended": ENDED_AT}}


def test_a_value_that_ended_and_is_accepted_all_the_same_is_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The platform may take minutes to forget it: the keyring is believed, and a person is told both."""
    script = Scripted(preflight=VERIFIED, probe={"evidence": []})
    monkeypatch.setattr(_procedure_account, "execute", script.execute)
    (said,) = go(purpose="verify")["say"]
    assert f"By the keyring the value in use ended at its issuer on {ENDED_AT}" in said
    assert "Yet nothing refused it" in said
    other = Scripted(preflight={**VERIFIED, "status": {"under_way": False, "ended": None}})
    monkeypatch.setattr(_procedure_account, "execute", other.execute)
    assert go(purpose="verify")["say"] == []


def test_a_closed_gate_of_a_verification_does_not_hide_that_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = refused("behind: these sinks are behind", "claim")
    closed.details["status"] = VERIFIED["status"]
    ended = Scripted(preflight=closed).failed(monkeypatch, purpose="verify")
    assert ended.message.endswith(
        f"By the keyring the value in use ended at its issuer on {ENDED_AT}: nobody can log in or go live with it"
    )


def test_nobody_is_told_to_force_what_is_known_to_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Scripted(preflight=VERIFIED, probe=ProbeFailed("the ingest refused the stream"))
    message = script.failed(monkeypatch, purpose="verify").message
    assert "run rotate_stream_keys or rotate, which need not be forced" in message
    assert "keyturn_force" not in message
    away = Scripted(preflight=VERIFIED, probe=Unreachable("no answer"))
    unclear = away.failed(monkeypatch, purpose="verify").message
    assert "says nothing about the value" in unclear and "need not be forced" not in unclear


def test_an_end_that_fails_because_the_value_in_use_is_dead_says_that_it_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {**VERIFIED, "todo": "retire", "watched": True}
    script = Scripted(preflight=found, probe=ProbeFailed("the ingest refused the stream"))
    message = script.failed(monkeypatch, purpose="retire").message
    assert f"ended at its issuer on {ENDED_AT}" in message
    assert "run rotate_stream_keys or rotate, which need not be forced" in message


@pytest.mark.parametrize("overlap", [True, False])
def test_what_a_reset_should_have_ended_is_waited_for_or_rotated_over(
    monkeypatch: pytest.MonkeyPatch, overlap: bool
) -> None:
    found = {**CHECKED, "todo": "retire", "overlap": overlap, "returns": overlap}
    written = {"changed": True}
    script = Scripted(
        preflight=found,
        keyring=written,
        deliver=written,
        issuer=written,
        probe=ProbeFailed("it is still accepted"),
    )
    message = script.failed(monkeypatch, purpose="retire").message
    assert ("mend the cause" in message) is overlap
    assert ("Where nobody reset it, nothing ends it but making another" in message) is not overlap
    script.answers["probe"] = Unreachable("no answer")
    assert "mend the cause" in script.failed(monkeypatch, purpose="retire").message


IN_USE = {
    "keyring": {
        "stages": {
            "current": {"rotation_id": "r2", "outage_seconds": None},
            "previous": {
                "rotation_id": "r1",
                "failed": False,
                "retire_after": "2026-01-02T00:00:00Z",
            },
        },
        "retained_stages": [],
    }
}


@pytest.mark.parametrize(
    ("overlap", "said"), [(True, "accepted until the retire_due playbook"), (False, "not accepted")]
)
def test_a_rotation_ends_with_what_is_in_use_and_what_becomes_of_the_one_before(
    overlap: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Scripted(preflight={**CHECKED, "overlap": overlap}, observed=IN_USE)
    monkeypatch.setattr(_procedure_account, "execute", script.execute)
    (told,) = go(purpose="rotate")["say"]
    assert told.startswith("db: Rotation r2 is in use; the previous value is ") and said in told
    # What a dry run foresees is not in use.
    assert go(purpose="rotate", check_mode=True)["say"] == []
