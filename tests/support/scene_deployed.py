# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pair in two parameters of AWS, an env file that is rendered from them, and a service that is made anew to read it.

The server of parameters is a real program of its own, and a version that was written there stays; so nothing is put back here, and each
flow goes on from where the one before it ended. Containers are toys, for the sake of time: ``integration/test_deploy.py`` has real ones.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import reveal
from aws_world import AwsWorld
from estate.moto import MotoServer
from estate.playbook import Ansible
from scene import FORCE, Flow, Scene, by_names
from world import World

NAME, SERVICE = "token", "hub"
PAIR = {"TOKEN_ID": "id", "TOKEN": "value"}
TOY = Path(__file__).parent / "programs" / "toy_engine.py"


class Deployed(Scene):
    """See the top of this file."""

    name = "a deploy from parameters"

    def __init__(self, folder: Path, ansible: Ansible, moto: MotoServer) -> None:
        super().__init__(folder, ansible)
        self.aws = AwsWorld(moto)
        self.project, self.containers, self.bin = (
            folder / name for name in ("project", "containers", "bin")
        )
        for place in (self.project, self.containers, self.bin):
            place.mkdir(mode=0o700)
        (self.project / "compose.yaml").touch()
        for name in ("podman", "compose"):
            program = self.bin / name
            words = f"{sys.executable} -I -S {TOY} {self.containers} {self.project}"
            program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            program.chmod(0o700)
        self.env_file, self.container = self.project / ".env", self.containers / SERVICE
        self.by_programs = {SERVICE}
        # What was used first is no stage any more after a while.
        self.tellings = {f"first-{field}" for field in PAIR.values()}
        self.environ = {**self.aws.environ, "PATH": f"{self.bin}:/usr/bin:/bin"}
        given = {}
        for name, field in PAIR.items():
            value = secrets.token_hex(16)
            self.aws.put(name, value)
            given[field] = self.secret_file(f"first-{field}", value)
            self.seen[f"first {field}"] = value
        self._given = given
        self.define(NAME, **self._definition())

    def _definition(self) -> dict[str, Any]:
        group = [
            {"ref": f"ref+awsssm:/{self.aws.name(name)}", "template": f"{{current.{field}}}"}
            for name, field in PAIR.items()
        ]
        deploy = {
            "name": "app",
            "type": "deploy",
            "path": f"/{self.aws.prefix}/",
            "env_file": str(self.env_file),
            "services": [SERVICE],
            "project_dir": str(self.project),
            "compose_command": [str(self.bin / "compose")],
            "timeout": "5s",
            "settle": "0s",
            "wait": "2s",
            "pairs": [[*PAIR]],
            "unmarked": "take",
        }
        argv = ["grep", "-qFf", "-", str(self.container)]
        return {
            "keyturn_generate": {"id": {"type": "hex"}, "value": {"type": "hex"}},
            "keyturn_issuer": {"type": "generated", "fields": ["id", "value"], "overlap": False},
            "keyturn_sinks": [{"name": "pair", "group": group}],
            "keyturn_consumers": [deploy],
            "keyturn_probes": [{"type": "command", "argv": argv, "stdin": "{stage.value}", "refused_rc": [1]}],
        }  # fmt: skip

    def flows(self) -> list[Flow]:
        """A rotation."""
        return [Flow("rotate and deploy", "rotate", self._in_use, once=FORCE)]

    def _in_use(self) -> None:
        if not self.keyring(NAME).exists():
            lines = "".join(
                f"{name}={self.seen[f'first {field}']}\n" for name, field in PAIR.items()
            )
            self.secret_file("project/.env", lines)
            lines = [f"{name}={self.seen[f'first {field}']}" for name, field in PAIR.items()]
            made = {"created": "2026-01-01T00:00:00Z", "env": lines}
            self.secret_file("containers/hub", json.dumps(made))
            self.run("adopt", extra={"keyturn_adopt": self._given}).check()

    def begin(self, flow: Flow) -> World:
        """See :meth:`Scene.begin`; from where the last one ended."""
        flow.ready()
        self._rotations_before = self.rotations()
        return self.world()

    def holders(self) -> list[Path]:
        """See :meth:`Scene.holders`."""
        firsts = [self.folder / f"first-{field}" for field in PAIR.values()]
        made = self.container.with_suffix(".new")
        return [*super().holders(), self.env_file, self.container, made, *firsts]

    def beyond(self) -> Any:
        """The parameters, with what is said of them."""
        return {
            name: [*self.aws.held(name), self.aws.described(name).get("Description", "")]
            for name in PAIR
        }

    def _pairs(self) -> set[tuple[str, str]]:
        """Every pair that there was so far."""
        pairs = {(self.seen["first id"], self.seen["first value"])}
        known: dict[str, dict[str, str]] = getattr(self, "_known", {})
        for _name, stage in self.stages():
            known[stage.rotation_id] = {key: _text(value) for key, value in stage.fields.items()}
        self._known = known
        return pairs | {(it["id"], it["value"]) for it in known.values() if len(it) > 1}

    def _read(self, lines: list[str]) -> tuple[str, str]:
        found = dict(line.split("=", 1) for line in lines)
        return found["TOKEN_ID"].strip("'\""), found["TOKEN"].strip("'\"")

    def survives(self, flow: Flow, where: str) -> None:
        """The file and the container have both halves of one pair, and the file is whole and for its owner alone."""
        pairs = self._pairs()
        lines = self.env_file.read_text().splitlines()
        assert len(lines) == len(PAIR), f"{where}: the file is not whole"
        assert self.env_file.stat().st_mode & 0o777 == 0o600, where
        assert self._read(lines) in pairs, f"{where}: the file has half a pair"
        started = json.loads(self.container.read_text())["env"]
        assert self._read(started) in pairs, f"{where}: the container has half a pair"

    def ended(self, flow: Flow, where: str) -> None:
        """Parameters, file and container have the pair in use."""
        fields = self.current(NAME).fields
        pair = tuple(_text(fields[field]) for field in PAIR.values())
        held = tuple(self.aws.held(name)[0] for name in PAIR)
        started = json.loads(self.container.read_text())["env"]
        assert pair == held == self._read(self.env_file.read_text().splitlines()), where
        assert pair == self._read(started), where

    def text_of(self, path: Path, names: Mapping[str, str]) -> str:
        """A container without the time at which it was made."""
        text = super().text_of(path, names)
        return by_names(json.dumps(json.loads(text)["env"]), names) if path == self.container else text  # fmt: skip

    def beyond_by_names(self, names: Mapping[str, str]) -> Any:
        """The parameters, without how often they were written."""
        return {
            name: (by_names(value, names), by_names(told.partition(" version ")[0], names))
            for name, (value, _version, told) in self.beyond().items()
        }


def _text(value: Any) -> str:
    return reveal(value) if isinstance(value, Secret) else str(value)
