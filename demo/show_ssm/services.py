# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local services of the application: those that keep webhooks encrypted, and the two that share a token."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from estate.collection import ROOT
from estate.processes import Daemon, wait_until
from estate.shop import write_secret

PROGRAMS = ROOT / "tests" / "support" / "programs"
HOOKS, PAIR = PROGRAMS / "sealed_rows.py", PROGRAMS / "two_services.py"
WAIT = 20


class Webhooks:
    """A service that opens, changes, adds and removes encrypted rows, and writes down what went wrong.

    :param folder: with the file of its keys.
    :param login: the arguments of its connection.
    """

    def __init__(self, folder: Path, login: Mapping[str, Any]) -> None:
        self.folder, self.state = folder, folder / "state.json"
        write_secret(folder / "login.json", json.dumps(login))

    @contextmanager
    def at_work(self) -> Iterator[Webhooks]:
        """From its first turn on."""
        files = [str(self.folder / name) for name in ("keys", "state.json", "login.json")]
        argv = [sys.executable, str(HOOKS), *files]
        daemon = Daemon("the webhooks' service", argv, self.folder / "webhooks.log")
        try:
            daemon.start(self.state.exists)
            (self.folder / "pid").write_text(str(daemon.pid))
            yield self
        finally:
            daemon.stop()

    def told(self) -> dict[str, Any]:
        """What it says of itself: ``counts`` by what it did, and ``faults``; once it has done some more."""
        before = sum(self._state()["counts"].values())

        def more() -> bool:
            return bool(sum(self._state()["counts"].values()) > before + 3)

        wait_until(more, WAIT, "the webhooks' service to work")
        return self._state()

    def _state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.state.read_text(encoding="utf-8"))
        return found


class Pair:
    """A server, and a runner that calls it a hundred times a second with the token that both know.

    :param folder: where their env files and the runner's counts are.
    :param aws: the address of the parameters.
    """

    def __init__(self, folder: Path, aws: str, port: int) -> None:
        self.folder, self.aws, self.port = folder, aws, port
        self.counts = folder / "counts.json"
        self._program = [sys.executable, "-I", "-S", str(PAIR)]

    @contextmanager
    def at_work(self) -> Iterator[Pair]:
        """With the tokens that the parameters have, from the runner's first call on."""
        port, counts = str(self.port), str(self.counts)
        daemons = {
            "server": self._service("server", "hub", port),
            "runner": self._service("runner", "runner", port, counts),
        }
        try:
            for name, parameter in (("server", "RUNNER_TOKENS"), ("runner", "RUNNER_TOKEN")):
                env = str(self.folder / f"{name}.env")
                wanted = f"/musehub/production/{parameter}"
                fetch = [*self._program, "fetch", self.aws, wanted, env]
                subprocess.run(fetch, check=True)
                ready = self._answers if name == "server" else self.counts.exists
                daemons[name].start(ready)
                (self.folder / f"{name}.pid").write_text(str(daemons[name].pid))
            yield self
        finally:
            for daemon in reversed(daemons.values()):
                daemon.stop()

    def told(self) -> tuple[int, int]:
        """How many calls there were, and how many of them were refused; once there were some more."""
        before = self._counts()["calls"]
        wait_until(lambda: bool(self._counts()["calls"] > before + 5), WAIT, "the runner to call")
        now = self._counts()
        return now["calls"], len(now["refused"])

    def _service(self, name: str, role: str, *rest: str) -> Daemon:
        env = str(self.folder / f"{name}.env")
        return Daemon(name, [*self._program, role, env, *rest], self.folder / f"{name}.log")

    def _answers(self) -> bool:
        accepts = [*self._program, "accepts", str(self.folder / "server.env"), str(self.port)]
        return subprocess.run(accepts, check=False).returncode == 0

    def _counts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.counts.read_text(encoding="utf-8"))
        return found
