# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stream platform that dry runs are tried on: its list, its key file and what a person hands over are put back each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from dry_estate import BROKEN
from dry_state import TOLD_BY, Reader
from estate.playbook import PlaybookResult
from likeness import Facts
from reads import SERVER
from rotation import FORCE
from stream_estate import ROLL_BACK, ROTATE, StreamEstate
from stream_world import NAME
from world import World


@dataclass
class DryStream:
    """What a walk needs to know of a platform."""

    platform: StreamEstate

    credential = NAME
    prefix = "no role"
    playbooks = (ROTATE, ROLL_BACK, "retire_due", "abandon")
    login = None

    @property
    def folder(self) -> Path:
        """Where everything is that a run could change."""
        return self.platform.folder

    @property
    def strategy(self) -> str:
        """How it is named."""
        return "stream keys" if self.platform.overlap else "a stream key that is reset"

    @property
    def places(self) -> list[str]:
        """Files and folders that a run could change."""
        return [str(self.folder)]

    def variables_of(self, playbook: str) -> Any:
        """The variables that a playbook needs."""
        # Where a reset ended the key in use, the new one is undone only by force.
        return FORCE if playbook in (ROTATE, "abandon") else None

    def breaking(self, how: str) -> dict[str, Any]:
        """Variables of a run in which something fails after the new key was made."""
        if how == BROKEN[0]:
            return {"keyturn_consumers": [{**self.platform.relay(), "argv": ["false"]}]}
        failing = {"type": "command", "argv": ["false"]}
        return {"keyturn_probes": [failing, *self.platform.variables["keyturn_probes"]]}

    def run(
        self, playbook: str, *arguments: str, extra: Mapping[str, Any] | None = None, **env: str
    ) -> PlaybookResult:
        """Run one of the collection's playbooks over this platform."""
        return self.platform.run(playbook, *arguments, env=env, **(extra or {}))

    @cached_property
    def reader(self) -> Reader:
        """Tells its states."""
        return StreamReader(self.platform)

    def put_back(self, world: World, now: World) -> None:
        """The ingest asks the list anew each time."""

    def reload(self, world: World) -> None:
        """Nobody keeps in memory what the files say."""

    def console(self) -> Any:
        """Nobody to be asked."""
        return None


class StreamReader(Reader):
    """Tells which state a platform is in."""

    def __init__(self, platform: StreamEstate) -> None:
        super().__init__(platform.variables, platform.folder)
        self._platform = platform

    def surroundings(self, world: World, stages: Mapping[str, Stage]) -> dict[str, Any]:
        """Which stages each file names."""
        keys = {
            secret.reveal(): name
            for name, stage in reversed(stages.items())
            if (secret := stage.secret("key"))
        }
        one = self._platform
        named = {
            path.name: [keys.get(key, "another") for key in self.text(world, path).split()]
            for path in (one.allowed, one.live_file, one.handed)
        }
        copies = [path for path in world["files"] if ".bak." in path]
        env = "STREAM_KEY_FILE" in self.text(world, one.env_file)
        return {"sinks": {**named, "copies": len(copies), "env": env}}

    def server(self, facts: Facts, stage: str) -> str:
        """Whether the list has it."""
        listed = facts["sinks"][self._platform.allowed.name]
        return "accepted" if stage in listed else "refused"

    def told_by(self) -> dict[str, tuple[str, ...]]:
        """For each file, the facts that a look at it can depend on."""
        one = self._platform
        files = (one.allowed, one.live_file, one.handed, one.env_file)
        return {**TOLD_BY, **{path.name: ("sinks",) for path in files}, SERVER: ("sinks",)}
