# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults at every write of every playbook: what is in use goes on working, and running the same again ends it.

Where the faults go is read off an undisturbed run, so that a write that is added later has its fault, too.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from estate.client import read_credential
from estate.load import LoadClient
from rotation import FORCE, WATCHED, Estate, Point
from writes import write_of

STAGES = ("pending", "current", "previous")
POOLER = ("RELOAD",)
_STATEMENT = re.compile(r"LOG:  statement: (.*(?:\n\t.*)*)")


def changed(before: dict[str, Any], now: dict[str, Any]) -> set[str]:
    """The names of files that are new, gone or different."""
    paths = {path for path in {*before, *now} if before.get(path) != now.get(path)}
    return {Path(path).name for path in paths}


def after(seconds: float, look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is seen a moment later."""
    time.sleep(seconds)
    return look()


def statements(log: str) -> list[str]:
    """What a server's log (log_statement=all) says was changed, in the words of the points."""
    found = [write_of(text) for text in _STATEMENT.findall(log)]
    return [words for words in found if words]


def inside(point: Point) -> bool:
    """Whether it is a write inside of a task."""
    return point.moment not in ("before", "after", "after failure")


def cuts(points: list[Point]) -> list[Point]:
    """Where a power cut makes a difference: before the first task, and before each write. In between, nothing is different."""
    return [points[0], *(point for point in points if inside(point))]


def lost_answers(points: list[Point]) -> list[Point]:
    """Each statement and request, done, and its answer lost."""
    asked = [point for point in points if point.moment.startswith(("sql ", "http "))]
    return [replace(point, moment=f"lost {point.moment}") for point in asked]


def chosen(points: list[Point], share: int = 1) -> list[Point]:
    """The points that are tried: all of them with ``make soak``.

    :param share: every how manieth, where the same is tried all over in other surroundings.
    """
    return points if os.environ.get("KEYTURN_SOAK") else points[::share]


@dataclass
class Course:
    """An estate that is cut again and again.

    :ivar cells: what was cut where, for the table.
    :ivar values: every secret value that was seen on the way.
    :ivar verifiers: what the server knew of values that the keyring had.
    :param tell: gets a row of the table.
    """

    estate: Estate
    client: LoadClient | None = None
    cells: dict[str, list[str]] = field(default_factory=dict)
    values: set[str] = field(default_factory=set)
    outputs: list[str] = field(default_factory=list)
    tell: Callable[[dict[str, Any]], None] = print
    verifiers: set[str] = field(default_factory=set)

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
            # The application replaces its status again and again.
            "files": sorted(
                path.name
                for place in self._places()
                for path in place.glob(".*")
                if path.suffix != ".part"
            ),
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
        """Run it to its end; returns its points and what it left.

        What was written is seen from outside, too: a write that no point tells of would have no fault.
        """
        moving = changed(self._files(), after(0.3, self._files))
        before, logged = self._files(), len(self.estate.database.server.log())
        points = self.estate.traced(playbook, extra)
        told = {point.moment.split(" ")[1] for point in points if inside(point)}
        untold = changed(before, self._files()) - moving - {"trace"} - told
        assert not untold, f"{playbook}: written, and no point tells of it: {sorted(untold)}"
        seen = statements(self.estate.database.server.log()[logged:])
        asked = [
            point.moment.split(" ", 1)[1].rpartition(" ")[0]
            for point in points
            if point.moment.startswith("sql ")
        ]
        asked = [words for words in asked if words not in POOLER]
        assert sorted(seen) == sorted(asked), f"{playbook}: the server was told {seen}"
        self._remember()
        return points, self.state()

    def _files(self) -> dict[str, tuple[int, int, int]]:
        """Every file that a run could write, but Ansible's own."""
        own = self.estate.ansible.work_dir
        found = {}
        for place in self._places():
            for path in place.rglob("*"):
                if path.is_file() and own not in path.parents:
                    status = path.stat()
                    found[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns)
        return found

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
        now = self.state()
        assert now == end, f"{where}\n{now}\n{end}\n{done.output}"
        self._quiet(where)
        self._remember()
        if playbook != "abandon":
            assert not begun or self._rotation() == begun, f"{where}: a second rotation"
        made = int(playbook == "rotate_db")
        assert self._stages() == stages + made, f"{where}: a second value"
        return passed

    def lose(
        self,
        playbook: str,
        points: Iterable[Point],
        end: dict[str, Any],
        again: Callable[[], object],
    ) -> None:
        """Run it, losing the answer at one of these points, and come to the undisturbed end, each in a course of its own.

        :param again: makes the state before.
        """
        for number, point in enumerate(points):
            if number:
                again()
            before, where = (
                self._rotation(),
                f"{self.estate.strategy}, {playbook}: {point}",
            )
            stages, lost = self._stages(), self.estate.folder / "lost"
            extra = self._extra(playbook, before)
            done = self.estate.cut(playbook, point, extra, KEYTURN_LOST=str(lost))
            self.outputs.append(done.output)
            assert done.returncode in (0, 2), f"{where}\n{done.output}"
            assert lost.exists(), f"{where}: no answer was lost"
            lost.unlink()
            self.cells.setdefault(playbook, []).append(str(point))
            self._survives(where, before, "")
            made = int(playbook == "rotate_db")
            if done.returncode == 2:
                made += self._settle_failed(playbook, before)
            assert self._stages() == stages + made, f"{where}: a second value"
            now = self.state()
            assert now == end, f"{where}\n{now}\n{end}\n{done.output}"
            self._quiet(where)
            self._remember()

    def _settle_failed(self, playbook: str, before: str) -> int:
        """What a person does after a failure: the same again, or, where the value was returned from, retire and rotate.

        :return: how many rotations were begun anew.
        """
        document = self._document()
        if document and document.previous and document.previous.failed and playbook == "rotate_db":
            self.run("retire_due")
            self.run("rotate_db", FORCE)
            return 1
        self.run(playbook, self._extra(playbook, before))
        return 0

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
        self._nothing_unwritten(where, document)
        if document is None or document.current is None:
            assert self.estate.database.accepts(*self.estate.first), where
            return ""
        accepted = {name: self.estate.accepts(name) for name in STAGES if document.stage(name)}
        assert accepted["current"] or (accepted.get("previous") and not self.overlap), where
        working = document.pending.rotation_id if document.pending else self._rotation()
        assert not begun or working == begun or document.pending is None, f"{where}: a second value"
        return working if working != before else begun

    def _nothing_unwritten(self, where: str, document: Document | None) -> None:
        """The server knows no value that the keyring never had: it would be lost."""
        stages = [stage for name in STAGES if document and (stage := document.stage(name))]
        for stage in [*stages, *(document.retained if document else ())]:
            verifier = stage.secret("verifier")
            self.verifiers.update([verifier.reveal()] if verifier else [])
        rows = self.estate.database.execute(
            "SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE %s AND rolpassword IS NOT NULL",
            (f"{self.estate.prefix}%",),
        )
        first = self.estate.first[0]
        lost = [name for name, verifier in rows if verifier not in self.verifiers and name != first]
        assert not lost, f"{where}: the server has a value that the keyring never had, of {lost}"

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
        self._tell()

    def _tell(self) -> None:
        """Tell what was tried, and keep it for the page where that is asked for."""
        auth = self.estate.pooler.auth if self.estate.pooler else "none"
        for playbook, cells in self.cells.items():
            row = {"strategy": self.estate.strategy, "pooler": auth, "playbook": playbook}
            name = "-".join(["faults", *row.values()])
            self.tell({**row, "faults": cells})
            if pages := os.environ.get("KEYTURN_PAGES"):
                Path(pages, f"{name}.json").write_text(json.dumps({**row, "faults": cells}))
