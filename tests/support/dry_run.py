# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every playbook in check mode and then for real, from every state that runs, power cuts and failures can leave behind.

No state is listed here. A run writes down the world as it is before each of its writes and after each of its tasks: that is what
a power cut there leaves behind. Each such world that has no equal yet is a state to begin from.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils import _scram
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    lagging,
    parse_consumers,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    STAGES,
    Document,
    Stage,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from likeness import Facts, Likeness, digest
from predicted import Task, compare, read_tasks
from reads import SERVER
from rotation import CREDENTIAL, FORCE, PLUGINS, Estate
from world import Roles, World, differences, read_world, write_files

PLAYBOOKS = ("rotate_db", "retire_due", "rollback", "abandon", "adopt", "status")
BROKEN = ("a consumer that fails", "a probe that fails")


class DryEstate(Estate):
    """A credential whose application is a file that tells how often it was told, and whose owner's mail is another one."""

    def definition(self) -> dict[str, Any]:
        """The credential's host_vars."""
        found = super().definition()
        told = f"echo told >> {self.folder}/told; test ! -e {self.folder}/broken"
        found["keyturn_consumers"][-1]["argv"] = ["sh", "-c", told]
        mail = {"type": "command", "argv": ["sh", "-c", f"cat >> {self.folder}/mail"]}
        found["keyturn_policy"] = {**found["keyturn_policy"], "contacts": [mail]}
        return found

    def breaking(self, how: str) -> dict[str, Any]:
        """Variables of a run in which something fails after the new value was made."""
        definition = self.definition()
        if how == BROKEN[0]:
            consumers = definition["keyturn_consumers"]
            failing = {**consumers[-1], "argv": ["sh", "-c", "exit 1"]}
            return {"keyturn_consumers": [*consumers[:-1], failing]}
        document = self.document() if self.keyring_path.exists() else None
        used = document.current.text("username") if document and document.current else ""
        check = f"SELECT 1 / (session_user = '{used or self.roles[0]}')::int"
        probe = {**definition["keyturn_probes"][0], "check": [check]}
        return {"keyturn_probes": [probe], "keyturn_wait": "1s"}


@dataclass(frozen=True)
class State:
    """A state of the credential.

    :param name: what a person would say of it; the same for states that differ only in what is not written there.
    :param way: how it was come to.
    """

    key: str
    name: str
    way: str
    world: World
    facts: Facts


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


def _role_facts(stage: Stage, roles: Mapping[str, Any]) -> tuple[Any, ...]:
    """Whether the server knows this stage's role, lets it log in, and with its password."""
    row = roles.get(stage.text("username"))
    password, verifier = stage.secret("password"), row["rolpassword"] if row else None
    right = bool(password and verifier and _scram.matches(password.reveal(), verifier))
    return (row is not None, bool(row and row["rolcanlogin"]), right)


