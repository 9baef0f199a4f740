# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A power cut at every step of every playbook: what is in use goes on working, and running the same again ends it.

Where the cuts go is read off an undisturbed run, so that a task that is added later is cut too.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from estate.client import read_credential
from estate.databases import Database
from estate.load import LoadClient
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible
from rotation import FORCE, WATCHED, Estate, Point

pytestmark = pytest.mark.pg_versions("16")
STAGES = ("pending", "current", "previous")


def steps(points: list[Point]) -> list[Point]:
    """Before the first task, after each one that changed something, and inside of one that writes in several places before each."""
    guards = [point for point in points if point.moment.startswith("guard ")]
    writes = Counter((point.task, point.number) for point in guards)
    inside = {point for point in guards if writes[point.task, point.number] > 1}
    return [points[0], *(point for point in points if point.changed or point in inside)]


def everywhere(points: list[Point]) -> list[Point]:
    """These, and inside of the tasks before each write elsewhere, with its file half made, and before the keyring tells of it.

    Between the keyring and the ledger at the first and the last step: all steps take that way.
    """
    chosen = set(steps(points))
    outside = {(point.task, point.number) for point in points if point.moment.startswith("guard ")}
    ledger = [point for point in points if point.moment.startswith("ledger ")]
    chosen.update((ledger[0], ledger[-1]))
    for before, point in pairwise(points):
        kind = point.moment.split(" ")[0]
        told = kind == "keyring" and (point.task, point.number) in outside
        half_made = kind == "file" and before.moment.startswith("guard ")
        if kind == "guard" or told or half_made:
            chosen.add(point)
    return [point for point in points if point in chosen]


def chosen(points: list[Point]) -> list[Point]:
    """The points that are cut: all of them take minutes, so that is for ``make soak``."""
    return everywhere(points) if os.environ.get("KEYTURN_SOAK") else steps(points)


@dataclass
class Course:
    """An estate that is cut again and again.

    :ivar cells: what was cut where, for the table.
    :ivar values: every secret value that was seen on the way.
    """

    estate: Estate
    client: LoadClient | None = None
    cells: dict[str, list[str]] = field(default_factory=dict)
    values: set[str] = field(default_factory=set)
    outputs: list[str] = field(default_factory=list)

    @property
    def overlap(self) -> bool:
        """Whether old and new are accepted together."""
        return self.estate.strategy != "same_role"

    def state(self) -> dict[str, Any]:
        """What an end can be known by, with stages for names: two undisturbed runs end in the same one."""
        estate, document = self.estate, self.estate.document()
        found = {name: stage for name in STAGES if (stage := document.stage(name))}
        names = {stage.text("username"): name for name, stage in reversed(found.items())}
        rotations = {stage.rotation_id: name for name, stage in reversed(found.items())}
        logins = estate.database.execute(
            "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname LIKE %s AND rolname <> %s",
            (f"{estate.prefix}%", estate.database.owner),
        )
        used = read_credential(estate.env_file, 1)
        current = document.current
        assert current
        secret = current.secret("password")
        return {
            "stages": {name: (stage.status, stage.failed) for name, stage in found.items()},
            "accepted": {name: estate.accepts(name) for name in found},
            "claim": document.claim,
            "receipts": {
                name: rotations.get(receipt.rotation_id, "older")
                for name, receipt in document.receipts.items()
            },
            "roles": sorted((names.get(name, "other"), login) for name, login in logins),
            "env": (used.username == current.text("username"), used.password == secret.reveal())
            if secret
            else None,
            "ledger": estate.ledger_faults(),
            "files": sorted(path.name for place in self._places() for path in place.glob(".*")),
        }

    def _places(self) -> list[Path]:
        """Where files are replaced."""
        pooler = self.estate.pooler
        return [self.estate.folder, *([pooler.userlist_path.parent] if pooler else [])]

    def run(self, playbook: str, extra: Any = None) -> None:
        """Run it, to come to the state where something begins."""
        self.outputs.append(self.estate.run(playbook, extra=extra, **WATCHED).check().output)
        self._remember()

    def settle(self) -> None:
        """Rotate once: before that nobody was seen using anything, and more consumers are told than ever after."""
        self.run("rotate_db", FORCE)
        self.run("retire_due")

    def undisturbed(self, playbook: str, extra: Any = None) -> tuple[list[Point], dict[str, Any]]:
        """Run it to its end; returns its points and what it left."""
        points = self.estate.traced(playbook, extra)
        self._remember()
        return points, self.state()

    def cut(
        self,
        playbook: str,
        points: Iterable[Point],
        end: dict[str, Any],
        again: Callable[[], object] | None = None,
    ) -> None:
        """Run it, cut at each of these points in turn, and then to its end, which is the undisturbed one.

        :param again: makes the state before: a point that a run does not pass any more, because one before it did the work,
            is cut in a new course.
        """
        left = list(points)
        while left:
            first = f"{self.estate.strategy}, {playbook}: {left[0]}"
            passed = self._cut_course(playbook, left, end)
            assert passed, f"{first} is not passed"
            left = left[passed:]
            if left:
                assert again, f"{self.estate.strategy}, {playbook}: {left[0]} is not passed again"
                again()

    def _cut_course(self, playbook: str, points: list[Point], end: dict[str, Any]) -> int:
        """One course, from the state before to the end; returns how many points were passed."""
        before, stages = self._rotation(), self._stages()
        begun, where, passed = "", f"{self.estate.strategy}, {playbook}", 0
        for point in points:
            done = self.estate.cut(playbook, point, self._extra(playbook, before))
            self.outputs.append(done.output)
            if done.returncode != -9:
                break
            passed += 1
            where = f"{self.estate.strategy}, {playbook} cut {point}"
            self.cells.setdefault(playbook, []).append(str(point))
            begun = self._survives(where, before, begun)
        if done.returncode == -9:
            extra = self._extra(playbook, before)
            done = self.estate.run(playbook, extra=extra, **WATCHED)
            self.outputs.append(done.output)
        done.check()
        assert self.state() == end, f"{where}\n{done.output}"
        self._quiet(where)
        self._remember()
        if playbook != "abandon":
            assert not begun or self._rotation() == begun, f"{where}: a second rotation"
        made = int(playbook == "rotate_db")
        assert self._stages() == stages + made, f"{where}: a second value"
        return passed

    def _stages(self) -> int:
        return self.estate.phases().count("stage")

    def _rotation(self) -> str:
        """The rotation that is in use."""
        document = self._document()
        return document.current.rotation_id if document and document.current else ""

    def _document(self) -> Document | None:
        return self.estate.document() if self.estate.keyring_path.exists() else None

    def _extra(self, playbook: str, before: str) -> Any:
        """A rotation is forced until it has begun, so that it does not begin anew after its end."""
        if playbook == "adopt":
            return self.estate.adoption
        document = self._document()
        begun = (document and document.pending) or self._rotation() != before
        return None if playbook != "rotate_db" or begun else FORCE

    def _survives(self, where: str, before: str, begun: str) -> str:
        """What has to hold at the very moment; returns the rotation that was begun."""
        self._remember()
        self._no_failures(where)
        document = self._document()
        if document is None or document.current is None:
            assert self.estate.database.accepts(*self.estate.first), where
            return ""
        accepted = {name: self.estate.accepts(name) for name in STAGES if document.stage(name)}
        assert accepted["current"] or (accepted.get("previous") and not self.overlap), where
        working = document.pending.rotation_id if document.pending else self._rotation()
        assert not begun or working == begun or document.pending is None, f"{where}: a second value"
        return working if working != before else begun

    def _no_failures(self, where: str) -> None:
        counted = self.client.failures() if self.client else {}
        if not self.overlap:
            counted.pop("failed_logins", None)
        assert not any(counted.values()), f"{where}: {counted}"

    def _quiet(self, where: str) -> None:
        """After the end nothing fails, also where some logins did meanwhile."""
        if self.client:
            self._no_failures(where)
            before = self.client.failures()
            self.client.work(10)
            assert self.client.failures() == before, where

    def _remember(self) -> None:
        if self._document():
            self.values.update(self.estate.secrets())

    def finish(self) -> None:
        """Nothing of all the values is anywhere; and the table."""
        places = {"output": "".join(self.outputs), "ledger": self.estate.ledger_path.read_text()}
        places["ansible.log"] = self.estate.ansible.log()
        places["postgres.log"] = self.estate.database.server.log()
        places.update(
            {
                str(path): path.read_text(errors="replace")
                for path in self.estate.ansible.leftovers()
            }
        )
        if self.estate.pooler:
            places["pgbouncer.log"] = self.estate.pooler.log()
        for value in self.values:
            assert [name for name, text in places.items() if value in text] == []
        for playbook, cells in self.cells.items():
            print(f"{self.estate.strategy:16} {playbook:11} {len(cells):3} cuts")
            print("".join(f"    {cell}\n" for cell in cells), end="")


