# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many credentials, each with one thing wrong, in one run of a playbook; and what the run said of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_step import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from estate.databases import Database
from estate.playbook import Ansible
from rotation import FORCE, PLUGINS
from world import World, differences, read_world

BAD_INPUT = Path(__file__).parents[1] / "badinput"
# What differs from run to run and follows from nothing that a case knows.
_OWN = {
    "{now}": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"),
    "{rotation}": re.compile(r"\br\d{14}[0-9a-f]{6}\b"),
    "{later}": re.compile(r"\d+ s later"),
    "{attempts}": re.compile(r"\d+ attempts in \d+ s"),
}
# A failed run is told of in the audit log, and the keyring remembers that line. Locks beside files stay.
TOLD = ("keyring.json", "keyring.json.ledger.jsonl")


@dataclass(frozen=True)
class Case:
    """One thing that is wrong.

    :param message: what has to be said, with names in braces for what differs from run to run.
    """

    name: str
    playbook: str
    message: str
    about: Mapping[str, Any]


def read_cases() -> tuple[list[Case], list[Case]]:
    """Those of playbooks, and those of modules, whose playbook is the module's name."""
    kept = yaml.safe_load((BAD_INPUT / "cases.yml").read_text())
    said = yaml.safe_load((BAD_INPUT / "messages.yml").read_text())
    playbooks = [
        Case(name, about.get("playbook", "rotate_db"), said.get(name, ""), about)
        for name, about in kept["playbooks"].items()
    ]
    modules = [
        Case(name, module, said.get(name, ""), about)
        for name, one in kept["modules"].items()
        for module, about in one.items()
    ]
    return playbooks, modules


def filled(item: Any, facts: Mapping[str, Any]) -> Any:
    """With the names in braces replaced; a text that is one name becomes what it stands for."""
    if isinstance(item, Mapping):
        return {name: filled(value, facts) for name, value in item.items()}
    if isinstance(item, list):
        return [filled(value, facts) for value in item]
    if not isinstance(item, str):
        return item
    for name, value in facts.items():
        if item == f"{{{name}}}":
            return value
        item = item.replace(f"{{{name}}}", str(value))
    return item


