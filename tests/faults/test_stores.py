# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A keyring in Vault, and sinks in AWS parameters, a Vault field, a Kubernetes Secret and an env file at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from course import Course
from everywhere import Everywhere
from keeping import CREDENTIAL
from points import breaks, soak
from refusals import AFTER_AWS, REFUSALS, Refusal, refusing
from rotation import FORCE, Point
from sink_readers import SinkReaders

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
# How requests and files of these sinks are named.
NEW = ("PutParameter", "PUT app", "POST shared", "site.env")
SINKS = {"production", "staging", "shared", "cluster", "site"}


def made_everywhere(course: Maker, settled: bool = True) -> tuple[Course, Everywhere]:
    made = course("alternate_roles", None, keeping="all sinks")
    if settled:
        made.settle()
    kept = made.estate.kept
    assert isinstance(kept, Everywhere)
    return made, kept


def _changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """The sinks that show another value."""
    return {name for name in after if after[name] != before[name]}


def is_new(point: Point) -> bool:
    """Whether it is a write that a keyring in Vault alone does not have."""
    return any(name in point.moment for name in NEW)


def values(kept: Everywhere) -> dict[str, str]:
    """What each sink shows."""
    return {name: fields["password"] for name, fields in kept.others().items()}


def test_disturbed_at_writes(course: Maker) -> None:
    made, kept = made_everywhere(course)
    points, end = made.undisturbed("rotate_db", FORCE)
    retiring, retired = made.undisturbed("retire_due")
    assert set(end["others"]) == SINKS
    assert {stage for fields in end["others"].values() for stage in fields.values()} == {"current"}
    told = {point.moment.split(" ")[2] for point in points if point.moment.startswith("http ")}
    assert {"PutParameter", "app", "shared"} <= told

    def retire() -> None:
        made.run("retire_due")

    made.lose_all("rotate_db", points, end)
    made.lose_all("retire_due", retiring, retired)
    # All that is the same with a keyring in Vault and one sink is tried there.
    own = breaks(points) if soak() else [point for point in breaks(points) if is_new(point)]
    made.cut("rotate_db", made.kinds.choose(own, len(own)), end, retire)
    made.finish()
    assert set(values(kept)) == SINKS


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.sink)
def test_one_sink_that_refuses(course: Maker, refusal: Refusal) -> None:
    """It is named, everybody goes on with either value, and once it takes writes the same command brings the rotation to its end.

    The first sink, which is AWS's staging, has the new value; production was reached by a later refusal alone.
    """
    made, kept = made_everywhere(course, settled=False)
    before = values(kept)
    with SinkReaders(kept) as readers:
        with refusing(kept, refusal, midway=True):
            failed = made.estate.run("rotate_db", extra=FORCE).check(2)
            assert f"sink '{refusal.sink}'" in failed.stdout
            assert refusal.place in failed.stdout
            assert "run the same playbook again: it goes on from here" in failed.stdout
            readers.again()
            held, written = values(kept), kept.versions()
            assert "staging" in _changed(before, held)
            assert refusal.sink not in _changed(before, held)
            same = made.estate.run("rotate_db", extra=FORCE).check(2)
            assert f"sink '{refusal.sink}'" in same.stdout
            assert values(kept) == held
            again = {
                place for place, count in kept.versions().items() if count != written.get(place)
            }
            tried = {place for place in again if not place.startswith(CREDENTIAL)}
            # Who may write to AWS is seen when it is done.
            assert tried == (set() if refusal.foreseen else {"PutParameter"})
            readers.again()
        assert [len(kept.history(name)) for name in ("staging", "production")] == [
            2,
            1 if refusal.sink == "production" else 2,
        ]
        made.run("rotate_db", FORCE)
        readers.again()
        made.run("retire_due")
        readers.again()
    ended(made, kept, before)


def test_one_value_at_a_time(course: Maker) -> None:
    """The run returns, and the same command again ends the rotation: the value that failed is in nobody's way."""
    made = course("same_role", None, keeping="all sinks")
    kept = made.estate.kept
    assert isinstance(kept, Everywhere)
    before = values(kept)
    with refusing(kept, REFUSALS[0], midway=True):
        failed = made.estate.run("rotate_db", extra=FORCE).check(2)
        assert "The previous value was made current again and proved" in failed.stdout
    assert values(kept) == before
    made.run("rotate_db", FORCE)
    after = values(kept)
    assert len({*before.values(), *after.values()}) == 2
    assert made.estate.accepts("current")
    made.finish()


def test_sinks_that_refuse_from_the_beginning(course: Maker) -> None:
    """What can be asked is asked before anything begins; the same command again ends it."""
    made, kept = made_everywhere(course, settled=False)
    before, counted = values(kept), kept.versions()
    asked = [refusal for refusal in REFUSALS if refusal.foreseen]
    with SinkReaders(kept) as readers:
        with ExitStack() as refused:
            for refusal in asked:
                refused.enter_context(refusing(kept, refusal))
            failed = made.estate.run("rotate_db", extra=FORCE).check(2)
            for refusal in asked:
                assert f"sink '{refusal.sink}'" in failed.stdout
            readers.again()
        told = {place for place, count in kept.versions().items() if count != counted.get(place)}
        assert all(place.startswith(CREDENTIAL) for place in told)
        document = made.estate.document()
        assert document.pending is document.previous is None
        made.run("rotate_db", FORCE)
        readers.again()
    ended(made, kept, before)


def test_a_return_that_is_refused_too(course: Maker) -> None:
    """The new value is in bad health, and AWS does not take the old one back: it stays accepted, and the same command ends the return."""
    made, kept = made_everywhere(course, settled=False)
    made.estate.add_probe(fails_with(kept, made.estate.roles[1]))
    before = values(kept)
    with SinkReaders(kept) as readers:
        with refusing(kept, AFTER_AWS, midway=True):
            failed = made.estate.run("rotate_db", extra={**FORCE, "keyturn_wait": "2s"}).check(2)
            assert "The return to the previous value was begun and failed too" in failed.stdout
            assert _changed(before, values(kept)) == SINKS
            readers.again()
        made.run("rotate_db", FORCE)
        assert values(kept) == before
        readers.again()
        made.run("retire_due")
        readers.again()
    assert kept.twice() == []
    assert made.estate.ledger_faults() == []
    made.finish()


def fails_with(kept: Everywhere, role: str) -> dict[str, Any]:
    """A check of the application's health that fails once its env file names this role."""
    code = f"import sys; sys.exit({role!r} in open({str(kept.env_file)!r}).read())"
    return {"type": "command", "argv": [sys.executable, "-c", code]}


def ended(made: Course, kept: Everywhere, before: dict[str, str]) -> None:
    """Every sink shows the one value of one more rotation, nothing was written twice, and no login has failed."""
    after = values(kept)
    assert len({*before.values(), *after.values()}) == 2
    assert set(after) == set(before) == SINKS
    assert not any(((made.client and made.client.failures()) or {}).values())
    assert kept.twice() == []
    assert made.estate.ledger_faults() == []
    made.finish()


def test_the_dry_run_tells_what_the_run_does(course: Maker) -> None:
    made, kept = made_everywhere(course, settled=False)
    counted = kept.versions()
    predicted = made.estate.run("rotate_db", "--check", "--diff", extra=FORCE).check()
    assert kept.versions() == counted
    for name in SINKS:
        assert f"'{name}'" in predicted.stdout
    made.run("rotate_db", FORCE)
    again = made.estate.run("rotate_db", "--check").check()
    assert "changed=0" in again.stdout
    made.finish()
