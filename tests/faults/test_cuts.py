# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A power cut before every write of every playbook, and the answer of each statement lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from course import Course
from estate.playbook import Ansible
from points import breaks, chosen, cuts, lost_answers, requests, soak
from rotation import FORCE, Point

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
PROMOTE = "Look once more, and promote the proved value"
BRING = "Bring it to its sinks and consumers"
# The share of an estate that differs from another one, which has them all, in PgBouncer alone.
REPEATED = 14
# What differs from these in PgBouncer alone as well, where that is tried with another strategy.
ONLY_IN_FULL = [
    (strategy, auth, REPEATED)
    for strategy in ("new_role", "same_role")
    for auth in ("auth_query", None)
]
# Lost in the first estate, and the same with every strategy: they are the pooler's, the application's and the sessions'.
THE_SAME = {"lost sql RELOAD", "lost sql terminate", "lost run python"}


# Every write once; where it is much the same in other surroundings one write of each kind, and every so manieth. ``make soak`` takes all.
@pytest.mark.parametrize(
    ("strategy", "auth", "share"),
    [
        pytest.param("alternate_roles", "userlist", 1, marks=pytest.mark.tarball),
        ("alternate_roles", "auth_query", REPEATED),
        ("alternate_roles", None, REPEATED),
        ("new_role", "userlist", 9),
        ("same_role", "userlist", 8),
        *(ONLY_IN_FULL if soak() else ()),
    ],
)
def test_cut_at_every_write(course: Maker, strategy: str, auth: str | None, share: int) -> None:
    made = course(strategy, auth)
    made.kinds.tried = set() if share == 1 else set(THE_SAME)
    made.settle()
    rotate_and_retire(made, share)
    # Without PgBouncer there is nothing that is not there with it, too.
    if auth or soak():
        roll_back(made, share)
        abandon(made, share)
    assert made.kinds.tried >= THE_SAME
    made.finish()


def rotate_and_retire(made: Course, share: int) -> None:
    """From a value that is in use to another one that is."""

    def rotate() -> None:
        made.run("rotate_db", FORCE)

    def retire() -> None:
        made.run("retire_due")

    rotation, rotated = made.undisturbed("rotate_db", FORCE)
    retiring, retired = made.undisturbed("retire_due")
    if every := lost_in_one_run(rotation):
        made.lose_all("rotate_db", rotation, rotated)
        made.lose_all("retire_due", retiring, retired)
    made.cut("rotate_db", power_cuts(made, rotation, share), rotated, retire)
    made.cut("retire_due", power_cuts(made, retiring, share), retired, rotate)
    if lost := answers(made, rotation, share, every):
        made.lose("rotate_db", lost, rotated, retire)
        if ending := answers(made, retiring, share, every):
            made.lose("retire_due", ending, retired, rotate)
        else:
            retire()


def power_cuts(made: Course, points: list[Point], share: int) -> list[Point]:
    """Every so manieth, cut and silenced, and one of each kind, unless another estate of this strategy has them all."""
    found, wanted = breaks(points), set()
    silences = [point for point in found if point.moment.startswith("silent ")]
    for some in (cuts(points), silences):
        wanted.update(chosen(some, share) if share == REPEATED else made.kinds.choose(some, share))
    return [point for point in found if point in wanted]


def answers(made: Course, points: list[Point], share: int, but: str) -> list[Point]:
    """Those that are lost one by one: each, or one of each kind, or at most one where another estate of this strategy has them all."""
    asked = lost_answers(points, but=but)
    if share == 1 or soak():
        return made.kinds.choose(asked)
    new = made.kinds.new(asked)
    return new[:1] if share == REPEATED else new


def roll_back(made: Course, share: int) -> None:
    """To another value and back; the one that is left is retired."""

    def rotate() -> None:
        made.run("retire_due")
        made.run("rotate_db", FORCE)

    made.run("rotate_db", FORCE)
    disturb(made, "rollback", rotate, share)
    made.run("retire_due")


def abandon(made: Course, share: int) -> None:
    """A value that did not come into use is undone."""
    before = PROMOTE if made.overlap else BRING

    def leave() -> None:
        made.estate.killed("rotate_db", before, extra=FORCE)

    leave()
    disturb(made, "abandon", leave, share)


def lost_in_one_run(points: list[Point]) -> str:
    """What kind of answers is lost all together; ``make soak`` loses each alone."""
    return "http" if requests(points) and not soak() else ""


def disturb(made: Course, playbook: str, again: Callable[[], object], share: int) -> None:
    """Each fault of one playbook.

    :param again: makes the state where it begins, which is there now.
    """
    points, end = made.undisturbed(playbook, made.estate.adoption if playbook == "adopt" else None)
    if every := lost_in_one_run(points):
        again()
        made.lose_all(playbook, points, end)
    tried = power_cuts(made, points, share)
    for fault, at in ((made.cut, tried), (made.lose, answers(made, points, share, every))):
        if at:
            again()
            fault(playbook, at, end, again)


def test_adopted(course: Maker) -> None:
    made = course("alternate_roles")
    value = made.estate.secrets()
    made.estate.kept.forget()
    disturb(made, "adopt", made.estate.kept.forget, 1)
    assert made.estate.secrets() == value
    made.finish()


def test_a_keyring_in_vault(course: Maker) -> None:
    share = 24
    made = course("alternate_roles", None, keeping="Vault")
    made.kinds.tried = set(THE_SAME)
    made.estate.kept.forget()
    disturb(made, "adopt", made.estate.kept.forget, share)
    mount = made.estate.kept.options()["keyring"].rpartition("/")[0]
    shared = {"name": "shared", "ref": f"{mount}/shared#/password"}
    made.estate.add_sink({**shared, "template": "{current.password}"})
    made.settle()
    rotate_and_retire(made, share)
    roll_back(made, share)
    abandon(made, share)
    made.finish()


def test_the_command_itself(course: Maker, ansible_command: Ansible) -> None:
    made = course("alternate_roles", None)
    made.settle()
    points, end = made.undisturbed("rotate_db", FORCE)
    made.run("retire_due")
    made.by_command(ansible_command)
    made.cut("rotate_db", chosen(cuts(points), 8), end, lambda: made.run("retire_due"))
    made.finish()
