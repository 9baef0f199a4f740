# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a value that a reset ended: kept in its keyring, and said by whoever is asked."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import (
    _issue,
    _keyring,
    _keyring_info,
    _keyring_step,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._due import measure, notices
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Waiting
from ansible_collections.keyturn.runbooks.plugins.module_utils._gates import Facts, gates
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    ABANDONED_KEPT,
    ABANDONED_KNOWN,
    Document,
    Stage,
    fingerprint,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import parse_policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._preflight import todo
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status import (
    brief,
    build_report,
    failing,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status_table import table

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
PROOF = [{"type": "stream", "against": "ingest", "at": "2026-03-01T12:00:00Z"}]


class Desk:
    """A credential whose values a person makes at a platform, by the module ``keyring``.

    :ivar handed: where the person puts a value.
    """

    def __init__(self, folder: Path, overlap: bool = False) -> None:
        self.path, self.handed = folder / "keyring.json", folder / "handed.key"
        self.now = NOW
        self.values: list[str] = []
        self.issuer = {
            "type": "operator",
            "overlap": overlap,
            "values": {"key": f"ref+file://{self.handed}"},
            "make": "dashboard.example, Keys: New",
            "end": "dashboard.example, Keys: Delete",
        }

    def common(self) -> dict[str, Any]:
        """What each module is told."""
        return {
            "keyring": f"ref+file://{self.path}",
            "credential": "tw",
            "issuer": self.issuer,
            "run_id": "run1",
        }

    def context(self, check: bool = False) -> Context:
        return Context(now=lambda: self.now, check_mode=check)

    def step(self, name: str, check: bool = False, **more: Any) -> dict[str, Any]:
        """One step; an hour goes by."""
        spec = {key: option.get("default") for key, option in _keyring_step.SPEC.items()}
        given = {**spec, **self.common(), "transition": name, "evidence": PROOF, **more}
        done = _keyring_step.run(given, self.context(check))
        self.now += timedelta(hours=1)
        return done

    def hand(self, text: str = "") -> str:
        """Put a value there; a new one unless it is given."""
        self.handed.touch(0o600)
        self.values.append(text or secrets.token_urlsafe(20))
        self.handed.write_text(f"{self.values[-1]}\n")
        return self.values[-1]

    def make(self) -> None:
        """Have the person make a value, and take it."""
        self.step("stage")
        self.hand()
        self.step("issued")

    def rotate(self) -> None:
        """A whole rotation."""
        self.make()
        for name in ("applied", "proved", "promote", "observed"):
            self.step(name, grace="0s")

    def abandon(self) -> None:
        """Undo the pending value."""
        self.step("abandon")
        self.step("abandoned")

    def look(self, **policy: Any) -> dict[str, Any]:
        """What ``keyring_info`` tells."""
        spec = {key: option.get("default") for key, option in _keyring_info.SPEC.items()}
        given = {"rotate": "age", "max_age": "90d", **policy}
        return _keyring_info.run({**spec, **self.common(), "policy": given}, self.context())

    def report(self, **policy: Any) -> dict[str, Any]:
        """The report of ``status`` about it alone."""
        return build_report({"tw": self.look(**policy)}, self.now)

    def revoke(self, stage: str, check: bool = False) -> list[str]:
        """Have the issuer end a value; returns what a person is told."""
        told: list[str] = []
        context = replace(self.context(check), warn=told.append)
        spec = {key: option.get("default") for key, option in _issue.SPEC.items()}
        given = {**spec, **self.common(), "operation": "revoke", "stage": stage}
        _issue.run(given, context)
        return [text for text in told if text.startswith("tw: ")]

    def document(self) -> Document:
        return parse_document(self.path.read_text())


@pytest.mark.parametrize("overlap", [True, False])
def test_only_a_reset_ends_the_value_in_use(tmp_path: Path, overlap: bool) -> None:
    desk = Desk(tmp_path, overlap)
    desk.rotate()
    desk.step("stage")
    current = desk.document().current
    assert current and current.ended is None
    at = desk.now
    desk.hand()
    shown = desk.step("issued")["keyring"]["stages"]["current"]["ended"]
    desk.abandon()
    current = desk.document().current
    assert current and current.ended == (None if overlap else at)
    assert shown == (None if overlap else at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    line = desk.document().ledger
    assert line and ("ended" in line.line["stages"]["current"]) is not overlap


LOGIN = {"base_url": "https://api.example", "token": "ref+file:///nowhere/token"}
RESET = {"login": LOGIN, "issue": {"path": "/reset", "body": {}, "key": "/key"}, "overlap": False}
ROLE = {
    "strategy": "same_role",
    "roles": ["app"],
    "login": {"host": "h", "dbname": "d", "admin": "ref+file:///a"},
}


@pytest.mark.parametrize(
    ("definition", "ends", "returns"),
    [
        ({"type": "generic_http", **RESET}, True, False),
        ({"type": "generic_http", **RESET, "apply": {"path": "/key"}, "returns": True}, True, True),
        ({"type": "generated", "overlap": False}, False, True),
        ({"type": "postgres_role", **ROLE}, False, True),
        ({"type": "rtmp_ingest"}, False, True),
    ],
)
def test_whose_making_of_another_value_ends_the_one_in_use(
    tmp_path: Path, definition: dict[str, Any], ends: bool, returns: bool
) -> None:
    """Not where the new one is told to the issuer in one go with everybody else."""
    desk = Desk(tmp_path)
    spec = {key: option.get("default") for key, option in _keyring_step.SPEC.items()}
    given = {**spec, **desk.common(), "transition": "applied", "issuer": definition}
    asked = _keyring_step.build_request(open_keyring(given, desk.context()), given)
    assert (asked.ends, asked.returns, asked.handed) == (ends, returns, False)


SAID = "the value in use ended at its issuer on 2026-03-01T19:00:00.000000Z: nobody can log in or go live with it"


def reset(folder: Path) -> Desk:
    """A platform whose key in use ended by a reset, the new one of which was abandoned."""
    desk = Desk(folder)
    desk.rotate()
    desk.make()
    desk.abandon()
    desk.step("release")
    return desk


def test_status_says_it_and_counts_it(tmp_path: Path) -> None:
    desk = reset(tmp_path)
    report = desk.report()
    entry = report["credentials"]["tw"]
    assert entry["state"] == "overdue" and entry["due"]["due"] is True
    assert entry["due"]["ended"] == "2026-03-01T19:00:00.000000Z"
    assert SAID in entry["due"]["text"]
    assert entry["attention"][0].startswith(SAID)
    assert "Run rotate_stream_keys" in entry["attention"][0]
    assert brief(report)["credentials"]["tw"]["attention"][0].startswith(SAID)
    for fail_on in ("overdue", "due"):
        assert SAID in failing(report, fail_on)["tw"]
    assert not failing(report, "unreadable")
    lines = table(report, 400)
    assert lines[1].split() == ["tw", "overdue:", "ended", "10h", "current", "observed", "ended"]
    assert lines[2].strip().startswith(f"! {SAID}")


def test_status_sends_nobody_to_what_is_closed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.rotate()
    desk.rotate()
    desk.make()
    desk.step("abandon")
    desk.step("release")
    said = desk.report()["credentials"]["tw"]["attention"]
    assert said[0].endswith("nobody can log in or go live with it")
    assert "gate leftover: " in said[1] and "run the abandon playbook to its end first" in said[1]
    assert "retire_due" not in " ".join(said)


def test_what_is_dead_comes_before_what_is_old(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("old", "dead")]
    for folder in folders:
        folder.mkdir()
    old = Desk(folders[0])
    old.rotate()
    old.now += timedelta(days=900)
    results = {"old": old.look(), "dead": reset(folders[1]).look()}
    assert list(build_report(results, old.now)["credentials"]) == ["dead", "old"]


def test_a_rotation_that_goes_on_says_it_and_how(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.rotate()
    desk.make()
    desk.step("release")
    first, then, *_more = desk.report()["credentials"]["tw"]["attention"]
    assert (first, then.startswith("begun and not at its end")) == (SAID, True)
    for name in ("applied", "proved", "promote", "observed", "release"):
        desk.step(name, grace="0s")
    entry = desk.report()["credentials"]["tw"]
    assert (entry["state"], entry["due"]["ended"]) == ("fresh", None)
    assert "previous ended" in table(desk.report(), 400)[1]


@pytest.mark.parametrize(
    "given",
    [
        {"rotate": "age", "max_age": "90d"},
        {"rotate": "on_provider_change"},
        {"rotate": "on_compromise"},
        {"rotate": "never"},
        {},
    ],
)
def test_it_is_rotated_without_being_forced(tmp_path: Path, given: dict[str, str]) -> None:
    desk, policy = reset(tmp_path), parse_policy(given)
    document, facts = desk.document(), Facts(credential="tw", overlap=False, returns=False)
    found = gates("rotate", document, policy, desk.now, facts)
    said = {gate.name: gate for gate in found}
    assert said["policy"].passed and SAID in said["policy"].message
    assert todo("rotate", document, facts, found) == ("rotate", "")
    assert measure(document, policy, desk.now).state == "overdue"
    told = [item for item in notices(document, policy, desk.now) if item.event == "age_90"]
    assert [SAID in item.message for item in told] == [True]


def test_nothing_returns_to_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.rotate()
    desk.make()

    def target(**facts: bool) -> str:
        found = gates("rollback", desk.document(), parse_policy({}), desk.now, Facts(**facts))  # type: ignore[arg-type]
        gate = next(gate for gate in found if gate.name == "target")
        return "" if gate.passed else gate.message

    now = {"overlap": False, "returns": False}
    assert "the issuer ended the value in use when it made the pending one" in target(**now)
    for name in ("applied", "proved", "promote", "observed"):
        desk.step(name, grace="0s")
    assert "ended by the issuer when it made this one, on 2026-03-01T19:00" in target(**now)
    assert not target(overlap=False, returns=True)
    # Where the definition says by now that both are accepted, the mark may be wrong, and the return's own proof tells.
    assert not target(overlap=True, returns=True)
    desk.issuer["overlap"] = True
    desk.step("rollback")
    current = desk.document().current
    assert current and current.ended is None


def test_a_value_that_is_only_intended_ends_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.rotate()
    desk.step("stage")
    facts = Facts(overlap=False, returns=False)
    found = gates("rollback", desk.document(), parse_policy({}), desk.now, facts)
    told = next(gate.message for gate in found if gate.name == "target")
    assert told in {gate["message"] for gate in desk.look()["gates"]["rollback"]}
    # Nobody knows whether the person has done it by now.
    assert (
        "which may be done by now: nothing can be returned to; run the rotation playbook again"
        in told
    )
    found = gates("rollback", desk.document(), parse_policy({}), desk.now, Facts())
    told = next(gate.message for gate in found if gate.name == "target")
    assert "run the abandon playbook instead" in told
    kept = Stage("r1", "grace", {}, ended=NOW)
    assert kept.is_gone(False, False)
    assert not (kept.is_gone(False, True) or kept.is_gone(True, True))


def test_a_proof_of_the_value_in_use_takes_away_a_mark_that_was_wrong(tmp_path: Path) -> None:
    desk = reset(tmp_path)
    live = [{**PROOF[0], "detail": "live, not tried: its issuer told of application live"}]
    for evidence in ([], live, [*PROOF, *live]):
        desk.step("observed", evidence=evidence)
        current = desk.document().current
        assert current and current.ended
    before = current
    assert desk.step("observed", check=True)["changed"]
    assert desk.step("observed")["changed"]
    current = desk.document().current
    assert current == replace(before, ended=None, evidence=(*before.evidence, *PROOF))
    assert desk.report()["credentials"]["tw"]["state"] == "fresh"
    assert not desk.step("observed")["changed"]


@pytest.mark.parametrize("overlap", [True, False])
def test_a_text_that_was_abandoned_is_not_taken_again(tmp_path: Path, overlap: bool) -> None:
    desk = Desk(tmp_path, overlap)
    desk.rotate()
    desk.make()
    wrong, at = desk.values[-1], desk.now + timedelta(hours=1)
    desk.abandon()
    desk.step("stage")
    for check in (True, False):
        with pytest.raises(Waiting) as waiting:
            desk.step("issued", check=check)
        told = waiting.value.message
        assert f"ref+file://{desk.handed} holds the value that was tried and abandoned" in told
        assert f"abandoned on {at.strftime('%Y-%m-%dT%H:%M')}" in told
        assert ("the one in use has ended" in told) is not overlap
        assert wrong not in told
    assert wrong not in desk.path.read_text()
    assert parse_document(desk.path.read_text()).abandoned == desk.document().abandoned
    right = desk.hand()
    desk.step("issued")
    pending = desk.document().pending
    assert pending and pending.fields == {"key": Secret(right)}


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make what is slow on purpose quick; holds a word for each time that it was done."""
    done, real = [], hashlib.scrypt

    def counted(text: bytes, **given: Any) -> bytes:
        done.append(f"n={given['n']} r={given['r']} p={given['p']}")
        return real(text, **{**given, "n": 2})

    monkeypatch.setattr(hashlib, "scrypt", counted)
    return done


def known(desk: Desk) -> list[bool]:
    """Of each value that was handed over, whether it is known as one that was abandoned."""
    document = desk.document()
    return [bool(document.was_abandoned("key", Secret(it), desk.now)) for it in desk.values]


def test_what_is_kept_of_an_abandoned_text_is_slow_to_guess(tmp_path: Path) -> None:
    """Its salt stands beside it, and the text may be a password that somebody chose."""
    desk = Desk(tmp_path)
    desk.make()
    pending = desk.document().pending
    assert pending
    quick = fingerprint(desk.document().salt, "key", Secret(desk.values[0]))
    assert quick in desk.path.read_text()
    desk.abandon()
    document, text = desk.document(), desk.path.read_text()
    assert quick not in text and quick.split(":")[1] not in text
    slow = hashlib.scrypt(
        b"key\0" + desk.values[0].encode(),
        salt=document.salt,
        n=2**15,
        r=8,
        p=1,
        maxmem=2**26,
        dklen=16,
    )
    at = format_time(desk.now - timedelta(hours=1))
    entry = {"rotation_id": pending.rotation_id, "at": at, "scrypt": {"key": slow.hex()}}
    assert json.loads(text)["abandoned"] == [entry]


def test_only_the_last_ones_are_known(tmp_path: Path, cheap: list[str]) -> None:
    desk = Desk(tmp_path)
    for _number in range(ABANDONED_KEPT + 1):
        desk.make()
        desk.abandon()
    desk.step("stage")
    desk.abandon()
    assert known(desk) == [False, *[True] * ABANDONED_KEPT]
    assert not desk.document().was_abandoned("other", Secret(desk.values[-1]), desk.now)
    assert not desk.document().was_abandoned("key", Secret.new(), desk.now)


def test_what_is_slow_is_done_only_where_it_tells_something(
    tmp_path: Path, cheap: list[str]
) -> None:
    desk = Desk(tmp_path)
    desk.rotate()
    desk.make()
    desk.step("abandon")
    desk.look()
    assert cheap == []
    desk.step("abandoned")
    desk.step("abandoned")
    assert cheap == ["n=32768 r=8 p=1"]
    desk.step("stage")
    desk.look()
    desk.step("release")
    assert len(cheap) == 1
    desk.hand()
    desk.step("issued")
    assert len(cheap) == 2
    # One comparison for all that are kept.
    desk.abandon()
    desk.make()
    assert len(cheap) == 4


def test_the_next_value_that_is_observed_ends_the_memory(tmp_path: Path, cheap: list[str]) -> None:
    desk = Desk(tmp_path)
    desk.make()
    desk.abandon()
    desk.make()
    for name in ("applied", "proved", "promote"):
        desk.step(name)
    assert known(desk) == [True, False]
    desk.step("observed", grace="0s")
    assert desk.document().abandoned == ()
    assert '"abandoned":' not in desk.path.read_text()


def test_returning_to_a_value_is_no_later_rotation(tmp_path: Path, cheap: list[str]) -> None:
    desk = Desk(tmp_path)
    desk.rotate()
    desk.rotate()
    current = desk.document().current
    assert current
    desk.make()
    desk.abandon()
    # By an issuer that makes a value accepted again, as the definition may say by now.
    document = replace(desk.document(), previous=replace(desk.document().previous, ended=None))  # type: ignore[type-var]
    desk.path.write_text(_keyring.dump_text(document))
    desk.step("rollback", grace="0s")
    desk.step("observed", grace="0s")
    assert known(desk) == [False, False, True]


def test_ninety_days_end_the_memory(tmp_path: Path, cheap: list[str]) -> None:
    desk = Desk(tmp_path)
    desk.rotate()
    desk.make()
    desk.abandon()
    at, held = desk.document().abandoned[0].at, desk.path.read_text()
    desk.now = at + ABANDONED_KNOWN - timedelta(hours=1, seconds=1)
    desk.step("release")
    desk.now -= timedelta(seconds=1)
    assert known(desk) == [False, True]
    asked = len(cheap)
    desk.now = at + timedelta(days=90)
    assert known(desk) == [False, False] and len(cheap) == asked
    # Whichever step is the next, be it one that finds nothing to do but to claim, takes them out of the document.
    kept = desk.path.read_text()
    for name in ("claim", "release", "note", "stage"):
        desk.path.write_text(held if name == "release" else kept)
        desk.step(name)
        assert '"abandoned":' not in desk.path.read_text(), name
    desk.path.write_text(kept)
    desk.now = at + timedelta(days=90)
    desk.step("abandoned")
    head = desk.document().ledger
    assert head and head.line["phase"] == "claim"


@pytest.mark.parametrize("why", ["missing", "refused", "memory"])
def test_where_nothing_slow_can_be_had_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cheap: list[str], why: str
) -> None:
    """Python may be built without it, and a machine may forbid it."""
    desk = Desk(tmp_path)
    desk.make()
    desk.abandon()
    assert known(desk) == [True]

    def refuse(*given: Any, **more: Any) -> bytes:
        raise MemoryError if why == "memory" else ValueError("unsupported")

    if why == "missing":
        monkeypatch.delattr(hashlib, "scrypt")
    else:
        monkeypatch.setattr(hashlib, "scrypt", refuse)
    assert known(desk) == [False]
    desk.make()
    desk.abandon()
    assert len(desk.document().abandoned) == 1


def test_what_is_of_another_form_is_dropped(tmp_path: Path, cheap: list[str]) -> None:
    desk = Desk(tmp_path)
    desk.make()
    desk.abandon()
    body = json.loads(desk.path.read_text())
    (entry,) = body["abandoned"]
    quick = {"key": fingerprint(desk.document().salt, "key", Secret(desk.values[0]))}
    older = {"rotation_id": entry["rotation_id"], "at": entry["at"], "fingerprints": quick}
    body["abandoned"] = [older, {**entry, "fingerprints": quick}, {}]
    desk.path.write_text(json.dumps(body))
    assert desk.document().abandoned == ()
    desk.step("stage")
    desk.step("issued")
    text = desk.path.read_text()
    assert '"abandoned":' not in text and json.loads(text)["schema"] == 1


def test_a_value_that_nobody_handed_over_is_forgotten(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.issuer = {"type": "generated", "overlap": True}
    desk.step("stage", generate={"value": {"type": "hex"}})
    desk.abandon()
    assert desk.document().abandoned == ()


def test_status_says_whom_a_rotation_waits_for_and_since_when(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.rotate()
    desk.step("release")
    assert desk.look()["waiting"] is None
    since = desk.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    desk.step("stage")
    wait = desk.report()["credentials"]["tw"]["waiting"]
    assert wait["since"] == since
    # It asks no gate, and somebody may be live: so it sends nobody to a reset.
    assert wait["what"].startswith(
        f"A new value has to be made and put there: ref+file://{desk.handed}"
    )
    assert wait["what"].endswith("which asks every gate and says where to make it")
    assert "dashboard" not in wait["what"]
    desk.step("release")
    report = build_report({"tw": {**desk.look(), "owner": "broadcast"}}, desk.now)
    (said,) = report["credentials"]["tw"]["attention"]
    assert said == f"waits for a person (broadcast) since {since}. {wait['what']}"
    told = f"left in the middle of a rotation: waits for a person (broadcast) since {since}; "
    assert told in failing(report, "overdue")["tw"]
    desk.hand()
    desk.step("issued")
    desk.step("release")
    assert desk.look()["waiting"] is None
    desk.abandon()
    desk.step("stage")
    # Also not where it seems to have ended: a wrong text tells the keyring that as well.
    assert desk.look()["waiting"]["what"] == wait["what"]
    desk.issuer = {"type": "operator"}
    assert desk.look()["waiting"] is None


@pytest.mark.parametrize("returned", [False, True])
def test_of_two_values_a_person_is_told_which_one_to_end(tmp_path: Path, returned: bool) -> None:
    desk = Desk(tmp_path, overlap=True)
    desk.rotate()
    desk.rotate()
    if returned:
        desk.step("rollback")
        desk.step("observed", grace="0s")
    ends = desk.document().previous
    assert ends
    desk.step("retire")
    first, second = "made on 2026-03-01 at 13:00Z", "made on 2026-03-01 at 19:00Z"
    one, other = ("newer", "older") if returned else ("older", "newer")
    ended, kept = (second, first) if returned else (first, second)
    told = (
        f"End the {one} of the two values, {ended} (rotation {ends.rotation_id}): dashboard.example, Keys: Delete. "
        f"The {other} one, {kept}, is in use and stays"
    )
    waiting = desk.look()["waiting"]
    assert waiting["what"] == f"{told}. Then run retire_due, which proves that it is refused"
    desk.step("release")
    (said,) = desk.report()["credentials"]["tw"]["attention"]
    assert said == f"waits for a person since {waiting['since']}. {waiting['what']}"
    assert ends.retire_after and waiting["since"] == format_time(ends.retire_after)
    assert desk.revoke("previous") == [f"tw: {told}"]
    assert desk.revoke("previous", check=True) == [
        f"tw: this is a dry run: end nothing for it. The run will say: {told}"
    ]


def test_an_adopted_value_of_unknown_age_is_the_older_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path, overlap=True)
    desk.step("adopt", value={"key": f"ref+file://{desk.handed}"} if desk.hand() else {})
    desk.rotate()
    desk.step("retire")
    told = desk.look()["waiting"]["what"]
    assert told.startswith("End the older of the two values, made before it was adopted (rotation")
    desk = Desk(tmp_path, overlap=True)
    desk.path = tmp_path / "first.json"
    desk.make()
    desk.step("abandon")
    (said,) = desk.revoke("pending")
    assert said.startswith("tw: Where a value was made for rotation ") and "stays" not in said


def closed_to_abandon(desk: Desk, **facts: object) -> str:
    """Why the pending value may not be undone."""
    known = {"overlap": False, "returns": False, "handed": True, **facts}
    found = gates("abandon", desk.document(), parse_policy({}), desk.now, Facts(**known))  # type: ignore[arg-type]
    gate = next(gate for gate in found if gate.name == "only_value")
    return "" if gate.passed else gate.message


def test_the_only_value_that_may_work_is_not_undone_by_the_way(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.make()
    assert not closed_to_abandon(desk)
    for name in ("applied", "proved", "promote", "observed"):
        desk.step(name, grace="0s")
    desk.step("stage")
    assert not closed_to_abandon(desk)
    desk.hand()
    desk.step("issued")
    for name in ("applied", "proved"):
        told = closed_to_abandon(desk)
        assert (
            "the pending one is the only one that may work. Mend what failed, and run the rotation"
            in told
        )
        assert told.endswith("run abandon again with -e keyturn_force=true")
        desk.step(name)
    # What was made for another definition is not tried again.
    assert "Put the definition back as it was" in closed_to_abandon(desk, definition="another")
    assert not closed_to_abandon(desk, force=True)
    assert not closed_to_abandon(desk, handed=False)
    desk.step("abandon")
    assert not closed_to_abandon(desk)


@pytest.mark.parametrize("overlap", [True, False])
def test_a_text_that_was_abandoned_is_taken_again_where_the_user_says_so(
    tmp_path: Path, overlap: bool
) -> None:
    desk = Desk(tmp_path, overlap)
    desk.rotate()
    desk.make()
    right = desk.values[-1]
    desk.abandon()
    desk.step("stage")
    with pytest.raises(Waiting) as waiting:
        desk.step("issued")
    told = waiting.value.message
    assert told.endswith("right after all, run it with -e keyturn_force=true, which takes it")
    assert "take the one that was made then" not in told
    assert ("or take another one that was made then" in told) is not overlap
    desk.step("issued", check=True, force=True)
    desk.step("issued", force=True)
    pending = desk.document().pending
    assert pending and pending.fields == {"key": Secret(right)}


def test_who_undoes_an_intention_hears_that_a_reset_may_have_been_done(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.rotate()
    desk.step("stage")
    desk.step("abandon")
    for check in (True, False):
        (told,) = desk.revoke("pending", check)
        assert "whether a person made a value for rotation " in told
        assert (
            "Where one was made, the one in use has ended, and the keyring does not know that. Run verify_stream_keys"
            in told
        )
    desk.step("abandoned")
    desk.make()
    desk.abandon()
    desk.step("stage")
    desk.step("abandon")
    assert desk.revoke("pending") == []


def test_a_mistyped_text_sends_nobody_to_end_the_right_value(tmp_path: Path) -> None:
    desk = Desk(tmp_path, overlap=True)
    desk.rotate()
    desk.make()
    pending = desk.document().pending
    assert pending
    desk.step("abandon")
    (told,) = desk.revoke("pending")
    assert told.startswith(
        f"tw: Where a value was made for rotation {pending.rotation_id}, and it is not the one that you hand over next, end it: "
        "dashboard.example, Keys: Delete. The one in use, made on 2026-03-01 at "
    )
    assert desk.revoke("pending", check=True)[0].startswith("tw: this is a dry run: end nothing")
