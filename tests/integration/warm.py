# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many runs of playbooks in one test: forked from a process that has imported Ansible and this collection already.

Each is a process tree of its own with its own output, as ``ansible-playbook`` makes it; the imports, more than half of what
a short run costs, are done once. Tests of a few runs, and those of the command line, start the real command.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from estate.playbook import Ansible, Process

SERVER = Path(__file__).with_name("warm_server.py")
AFTER_COMMAND = 4


@dataclass
class Forked:
    """A run that a server forked; as much of ``subprocess.Popen`` as is needed."""

    pid: int
    status: Path
    returncode: int | None = None

    def poll(self) -> int | None:
        """How it ended; none while it lives."""
        if self.returncode is None and self.status.exists():
            self.returncode = int(self.status.read_text())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        :raises subprocess.TimeoutExpired: when it takes longer.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("ansible-playbook", timeout or 0)
            time.sleep(0.02)
        return code


@dataclass
class WarmAnsible(Ansible):
    """Ansible whose settings are read once: one server for each set of ``ANSIBLE_*`` variables."""

    _servers: dict[tuple[tuple[str, str], ...], subprocess.Popen[str]] = field(default_factory=dict)

    def _launch(self, argv: Sequence[str], env: Mapping[str, str], captured: Path) -> Process:
        settings = tuple(sorted(item for item in env.items() if item[0].startswith("ANSIBLE_")))
        if settings not in self._servers:
            self._servers[settings] = self._serve(env)
        server = self._servers[settings]
        job = {"argv": argv[AFTER_COMMAND:], "env": dict(env)}
        job.update(cwd=str(self.work_dir), captured=str(captured))
        assert server.stdin and server.stdout
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        return Forked(int(server.stdout.readline()), captured / "status")

    def _serve(self, env: Mapping[str, str]) -> subprocess.Popen[str]:
        collection = self.collections / "ansible_collections" / "keyturn" / "runbooks"
        with (self.work_dir / "warm-server.log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, str(SERVER), str(collection)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(env),
                cwd=self.work_dir,
                text=True,
            )

    def close(self) -> None:
        """End the servers."""
        for server in self._servers.values():
            server.communicate(timeout=30)


@pytest.fixture
def warm(ansible: Ansible) -> Iterator[WarmAnsible]:
    """Runs playbooks in the surroundings of ``ansible``, many times."""
    made = WarmAnsible(ansible.work_dir, ansible.collections)
    yield made
    made.close()
