# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A token that is made here, and that dry runs are tried on: whoever checks it reads one file, whoever presents it another."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    parse_document,
)
from dry_estate import BROKEN
from dry_state import TOLD_BY, Reader
from estate.playbook import Ansible, PlaybookResult
from likeness import Facts
from reads import SERVER
from rotation import FORCE
from world import World

ONE = "{current.value}"
# What a hub accepts: the order of the first changes as a rotation goes on, and that of the second does not.
LISTS = {
    "TOKENS": "{current,pending,previous.value|join:,}",
    "TOKENS_NEWEST_FIRST": "{pending,current,previous.value|join:,}",
}
READERS = {"TOKENS": "hub", "TOKENS_NEWEST_FIRST": "relay"}
_KNOWS = 'printf %s "$TOKEN" | sha256sum | grep -q -F '


@dataclass
class TokenEstate:
    """A token between a hub, which accepts what its file holds, and an application.

    :param overlap: the hub takes a list of tokens; else it knows one.
    """

    folder: Path
    ansible: Ansible
    overlap: bool

    credential = "hub_token"
    prefix = "no role"
    playbooks = ("rotate", "rollback", "retire_due", "abandon", "adopt")
    login = None

    def __post_init__(self) -> None:
        self.keyring_path, self.ledger_path = (self.folder / name for name in TOLD_BY)
        self.hub_file, self.app_file = self.folder / "hub.env", self.folder / "app.env"
        self.in_use = self.folder / "in-use"
        token = secrets.token_urlsafe(32)
        for path, text in (
            (self.in_use, token),
            (self.hub_file, "".join(f"{key}={token}\n" for key in self.shown)),
            (self.app_file, f"TOKEN={token}\n"),
        ):
            path.touch(mode=0o600)
            path.write_text(text)
        self._write_inventory()

    @property
    def shown(self) -> dict[str, str]:
        """The template of each key of the hub's file."""
        return LISTS if self.overlap else {"TOKENS": ONE}

    @property
    def strategy(self) -> str:
        """How it is named."""
        return "generated" if self.overlap else "generated, one at a time"

    def definition(self) -> dict[str, Any]:
        """The credential's host_vars."""
        grep = f'grep -q -F -e "$TOKEN" {self.hub_file} || exit 3'
        mail = {"type": "command", "argv": ["sh", "-c", f"cat >> {self.folder}/mail"]}
        return {
            "keyturn_keyring": f"ref+file://{self.keyring_path}",
            "keyturn_ledger": f"ref+file://{self.ledger_path}",
            "keyturn_policy": {
                "rotate": "age",
                "max_age": "90d",
                "grace": "0s",
                "contacts": [mail],
            },
            "keyturn_issuer": {"type": "generated", "overlap": self.overlap},
            "keyturn_sinks": [
                *[self._sink(self.hub_file, key, template) for key, template in self.shown.items()],
                self._sink(self.app_file, "TOKEN", ONE),
            ],
            "keyturn_consumers": [
                *[self._consumer(READERS[key], key) for key in self.shown],
                self._consumer("app", "TOKEN"),
            ],
            "keyturn_probes": [self._probe(grep)],
            "keyturn_wait": "5s",
            "keyturn_interval": "1s",
        }

    def _sink(self, path: Path, key: str, template: str) -> dict[str, Any]:
        ref = f"ref+file://{path}?format=env#/{key}"
        return {"name": key, "ref": ref, "template": template}

    def _consumer(self, name: str, *reads: str) -> dict[str, Any]:
        argv = ["sh", "-c", f"echo {name} >> {self.folder}/told"]
        return {"name": name, "type": "command", "argv": argv, "reads": [*reads]}

    def _probe(self, script: str) -> dict[str, Any]:
        return {
            "type": "command",
            "argv": ["sh", "-c", script],
            "environment": {"TOKEN": "{stage.value}"},
            "refused_rc": [3],
        }

    def _write_inventory(self) -> None:
        hosts = {"credentials": {"hosts": {self.credential: None}}}
        inventory = self.folder / "inventory"
        (inventory / "host_vars").mkdir(parents=True)
        (inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
        variables = yaml.safe_dump(self.definition())
        (inventory / "host_vars" / f"{self.credential}.yml").write_text(variables)

    def breaking(self, how: str) -> dict[str, Any]:
        """Variables of a run in which something fails after the new value was made."""
        if how == BROKEN[0]:
            *others, last = self.definition()["keyturn_consumers"]
            return {"keyturn_consumers": [*others, {**last, "argv": ["sh", "-c", "exit 1"]}]}
        document = self._document()
        value = document.current.secret("value") if document and document.current else None
        used = value.reveal() if value else self.in_use.read_text()
        known = hashlib.sha256(used.encode()).hexdigest()
        return {"keyturn_probes": [self._probe(f"{_KNOWS}{known} || exit 3")], "keyturn_wait": "1s"}

    def _document(self) -> Document | None:
        return parse_document(self.keyring_path.read_text()) if self.keyring_path.exists() else None

    def variables_of(self, playbook: str) -> Any:
        """The variables that a playbook needs."""
        given = {"keyturn_adopt": {"value": f"ref+file://{self.in_use}"}}
        return {"rotate": FORCE, "adopt": given}.get(playbook)

    def run(
        self, playbook: str, *arguments: str, extra: Mapping[str, Any] | None = None, **env: str
    ) -> PlaybookResult:
        """Run one of the collection's playbooks over this credential."""
        name, inventory = f"keyturn.runbooks.{playbook}", self.folder / "inventory"
        return self.ansible.run(name, *arguments, inventory=inventory, extra_vars=extra, env=env)

    @property
    def places(self) -> list[str]:
        """Files and folders that a run could change."""
        return [str(self.folder)]

    @cached_property
    def reader(self) -> Reader:
        """Tells its states."""
        return TokenReader(self)

    def put_back(self, world: World, now: World) -> None:
        """There is no server."""

    def reload(self, world: World) -> None:
        """Nobody keeps in memory what the files say."""

    def console(self) -> Any:
        """Nobody to be asked."""
        return None


class TokenReader(Reader):
    """Tells which state a world without a server is."""

    def __init__(self, estate: TokenEstate) -> None:
        super().__init__(estate.definition(), estate.folder)
        self.estate = estate

    def surroundings(self, world: World, stages: Mapping[str, Stage]) -> dict[str, Any]:
        """Which stages each file names, in its order."""
        values = {
            secret.reveal(): name
            for name, stage in stages.items()
            if (secret := stage.secret("value"))
        }
        files = (self.estate.hub_file, self.estate.app_file)
        return {"sinks": {path.name: self._shown(world, values, path) for path in files}}

    def _shown(self, world: World, values: Mapping[str, str], path: Path) -> list[list[str]]:
        lines = [line.partition("=")[2] for line in self.text(world, path).splitlines()]
        return [
            [values.get(value, "another") for value in line.strip("\"'").split(",")]
            for line in lines
        ]

    def server(self, facts: Facts, stage: str) -> str:
        """Whether the hub's file has it."""
        accepted = stage in facts["sinks"][self.estate.hub_file.name][0]
        return "accepted" if accepted else "refused"

    def told_by(self) -> dict[str, tuple[str, ...]]:
        """For each file, the facts that a look at it can depend on."""
        files = (self.estate.hub_file, self.estate.app_file)
        return {**TOLD_BY, **{path.name: ("sinks",) for path in files}, SERVER: ()}
