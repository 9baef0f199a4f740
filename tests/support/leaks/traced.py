# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of playbooks that strace looks at: forked from a warm process that it follows, or started by the command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from estate.playbook import Ansible, Process
from warm import COLLECTION, CONFIG, LOCAL_TEMP, LOG_PATH, SERVER, WarmServer, WarmServers

from leaks.trace import Tracer

# Each run reads these itself. With the first in its own environment the server would print between its answers.
READ_BY_RUNS = ("ANSIBLE_DEBUG", "ANSIBLE_PIPELINING")


class TracedServer(WarmServer):
    """A server of runs that is traced with every run that it forks."""

    def __init__(
        self,
        place: Path,
        collections: Path,
        settings: Mapping[str, str],
        config: str,
        tracer: Tracer,
    ) -> None:
        self._log_path = place / "server.log"
        kept = place / "modules"
        for path in (place, place / "home", place / "tmp", kept):
            path.mkdir(mode=0o700)
        (place / "ansible.cfg").write_text(config)
        own = {
            "HOME": str(place / "home"),
            "TMPDIR": str(place / "tmp"),
            CONFIG: str(place / "ansible.cfg"),
            LOCAL_TEMP: str(place / "tmp"),
            LOG_PATH: str(place / "ansible.log"),
        }
        server = [sys.executable, str(SERVER), str(collections / COLLECTION), str(kept)]
        with self._log_path.open("w") as log:
            self._process = subprocess.Popen(
                [*tracer.prefix(), *server],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**settings, **own},
                cwd=place,
                text=True,
            )


@dataclass
class TracedServers(WarmServers):
    """The traced servers of a session."""

    tracer: Tracer | None = None

    def of(self, env: Mapping[str, str]) -> WarmServer:
        """The server for a run with this environment."""
        return super().of({name: value for name, value in env.items() if name not in READ_BY_RUNS})

    def _start(self, settings: Mapping[str, str], config: str) -> WarmServer:
        assert self.tracer
        if len(self._servers) >= self.most:
            self._servers.pop(next(iter(self._servers))).close()
        self._started += 1
        place = self.place / f"{self._started:02d}"
        return TracedServer(place, self.collections, settings, config, self.tracer)


@dataclass
class TracedCommand(Ansible):
    """The command that a person types, traced from its first moment."""

    tracer: Tracer | None = None

    def _launch(self, argv: Sequence[str], env: Mapping[str, str], captured: Path) -> Process:
        assert self.tracer
        return super()._launch([*self.tracer.prefix(), *argv], env, captured)
