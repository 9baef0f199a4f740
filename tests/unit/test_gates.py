# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every gate open and closed, and how old is too old."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._due import measure, notices
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._gates import (
    PURPOSES,
    REFRESH,
    Facts,
    due_status,
    gates,
    refusals,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Claim,
    Document,
    Stage,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import Policy, parse_policy

NOW = datetime(2026, 1, 9, 12, 0, tzinfo=timezone.utc)  # a Friday
DAY = timedelta(days=1)
POLICY = parse_policy({"rotate": "age", "max_age": "100d"})
NIGHTS = parse_policy(
    {
        "rotate": "age",
        "max_age": "100d",
        "window": [{"days": ["sat"], "start": "01:00", "end": "03:00"}],
    }
)
ME = Facts(credential="db", run_id="me", definition="d1", probes=1)


def stage(status: str, **changes: Any) -> Stage:
    return replace(Stage("r1", status, {"username": "app_a"}, "d1"), **changes)


def current(age: timedelta = 100 * DAY, status: str = "observed") -> Stage:
    return stage(status, made=NOW - age)


def keyring(**parts: Any) -> Document:
    return replace(Document("db", secrets.token_bytes(32), current=current()), **parts)


def closed(
    purpose: str, document: Document | None, policy: Policy = POLICY, facts: Facts = ME
) -> dict[str, str]:
    return {
        gate.name: gate.message
        for gate in gates(purpose, document, policy, NOW, facts)
        if not gate.passed
    }


@pytest.mark.parametrize("document", [None, keyring(current=None), keyring()])
def test_nothing_stops_what_is_due(document: Document | None) -> None:
    assert closed("rotate", document) == {}


def test_bringing_sinks_to_what_is_in_use_waits_for_no_policy() -> None:
    kept = keyring(current=current(DAY), previous=stage("grace"))
    assert set(closed("rotate", kept)) == {"policy", "previous"}
    assert closed(REFRESH, kept) == {}
    assert set(closed(REFRESH, kept, facts=replace(ME, unreadable=("gone",)))) == {"sinks"}


def test_an_unknown_purpose_is_refused() -> None:
    with pytest.raises(
        BadInput, match="rotate, look, promote, retire, rollback, verify, adopt, abandon"
    ):
        gates("polish", None, POLICY, NOW, ME)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_living_run_stops_every_purpose(purpose: str) -> None:
    claim = Claim(
        "other", "ctl2", 4711, "b", "1", NOW - timedelta(minutes=3), NOW + timedelta(minutes=27)
    )
    held = keyring(claim=claim)
    message = closed(purpose, held)["claim"]
    assert all(
        part in message
        for part in (
            "other",
            "ctl2",
            "4711",
            "3m ago",
            "keyturn_take_over=true",
            "2026-01-09T12:27",
        )
    )
    assert "claim" not in closed(purpose, held, facts=replace(ME, run_id="other"))
    assert "claim" not in closed(purpose, held, facts=replace(ME, holder_dead=True))
    assert "claim" not in closed(purpose, held, facts=replace(ME, take_over=True))
    assert "claim" not in closed(purpose, keyring(claim=replace(claim, expires=NOW)))


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_clock_that_is_wrong_stops_every_purpose(purpose: str) -> None:
    minute = timedelta(seconds=60)
    moment = timedelta(seconds=1)
    assert "clock" not in closed(purpose, keyring(updated=NOW + minute))
    assert "went back" in closed(purpose, keyring(updated=NOW + minute + moment))["clock"]
    for sign in (1, -1):
        assert "clock" not in closed(
            purpose, keyring(), facts=replace(ME, store_time=NOW + sign * minute)
        )
        assert (
            "apart"
            in closed(
                purpose, keyring(), facts=replace(ME, store_time=NOW + sign * (minute + moment))
            )["clock"]
        )


def test_the_window() -> None:
    message = closed("rotate", keyring(), NIGHTS)["window"]
    assert "opens at 2026-01-10T01:00" in message
    assert "in 13h" in message
    assert "keyturn_outside_window=true" in message
    assert "window" in closed("retire", keyring(), NIGHTS)
    assert "window" not in closed("rollback", keyring(), NIGHTS)
    assert "window" not in closed("rotate", keyring(), NIGHTS, replace(ME, outside_window=True))
    assert "window" not in closed(
        "rotate", keyring(), NIGHTS, replace(ME, emergency=True, reason="leak")
    )
    assert "window" not in closed("rotate", keyring(current=current(DAY, "promoted")), NIGHTS)
    assert "window" in closed("rotate", keyring(pending=stage("applied")), NIGHTS)


def test_too_young_to_rotate() -> None:
    young = keyring(current=current(80 * DAY))
    message = closed("rotate", young)["policy"]
    assert "80d old of at most 100d" in message
    assert "may be rotated in 10d" in message
    assert "keyturn_force=true" in message
    assert "policy" not in closed("rotate", keyring(current=current(90 * DAY)))
    assert "policy" not in closed("rotate", young, facts=replace(ME, force=True))
    assert "policy" not in closed("rotate", young, replace(POLICY, min_age=80 * DAY))
    assert "policy" not in closed("rotate", replace(young, pending=stage("issued")))
    assert "policy" not in closed("rotate", keyring(current=current(timedelta(0), "promoted")))
    assert "policy" not in closed("rotate", young, facts=replace(ME, emergency=True, reason="leak"))


def test_a_value_of_unknown_age_may_be_rotated() -> None:
    adopted = keyring(current=replace(current(), made=None, adopted=True))
    assert closed("rotate", adopted) == {}
    assert due_status(adopted, POLICY, NOW)["state"] == "never_rotated"
    returned = keyring(current=replace(current(), made=None, promoted=NOW, adopted=True))
    assert due_status(returned, POLICY, NOW)["state"] == "never_rotated"


@pytest.mark.parametrize(
    ("rotate", "force", "reason", "stops"),
    [
        ("never", False, "", True),
        ("never", True, "", True),
        ("never", False, "told so", True),
        ("never", True, "told so", False),
        ("on_compromise", True, "", True),
        ("on_compromise", False, "laptop stolen", True),
        ("on_compromise", True, "laptop stolen", False),
        ("on_provider_change", False, "", True),
        ("on_provider_change", False, "new region", False),
        ("on_provider_change", True, " ", True),
    ],
)
def test_policies_without_an_age(rotate: str, force: bool, reason: str, stops: bool) -> None:
    found = closed(
        "rotate",
        keyring(),
        parse_policy({"rotate": rotate}),
        replace(ME, force=force, reason=reason),
    )
    assert ("policy" in found) is stops
    assert not stops or "keyturn_reason" in found["policy"]


def test_a_reason_where_policy_demands_one() -> None:
    strict = parse_policy({"rotate": "age", "max_age": "100d", "reason_required": True})
    assert "keyturn_reason" in closed("rotate", keyring(), strict)["reason"]
    assert "reason" in closed("rollback", keyring(), strict, replace(ME, reason="  "))
    assert "reason" not in closed("rotate", keyring(), strict, replace(ME, reason="yearly"))
    assert (
        "an emergency demands"
        in closed("rotate", keyring(), facts=replace(ME, emergency=True))["reason"]
    )


def test_a_leftover_of_another_definition() -> None:
    mine, other = stage("applied"), stage("applied", definition="d0", rotation_id="r9")
    assert "leftover" not in closed("rotate", keyring(pending=mine))
    message = closed("rotate", keyring(pending=other))["leftover"]
    assert "r9" in message
    assert "abandon playbook" in message
    assert "leftover" not in closed(
        "rotate", keyring(pending=other), facts=replace(ME, definition="")
    )
    assert "to its end" in closed("rotate", keyring(pending=stage("abandoning")))["leftover"]


def test_a_previous_value_that_is_still_kept() -> None:
    kept = stage("grace", retire_after=NOW + DAY)
    message = closed("rotate", keyring(previous=kept))["previous"]
    assert "app_a" in message
    assert "2026-01-10T12:00" in message
    assert "retire_due" in message
    assert (
        "grace is over"
        in closed("rotate", keyring(previous=replace(kept, retire_after=NOW)))["previous"]
    )
    assert "being retired" in closed("rotate", keyring(previous=stage("retiring")))["previous"]
    assert "previous" not in closed(
        "rotate", keyring(previous=kept), facts=replace(ME, overlap=False)
    )
    assert "previous" not in closed(
        "rotate", keyring(previous=kept, current=current(status="promoted"))
    )


def test_issuer_sinks_probes_and_alert() -> None:
    facts = replace(
        ME,
        issuer_problems=("role x is missing",),
        unreadable=("sink a: denied",),
        probes=0,
        alert="the alert command ended with 1",
    )
    found = closed("rotate", keyring(), facts=facts)
    assert set(found) == {"issuer", "sinks", "probes", "alert"}
    assert found["issuer"] == "role x is missing"
    # There may be probes, none of which shows the value.
    assert "no probe in keyturn_probes shows a new value" in found["probes"]
    assert "then run again" in found["alert"]
    assert "alert" not in closed("rotate", keyring(current=current(status="promoted")), facts=facts)
    assert "alert" in closed("retire", keyring(), facts=facts)


RESET = replace(ME, overlap=False, returns=False, alert="the alert command ended with 1")
DEAD = replace(current(DAY), ended=NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("document", "facts"),
    [
        (keyring(current=DEAD), RESET),
        (keyring(current=DEAD, pending=stage("proved")), RESET),
        (keyring(current=None, pending=stage("proved")), RESET),
        (keyring(pending=stage("intended")), replace(RESET, given=True)),
    ],
)
def test_neither_window_nor_alert_keeps_anybody_from_replacing_a_dead_value(
    document: Document, facts: Facts
) -> None:
    passed = {gate.name: gate.message for gate in gates("rotate", document, NIGHTS, NOW, facts)}
    assert closed("rotate", document, NIGHTS, facts) == {}
    assert "nobody can log in or go live with it" in passed["window"]
    assert "the alert command ended with 1; but " in passed["alert"]
    assert "alert" not in closed("promote", document, NIGHTS, facts)
    assert {"window", "alert"} <= set(closed("retire", document, NIGHTS, facts))


@pytest.mark.parametrize("facts", [replace(RESET, returns=True), replace(RESET, overlap=True)])
def test_a_value_that_its_successor_did_not_end_waits_for_window_and_alert(facts: Facts) -> None:
    begun = keyring(pending=stage("applied"))
    assert {"window", "alert"} <= set(closed("rotate", begun, NIGHTS, replace(facts, given=True)))


def test_a_reset_that_may_have_been_done_is_told_of_and_a_person_can_go_on() -> None:
    begun = keyring(pending=stage("intended"))
    said = closed("rotate", begun, NIGHTS, RESET)
    assert "may have ended the value in use already: then do not wait" in said["window"]
    assert "run now with -e keyturn_force=true" in said["alert"]
    forced = replace(RESET, force=True, outside_window=True)
    assert closed("rotate", begun, NIGHTS, forced) == {}
    assert "alert" in closed("rotate", keyring(), NIGHTS, forced)


def test_what_the_keyring_does_not_know_is_not_replaced_unless_the_user_says_so() -> None:
    facts = replace(ME, unknown=("sink 'allowed' on ingest1 (ref+file:///etc/ingest/keys)",))
    said = closed("rotate", None, facts=facts)["unknown"]
    assert facts.unknown[0] in said
    assert (
        "keyturn.runbooks.adopt --limit db -e @FILE" in said
        # Without a limit it would be said of every credential of the inventory.
        and "run again with --limit db -e keyturn_replace=true" in said
    )
    for user in ({"replace": True}, {"emergency": True, "reason": "it leaked"}):
        assert not closed("rotate", None, facts=replace(facts, **user))
    assert not closed("adopt", None, facts=facts)


def test_a_consumer_that_could_not_be_told_stops_what_has_not_begun() -> None:
    facts = replace(ME, unready=("consumer app: there is no such unit",))
    for purpose in ("rotate", REFRESH):
        assert closed(purpose, keyring(), facts=facts) == {"consumers": facts.unready[0]}
        assert not closed(purpose, keyring(), facts=replace(facts, unready=()))
        names = [gate.name for gate in gates(purpose, keyring(), POLICY, NOW, facts)]
        assert names.index("consumers") == names.index("sinks") + 1
    begun = keyring(current=current(status="promoted"), previous=stage("grace"))
    assert "consumers" not in closed("rotate", begun, facts=facts)
    urgent = replace(facts, emergency=True, reason="it leaked")
    for document, known in ((begun, facts), (keyring(), urgent)):
        found = gates("rotate", document, POLICY, NOW, known)
        told = next(gate.message for gate in found if gate.name == "consumers")
        assert told.startswith(facts.unready[0]) and "goes on all the same" in told
    returned = gates("rollback", keyring(previous=stage("grace")), POLICY, NOW, facts)
    assert "consumers" not in [gate.name for gate in returned]


def test_only_a_proved_value_passes_on() -> None:
    for status in ("intended", "issued", "applied"):
        assert "proof" in closed("promote", keyring(pending=stage(status)))
    assert closed("promote", keyring(pending=stage("proved"))) == {}
    assert closed("promote", keyring(current=current(status="promoted"))) == {}
    assert "proof" in closed("promote", keyring())


def test_retiring_waits_for_grace_receipts_sinks_and_sessions() -> None:
    over = keyring(previous=stage("grace", retire_after=NOW))
    assert closed("retire", over) == {}
    early = keyring(previous=stage("grace", retire_after=NOW + timedelta(hours=5)))
    assert "ends in 5h, at 2026-01-09T17:00" in closed("retire", early)["grace"]
    assert "no previous" in closed("retire", keyring())["grace"]
    assert "not begun" in closed("retire", keyring(previous=stage("grace")))["grace"]
    assert closed("retire", keyring(previous=stage("grace", failed=True))) == {}
    assert closed("retire", keyring(previous=stage("retiring"))) == {}
    assert "observed" in closed("retire", replace(over, current=current(status="promoted")))
    facts = replace(
        ME,
        behind=("env of app1",),
        lagging=("musehub on app1",),
        sessions=tuple(f"client {n}" for n in range(11)),
    )
    found = closed("retire", over, facts=facts)
    assert "env of app1" in found["behind"]
    assert "--tags reload" in found["receipts"]
    assert "client 7; and 3 more" in found["sessions"]
    assert "sessions" not in closed("retire", over, facts=replace(ME, sessions=()))
    resumed = closed("retire", keyring(previous=stage("retiring")), facts=facts)
    assert set(resumed) == {"sessions"}


def test_what_a_rollback_may_return_to() -> None:
    assert closed("rollback", keyring(previous=stage("grace"))) == {}
    assert "nothing is kept" in closed("rollback", keyring())["target"]
    assert (
        "rolled back before"
        in closed("rollback", keyring(previous=stage("grace", failed=True)))["target"]
    )
    assert (
        "compromised"
        in closed("rollback", keyring(previous=stage("grace", compromised=True)))["target"]
    )
    assert "being retired" in closed("rollback", keyring(previous=stage("retiring")))["target"]
    assert (
        "abandon"
        in closed("rollback", keyring(previous=stage("grace"), pending=stage("applied")))["target"]
    )


def test_a_rollback_by_rotation_id_and_one_that_is_under_way() -> None:
    document = keyring(previous=stage("grace"), current=replace(current(), rotation_id="r2"))
    assert closed("rollback", document, facts=replace(ME, rotation_id="r2")) == {}
    message = closed("rollback", document, facts=replace(ME, rotation_id="r7"))["target"]
    assert "rotation r7 is not the one in use, that is r2" in message
    begun = keyring(previous=stage("grace", failed=True), current=current(status="promoted"))
    assert closed("rollback", begun, facts=replace(ME, rotation_id="r7")) == {}


def test_only_a_keyring_without_a_value_adopts_one() -> None:
    assert closed("adopt", None) == {}
    assert closed("adopt", keyring(current=None)) == {}
    assert closed("adopt", keyring(current=replace(current(), adopted=True))) == {}
    assert "rotate instead" in closed("adopt", keyring())["unmanaged"]
    begun = keyring(current=None, pending=stage("intended"))
    assert "run the abandon playbook first, then adopt" in closed("adopt", begun)["unmanaged"]
    told = closed("verify", begun)["in_use"]
    assert "run the abandon playbook first, and then adopt the value in use" in told
    assert "rotate it for the first time" in closed("verify", keyring(current=None))["in_use"]


def test_refusals_name_their_gate() -> None:
    found = gates("rotate", keyring(current=current(DAY)), NIGHTS, NOW, ME)
    assert [text.split(":")[0] for text in refusals(found)] == ["window", "policy"]


@pytest.mark.parametrize(
    ("age", "state", "due"),
    [
        (0, "fresh", False),
        (89, "fresh", False),
        (90, "soon", False),
        (99, "soon", False),
        (100, "due", True),
        (109, "due", True),
        (110, "overdue", True),
    ],
)
def test_ages(age: int, state: str, due: bool) -> None:
    status = measure(keyring(current=current(age * DAY)), POLICY, NOW)
    assert (status.state, status.due) == (state, due)
    assert status.due_at == NOW + (100 - age) * DAY


def test_ages_at_the_edges() -> None:
    assert measure(None, POLICY, NOW).state == "never_rotated"
    assert measure(keyring(), Policy(), NOW).state == "on_demand"
    assert measure(keyring(current=current(-DAY)), POLICY, NOW).age == timedelta(0)
    rolled_back = replace(current(300 * DAY), promoted=NOW)
    assert measure(keyring(current=rolled_back), POLICY, NOW).state == "overdue"
    resumed = measure(keyring(current=current(DAY), pending=stage("issued")), POLICY, NOW)
    assert (resumed.state, resumed.under_way, resumed.due) == ("fresh", True, True)
    assert not measure(
        keyring(current=current(DAY), pending=stage("abandoning")), POLICY, NOW
    ).under_way
    plain = due_status(keyring(), POLICY, NOW)
    assert plain["age_seconds"] == 100 * 86400
    assert plain["text"].startswith("100d old of at most 100d")


def test_what_people_hear_and_hear_once() -> None:
    old = keyring(current=current(95 * DAY))
    assert [item.event for item in notices(old, POLICY, NOW)] == ["age_90"]
    assert notices(replace(old, noticed={"age_90": "r1"}), POLICY, NOW) == []
    assert notices(keyring(current=current(89 * DAY)), POLICY, NOW) == []
    ending = keyring(
        current=current(DAY), previous=stage("grace", rotation_id="r0", retire_after=NOW + DAY)
    )
    assert notices(ending, POLICY, NOW) == []
    assert notices(ending, POLICY, NOW, in_use=0) == []
    told = notices(ending, POLICY, NOW, in_use=2)
    assert [(item.event, item.mark) for item in told] == [("grace_24h_in_use", "r0")]
    assert "2 client" in told[0].message
    later = replace(ending, previous=stage("grace", retire_after=NOW + DAY + timedelta(seconds=1)))
    assert notices(later, POLICY, NOW, in_use=2) == []


def test_people_hear_before_the_window_only_when_something_is_due_in_it() -> None:
    due = keyring(current=current(100 * DAY))
    told = notices(due, NIGHTS, NOW)
    assert [item.event for item in told] == ["window_opens", "age_90"]
    assert told[0].mark == "2026-01-10T01:00:00.000000Z"
    assert "window_opens" not in [
        item.event for item in notices(keyring(current=current(50 * DAY)), NIGHTS, NOW)
    ]
    assert [item.event for item in notices(due, NIGHTS, NOW - DAY)] == ["age_90"]
    assert [
        item.event
        for item in notices(replace(due, noticed={"window_opens": told[0].mark}), NIGHTS, NOW)
    ] == ["age_90"]
