# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a rotation: what is allowed when. What every interleaving keeps true is in ``test_two_writers``."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._transitions import transition

T0 = datetime(2026, 1, 31, 22, 0, tzinfo=timezone.utc)
SALT = bytes(range(32))
PROOF = ({"type": "postgres", "against": "db:6432", "at": "2026-01-31T22:00:00Z"},)


def request(name: str, run: str = "run1", **more: object) -> Request:
    given = {"credential": "db_app", "salt": SALT, "rotation_id": "r1", "definition": "d1", **more}
    return Request(transition=name, run=Run(run, host="ctl", pid=1), **given)  # type: ignore[arg-type]


def fields(user: str) -> dict[str, object]:
    return {"username": user, "password": Secret(secrets.token_urlsafe(20))}


def walk(
    document: Document | None,
    *names: str,
    rotation: str = "r1",
    user: str = "app_a",
    now: datetime = T0,
) -> Document:
    for name in names:
        asked = request(name, rotation_id=rotation, fields=fields(user), evidence=PROOF)
        document = transition(document, asked, now)
    assert document is not None
    return document


FULL = ("stage", "applied", "proved", "promote", "observed")


def two_rotations() -> Document:
    first = walk(None, *FULL)
    return walk(first, *FULL, rotation="r2", user="app_b")


def test_a_first_rotation_ends_observed_and_keeps_nothing_before_it() -> None:
    document = walk(None, *FULL)
    assert document.current and document.current.status == "observed"
    assert document.pending is None and document.previous is None


def test_a_second_rotation_keeps_the_first_in_its_grace() -> None:
    document = two_rotations()
    assert document.current and document.current.text("username") == "app_b"
    assert document.previous and document.previous.text("username") == "app_a"
    assert document.previous.retire_after == T0 + timedelta(hours=48)


@pytest.mark.parametrize("name", FULL)
def test_each_step_may_be_asked_for_twice(name: str) -> None:
    document: Document | None = None
    for step in FULL:
        document = walk(document, step)
        if step == name:
            again = transition(document, request(step, fields=fields("other"), evidence=PROOF), T0)
            assert again is document


@pytest.mark.parametrize(
    ("done", "asked", "words"),
    [
        ((), "applied", "there is no keyring yet"),
        ((), "promote", "there is no keyring yet"),
        (("stage",), "promote", "Only a proved value is promoted"),
        (("stage",), "proved", "Only an applied value can be proved"),
        (("stage", "applied"), "promote", "Only a proved value is promoted"),
        (("stage", "applied"), "observed", "promote comes first"),
        (("stage",), "rollback", "run the abandon playbook"),
        (FULL, "rollback", "Nothing is kept to return to"),
        (FULL, "retire", "nothing to retire"),
        (FULL, "abandon", "Nothing is pending"),
        (FULL, "abandoned", None),
        (FULL, "adopt", "already manages a value"),
        (FULL[:-1], "stage", "not observed yet"),
        (("stage",), "abandoned", "run the abandon playbook"),
    ],
)
def test_a_step_out_of_order_is_refused_with_what_to_run(
    done: tuple[str, ...], asked: str, words: str | None
) -> None:
    document = walk(None, *done) if done else None
    ask = request(asked, rotation_id="r9", fields=fields("x"), evidence=PROOF)
    if words is None:
        assert transition(document, ask, T0) is document
        return
    with pytest.raises(Refused, match=words):
        transition(document, ask, T0)


def test_proof_is_demanded() -> None:
    document = walk(None, "stage", "applied")
    with pytest.raises(Refused, match="A proof is demanded"):
        transition(document, request("proved"), T0)


def test_a_leftover_of_another_definition_names_abandon() -> None:
    document = walk(None, "stage")
    with pytest.raises(Refused, match="run the abandon playbook"):
        transition(document, request("stage", definition="other", fields=fields("app_a")), T0)


def test_staging_is_refused_while_the_previous_one_is_kept() -> None:
    with pytest.raises(Refused, match="run the retire_due playbook first"):
        walk(two_rotations(), "stage", rotation="r3")


def test_without_overlap_a_new_one_may_supersede_the_previous() -> None:
    document = transition(
        two_rotations(),
        request("stage", rotation_id="r3", fields=fields("app_a"), overlap=False),
        T0,
    )
    assert document.pending is not None


def test_grace_is_waited_for() -> None:
    document = two_rotations()
    with pytest.raises(Refused, match="The grace period ends in 1h"):
        transition(document, request("retire"), T0 + timedelta(hours=47))
    marked = transition(document, request("retire"), T0 + timedelta(hours=48))
    assert marked.previous and marked.previous.status == "retiring" and not marked.previous.accepted
    with pytest.raises(Refused, match="A proof is demanded"):
        transition(marked, request("retired"), T0 + timedelta(hours=48))
    gone = transition(marked, request("retired", evidence=PROOF), T0 + timedelta(hours=48))
    assert gone.previous is None


