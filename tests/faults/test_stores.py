# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A keyring in Vault, and sinks in AWS parameters, a Vault field, a Kubernetes Secret and an env file at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from course import Course
from everywhere import Everywhere
from points import breaks, chosen
from rotation import FORCE

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
SINKS = {"production", "staging", "shared", "cluster"}


def made_everywhere(course: Maker) -> tuple[Course, Everywhere]:
    made = course("alternate_roles", None, keeping="all sinks")
    made.settle()
    kept = made.estate.kept
    assert isinstance(kept, Everywhere)
    return made, kept


def values(kept: Everywhere) -> dict[str, str]:
    """What each sink shows."""
    return {name: fields["password"] for name, fields in kept.others().items()}


def test_disturbed_at_writes(course: Maker) -> None:
    share = 11
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
    made.cut("rotate_db", chosen(breaks(points), share), end, retire)
    made.finish()
    assert set(values(kept)) == SINKS


@pytest.mark.parametrize("which", [0, 1], ids=["aws", "kubernetes"])
def test_one_sink_that_refuses(course: Maker, which: int) -> None:
    """The rotation says which one; the application goes on, and the same again ends it once the sink takes writes."""
    made, kept = made_everywhere(course)
    before = values(kept)
    assert len(set(before.values())) == 1
    kept.refuse(which)
    failed = made.estate.run("rotate_db", extra=FORCE)
    assert failed.returncode == 2
    named = "parameter" if which == 0 else "Secret"
    assert "denies" in failed.stdout
    assert named in failed.stdout
    assert made.estate.accepts("current")
    assert not any(((made.client and made.client.failures()) or {}).values())
    assert values(kept)[("production", "cluster")[which]] == before["production"]
    kept.allow()
    document = made.estate.document()
    if document.previous and document.previous.failed:
        made.run("retire_due")
        made.run("rotate_db", FORCE)
    else:
        made.run("rotate_db")
    after = values(kept)
    assert len(set(after.values())) == 1
    assert set(after) == SINKS
    assert set(after.values()).isdisjoint(before.values())
    assert made.estate.ledger_faults() == []
    made.finish()


def test_the_dry_run_tells_what_the_run_does(course: Maker) -> None:
    made, kept = made_everywhere(course)
    made.run("retire_due")
    counted = kept.versions()
    predicted = made.estate.run("rotate_db", "--check", "--diff", extra=FORCE).check()
    assert kept.versions() == counted
    for name in SINKS:
        assert f"'{name}'" in predicted.stdout
    made.run("rotate_db", FORCE)
    again = made.estate.run("rotate_db", "--check").check()
    assert "changed=0" in again.stdout
    made.finish()
