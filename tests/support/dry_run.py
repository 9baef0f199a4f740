# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every playbook in check mode and then for real, from every state that runs, power cuts and failures can leave behind.

No state is listed here. A run writes down the world as it is before each of its writes and after each of its tasks: that is what
a power cut there leaves behind. Each such world that has no equal yet is a state to begin from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dry_estate import BROKEN, DryEstate
from dry_state import State
from dry_stream import DryStream
from dry_token import TokenEstate
from likeness import Facts, Likeness
from predicted import Task, compare, read_tasks
from rotation import PLUGINS
from world import World, differences, read_world, write_files

ROTATIONS = ("rotate_db", "rotate", "rotate_stream_keys")
Subject = DryEstate | TokenEstate | DryStream


@dataclass
class Cell:
    """One playbook from one state: how the run ended, and what was not as predicted.

    :param tried: not where a run from another state saw all that this one would see.
    """

    state: State
    playbook: str
    ended: str
    faults: list[str] = field(default_factory=list)
    tried: bool = True


@dataclass
class Walk:
    """The states of one estate, and the cells that were tried.

    :param most: how many cells are tried at most; all of them when none.
    :ivar ends: the states that a run came to by itself.
    """

    estate: Subject
    most: int | None = None
    states: dict[str, State] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    dry_code: int = 0
    ends: set[str] = field(default_factory=set)
    likeness: Likeness = field(default_factory=Likeness)
    _known: dict[tuple[str, str], Cell] = field(default_factory=dict)
    _uses: Counter[Any] = field(default_factory=Counter)
    _places: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reader = self.estate.reader
        self.records = self.estate.folder.parent / "records"
        self.records.mkdir(mode=0o700, exist_ok=True)

    def world(self) -> World:
        """The world as it is now."""
        return read_world(self.estate.places, self.estate.login)

    def found(self, world: World, way: str) -> State:
        """The state that a world is; a new one is one to begin from."""
        state = self.reader.state(world, way)
        return self.states.setdefault(state.key, state)

    def restore(self, state: State) -> None:
        """Make the world what it was."""
        now = self.world()
        if now == state.world:
            return
        self.estate.put_back(state.world, now)
        write_files(state.world["files"], self.estate.places)
        self.estate.reload(state.world)
        left = differences(state.world, self.world())
        assert left == [], f"{state.name}: not put back: {left}"

    def run(
        self, playbook: str, name: str, *arguments: str, extra: Any = None, moments: bool = True
    ) -> tuple[int, Path]:
        """Run a playbook and record it; how it ended, and the record."""
        what, to = self.records / f"{name}.json", self.records / f"{name}.jsonl"
        for path in (what, to):
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
        estate = self.estate
        hosts = {estate.credential: {"places": estate.places, "login": estate.login}}
        recorded = {
            "to": str(to),
            "hosts": hosts,
            "moments": moments,
            "states": moments,
            "heard": sorted(self.reader.told_by()),
        }
        what.write_text(json.dumps(recorded))
        env = {
            "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS),
            "ANSIBLE_CALLBACKS_ENABLED": "record,plant"
            if "KEYTURN_PLANT" in self.env
            else "record",
            "KEYTURN_RECORD": str(what),
            **self.env,
        }
        done = self.estate.run(playbook, *arguments, extra=extra, **env)
        return done.returncode, to

    def dry_faults(self, state: State, playbook: str, real: Path | None = None) -> list[str]:
        """What check mode changed; and where it said something else than a run did, if there is one already."""
        self.restore(state)
        console = self.estate.console()
        code, dry = self.run(
            playbook,
            "dry",
            "--check",
            "--diff",
            extra=self.estate.variables_of(playbook),
            moments=False,
        )
        faults = [f"wrote {name}" for name in differences(state.world, self.world())]
        faults += ["PgBouncer was told something"] if self.estate.console() != console else []
        self.dry_code = code
        return faults + (self._compared(state, dry, real) if real else [])

    def _compared(self, state: State, dry: Path, real: Path) -> list[str]:
        files = (self.reader.keyring, self.reader.ledger)
        known = [self.reader.text(state.world, path) for path in files]
        known += [row[0] for row in state.world.get("roles", ())]
        return compare(read_tasks(dry), read_tasks(real), "\n".join(known), self.estate.prefix)

    def try_out(self, state: State, playbook: str) -> Cell:
        """In check mode, and then for real, from that state."""
        faults = self.dry_faults(state, playbook)
        if faults:
            self.restore(state)
        code, real = self.run(playbook, "real", "--diff", extra=self.estate.variables_of(playbook))
        if code != self.dry_code:
            faults.append(f"ended with {self.dry_code}, then with {code}")
        faults += self._compared(state, self.records / "dry.jsonl", real)
        way = self._learn(real, f"{playbook} from: {state.name}")
        cell = Cell(state, playbook, _ended(code, read_tasks(real)), faults)
        if not faults:
            told_by = self.reader.told_by()
            seen = _seen(self.records / "dry.jsonl", told_by) | _seen(real, told_by)
            self.likeness.keep(playbook, state.facts, seen, way, cell.ended)
        self.cells.append(cell)
        return cell

    def break_it(self, state: State, playbook: str, how: str) -> None:
        """For real, with something failing on the way: for the states that this leaves."""
        self.restore(state)
        extra = {**(self.estate.variables_of(playbook) or {}), **self.estate.breaking(how)}
        _code, record = self.run(playbook, "broken", extra=extra)
        self._learn(record, f"{playbook} with {how} from: {state.name}")

    def _learn(self, record: Path, way: str) -> list[Facts]:
        """Every world on the way is a state that a power cut leaves; returns their facts."""
        found = []
        for line in map(json.loads, record.read_text().splitlines()):
            if "state" not in line:
                continue
            moment = f"'{line['inside']}', {line['moment']}" if "inside" in line else ""
            found.append(
                self.found(line["state"], f"{way}, cut before {moment}" if moment else way)
            )
        found.append(self.found(self.world(), way))
        self.ends.add(found[-1].key)
        return [state.facts for state in found]

    def _next(self) -> tuple[State, str] | None:
        """The cell that adds most, of those from where runs end and of those from where they were cut in turn."""
        tried = {(cell.state.key, cell.playbook) for cell in self.cells if cell.tried}
        self._places = {key: place for place, key in enumerate(self.states)}
        left = [
            (state, playbook)
            for state in self.states.values()
            for playbook in self.estate.playbooks
            if (state.key, playbook) not in tried and not self._is_known(state, playbook)
        ]
        return min(left, key=self._worth, default=None)

    def _is_known(self, state: State, playbook: str) -> bool:
        """Whether a run that was tried saw all that this one would see. Every tenth of these is tried all the same."""
        key = (state.key, playbook)
        if key not in self._known:
            like = self.likeness.like(playbook, state.key, state.facts, self.states.__contains__)
            if like is None:
                return False
            self._known[key] = Cell(state, playbook, like.ended, tried=len(self._known) % 10 == 0)
        return not self._known[key].tried

    def _worth(self, cell: tuple[State, str]) -> tuple[Any, ...]:
        state, playbook = cell
        uses, alike = self._uses[state.key], self._uses[playbook, _statuses(state)]
        ended = state.key in self.ends
        turn = ended == bool(len(self.cells) % 2)
        again = _idle(state, playbook) and self._uses["idle", playbook] > 0
        if ended:
            place = self._places[state.key]
            return bool(alike), turn, again, uses // 3, place, self.estate.playbooks.index(playbook)
        return bool(uses and alike), turn, again, uses, alike + self._uses[playbook]

    def go(self) -> None:
        """Try cells until there is none, or enough of them."""
        while (self.most is None or len(self.cells) < self.most) and (chosen := self._next()):
            state, playbook = chosen
            self._uses.update([state.key, (playbook, _statuses(state)), playbook])
            self._uses["idle", playbook] += _idle(state, playbook)
            cell = self.try_out(state, playbook)
            like = self._known.get((state.key, playbook))
            if like and like.ended != cell.ended:
                cell.faults.append(f"{cell.ended}, and {like.ended} where it saw the same")
            if cell.ended == "done" and playbook in (*ROTATIONS, "rollback"):
                self._break(state, playbook)
        self.cells += [cell for cell in self._known.values() if not cell.tried]

    def _break(self, state: State, playbook: str) -> None:
        """Where it succeeds, it can fail; once, or where all cells are tried once from each combination of statuses."""
        for how in BROKEN:
            key = (playbook, how, _statuses(state) if self.most is None else "")
            if not self._uses[key]:
                self._uses[key] += 1
                self.break_it(state, playbook, how)


def _seen(record: Path, told_by: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The names of the facts that a run looked at."""
    lines = map(json.loads, record.read_text().splitlines())
    return {fact for line in lines if "read" in line for fact in told_by[line["read"]]}


def _statuses(state: State) -> str:
    """A state without what the server and the consumers know of it."""
    return state.name.partition("; ledger line")[0]


def _idle(state: State, playbook: str) -> bool:
    """Whether there is nothing for a playbook to do: most of these runs end alike."""
    stages = state.facts["stages"]
    kind = playbook.removesuffix("_stream_keys")
    needed = {"rollback": "previous", "retire_due": "previous", "abandon": "pending"}.get(kind)
    if playbook in ("adopt", "status"):
        return bool(stages) or playbook == "status"
    return needed is not None and needed not in stages


def _ended(code: int, tasks: list[Task]) -> str:
    """How a run ended: done, nothing to do, or refused."""
    if code:
        return "refused"
    changed = any(task.result.get("changed") for task in tasks)
    return "done" if changed else "nothing"
