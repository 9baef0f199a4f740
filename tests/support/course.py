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
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from estate.load import LoadClient
from estate.playbook import Ansible, PlaybookResult
from leaks.disturbed import leaked
from left import STAGES, state_of
from points import Kinds, inside, lost_answers, requests
from rotation import FORCE, WATCHED, Estate, Point
from writes import name_of, write_of

POOLER = ("RELOAD",)
# Seconds that a call takes at most where nobody answers any more: the steps after it ask, too.
PATIENCE = dict.fromkeys(
    ("VAULT_CLIENT_TIMEOUT", "KEYTURN_AWS_TIMEOUT", "KEYTURN_K8S_TIMEOUT"), "1"
)
# A status of success, an exit code of 0, or what PostgreSQL says of a statement that was done.
_DONE = re.compile(r": (2\d\d|0|[A-Z ]+( \d+)*)$")
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


@dataclass
class Course:
    """An estate that is cut again and again.

    :ivar cells: what was cut where, for the table.
    :ivar values: every secret value that was seen on the way.
    :ivar verifiers: what the server knew of values that the keyring had.
    :ivar last: the last point of each playbook, after its last write.
    :ivar told: the steps of each playbook that the audit log tells of.
    :ivar kinds: of the points that were chosen so far.
    :param tell: gets a row of the table.
    :param command: the runs are the command's, and not forked.
    """

    estate: Estate
    client: LoadClient | None = None
    cells: dict[str, list[str]] = field(default_factory=dict)
    values: set[str] = field(default_factory=set)
    outputs: list[str] = field(default_factory=list)
    tell: Callable[[dict[str, Any]], None] = print
    verifiers: set[str] = field(default_factory=set)
    command: bool = False
    last: dict[str, Point] = field(default_factory=dict)
    told: dict[str, set[str]] = field(default_factory=dict)
    kinds: Kinds = field(default_factory=Kinds)

    @property
    def kind(self) -> str:
        """Where the keyring is kept, and whether the command itself is run."""
        return f"{self.estate.kept.kind}{', command' if self.command else ''}"

    @property
    def overlap(self) -> bool:
        """Whether old and new are accepted together."""
        return self.estate.strategy != "same_role"

    def state(self) -> dict[str, Any]:
        """What an end can be known by."""
        return state_of(self.estate)

    def _places(self) -> list[Path]:
        """Where files are replaced."""
        pooler = self.estate.pooler
        return [self.estate.folder, *([pooler.userlist_path.parent] if pooler else [])]

    def by_command(self, ansible: Ansible) -> None:
        """From now on each run is the command that a person types."""
        self.estate.ansible, self.command = ansible, True

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
        versions, lines = self.estate.kept.versions(), len(self.estate.phases())
        points = self.estate.traced(playbook, extra)
        told = {point.moment.split(" ")[1] for point in points if inside(point)}
        status = self.estate.client.status_path.name
        # What the application under load writes of itself, a new file in the place of the old one, and the pooler of its logins.
        pooler = self.estate.pooler
        own = {status, f".{status}.part", *([pooler.log_path.name] if pooler else [])}
        untold = changed(before, self._files()) - moving - own - {"trace"} - told
        assert not untold, f"{playbook}: written, and no point tells of it: {sorted(untold)}"
        seen = statements(self.estate.database.server.log()[logged:])
        asked = [
            point.moment.split(" ", 1)[1].rpartition(" ")[0]
            for point in points
            if point.moment.startswith("sql ")
        ]
        asked = [words for words in asked if words not in POOLER]
        assert sorted(seen) == sorted(asked), f"{playbook}: the server was told {seen}"
        written = Counter(self.estate.kept.versions())
        written.subtract(versions)
        stored = sorted(name_of(place) for place in written.elements())
        sent = requests(points) if self.estate.kept.counts else []
        assert stored == sorted(sent), f"{playbook}: the store was told of {stored}"
        self._remember()
        self.last[playbook] = points[-1]
        self.told[playbook] = {*self.estate.phases()[lines:]} - {"claim"}
        return points, self.state()

    def _files(self) -> dict[str, tuple[int, int, int]]:
        """Every file that a run could write, but Ansible's own."""
        own = set(self.estate.folder.glob("ansible*"))
        found = {}
        for place in self._places():
            for path in place.rglob("*"):
                if path.is_file() and not own & set(path.parents):
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
        """Run it, cut (or silenced) at each of these points in turn, and then to its end, which is the undisturbed one.

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
        before, stages, lines = self._rotation(), self._stages(), len(self.estate.phases())
        begun, where, passed = "", f"{self.estate.strategy}, {playbook}", 0
        for point in points:
            done = self._disturb(playbook, point, before)
            if not self._came_to(point, done):
                break
            passed += 1
            where = f"{self.estate.strategy}, {playbook} cut {point}"
            self.cells.setdefault(playbook, []).append(str(point))
            begun = self._survives(where, before, begun)
        if done.returncode:
            ended, there = point == self.last[playbook], self.estate.snapshot()
            extra = self._extra(playbook, before)
            done = self.estate.run(playbook, extra=extra, **WATCHED)
            self.outputs.append(done.output)
            assert not ended or self.estate.snapshot() == there, f"{where}: written again"
        done.check()
        now = self.state()
        assert now == end, f"{where}\n{now}\n{end}\n{done.output}"
        self._told_all(where, playbook, lines)
        self._quiet(where)
        self._remember()
        if playbook != "abandon":
            assert not begun or self._rotation() == begun, f"{where}: a second rotation"
        made = int(playbook == "rotate_db")
        assert self._stages() == stages + made, f"{where}: a second value"
        return passed

    def _disturb(self, playbook: str, point: Point, before: str) -> PlaybookResult:
        """Run it with a fault."""
        self._lost.unlink(missing_ok=True)
        extra = self._extra(playbook, before)
        patience = PATIENCE if point.moment.startswith("silent ") else {}
        done = self.estate.cut(playbook, point, extra, KEYTURN_LOST=str(self._lost), **patience)
        self.outputs.append(done.output)
        return done

    @property
    def _lost(self) -> Path:
        """Where a run tells of the answers that it lost."""
        return self.estate.folder / "lost"

    def _came_to(self, point: Point, done: PlaybookResult) -> bool:
        """Whether the fault was met: the run was killed, or a request was done and everything silent after it."""
        if not point.moment.startswith("silent "):
            return done.returncode == -9
        if not self._answers():
            return False
        meant = ("no connection to", "without an answer", "somebody else wrote there first")
        told = any(words in done.stdout for words in meant)
        assert done.returncode == 2 and told, f"{point}\n{done.output}"
        return True

    def _answers(self) -> list[str]:
        """What was lost since the last fault; each is the answer of something that was done."""
        told = self._lost.read_text().splitlines() if self._lost.exists() else []
        self._lost.unlink(missing_ok=True)
        undone = [line for line in told if not _DONE.search(line)]
        assert not undone, f"lost, and not done: {undone}"
        return [line.rpartition(": ")[0] for line in told]

    def lose_all(self, playbook: str, points: list[Point], end: dict[str, Any]) -> None:
        """Run it, losing the answer of each request that changes something: it is at its end all the same.

        :param points: those of an undisturbed run.
        """
        where, before = f"{self.estate.strategy}, {playbook}: every answer lost", self._rotation()
        stages, lines = self._stages(), len(self.estate.phases())
        done = self._disturb(playbook, Point("", None, "lost http *"), before).check()
        lost = self._answers()
        asked = [point for point in points if point.moment.startswith("http ")]
        assert lost == [point.moment for point in asked], f"{where}: {lost}"
        cells = [str(point) for point in lost_answers(asked)]
        self.cells.setdefault(playbook, []).extend(cells)
        self._survives(where, before, "")
        now = self.state()
        assert now == end, f"{where}\n{now}\n{end}\n{done.output}"
        assert self._stages() == stages + int(playbook == "rotate_db"), f"{where}: a second value"
        self._told_all(where, playbook, lines)
        self._quiet(where)

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
            stages, lines = self._stages(), len(self.estate.phases())
            done = self._disturb(playbook, point, before)
            assert done.returncode in (0, 2), f"{where}\n{done.output}"
            assert self._answers(), f"{where}: no answer was lost"
            self.cells.setdefault(playbook, []).append(str(point))
            self._survives(where, before, "")
            made = int(playbook == "rotate_db")
            if done.returncode == 2:
                made += self._settle_failed(playbook, before)
            assert self._stages() == stages + made, f"{where}: a second value"
            now = self.state()
            assert now == end, f"{where}\n{now}\n{end}\n{done.output}"
            self._told_all(where, playbook, lines)
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

    def _told_all(self, where: str, playbook: str, lines: int) -> None:
        """The audit log tells of each step that it tells of without a fault.

        :param lines: how many there were before.
        """
        missing = self.told[playbook] - {*self.estate.phases()[lines:]}
        assert not missing, f"{where}: the audit log does not tell of {sorted(missing)}"

    def _stages(self) -> int:
        return self.estate.phases().count("stage")

    def _rotation(self) -> str:
        """The rotation that is in use."""
        document = self._document()
        return document.current.rotation_id if document and document.current else ""

    def _document(self) -> Document | None:
        return self.estate.known()

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
        stages = [*document.stages.values(), *document.retained] if document else []
        for stage in stages:
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
        """Nothing of all the values is anywhere, in no form; and the table."""
        # The first value is in no log because whoever made the role saw to it.
        found = leaked(self.estate, self.values, self.verifiers)
        assert not found, found
        self._tell()

    def _tell(self) -> None:
        """Tell what was tried, and keep it for the page where that is asked for."""
        auth = self.estate.pooler.auth if self.estate.pooler else "none"
        for playbook, cells in self.cells.items():
            row = {"strategy": self.estate.strategy, "pooler": auth, "keyring": self.kind}
            row["playbook"] = playbook
            name = "-".join(["faults", *row.values()])
            self.tell({**row, "faults": cells})
            if pages := os.environ.get("KEYTURN_PAGES"):
                Path(pages, f"{name}.json").write_text(json.dumps({**row, "faults": cells}))
