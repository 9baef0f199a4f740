# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A power cut before every write of every playbook, and the answer of each statement lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from course import Course, chosen, cuts, lost_answers
from rotation import FORCE

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
    made.cut("rotate_db", chosen(cuts(rotation), share), rotated, retire)
    made.cut("retire_due", chosen(cuts(retiring), share), retired, rotate)
    made.lose("rotate_db", chosen(lost_answers(rotation), share), rotated, retire)
    made.lose("retire_due", chosen(lost_answers(retiring), share), retired, rotate)


def roll_back(made: Course, share: int) -> None:
    """To another value and back; the one that is left is retired."""

    def rotate() -> None:
        made.run("retire_due")
        made.run("rotate_db", FORCE)

    made.run("rotate_db", FORCE)
    points, end = made.undisturbed("rollback")
    rotate()
    made.cut("rollback", chosen(cuts(points), share), end, rotate)
    rotate()
    made.lose("rollback", chosen(lost_answers(points), share), end, rotate)
    made.run("retire_due")


def abandon(made: Course, share: int) -> None:
    """A value that did not come into use is undone."""
    before = PROMOTE if made.overlap else BRING

    def leave() -> None:
        made.estate.killed("rotate_db", before, extra=FORCE)

    leave()
    points, end = made.undisturbed("abandon")
    leave()
    made.cut("abandon", chosen(cuts(points), share), end, leave)
    leave()
    made.lose("abandon", chosen(lost_answers(points), share), end, leave)


def test_adopted(course: Maker) -> None:
    made = course("alternate_roles")
    value = made.estate.secrets()

    def forget() -> None:
        made.estate.keyring_path.unlink()
        made.estate.ledger_path.unlink()

    forget()
    points, end = made.undisturbed("adopt", made.estate.adoption)
    forget()
    made.cut("adopt", chosen(cuts(points)), end, forget)
    assert made.estate.secrets() == value
    made.finish()
