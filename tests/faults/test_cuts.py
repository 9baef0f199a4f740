# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A power cut before every write of every playbook, and the answer of each statement lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from course import Course
from estate.playbook import Ansible
from points import breaks, chosen, cuts, lost_answers, requests, soak
from rotation import FORCE, Point

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
PROMOTE = "Look once more, and promote the proved value"
BRING = "Bring it to its sinks and consumers"


# Every write once, and every so manieth where it is much the same in other surroundings; ``make soak`` takes all of them.
@pytest.mark.parametrize(
    ("strategy", "auth", "share"),
    [
        pytest.param("alternate_roles", "userlist", 1, marks=pytest.mark.tarball),
        ("alternate_roles", "auth_query", 5),
        ("alternate_roles", None, 5),
        ("new_role", "userlist", 3),
        ("new_role", "auth_query", 7),
        ("new_role", None, 7),
        ("same_role", "userlist", 2),
        ("same_role", "auth_query", 7),
        ("same_role", None, 7),
    ],
)
def test_cut_at_every_write(course: Maker, strategy: str, auth: str | None, share: int) -> None:
    made = course(strategy, auth)
    made.settle()
    rotate_and_retire(made, share)
    roll_back(made, share)
    abandon(made, share)
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
    for fault, which in (
        (made.cut, breaks),
        (made.lose, partial(lost_answers, but=every)),
    ):
        fault("rotate_db", chosen(which(rotation), share), rotated, retire)
        fault("retire_due", chosen(which(retiring), share), retired, rotate)


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
    asked = lost_answers(points, but=every)
    for fault, at in ((made.cut, breaks(points)), (made.lose, asked)):
        if tried := chosen(at, share):
            again()
            fault(playbook, tried, end, again)


def test_adopted(course: Maker) -> None:
    made = course("alternate_roles")
    value = made.estate.secrets()
    made.estate.kept.forget()
    disturb(made, "adopt", made.estate.kept.forget, 1)
    assert made.estate.secrets() == value
    made.finish()


def test_a_keyring_in_vault(course: Maker) -> None:
    share = 7
    made = course("alternate_roles", None, keeping="Vault")
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
