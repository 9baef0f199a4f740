# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One token that two services know, one at a time: behind a barrier both are made ready, told and seen together."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import reveal
from estate.playbook import Ansible
from scene import FORCE, Flow, Scene

NAME, SERVICES = "runner_token", ("hub", "runner")


class TwoBehindABarrier(Scene):
    """See the top of this file. A service prepares by copying the token, and is told to take the copy."""

    name = "two services behind a barrier"

    def __init__(self, folder: Path, ansible: Ansible) -> None:
        super().__init__(folder, ansible)
        first = secrets.token_hex(32)
        self.seen = {"first token": first}
        for name in ("token", "in-use", *map(self._held, SERVICES)):
            self.secret_file(name, first)
        self.by_programs = {f"{name}.{what}" for name in SERVICES for what in ("held", "ready")}
        self.define(
            NAME,
            keyturn_generate={"value": {"type": "hex", "bytes": 32}},
            keyturn_issuer={"type": "generated", "overlap": False},
            keyturn_sinks=[{"name": "token", "ref": f"ref+file://{folder}/token", "template": "{current.value}"}],
            keyturn_consumers=[self._service(name) for name in SERVICES],
            keyturn_probes=[
                {
                    "type": "command",
                    "argv": ["grep", "-qFf", "-", f"{folder}/hub.held"],
                    "stdin": "{stage.value}",
                    "refused_rc": [1],
                }
            ],
        )  # fmt: skip

    def _held(self, name: str) -> str:
        return f"{name}.held"

    def _service(self, name: str) -> dict[str, Any]:
        token, ready, held = (
            self.folder / it for it in ("token", f"{name}.ready", self._held(name))
        )
        return {
            "name": name,
            "type": "command",
            "barrier": "pair",
            "reads": ["token"],
            "prepare": ["cp", str(token), str(ready)],
            "argv": ["cp", str(ready), str(held)],
            "seen": ["cmp", "-s", str(held), str(token)],
        }  # fmt: skip

    def flows(self) -> list[Flow]:
        """A rotation."""
        return [Flow("rotate behind a barrier", "rotate", self._in_use, once=FORCE)]

    def _in_use(self) -> None:
        given = {"value": f"ref+file://{self.folder}/in-use"}
        self.run("adopt", extra={"keyturn_adopt": given}).check()

    def holders(self) -> list[Path]:
        """See :meth:`Scene.holders`."""
        return [*super().holders(), *(self.folder / it for it in ("token", "in-use", *self.by_programs))]  # fmt: skip

    def survives(self, flow: Flow, where: str) -> None:
        """No service has a token that the keyring does not know."""
        self.remember()
        held = {(self.folder / self._held(name)).read_text() for name in SERVICES}
        assert held <= set(self.seen.values()), where

    def ended(self, flow: Flow, where: str) -> None:
        """Both have the new one."""
        used = reveal(self.current(NAME).fields["value"])
        held = {(self.folder / self._held(name)).read_text() for name in SERVICES}
        assert held == {used} != {self.seen["first token"]}, where
