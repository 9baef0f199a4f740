# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client program as a part of an estate: started, told to reload, stopped, and asked for its counters."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from estate.client import KEY, failures, read_status, tell_to_reload
from estate.processes import Daemon, wait_until

PROGRAM = Path(__file__).with_name("client.py")


def database_url(user: str, password: str, host: str, port: int, dbname: str) -> str:
    """A connection URL with everything quoted that has to be."""
    return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}/{quote(dbname, safe='')}"


def write_env_file(path: Path, url: str, *others: str) -> None:
    """Write a dotenv file (0600) with ``DATABASE_URL`` and other lines, by rename."""
    part = path.with_name(f".{path.name}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write("".join(f"{line}\n" for line in (*others, f"{KEY}={url}")))
    os.replace(part, path)


class LoadClient:
    """The client program; a context manager that starts and stops it.

    :param env_file: where it reads its credential.
    :param run_dir: where its counters and its log go.
    :param held: workers that hold their connection.
    :param new: workers that log in for each transaction.
    :param held_rate: transactions per second and held connection.
    :param login_rate: logins per second and worker.
    :param statement: SQL in each transaction, beside asking for the session's user.
    """

    def __init__(
        self,
        env_file: Path,
        run_dir: Path,
        held: int = 8,
        new: int = 4,
        held_rate: float = 10.0,
        login_rate: float = 5.0,
        statement: str = "",
    ) -> None:
        self.env_file = env_file
        self.status_path = run_dir / "client-status.json"
        self.log_path = run_dir / "client.log"
        argv = [
            sys.executable,
            str(PROGRAM),
            "run",
            "--env-file",
            str(env_file),
            "--status-file",
            str(self.status_path),
        ]
        argv += [
            "--held",
            str(held),
            "--new",
            str(new),
            "--held-rate",
            str(held_rate),
            "--login-rate",
            str(login_rate),
        ]
        self._daemon = Daemon("the client", [*argv, "--statement", statement], self.log_path)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._daemon.pid

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._daemon.running

    def status(self) -> dict[str, Any]:
        """Its counters as last written, at most a tenth of a second ago."""
        return read_status(self.status_path)

    def failures(self) -> dict[str, int]:
        """The counters that have to be 0."""
        return failures(self.status())

    def start(self) -> LoadClient:
        """Start it and wait until every worker has committed a transaction.

        :raises EstateError: when that does not happen.
        """
        self.status_path.unlink(missing_ok=True)
        self._daemon.start(lambda: bool(self.status()) and self.status()["settled"] == 1)
        return self

    def reload(self, seconds: float = 20.0) -> str:
        """Tell it to read its env file again; returns the user name once every worker was seen using it."""
        return tell_to_reload(self.status_path, seconds)

    def send_hup(self) -> None:
        """SIGHUP without waiting."""
        self._daemon.signal(signal.SIGHUP)

    def work(self, transactions: int, seconds: float = 20.0) -> None:
        """Wait until it has committed that many more transactions."""
        goal = self.status()["transactions"] + transactions
        wait_until(
            lambda: bool(self.status()["transactions"] >= goal),
            seconds,
            f"{transactions} more transactions",
        )

    def stop(self) -> dict[str, Any]:
        """End it; returns its last counters."""
        self._daemon.stop(20)
        return self.status()

    def __enter__(self) -> LoadClient:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