def _edit(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        document = document[name]
    if value is None:
        del document[last]
    else:
        document[last] = value


@dataclass
class Trial:
    """A database with one role in use, and a folder for each case.

    :param closed: a port where nobody listens.
    :param readonly: the name of a database that takes no change.
    """

    place: Path
    database: Database
    ansible: Ansible
    closed: int
    readonly: str
    hosts: dict[str, Case] = field(default_factory=dict)
    output: str = ""
    group: ClassVar[str] = "postgres_roles"

    def __post_init__(self) -> None:
        self.first = f"{self.database.name}_a"
        self.password = self.database.create_login(self.first)
        self.database.execute("CREATE TABLE songs (id int)")
        self.database.execute(f'ALTER TABLE songs OWNER TO "{self.database.owner}"')

    def facts(self, host: str) -> dict[str, Any]:
        """What the names in braces stand for."""
        server = self.database.server
        return {
            "folder": str(self.place / host),
            "host": host,
            "first": self.first,
            "second": f"{self.database.name}_b",
            "owner": self.database.owner,
            "port": server.port,
            "closed": self.closed,
            "dbname": self.database.name,
            "readonly": self.readonly,
            "long": "app_" + "x" * 70,
        }

    def issuer(self, host: str) -> dict[str, Any]:
        """As it is right."""
        admin = f"ref+file://{self.place / host}/admin.json"
        server = self.database.server
        login = {"host": "127.0.0.1", "port": server.port, "dbname": self.database.name}
        return {
            "type": "postgres_role",
            "strategy": "alternate_roles",
            "roles": [self.first, f"{self.database.name}_b"],
            "owner_role": self.database.owner,
            "login": {**login, "admin": admin},
        }

    def _variables(self, host: str) -> dict[str, Any]:
        folder = self.place / host
        url = "postgresql://{current.username}:{current.password|urlencode}@127.0.0.1/app"
        sink = {"name": "app", "ref": f"ref+file://{folder}/app.url", "template": url}
        adopt = {"username": self.first, "password": f"ref+file://{folder}/in-use.password"}
        return {
            "keyturn_keyring": f"ref+file://{folder}/keyring.json",
            "keyturn_policy": {"rotate": "age", "max_age": "180d", "grace": "0s"},
            "keyturn_issuer": self.issuer(host),
            "keyturn_sinks": [sink],
            "keyturn_probes": [{"type": "postgres", "check": ["SELECT 1 FROM songs LIMIT 0"]}],
            "keyturn_adopt": adopt,
            "keyturn_wait": "2s",
        }

    def _private(self, path: Path, text: str) -> None:
        path.touch(mode=0o600)
        path.write_text(text)

    def files(self, host: str) -> Path:
        """A folder as it is right, with what wrong variables may point to beside it."""
        folder = self.place / host
        folder.mkdir(mode=0o711)
        password = self.database.server.password
        self._private(
            folder / "admin.json", json.dumps({"username": "postgres", "password": password})
        )
        self._private(
            folder / "wrong-admin.json", json.dumps({"username": "postgres", "password": "wrong"})
        )
        self._private(folder / "half-admin.json", json.dumps({"username": "postgres"}))
        self._private(folder / "in-use.password", self.password)
        self._private(folder / "wrong.password", "not-the-one-in-use")
        self._private(folder / "userlist.txt", '"app" "secret\n')
        (folder / "link").symlink_to(folder / "elsewhere")
        return folder

    def _keyring(self, host: str, about: Mapping[str, Any]) -> None:
        path = self.place / host / "keyring.json"
        if "keyring" in about:
            if about["keyring"] is not None:
                path.touch(mode=0o600)
                path.write_bytes(about["keyring"].encode("latin-1"))
            return
        self.adopt(host)
        document = json.loads(path.read_text())
        for name, value in about.get("edit", {}).items():
            _edit(document, name, value)
        path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")

    def adopt(self, host: str) -> None:
        """The value in use is in the keyring."""
        proof = {"type": "postgres", "against": "a test", "at": "now", "detail": "handed over"}
        given = {"keyring": f"ref+file://{self.place / host}/keyring.json", "credential": host}
        adoption = {
            "transition": "adopt",
            "issuer": self.issuer(host),
            "value": self._variables(host)["keyturn_adopt"],
            "evidence": [proof],
        }
        for step in (adoption, {"transition": "release"}):
            asked = ArgumentSpecValidator(dict(MODULE.argument_spec)).validate({**given, **step})
            execute(MODULE, dict(asked.validated_parameters), Context())

    def host(self, case: Case) -> str:
        """One host with one thing wrong."""
        host = f"db_{len(self.hosts):02d}"
        self.hosts[host] = case
        self.files(host)
        facts = self.facts(host)
        self._keyring(host, case.about)
        variables = self._variables(host)
        issuer = {**variables["keyturn_issuer"], **filled(case.about.get("issuer", {}), facts)}
        variables["keyturn_issuer"] = {key: it for key, it in issuer.items() if it is not None}
        variables.update(filled(case.about.get("set", {}), facts))
        known = {name: value for name, value in variables.items() if value is not None}
        folder = self.place / "inventory" / "host_vars"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{host}.yml").write_text(yaml.safe_dump(known))
        return host

    def named(self, host: str, message: str) -> str:
        """A message with names in braces for what differs from run to run."""
        facts = sorted(self.facts(host).items(), key=lambda item: -len(str(item[1])))
        for name, value in facts:
            if len(str(value)) > 3:
                message = message.replace(str(value), f"{{{name}}}")
        for name, pattern in _OWN.items():
            message = pattern.sub(name, message)
        return message

    def stages(self, host: str) -> Any:
        """What the keyring holds: a failure may be noted in it, and changes none of this."""
        path = self.place / host / "keyring.json"
        if not path.exists():
            return None
        try:
            return json.loads(path.read_bytes())["stages"]
        except (ValueError, KeyError):
            return path.read_bytes()

    def world(self) -> World:
        """All folders, and the server's roles."""
        server = self.database.server
        login = {"host": "127.0.0.1", "port": server.port, "dbname": self.database.name}
        login |= {"user": "postgres", "password": server.password}
        return read_world([str(self.place / host) for host in self.hosts], login)

    def run(self, playbook: str, code: int = 2) -> dict[str, str]:
        """Run it over the hosts whose case it is; what was said last of each."""
        chosen = [host for host, case in self.hosts.items() if case.playbook == playbook]
        inventory = {"all": {"children": {self.group: {"hosts": dict.fromkeys(chosen)}}}}
        (self.place / "inventory" / "hosts.yml").write_text(yaml.safe_dump(inventory))
        lines = self._failed(
            f"keyturn.runbooks.{playbook}",
            code,
            inventory=self.place / "inventory",
            extra_vars=FORCE,
        )
        return {line["host"]: str(line["result"].get("msg")) for line in lines}

    def make_modules(self, cases: list[Case]) -> None:
        """One task for each, in a playbook."""
        tasks = []
        for case in cases:
            host = f"db_{len(self.hosts):02d}"
            self.hosts[host] = case
            self.files(host)
            self.adopt(host)
            facts = {**self.facts(host), "issuer": self.issuer(host)}
            module = {f"keyturn.runbooks.{case.playbook}": filled(case.about, facts)}
            tasks.append({"name": host, **module, "ignore_errors": True})
        play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
        (self.place / "modules.yml").write_text(yaml.safe_dump([play]))

    def run_modules(self) -> dict[str, str]:
        """Run that playbook; what was said of each."""
        lines = self._failed(str(self.place / "modules.yml"), 0)
        return {line["task"]: str(line["result"].get("msg")) for line in lines}

    def _failed(self, playbook: str, code: int, **options: Any) -> list[Any]:
        """Run it; every task that failed."""
        what, to = self.place / "record.json", self.place / "record.jsonl"
        to.unlink(missing_ok=True)
        what.write_text(json.dumps({"to": str(to), "hosts": {}, "states": False}))
        env = {
            "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "KEYTURN_RECORD": str(what),
        }
        self.output += (
            self.ansible.run(playbook, "--forks=4", env=env, **options).check(code).output
        )
        lines = [json.loads(line) for line in to.read_text().splitlines()]
        return [line for line in lines if line["status"] == "failed"]

    def wrong(self, before: World) -> Iterator[str]:
        """What was changed that should not have been."""
        for name in differences(before, self.world()):
            path = Path(name.partition(" (")[0].partition(": ")[2])
            # Where the audit log tells of the failure, its folder has another time.
            if path.name not in TOLD and path.suffix != ".lock" and path.parent != self.place:
                yield name
