# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which phases ``--tags`` and ``--skip-tags`` choose, and which steps belong to them."""

from __future__ import annotations

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedures import (
    CHECK,
    PHASES,
    PROCEDURES,
    RETURN,
    chosen,
    only_refresh,
    steps_after,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._phases import phases_of

OWN = ["always"]
LATE = ["promote", "reload", "observe"]


@pytest.mark.parametrize(
    ("run", "skip", "own", "expected"),
    [
        (["all"], [], OWN, []),
        ([], [], OWN, []),
        (["tagged"], [], OWN, []),
        (["stage", "apply"], [], OWN, ["stage", "apply"]),
        (["apply", "stage"], ["apply"], OWN, ["stage"]),
        (["all"], ["observe"], OWN, [phase for phase in PHASES if phase != "observe"]),
        (["all"], ["other"], OWN, []),
        # Somebody else's tags: the look before harms nothing, and everything else is not asked for.
        (["other"], [], OWN, ["preflight"]),
        (["untagged"], [], OWN, ["preflight"]),
        (["stage"], ["stage"], OWN, ["preflight"]),
        # A tag that the role was given in the user's play asks for the whole of it.
        (["db"], [], [*OWN, "db"], []),
        (["db"], ["observe"], [*OWN, "db"], [phase for phase in PHASES if phase != "observe"]),
        (["stage"], [], [*OWN, "db"], ["stage"]),
        # Nobody asks for everything by a word that every task has.
        (["always"], [], OWN, ["preflight"]),
    ],
)
def test_tags_choose_phases(
    run: list[str], skip: list[str], own: list[str], expected: list[str]
) -> None:
    assert phases_of("rotate", run, skip, own) == expected


@pytest.mark.parametrize("purpose", ["rollback", "adopt", "retire", "abandon"])
def test_only_a_rotation_has_phases(purpose: str) -> None:
    assert phases_of(purpose, ["all"], ["observe"], OWN) == []
    assert phases_of(purpose, ["db"], ["observe"], [*OWN, "db"]) == []
    assert phases_of(purpose, ["promote"], [], OWN) == ["preflight"]
    for step in PROCEDURES[purpose]:
        assert chosen(purpose, frozenset({"promote"}), step)


def test_later_phases_alone_make_nothing_new() -> None:
    assert only_refresh(frozenset(LATE))
    assert only_refresh(frozenset({"preflight", "reload"}))
    for phases in ((), ("preflight",), ("stage", "reload"), ("prove", "observe"), PHASES):
        assert not only_refresh(frozenset(phases))


def test_every_step_of_a_rotation_belongs_to_a_phase() -> None:
    for step in (CHECK, *PROCEDURES["rotate"]):
        assert step.phases, step.name
    covered = set().union(*(step.phases for step in PROCEDURES["rotate"]))
    assert covered == set(PHASES[1:])


def test_the_look_alone_takes_no_step_of_any_procedure() -> None:
    for purpose, steps in PROCEDURES.items():
        assert not any(chosen(purpose, frozenset({"preflight"}), step) for step in steps)
        assert all(chosen(purpose, frozenset(), step) for step in steps)


def test_each_step_of_a_procedure_has_a_key_and_a_name_of_its_own() -> None:
    for steps in (*PROCEDURES.values(), RETURN):
        assert len({step.key for step in steps}) == len({step.name for step in steps}) == len(steps)


def test_it_goes_on_after_the_step_that_was_left() -> None:
    steps = PROCEDURES["rotate"]
    assert steps_after(steps, None) == steps_after(steps, CHECK.key) == steps
    assert [step.key for step in steps_after(steps, "bring")] == ["observed"]
    assert steps_after(steps, "observed") == ()
