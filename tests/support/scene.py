# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small estate around one part of the collection: what its runs can change can be read, compared and put back.

Each scene says what its flows are, what has to hold at any moment of them, and what they are for. Power cuts (``scene_course.py``), dry
runs (``scene_dry.py``) and the search for leaks (``leaks/scenes.py``) then do the same with all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Secret,
    Stage,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    chain_faults,
    tail_faults,
)
from estate.playbook import Ansible, PlaybookResult
from world import World, differences, read_world, write_files

FORCE = {"keyturn_force": True}
FILE_MODE = 0o600


@dataclass(frozen=True)
class Flow:
    """One run that is tried.

    :param playbook: of the collection, or the path of another one.
    :param ready: makes the state where it begins.
    :param variables: what it is given; those of ``once`` only until it has made a new value.
    :param code: how it ends where nothing disturbs it.
    :param still: it writes no keyring where all was done before it: what a killed run has left beside it stays until a run that does.
    """

    name: str
    playbook: str
    ready: Callable[[], object]
    variables: Callable[[], Mapping[str, Any]] = dict
    once: Mapping[str, Any] = field(default_factory=dict)
    code: int = 0
    still: bool = False


class Scene:
    """See the top of this file.

    :ivar environ: more of the environment of each run.
    :ivar arguments: more of the command.
    :ivar hosts: the credentials and their variables.
    :ivar seen: every secret that any keyring held so far, and those that were given, by a name.
    :ivar by_programs: names of files that programs write which a run starts.
    :ivar tellings: those of them that tell how often they were started.
    """

    name = ""
    prefix = "no role"
    login: Mapping[str, Any] | None = None
    # Writes that are cut elsewhere as well, beside those of every estate.
    usual = "$"

    def __init__(self, folder: Path, ansible: Ansible) -> None:
        folder.mkdir(mode=0o711)
        self.folder, self.ansible = folder, ansible
        self.environ: dict[str, str] = {}
        self.arguments: list[str] = []
        self.hosts: dict[str, dict[str, Any]] = {}
        self.seen: dict[str, str] = {}
        self.by_programs: set[str] = set()
        self.tellings: set[str] = set()
        self._starts: dict[str, World] = {}

    # What there is

    def flows(self) -> list[Flow]:
        """What is tried with it."""
        raise NotImplementedError

    def survives(self, flow: Flow, where: str) -> None:
        """What has to hold at any moment of a flow."""

    def ended(self, flow: Flow, where: str) -> None:
        """What a flow is for."""

    def beyond(self) -> Any:
        """What servers hold, but for roles."""
        return None

    def put_back(self, world: World, now: World) -> None:
        """Make servers what they were."""

    def holders(self) -> list[Path]:
        """Files that are there to hold secrets."""
        return [path for host in self.hosts for path in (self.keyring(host),)]

    def folders(self) -> list[Path]:
        """Folders that are there to hold secrets, whatever lies in them for a moment."""
        return []

    def beyond_by_names(self, names: Mapping[str, str]) -> Any:
        """What servers hold at the end, with names in the place of what two runs cannot have in common."""
        return None

    def text_of(self, path: Path, names: Mapping[str, str]) -> str:
        """What a file holds at the end, with names in the same places."""
        return by_names(path.read_text(errors="replace"), names)

    # Credentials

    def define(self, host: str, **variables: Any) -> None:
        """One more credential, with a keyring and a ledger in files."""
        self.hosts[host] = {
            "keyturn_keyring": f"ref+file://{self.keyring(host)}",
            "keyturn_ledger": f"ref+file://{self.ledger(host)}",
            "keyturn_policy": {"rotate": "age", "max_age": "90d", "grace": "0s"},
            "keyturn_wait": "4s",
            "keyturn_interval": "1s",
            **variables,
        }
        groups = {"all": {"children": {"credentials": {"hosts": self.hosts}}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(groups))

    def secret_file(self, name: str, text: str) -> str:
        """A file for its owner alone; returns the reference to it."""
        path = self.folder / name
        path.touch(FILE_MODE)
        path.write_text(text)
        return f"ref+file://{path}"

    def keyring(self, host: str) -> Path:
        return self.folder / f"{host}.json"

    def ledger(self, host: str) -> Path:
        return self.folder / f"{host}.jsonl"

    def document(self, host: str) -> Document | None:
        """Its keyring, if there is one."""
        path = self.keyring(host)
        return parse_document(path.read_text()) if path.exists() else None

    def stages(self) -> Iterator[tuple[str, Stage]]:
        """Every stage of every credential by a name, the oldest first."""
        for host in self.hosts:
            found = self.document(host)
            if found:
                yield from ((f"{host} retained", stage) for stage in found.retained)
                for name in ("previous", "current", "pending"):
                    stage = found.stage(name)
                    if stage:
                        yield f"{host} {name}", stage

    def current(self, host: str) -> Stage:
        """The stage in use."""
        found = self.document(host)
        assert found and found.current
        return found.current

    def rotations(self) -> set[str]:
        """The rotations that the keyrings know."""
        return {stage.rotation_id for _name, stage in self.stages()}

    def begun(self) -> int:
        """How many rotations the ledgers tell of."""
        return sum(line["phase"] == "stage" for host in self.hosts for line in self.lines(host))

    def lines(self, host: str) -> list[dict[str, Any]]:
        """Its ledger."""
        path = self.ledger(host)
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    # Runs

    def run(
        self,
        playbook: str,
        *arguments: str,
        extra: Mapping[str, Any] | None = None,
        **env: str,
    ) -> PlaybookResult:
        """Run a playbook; no secret that is known may stand in what it prints."""
        self.remember()
        found = playbook if playbook.endswith(".yml") else f"keyturn.runbooks.{playbook}"
        done = self.ansible.run(
            found,
            *self.arguments,
            *arguments,
            inventory=self.folder / "hosts.yml",
            extra_vars=dict(extra or {}),
            env={**self.environ, **env},
        )
        self.remember()
        told = [name for name, value in self.seen.items() if value in done.output]
        assert not told, f"{playbook}: printed {told}"
        return done

    def remember(self) -> None:
        """Learn what the keyrings hold now."""
        for name, stage in self.stages():
            for key, value in stage.fields.items():
                if isinstance(value, Secret):
                    self.seen[f"{name} {key} of {stage.rotation_id}"] = value.reveal()

    def given(self, flow: Flow) -> dict[str, Any]:
        """The variables of a flow as it is now: what begins something anew is given until it has begun."""
        begun = self.rotations() != self._rotations_before
        return {**flow.variables(), **({} if begun else flow.once)}

    # The world

    def world(self) -> World:
        """All that a run could change, as it is now."""
        world = read_world([str(self.folder)], self.login)
        return {**world, "beyond": self.beyond()}

    def begin(self, flow: Flow) -> World:
        """Make the state where a flow begins."""
        if flow.name in self._starts:
            self.restore(self._starts[flow.name])
        else:
            flow.ready()
            self._starts[flow.name] = self.world()
        self._rotations_before = self.rotations()
        return self._starts[flow.name]

    def restore(self, world: World) -> None:
        """Put everything back."""
        self.put_back(world, self.world())
        write_files(world["files"], [str(self.folder)])
        left = differences(world, self.world())
        assert left == [], f"{self.name}: not put back: {left}"

    def left(self, flow: Flow) -> dict[str, Any]:
        """What there is, with names of stages in the place of values: two undisturbed runs leave the same."""
        names: dict[str, str] = {}
        for name, stage in self.stages():
            names[stage.rotation_id] = f"<rotation of {name}>"
            for key, value in stage.fields.items():
                names[value.reveal() if isinstance(value, Secret) else value] = f"<{name} {key}>"
        apart = {path for host in self.hosts for path in (self.keyring(host), self.ledger(host))}
        if flow.still:
            apart.update(path for host in self.hosts for path in self._successors(host))
        texts = {
            str(path.relative_to(self.folder)): (self.text_of(path, names), path.stat().st_mode)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path not in apart and path.name not in self.tellings
        }
        kept = {host: self._kept(host) for host in self.hosts}
        return {"keyrings": kept, "files": texts, "beyond": self.beyond_by_names(names)}

    def _successors(self, host: str) -> list[Path]:
        """What was to take the place of its keyring; for its owner alone."""
        found = [*self.folder.glob(f".{host}.json.keyturn-*-*")]
        assert all(path.stat().st_mode & 0o777 == FILE_MODE for path in found)
        return found

    def _kept(self, host: str) -> dict[str, Any]:
        document, lines = self.document(host), self.lines(host)
        if not document:
            return {}
        rotations = {stage.rotation_id: name for name, stage in document.stages.items()}
        return {
            "stages": {
                name: (stage.status, stage.failed, stage.compromised, sorted(stage.fields))
                for name, stage in document.stages.items()
            },
            "retained": len(document.retained),
            "claim": document.claim,
            "receipts": {
                name: rotations.get(receipt.rotation_id, "older")
                for name, receipt in document.receipts.items()
            },
            "ledger": [*chain_faults(lines), *tail_faults(lines, document.ledger)],
            "mode": self.keyring(host).stat().st_mode & 0o777,
        }


def by_names(text: str, names: Mapping[str, str]) -> str:
    """A text with names in the place of values; what is too short for a value is left as it is."""
    for value in sorted(names, key=len, reverse=True):
        text = text.replace(value, names[value]) if len(value) > 3 else text
    return text
