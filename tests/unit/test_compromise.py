# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What naming a value as compromised changes: the gates, the age, the outage, and what a second answer names."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._due import measure
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._gates import Facts, gates, refusals
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Receipt,
    Stage,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import parse_policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._preflight import NOTHING, todo
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._transitions import (
    TRANSITIONS,
    transition,
)

NOW = datetime(2026, 1, 31, 22, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
EVIDENCE = ({"type": "login", "against": "a", "at": "now", "detail": ""},)
CLOSED = [{"days": ["mon"], "start": "01:00", "end": "02:00"}]
STRICT = parse_policy(
    {"rotate": "age", "max_age": "180d", "min_age": "90d", "grace": "48h", "window": CLOSED}
)


def stage(name: str, status: str, made: datetime = NOW - HOUR, **marks: Any) -> Stage:
    fields = {"username": name, "password": Secret(f"value of {name}")}
    return Stage(name, status, fields, made=made, promoted=made, observed=made, **marks)


def document(**stages: Any) -> Document:
    return Document("db_app", bytes(32), **{"current": stage("b", "observed"), **stages})


def step(doc: Document, name: str, now: datetime = NOW, **asked: Any) -> Document:
    return transition(doc, Request(name, Run("one"), evidence=EVIDENCE, **asked), now)


def test_everything_that_may_work_is_named_once() -> None:
    before = document(previous=stage("a", "grace", retire_after=NOW + HOUR))
    named = step(before, "compromise")
    assert named.current and named.previous
    assert (named.current.compromised, named.previous.compromised) == (True, True)
    assert step(named, "compromise") is named


@pytest.mark.parametrize(("hours", "named"), [(-2, False), (-1, False), (-0.5, True)])
def test_what_was_made_later_is_not_named(hours: float, named: bool) -> None:
    found = step(document(), "compromise", before=NOW + hours * HOUR).current
    assert found and found.compromised is named


def test_a_value_of_unknown_age_may_have_been_exposed() -> None:
    adopted = replace(stage("b", "observed"), adopted=True, made=None)
    found = step(document(current=adopted), "compromise", before=NOW - 99 * HOUR).current
    assert found and found.compromised


def test_the_answer_itself_is_not_named() -> None:
    doc = document(previous=stage("a", "grace", compromised=True))
    found = step(doc, "compromise")
    assert found.current and not found.current.compromised


def test_the_answer_is_named_where_a_person_says_that_it_was_exposed_as_well() -> None:
    doc = document(previous=stage("a", "grace", compromised=True))
    assert step(doc, "compromise", before=NOW - 2 * HOUR).current == doc.current
    found = step(doc, "compromise", before=NOW)
    assert found.current and found.current.compromised


def test_what_is_pending_stops_it() -> None:
    doc = document(pending=stage("c", "proved"))
    with pytest.raises(Refused, match="abandon"):
        step(doc, "compromise")
    closed = refusals(
        gates("compromise", doc, STRICT, NOW, Facts(run_id="one", reason="stolen", emergency=True))
    )
    assert len(closed) == 1 and closed[0].startswith("stands: ")


def test_it_demands_a_reason_and_something_to_name() -> None:
    for doc, facts, name in (
        (document(), Facts(run_id="one", emergency=True), "reason"),
        (None, Facts(run_id="one", emergency=True, reason="stolen"), "stands"),
    ):
        closed = refusals(gates("compromise", doc, STRICT, NOW, facts))
        assert [sentence.partition(":")[0] for sentence in closed] == [name]


def test_nothing_holds_a_rotation_back_that_answers_it() -> None:
    named = step(document(), "compromise")
    facts = Facts(
        run_id="one",
        conditions=("somebody is live",),
        alert="an alert fires",
        unready=("a host is away",),
        probes=1,
    )
    assert {"window", "policy", "alert", "gates", "consumers"} == {
        sentence.partition(":")[0]
        for sentence in refusals(gates("rotate", document(), STRICT, NOW, facts))
    }
    found = gates("rotate", named, STRICT, NOW, facts)
    assert refusals(found) == [] and todo("rotate", named, facts, found) == ("rotate", "")
    status = measure(named, STRICT, NOW)
    assert (status.state, status.compromised, status.due) == ("overdue", True, True)
    assert "compromised" in status.describe()


def test_it_ends_without_grace_and_without_asking_who_uses_it() -> None:
    old = stage("a", "grace", retire_after=NOW + 48 * HOUR)
    facts = Facts(run_id="one", behind=("env",), lagging=("app",), sessions=("app pid 7",))
    waiting = document(previous=old)
    assert {"window", "grace", "behind", "receipts", "sessions"} == {
        sentence.partition(":")[0]
        for sentence in refusals(gates("retire", waiting, STRICT, NOW, facts))
    }
    named = document(previous=replace(old, compromised=True))
    found = gates("retire", named, STRICT, NOW, facts)
    assert refusals(found) == []
    assert "app pid 7" in next(gate.message for gate in found if gate.name == "sessions")
    ended = step(named, "retire").previous
    assert ended and ended.status == "retiring"


def test_a_value_is_taken_out_of_use_and_another_comes_in() -> None:
    with pytest.raises(Refused):
        step(document(), "revoke_first")
    out = step(step(document(), "compromise"), "revoke_first")
    assert out.current is None and out.previous
    assert (out.previous.status, out.previous.ended) == ("retiring", NOW)
    assert step(out, "revoke_first") is out
    facts = Facts(run_id="one", probes=1)
    for purpose, what in (
        ("retire", NOTHING),
        ("rotate", "rotate"),
        ("revoke_first", "revoke_first"),
    ):
        assert todo(purpose, out, facts, gates(purpose, out, STRICT, NOW, facts))[0] == what
    doc = step(out, "stage", fields={"password": Secret("new")}, rotation_id="c")
    for name in ("applied", "proved", "promote"):
        doc = step(doc, name, NOW + HOUR)
    assert doc.previous == out.previous, "the one that was taken out is forgotten"
    doc = replace(doc, receipts={"app": Receipt("digest", NOW + 1.5 * HOUR, "c")})
    doc = step(doc, "observed", NOW + 2 * HOUR)
    assert doc.current and doc.current.outage == 1.5 * HOUR.total_seconds()


def test_it_is_not_taken_out_where_making_another_ends_it() -> None:
    named = step(document(), "compromise")
    facts = Facts(run_id="one", overlap=False)
    what, why = todo("revoke_first", named, facts, gates("revoke_first", named, STRICT, NOW, facts))
    assert what == NOTHING and "rotation comes first" in why
    with pytest.raises(Refused):
        step(named, "revoke_first", overlap=False)


def test_it_is_not_taken_out_where_only_another_takes_it_out_of_the_list() -> None:
    definition = {"type": "generated", "overlap": True}
    issuer = open_issuer(definition, Context(), "keyturn_issuer")
    facts = Facts(run_id="one", probes=1, comes_first=issuer.comes_first)
    named = step(document(), "compromise")
    closed = refusals(gates("revoke_first", named, STRICT, NOW, facts))
    assert len(closed) == 1 and "choose rotate_first" in closed[0]


def test_an_older_value_is_ended_before() -> None:
    named = step(document(previous=stage("a", "grace")), "compromise")
    closed = refusals(gates("revoke_first", named, STRICT, NOW, Facts(run_id="one", probes=1)))
    assert len(closed) == 1 and "retire_due" in closed[0]


def test_it_is_never_returned_to() -> None:
    doc = document(previous=stage("a", "grace", compromised=True))
    assert "rollback" in TRANSITIONS
    with pytest.raises(Refused, match="may not be used again"):
        step(doc, "rollback")


def test_what_is_stored_is_not_lost_in_an_emergency() -> None:
    named = document(previous=stage("a", "grace", compromised=True))
    facts = Facts(run_id="one", probes=1, conditions=("7 rows need it",), stored=True)
    closed = refusals(gates("retire", named, STRICT, NOW, facts))
    assert closed == ["gates: 7 rows need it"]
    in_use = step(document(), "compromise")
    closed = refusals(gates("revoke_first", in_use, STRICT, NOW, facts))
    assert len(closed) == 1 and "rotate_first" in closed[0]
