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


@pytest.mark.parametrize(
    ("strategy", "auth", "share"),
    [
        pytest.param("alternate_roles", "userlist", 1, marks=pytest.mark.tarball),
        ("alternate_roles", "auth_query", 4),
        ("alternate_roles", None, 4),
        ("new_role", "userlist", 4),
    ],
)
def test_rotated_and_retired(course: Maker, strategy: str, auth: str | None, share: int) -> None:
    made = course(strategy, auth)
    made.settle()
    rotation, rotated = made.undisturbed("rotate_db", FORCE)
    retiring, retired = made.undisturbed("retire_due")

    def rotate() -> None:
        made.run("rotate_db", FORCE)

    def retire() -> None:
        made.run("retire_due")

    made.cut("rotate_db", chosen(cuts(rotation), share), rotated, retire)
    made.cut("retire_due", chosen(cuts(retiring), share), retired, rotate)
    made.lose("rotate_db", chosen(lost_answers(rotation), share), rotated, retire)
    made.lose("retire_due", chosen(lost_answers(retiring), share), retired, rotate)
    made.finish()


def test_alternate_roles_rolled_back(course: Maker) -> None:
    made = course("alternate_roles")

    def rotate() -> None:
        made.run("retire_due")
        made.run("rotate_db", FORCE)

    made.run("rotate_db", FORCE)
    points, end = made.undisturbed("rollback")
    rotate()
    made.cut("rollback", chosen(cuts(points), 2), end, rotate)
    rotate()
    made.lose("rollback", chosen(lost_answers(points)), end, rotate)
    made.finish()


def test_one_password_cut_over_and_back(course: Maker) -> None:
    made = course("same_role")

    def rotate() -> None:
        made.run("retire_due")
        made.run("rotate_db", FORCE)

    made.settle()
    rotation, rotated = made.undisturbed("rotate_db", FORCE)
    returning, returned = made.undisturbed("rollback")
    retiring, retired = made.undisturbed("retire_due")
    made.cut("rotate_db", chosen(cuts(rotation), 2), rotated, lambda: made.run("retire_due"))
    made.cut("rollback", chosen(cuts(returning), 2), returned, rotate)
    made.cut("retire_due", chosen(cuts(retiring), 2), retired)
    made.lose("rotate_db", chosen(lost_answers(rotation)), rotated, lambda: made.run("retire_due"))
    made.finish()


def test_abandoned(course: Maker) -> None:
    made = course("alternate_roles")

    def leave() -> None:
        made.estate.killed("rotate_db", "Look once more, and promote the proved value", extra=FORCE)

    leave()
    points, end = made.undisturbed("abandon")
    leave()
    made.cut("abandon", chosen(cuts(points)), end, leave)
    leave()
    made.lose("abandon", chosen(lost_answers(points)), end, leave)
    made.finish()


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
