# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What looks at an estate and writes reports (``audit``, ``audit_image``, ``report_incident``), and a folder of Fernet keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import reveal
from cryptography.fernet import Fernet, MultiFernet
from estate.playbook import Ansible
from image_archives import docker, tar
from scene import Flow, Scene
from world import World

NAME = "token"
AUDIT, IMAGE, INCIDENT, KEYS = "audit", "audit_image", "report_incident", "fernet_key, rotated"
REPORTS = ("audit.json", "image.json", "record.json", "record.md")


class Looks(Scene):
    """See the top of this file. The image has the estate's value in it, and somebody logged in who was not expected."""

    name = "audits and reports"

    def __init__(self, folder: Path, ansible: Ansible) -> None:
        super().__init__(folder, ansible)
        self.token, self.keys = b"", folder / "keys"
        now = datetime.now(timezone.utc)
        source = {"type": "postgres_log", "path": f"{folder}/pg.log", "roles": ["app"]}
        self.define(
            NAME,
            keyturn_issuer={"type": "generated", "overlap": True},
            keyturn_sinks=[{"name": "app", "ref": f"ref+file://{folder}/value", "template": "{current.value}"}],
            keyturn_probes=[{"type": "command", "argv": ["sh", "-c", "cat > /dev/null"], "stdin": "{stage.value}"}],
            keyturn_incident={
                "since": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
                "sources": [{**source, "log_line_prefix": "%m [%p] %q%u@%d "}],
                "output_markdown": f"{folder}/record.md",
                "output_json": f"{folder}/record.json",
            },
        )  # fmt: skip
        self._at = f"{now:%Y-%m-%d %H:%M:%S}.000 UTC [42]"

    def _ready(self) -> None:
        if self.keyring(NAME).exists():
            self.restore(self._ready_world)
            return
        self.run("bootstrap").check()
        value = reveal(self.current(NAME).fields["value"])
        line = f"{self._at} app@app LOG:  connection authorized: user=app database=app application_name={value}\n"
        self.secret_file("pg.log", line)
        (self.folder / "image.tar").touch(mode=0o600)
        docker(self.folder / "image.tar", [tar({"app/.env": f"TOKEN={value}\n".encode()})])
        self._play("present")
        self.run(str(self.folder / "present.yml")).check()
        self._play("rotated", from_primary=1)
        self.token = self._reader().encrypt(b"row")
        self._remember_keys()
        self._ready_world: World = self.world()

    def _play(self, state: str, **options: Any) -> None:
        module = {"path": str(self.keys), "state": state, **options}
        task = {"keyturn.runbooks.fernet_key": module}
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
        (self.folder / f"{state}.yml").write_text(yaml.safe_dump([play]))

    def _numbers(self) -> list[int]:
        return sorted(int(path.name) for path in self.keys.iterdir() if path.name.isdigit())

    def _reader(self) -> MultiFernet:
        names = reversed(self._numbers())
        return MultiFernet([Fernet((self.keys / str(name)).read_bytes()) for name in names])

    def _remember_keys(self) -> None:
        for number in self._numbers():
            text = (self.keys / str(number)).read_text()
            if text not in self.seen.values():
                self.seen[f"key of the folder {len(self.seen)}"] = text

    def remember(self) -> None:
        """The keys of the folder, too."""
        super().remember()
        if self.keys.exists():
            self._remember_keys()

    def flows(self) -> list[Flow]:
        """Each of them."""
        until = f"{datetime.now(timezone.utc) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        told = {"keyturn_reason": "in a log", "keyturn_until": until}
        image = {"keyturn_hosts": "localhost", "archive": f"{self.folder}/image.tar"}

        def report(name: str) -> dict[str, str]:
            return {"output_file": f"{self.folder}/{name}"}

        return [
            Flow(KEYS, str(self.folder / "rotated.yml"), self._ready),
            Flow(AUDIT, "audit", self._ready, lambda: report("audit.json")),
            Flow(IMAGE, "audit_image", self._ready, lambda: {**image, **report("image.json")}, code=2),
            Flow(INCIDENT, "report_incident", self._ready, lambda: told, code=2),
        ]  # fmt: skip

    def holders(self) -> list[Path]:
        """See :meth:`Scene.holders`."""
        names = ("value", "pg.log", "image.tar", *(f"keys/{number}" for number in range(4)))
        return [*super().holders(), *(self.folder / name for name in names)]

    def folders(self) -> list[Path]:
        """See :meth:`Scene.folders`."""
        return [self.keys]

    def survives(self, flow: Flow, where: str) -> None:
        """What reads the keys opens what was sealed before; a report is whole or not there, and holds no value."""
        assert self._reader().decrypt(self.token) == b"row", where
        assert 0 in self._numbers(), f"{where}: no key is staged"
        for name in REPORTS:
            path = self.folder / name
            text = path.read_text() if path.exists() else ""
            assert not any(value in text for value in self.seen.values()), f"{where}: {name}"
            assert not text or path.suffix == ".md" or json.loads(text), f"{where}: {name}"

    def ended(self, flow: Flow, where: str) -> None:
        """It is done."""
        wanted = {AUDIT: 1, IMAGE: 1, INCIDENT: 2, KEYS: 0}[flow.name]
        assert sum((self.folder / name).exists() for name in REPORTS) == wanted, where
        assert self._numbers() == ([0, 1, 2] if flow.name == KEYS else [0, 1]), where

    def text_of(self, path: Path, names: Mapping[str, str]) -> str:
        """A report and a key are of their own time."""
        own = path.name in REPORTS or path.parent == self.keys
        return path.name if own else super().text_of(path, names)