Maker = Callable[[str], Course]


@pytest.fixture
def course(
    scratch: Path,
    database: Database,
    ansible: Ansible,
    pgbouncer_factory: Callable[..., PgBouncer],
) -> Iterator[Maker]:
    """Makes an adopted credential behind PgBouncer whose application runs."""
    clients = []

    def maker(strategy: str) -> Course:
        first = f"{database.name}_a"
        password = database.create_login(first)
        users = {first: database.verifier(first) or ""}
        pooler = pgbouncer_factory(
            database.server, auth="userlist", database=database.name, users=users
        )
        estate = Estate(scratch, database, ansible, pooler, strategy=strategy)
        estate.hand_over(first, password)
        estate.adopt()
        clients.append(estate.client.start())
        return Course(estate, estate.client)

    yield maker
    for client in clients:
        client.stop()


@pytest.mark.parametrize(
    "strategy", [pytest.param("alternate_roles", marks=pytest.mark.tarball), "new_role"]
)
def test_rotated_and_retired(course: Maker, strategy: str) -> None:
    made = course(strategy)
    made.settle()
    rotation, rotated = made.undisturbed("rotate_db", FORCE)
    retiring, retired = made.undisturbed("retire_due")
    made.cut("rotate_db", chosen(rotation), rotated, lambda: made.run("retire_due"))
    made.cut("retire_due", chosen(retiring), retired, lambda: made.run("rotate_db", FORCE))
    made.finish()


def test_alternate_roles_rolled_back(course: Maker) -> None:
    made = course("alternate_roles")

    def rotate() -> None:
        made.run("retire_due")
        made.run("rotate_db", FORCE)

    made.run("rotate_db", FORCE)
    points, end = made.undisturbed("rollback")
    rotate()
    made.cut("rollback", chosen(points), end, rotate)
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
    made.cut("rotate_db", everywhere(rotation), rotated, lambda: made.run("retire_due"))
    made.cut("rollback", chosen(returning), returned, rotate)
    made.cut("retire_due", chosen(retiring), retired)
    made.finish()


def test_abandoned(course: Maker) -> None:
    made = course("alternate_roles")

    def leave() -> None:
        made.estate.killed("rotate_db", "Look once more, and promote the proved value", extra=FORCE)

    leave()
    points, end = made.undisturbed("abandon")
    leave()
    made.cut("abandon", chosen(points), end, leave)
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
    made.cut("adopt", chosen(points), end, forget)
    assert made.estate.secrets() == value
    made.finish()
