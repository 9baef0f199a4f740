# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults, at every write of every playbook, once more under all detectors: neither a run that was cut nor the one after it tells."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from course import Course as Disturbed
from estate.databases import Database
from estate.playbook import Ansible
from leaks.disturbed import WatchedEstate
from leaks.flows import TOLD, Course, redefine
from leaks.watch import Watch
from points import chosen, cuts, lost_answers
from rotation import FORCE, Estate

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
DEFECTS = Path(__file__).with_name("defects.py")
LEAVE_BEFORE = "Bring it to its sinks and consumers"
ALL = [
    (strategy, auth)
    for strategy in ("alternate_roles", "new_role", "same_role")
    for auth in ("userlist", "auth_query")
]
SOME = [("alternate_roles", "userlist")]
# Far fewer with make test: the same points are tried without a trace, and searched at the end.
SHARE, LOST = 13, 8


class Quietly(Disturbed):
    """Disturbed, behind a PgBouncer that logs every login."""

    def _files(self) -> dict[str, tuple[int, int, int]]:
        return {path: seen for path, seen in super()._files().items() if not path.endswith(".log")}


@pytest.mark.parametrize(("strategy", "auth"), ALL if os.environ.get("KEYTURN_SOAK") else SOME)
def test_no_fault_tells(
    course: Maker, report: Callable[[Watch], None], strategy: str, auth: str
) -> None:
    watched = course(auth, strategy=strategy, kind=WatchedEstate)
    estate = watched.estate
    assert isinstance(estate, WatchedEstate)
    estate.watch, estate.name = watched.watch, f"faults, {strategy}, {auth}"
    estate.adopt()
    made = Quietly(estate, tell=lambda row: None)
    made.settle()

    def rotate() -> None:
        made.run("rotate_db", FORCE)

    def retire() -> None:
        made.run("retire_due")

    rotation, rotated = made.undisturbed("rotate_db", FORCE)
    retiring, retired = made.undisturbed("retire_due")
    made.cut("rotate_db", chosen(cuts(rotation), SHARE), rotated, retire)
    made.cut("retire_due", chosen(cuts(retiring), SHARE), retired, rotate)
    made.lose("rotate_db", chosen(lost_answers(rotation), LOST), rotated, retire)
    if os.environ.get("KEYTURN_SOAK"):
        made.lose("retire_due", lost_answers(retiring), retired, rotate)
        back_and_undone(made)
    report(watched.watch)


def back_and_undone(made: Disturbed) -> None:
    """A rollback, and a rotation that is abandoned."""

    def rotate() -> None:
        made.run("retire_due")
        made.run("rotate_db", FORCE)

    def leave() -> None:
        made.estate.killed("rotate_db", LEAVE_BEFORE, extra=FORCE)

    rotate()
    points, end = made.undisturbed("rollback")
    rotate()
    made.cut("rollback", cuts(points), end, rotate)
    made.run("retire_due")
    leave()
    if made.estate.document().pending:
        points, end = made.undisturbed("abandon")
        leave()
        made.cut("abandon", cuts(points), end, leave)


def test_what_only_a_disturbed_run_tells_is_found(
    scratch: Path, database: Database, ansible: Ansible
) -> None:
    first = f"{database.name}_a"
    password = database.create_login(first)
    estate = Estate(scratch, database, ansible)
    redefine(estate, keyturn_consumers=[TOLD])
    estate.hand_over(first, password)
    estate.adopt()
    made = Disturbed(estate, tell=lambda row: None)
    estate.environ["KEYTURN_DEFECT"] = f"{DEFECTS} when_disturbed"
    made.settle()
    points, end = made.undisturbed("rotate_db", FORCE)
    made.run("retire_due")
    made.finish()
    (asked,) = (point for point in cuts(points) if point.moment == "sql ALTER ROLE 1")
    made.cut("rotate_db", [asked], end)
    with pytest.raises(AssertionError) as told:
        made.finish()
    assert "(base64) in" in str(told.value)
    assert "files left: password" in str(told.value)
    assert "hexadecimal" not in str(told.value)
    made.run("retire_due")
    (lost,) = (point for point in lost_answers(points) if "ALTER ROLE 1" in point.moment)
    made.lose("rotate_db", [lost], end, lambda: None)
    with pytest.raises(AssertionError, match=r"output: password [^(]*\(hexadecimal\) in"):
        made.finish()
