# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many small applications in one process, so that the load beside many credentials stays small.

    fleet.py FOLDER ENV-FILE...       # until SIGTERM

Each holds a connection and commits a transaction on it every second. A number in the pipe FOLDER/asked has that one read its env file
again; FOLDER/answer-NUMBER says "ok" once it has committed with what is there now. Nothing is tried again, failures are counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psycopg2
from estate.client import read_credential
from estate.processes import Daemon

TICK = 1.0


class Application:
    """One of them."""

    def __init__(self, env_file: Path) -> None:
        self._env_file = env_file
        self._connection: Any = None
        self.take()

    def take(self) -> None:
        """Read the env file, log in anew and commit."""
        found = read_credential(self._env_file, 1)
        fresh = psycopg2.connect(
            host=found.host,
            port=found.port,
            dbname=found.dbname,
            user=found.username,
            password=found.password,
            connect_timeout=10,
        )
        if self._connection is not None:
            self._connection.close()
        self._connection = fresh
        self.work()

    def work(self) -> None:
        """Commit one transaction."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute("SELECT session_user")


class Fleet:
    """All of them, and the pipe that they are told by."""

    def __init__(self, folder: Path, env_files: list[Path]) -> None:
        self._folder = folder
        self._applications = [Application(path) for path in env_files]
        for name in ("asked", *(f"answer-{number}" for number in range(len(env_files)))):
            os.mkfifo(folder / name, 0o600)
        self._asked = os.open(folder / "asked", os.O_RDWR)
        self.failures = 0
        self.transactions = 0

    def serve(self) -> None:
        """Until the process is told to end."""
        self._tell()
        at = time.monotonic() + TICK
        while True:
            ready = select.select([self._asked], [], [], max(0.0, at - time.monotonic()))[0]
            if ready:
                for number in os.read(self._asked, 4096).split():
                    self._answer(int(number))
            if time.monotonic() >= at:
                at = time.monotonic() + TICK
                for application in self._applications:
                    self._try(application.work)
                self._tell()

    def _try(self, act: Any) -> str:
        try:
            act()
        except (psycopg2.Error, OSError):
            self.failures += 1
            return "failed"
        self.transactions += 1
        return "ok"

    def _answer(self, number: int) -> None:
        said = self._try(self._applications[number].take)
        self._tell()
        with (self._folder / f"answer-{number}").open("w") as pipe:
            pipe.write(f"{said}\n")

    def _tell(self) -> None:
        part = self._folder / "status.part"
        part.write_text(json.dumps({"transactions": self.transactions, "failures": self.failures}))
        part.rename(self._folder / "status.json")


class FleetProcess:
    """The program as a part of a scene."""

    def __init__(self, folder: Path, env_files: list[Path]) -> None:
        self._status = folder / "status.json"
        argv = [sys.executable, __file__, str(folder), *map(str, env_files)]
        own = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        self._daemon = Daemon("the applications", argv, folder / "fleet.log", env=own)

    def start(self) -> None:
        """Start it and wait until each has committed a transaction."""
        self._daemon.start(self._status.exists)

    def failures(self) -> int:
        """How many logins and transactions failed."""
        return int(json.loads(self._status.read_text())["failures"])

    def close(self) -> None:
        """End it."""
        self._daemon.stop()


def main() -> None:
    """The program."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        Fleet(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]).serve()


if __name__ == "__main__":
    main()
