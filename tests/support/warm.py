# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of playbooks that are forked from a process which has imported Ansible and this collection already.

Each is a process tree of its own with its own surroundings and output, as ``ansible-playbook`` makes it; the imports, more than
half of what a short run costs, are done once. Where the command itself is what a test is about, ``ansible_command`` starts it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from estate.errors import EstateError
from estate.playbook import KEPT, Ansible, Process
from estate.processes import tail

SERVER = Path(__file__).with_name("warm_server.py")
COLLECTION = Path("ansible_collections") / "keyturn" / "runbooks"
AFTER_COMMAND = 4
COLLECTIONS_PATH = "ANSIBLE_COLLECTIONS_PATH"
CONFIG, LOCAL_TEMP, LOG_PATH = "ANSIBLE_CONFIG", "ANSIBLE_LOCAL_TEMP", "ANSIBLE_LOG_PATH"
# Each run has its own of these, and reads them itself.
OWN = (CONFIG, LOCAL_TEMP, LOG_PATH, "ANSIBLE_REMOTE_TEMP")


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


class WarmServer:
    """One process that forks runs.

    :param place: its home, temporary files and log; made here.
    :param kept: the modules that were built from the same sources; made here.
    :param collections: a path that holds the collection.
    :param settings: the ``ANSIBLE_*`` variables that it shares with its runs.
    :param config: the text of their configuration file.
    """

    def __init__(
        self, place: Path, kept: Path, collections: Path, settings: Mapping[str, str], config: str
    ) -> None:
        self._log_path = place / "server.log"
        kept.mkdir(mode=0o700, exist_ok=True)
        for path in (place, place / "home", place / "tmp"):
            path.mkdir(mode=0o700)
        (place / "ansible.cfg").write_text(config)
        own = {
            "HOME": str(place / "home"),
            "TMPDIR": str(place / "tmp"),
            CONFIG: str(place / "ansible.cfg"),
            LOCAL_TEMP: str(place / "tmp"),
            LOG_PATH: str(place / "ansible.log"),
        }
        with self._log_path.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), str(collections / COLLECTION), str(kept)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**settings, **own},
                cwd=place,
                text=True,
            )

    def fork(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, captured: Path) -> int:
        """Begin a run; returns its process id.

        :param argv: the arguments of ``ansible-playbook``.
        :param captured: where its output and its wait status go.
        :raises EstateError: when the server has ended, with the end of its log.
        """
        assert self._process.stdin and self._process.stdout
        job = {"argv": argv, "env": dict(env), "cwd": str(cwd), "captured": str(captured)}
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pid = ""
        else:
            pid = self._process.stdout.readline()
        if not pid.strip():
            raise EstateError(f"the server of playbook runs ended:\n{tail(self._log_path)}")
        return int(pid)

    def close(self) -> None:
        """End it; runs that are under way come to their own end."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@dataclass
class WarmServers:
    """The servers of a session, one for each set of settings.

    :param place: their files; an existing directory.
    :param collections: a path that holds the collection.
    :param most: how many live at once; the one that was asked longest ago ends for another one.
    """

    place: Path
    collections: Path
    most: int = 4
    _servers: dict[object, WarmServer] = field(default_factory=dict)
    _started: int = 0

    def of(self, env: Mapping[str, str]) -> WarmServer:
        """The server for a run with this environment."""
        same = (*KEPT, "LC_ALL")
        settings = {
            name: value
            for name, value in env.items()
            if name in same or (name.startswith("ANSIBLE_") and name not in OWN)
        }
        config = Path(env[CONFIG]).read_text(encoding="utf-8")
        key = (tuple(sorted(settings.items())), config)
        server = self._servers.pop(key, None) or self._start(settings, config)
        self._servers[key] = server
        return server

    def _start(self, settings: Mapping[str, str], config: str) -> WarmServer:
        if len(self._servers) >= self.most:
            self._servers.pop(next(iter(self._servers))).close()
        self._started += 1
        place = self.place / f"{self._started:02d}"
        sources = settings.get(COLLECTIONS_PATH, "").encode()
        kept = self.place / f"modules-{hashlib.sha256(sources).hexdigest()[:12]}"
        return WarmServer(place, kept, self.collections, settings, config)

    def close(self) -> None:
        """End all of them."""
        while self._servers:
            self._servers.popitem()[1].close()


@dataclass
class WarmAnsible(Ansible):
    """Ansible whose runs are forked from the session's servers."""

    servers: WarmServers | None = None

    def _launch(self, argv: Sequence[str], env: Mapping[str, str], captured: Path) -> Process:
        assert self.servers
        pid = self.servers.of(env).fork(argv[AFTER_COMMAND:], env, self.work_dir, captured)
        return Forked(pid, captured / "status")