class Reader:
    """Tells which state a world is."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        definition = estate.definition()
        self._sinks = parse_sinks(definition["keyturn_sinks"])
        self._consumers = parse_consumers(definition["keyturn_consumers"])

    def text(self, world: World, path: Path) -> str:
        """A file's text in that world; empty when it is not there."""
        kept = world["files"].get(str(path))
        return base64.b64decode(kept["content"]).decode() if kept else ""

    def document(self, world: World) -> Document | None:
        """The keyring in that world."""
        text = self.text(world, self.estate.keyring_path)
        return parse_document(text) if text else None

    def facts(self, world: World) -> dict[str, Any]:
        """What matters of a world, with stages for names."""
        document = self.document(world)
        roles = {
            row[0]: {"rolcanlogin": row[5], "rolpassword": row[9]}
            for row in world["roles"]
            if row[0].startswith(self.estate.prefix)
        }
        stages = {name: stage for name in STAGES if document and (stage := document.stage(name))}
        used = {stage.text("username") for stage in stages.values()}
        others = sorted(
            [bool(row["rolcanlogin"]), row["rolpassword"] is not None]
            for name, row in roles.items()
            if name not in used
        )
        return {
            "stages": {
                name: [stage.status, stage.failed, stage.adopted, stage.retire_after is not None]
                for name, stage in stages.items()
            },
            "claim": bool(document and document.claim),
            "accepted": {name: _role_facts(stage, roles) for name, stage in stages.items()},
            "other roles": others,
            "sinks": self._shown(world, stages, self.estate.env_file),
            "lagging": lagging(document, self._sinks, self._consumers) if document else [],
            "pooler": self._shown(world, stages, self.estate.pooler.userlist_path)
            if self.estate.pooler
            else [],
            "ledger": self._ledger(world, document),
        }

    def _shown(self, world: World, stages: Mapping[str, Stage], path: Path) -> list[str]:
        """Which stages a file holds."""
        text = self.text(world, path)
        found = []
        for name, stage in stages.items():
            for key in ("password", "verifier"):
                secret = stage.secret(key)
                if secret and secret.reveal() in text:
                    found.append(f"{name} {key}")
        return found

    def _ledger(self, world: World, document: Document | None) -> str:
        lines = len(self.text(world, self.estate.ledger_path).splitlines())
        head = document.ledger.number if document and document.ledger else 0
        return "whole" if lines == head else "line lost"

    def state(self, world: World, way: str) -> State:
        """The state that a world is."""
        facts = self.facts(world)
        return State(digest(facts), _spoken(facts), way, world, facts)

    def told_by(self) -> dict[str, tuple[str, ...]]:
        """For each file, and for the servers, the facts that a look at it can depend on."""
        estate = self.estate
        found = {
            estate.keyring_path.name: ("stages", "claim", "lagging"),
            estate.ledger_path.name: ("ledger",),
            estate.env_file.name: ("sinks",),
            SERVER: ("accepted", "other roles", "pooler"),
        }
        if estate.pooler:
            for path in (estate.pooler.userlist_path, estate.pooler.ini_path):
                found[path.name] = ("pooler",)
        return found


def _spoken(facts: Mapping[str, Any]) -> str:
    parts = []
    for name, (status, failed, adopted, due) in facts["stages"].items():
        words = [status, *["failed"] * failed, *["adopted"] * adopted]
        if name == "previous" and due:
            words.append("due")
        known, login, right = facts["accepted"][name]
        server = "no role" if not known else "refused" if not (login and right) else "accepted"
        parts.append(f"{name} {' '.join(words)} ({server})")
    told = ", ".join(facts["lagging"])
    rest = [
        *([f"{told} not told"] if told else []),
        *(["claimed by a dead run"] if facts["claim"] else []),
        *(["ledger line lost"] if facts["ledger"] != "whole" else []),
    ]
    return "; ".join([*(parts or ["nothing"]), *rest])