def test_rollback_swaps_and_the_failed_one_has_no_grace() -> None:
    back = walk(two_rotations(), "rollback")
    assert (
        back.current
        and back.current.text("username") == "app_a"
        and back.current.status == "promoted"
    )
    assert back.previous and back.previous.failed
    assert walk(back, "rollback") is back
    seen = walk(back, "observed")
    with pytest.raises(Refused, match="may not be used again"):
        walk(seen, "rollback")
    assert seen.previous and seen.previous.retire_after == T0


def test_another_run_is_kept_out_until_it_is_dead_or_its_claim_ends() -> None:
    document = walk(None, "stage")
    ask = request("applied", run="run2")
    with pytest.raises(Refused, match="another run is working on it: run run1 on ctl"):
        transition(document, ask, T0)
    assert transition(document, replace(ask, holder_dead=True), T0).claim.run_id == "run2"  # type: ignore[union-attr]
    assert transition(document, replace(ask, take_over=True), T0).claim.run_id == "run2"  # type: ignore[union-attr]
    assert transition(document, ask, T0 + timedelta(minutes=31)).claim.run_id == "run2"  # type: ignore[union-attr]


def test_release_lets_go_only_of_its_own_claim() -> None:
    document = walk(None, "stage")
    other = request("release", run="run2")
    assert transition(document, other, T0) is document
    assert transition(document, replace(other, holder_dead=True), T0).claim is None
    assert transition(document, request("release"), T0).claim is None


def test_a_clock_that_went_back_is_refused() -> None:
    document = walk(None, "stage")
    told = r"61 s later \(at most 60 s are tolerated\): the clock went back; set it right"
    with pytest.raises(Refused, match=told):
        transition(document, request("applied"), T0 - timedelta(seconds=61))
    transition(document, request("applied"), T0 - timedelta(seconds=59))


def test_a_keyring_of_another_credential_is_refused() -> None:
    with pytest.raises(BadInput, match="belongs to 'db_app', not to 'db_other'"):
        transition(walk(None, "stage"), request("applied", credential="db_other"), T0)


def reset(document: Document | None, rotation: str, now: datetime = T0) -> Document:
    """A platform with one key makes another, which ends the one in use."""
    asked = request("stage", rotation_id=rotation, overlap=False)
    document = transition(document, asked, now)
    made = {"password": Secret(secrets.token_urlsafe(20))}
    return transition(
        document, request("issued", rotation_id=rotation, fields=made, ends=True), now
    )


class TestEnded:
    """What an issuer ended by making another one."""

    def test_a_first_value_ends_nothing(self) -> None:
        assert reset(None, "r1").current is None

    def test_it_is_kept_until_another_value_is_promoted(self) -> None:
        first = walk(None, *FULL)
        later = T0 + timedelta(days=1)
        made = reset(first, "r2", later)
        assert made.current and made.current.ended == later
        assert first.current == replace(made.current, ended=None)
        gone = walk(made, "abandon", "abandoned", now=later)
        assert gone.current and gone.current.ended == later
        again = reset(gone, "r3", later + timedelta(hours=1))
        assert again.current and again.current.ended == later
        used = walk(again, "applied", "proved", "promote", now=later + timedelta(hours=2))
        assert used.current and used.current.ended is None
        assert used.previous and used.previous.ended == later

    def test_one_beside_another_ends_nothing(self) -> None:
        intended = transition(walk(None, *FULL), request("stage", rotation_id="r2"), T0)
        later = T0 + timedelta(days=3)
        made = transition(intended, request("issued", rotation_id="r2", fields=fields("b")), later)
        assert made.current and made.current.ended is None
        # The days that it was waited for are not its age.
        assert made.pending and made.pending.made == later

    def test_only_an_issuer_that_is_told_its_value_brings_one_back(self) -> None:
        used = walk(reset(walk(None, *FULL), "r2"), "applied", "proved", "promote", "observed")
        never = request("rollback", rotation_id="r2", overlap=False, returns=False)
        with pytest.raises(Refused, match="ended at its issuer at 2026-01-31T22:00"):
            transition(used, never, T0)
        # Where two are accepted by now, the mark may be wrong: the proof of the return tells.
        for overlap in (False, True):
            asked = request("rollback", rotation_id="r2", overlap=overlap, returns=True)
            back = transition(used, asked, T0)
            assert back.current and (back.current.rotation_id, back.current.ended) == ("r1", None)