@dataclass
class Walk:
    """The states of one estate, and the cells that were tried.

    :param most: how many cells are tried at most; all of them when none.
    :ivar ends: the states that a run came to by itself.
    """

    estate: DryEstate
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
        server = self.estate.database.server
        self.login = {
            "host": "127.0.0.1",
            "port": server.port,
            "dbname": self.estate.database.name,
            "user": server.superuser,
            "password": server.password,
        }
        pooler = self.estate.pooler
        self.places = [str(self.estate.folder)]
        self.places += [str(pooler.userlist_path), str(pooler.ini_path)] if pooler else []
        self.reader = Reader(self.estate)
        self.roles = Roles(self.login, self.estate.prefix)
        self.records = self.estate.folder.parent / "records"
        self.records.mkdir(mode=0o700, exist_ok=True)

    def world(self) -> World:
        """The world as it is now."""
        return read_world(self.places, self.login)

    def found(self, world: World, way: str) -> State:
        """The state that a world is; a new one is one to begin from."""
        state = self.reader.state(world, way)
        return self.states.setdefault(state.key, state)

    def restore(self, state: State) -> None:
        """Make the world what it was."""
        now = self.world()
        if now == state.world:
            return
        self.roles.put_back(state.world, now)
        write_files(state.world["files"], self.places)
        self._reload(state)
        left = differences(state.world, self.world())
        assert left == [], f"{state.name}: not put back: {left}"

    def _reload(self, state: State) -> None:
        """Have PgBouncer read its userlist, which it leaves out while size, owner and the second of the last change are the same."""
        pooler = self.estate.pooler
        if not pooler:
            return
        os.utime(pooler.userlist_path, (0, 0))
        pooler.reload()
        changed = state.world["files"][str(pooler.userlist_path)]["mtime"]
        os.utime(pooler.userlist_path, ns=(changed, changed))
        pooler.reload()

    def run(
        self, playbook: str, name: str, *arguments: str, extra: Any = None, moments: bool = True
    ) -> tuple[int, Path]:
        """Run a playbook and record it; how it ended, and the record."""
        what, to = self.records / f"{name}.json", self.records / f"{name}.jsonl"
        for path in (what, to):
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
        hosts = {CREDENTIAL: {"places": self.places, "login": self.login}}
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

    def variables(self, playbook: str) -> Any:
        """The variables that a playbook needs."""
        return {"rotate_db": FORCE, "adopt": self.estate.adoption}.get(playbook)

    def console(self) -> Any:
        """What PgBouncer itself says of its users and settings."""
        pooler = self.estate.pooler
        return [pooler.show("USERS"), pooler.show("CONFIG")] if pooler else None

    def dry_faults(self, state: State, playbook: str, real: Path | None = None) -> list[str]:
        """What check mode changed; and where it said something else than a run did, if there is one already."""
        self.restore(state)
        console = self.console()
        code, dry = self.run(
            playbook, "dry", "--check", "--diff", extra=self.variables(playbook), moments=False
        )
        faults = [f"wrote {name}" for name in differences(state.world, self.world())]
        faults += ["PgBouncer was told something"] if self.console() != console else []
        self.dry_code = code
        return faults + (self._compared(state, dry, real) if real else [])

    def _compared(self, state: State, dry: Path, real: Path) -> list[str]:
        files = (self.estate.keyring_path, self.estate.ledger_path)
        known = [self.reader.text(state.world, path) for path in files]
        known += [row[0] for row in state.world["roles"]]
        return compare(read_tasks(dry), read_tasks(real), "\n".join(known), self.estate.prefix)

    def try_out(self, state: State, playbook: str) -> Cell:
        """In check mode, and then for real, from that state."""
        faults = self.dry_faults(state, playbook)
        if faults:
            self.restore(state)
        code, real = self.run(playbook, "real", "--diff", extra=self.variables(playbook))
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
        extra = {**(self.variables(playbook) or {}), **self.estate.breaking(how)}
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
            for playbook in PLAYBOOKS
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
        if ended:
            place = self._places[state.key]
            return bool(alike), turn, uses // 3, place, PLAYBOOKS.index(playbook)
        return bool(uses and alike), turn, uses, alike + self._uses[playbook]

    def go(self) -> Iterator[Cell]:
        """Try cells until there is none, or enough of them."""
        while (self.most is None or len(self.cells) < self.most) and (chosen := self._next()):
            state, playbook = chosen
            self._uses.update([state.key, (playbook, _statuses(state)), playbook])
            cell = self.try_out(state, playbook)
            like = self._known.get((state.key, playbook))
            if like and like.ended != cell.ended:
                cell.faults.append(f"{cell.ended}, and {like.ended} where it saw the same")
            if cell.ended == "done" and playbook in ("rotate_db", "rollback"):
                self._break(state, playbook)
            yield cell
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


def _ended(code: int, tasks: list[Task]) -> str:
    """How a run ended: done, nothing to do, or refused."""
    if code:
        return "refused"
    changed = any(task.result.get("changed") for task in tasks)
    return "done" if changed else "nothing"
