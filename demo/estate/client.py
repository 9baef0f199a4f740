# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client program as an application would be one: it knows its database by an env file and takes a new one on SIGHUP.

Some workers hold a connection and run transaction after transaction on it; others log in anew for each. Nothing is ever
tried again: every failed login and every failed transaction is counted. The counters go to a JSON file ten times a second.

    client.py run --env-file app.env --status-file status.json      # until SIGTERM
    client.py reload --status-file status.json                      # SIGHUP, and wait until every worker was seen using it
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg2
import psycopg2.extensions

KEY = "DATABASE_URL"
STATUS_SECONDS = 0.1
STALE_SECONDS = 3.0
APPLICATION = "keyturn-demo-client"
REASONS = (
    ("SASL authentication failed", "authentication"),
    ("password authentication failed", "authentication"),
    ("no such user", "unknown user"),
    ("not permitted to log in", "login not permitted"),
    ("too many", "too many connections"),
    ("remaining connection slots", "too many connections"),
    ("Connection refused", "refused"),
    ("timeout expired", "timeout"),
    ("timed out", "timeout"),
    ("server closed the connection", "connection closed"),
    ("terminating connection", "connection ended"),
)


class BadEnvFile(Exception):
    """The env file is not there or has no usable DATABASE_URL; the message holds no value."""


@dataclass(frozen=True)
class Credential:
    """What the env file said.

    :param generation: how often it has been read: 1 at the start, one more for each SIGHUP.
    """

    generation: int
    host: str
    port: int
    dbname: str
    username: str
    password: str = field(repr=False)


def read_credential(path: Path, generation: int) -> Credential:
    """Read ``DATABASE_URL`` from a dotenv file.

    :raises BadEnvFile: when it cannot be used.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadEnvFile(f"{path}: {error.strerror}") from None
    found = [
        line.split("=", 1)[1].strip().strip("\"'") for line in lines if line.startswith(f"{KEY}=")
    ]
    if not found:
        raise BadEnvFile(f"{path}: there is no {KEY}= line")
    try:
        url = urlsplit(found[-1])
        host, port, name = url.hostname or "", url.port or 5432, url.path.lstrip("/")
    except ValueError:
        raise BadEnvFile(f"{path}: {KEY} is no URL") from None
    return Credential(
        generation,
        host,
        port,
        unquote(name),
        unquote(url.username or ""),
        unquote(url.password or ""),
    )


def reason(error: BaseException) -> str:
    """The kind of an error, without its text: that may quote a value."""
    text = str(error)
    known = [word for phrase, word in REASONS if phrase in text]
    return f"{type(error).__name__}: {known[0]}" if known else type(error).__name__


class Tally:
    """The counters that all workers share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = dict.fromkeys(
            ("transactions", "logins", "failed_transactions", "failed_logins", "failed_reloads"), 0
        )
        self._errors: dict[str, int] = {}
        self._users: dict[str, int] = {}

    def done(self, user: str) -> None:
        """One transaction was committed as this user."""
        with self._lock:
            self._counts["transactions"] += 1
            self._users[user] = self._users.get(user, 0) + 1

    def count(self, what: str, error: BaseException | None = None) -> None:
        """One more of these; with its reason when it is a failure."""
        with self._lock:
            self._counts[what] += 1
            if error is not None:
                name = f"{what}: {reason(error)}"
                self._errors[name] = self._errors.get(name, 0) + 1

    def snapshot(self) -> dict[str, Any]:
        """A copy of all counters."""
        with self._lock:
            return {**self._counts, "errors": dict(self._errors), "users": dict(self._users)}


@dataclass
class Shared:
    """What the workers see of the program."""

    credential: Credential
    tally: Tally
    statement: str
    stop: threading.Event = field(default_factory=threading.Event)


class Worker(threading.Thread):
    """One worker.

    :param held: it keeps its connection; else it logs in for each transaction.
    :param rate: transactions per second, at most.
    :ivar seen: the newest generation that it has committed a transaction with.
    """

    def __init__(self, shared: Shared, held: bool, rate: float) -> None:
        super().__init__(daemon=True)
        self.seen = 0
        self.awake = threading.Event()
        self._shared = shared
        self._held = held
        self._pause = 1.0 / rate
        self._connection: psycopg2.extensions.connection | None = None
        self._generation = 0

    def run(self) -> None:
        """Work until told to stop."""
        stop = self._shared.stop
        self.awake.wait(random.SystemRandom().uniform(0, self._pause))
        while not stop.is_set():
            self.awake.clear()
            started = time.monotonic()
            self._turn()
            self.awake.wait(max(0.0, self._pause - (time.monotonic() - started)))
        self._close()

    def _turn(self) -> None:
        credential = self._shared.credential
        if not self._held or self._connection is None or self._generation != credential.generation:
            self._log_in(credential)
        if self._connection is not None:
            self._transaction(self._connection)
        if not self._held:
            self._close()

    def _log_in(self, credential: Credential) -> None:
        """Replace the connection; when that fails, a held one goes on being used until the next turn."""
        try:
            fresh = psycopg2.connect(
                host=credential.host,
                port=credential.port,
                dbname=credential.dbname,
                user=credential.username,
                password=credential.password,
                application_name=APPLICATION,
                connect_timeout=10,
            )
        except psycopg2.Error as error:
            self._shared.tally.count("failed_logins", error)
            return
        self._close()
        self._shared.tally.count("logins")
        self._connection, self._generation = fresh, credential.generation

    def _transaction(self, connection: psycopg2.extensions.connection) -> None:
        try:
            with connection, connection.cursor() as cursor:
                if self._shared.statement:
                    cursor.execute(self._shared.statement)
                cursor.execute("SELECT session_user")
                (user,) = cursor.fetchone() or ("",)
        except psycopg2.Error as error:
            self._shared.tally.count("failed_transactions", error)
            self._close()
            return
        self._shared.tally.done(str(user))
        self.seen = self._generation

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except psycopg2.Error:
                return


class Program:
    """The program around the workers: signals, the env file, the status file."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._env_file: Path = options.env_file
        self._status_file: Path = options.status_file
        self._shared = Shared(read_credential(self._env_file, 1), Tally(), options.statement)
        self._workers = [
            Worker(self._shared, True, options.held_rate) for _number in range(options.held)
        ]
        self._workers += [
            Worker(self._shared, False, options.login_rate) for _number in range(options.new)
        ]
        self._ended = False
        self._reloads = 0
        self._done_reloads = 0
        self._started = time.time()

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; returns the exit status."""
        heard, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, self._on_hup)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_end)
        for worker in self._workers:
            worker.start()
        while not self._ended:
            settled = self._settled() == self._shared.credential.generation
            pause = STATUS_SECONDS if settled else STATUS_SECONDS / 5
            if select.select([heard], [], [], pause)[0]:
                os.read(heard, 64)
            self._reload()
            self._write_status()
        self._shared.stop.set()
        self._wake()
        for worker in self._workers:
            worker.join(15)
        self._write_status(ended=True)
        return 0

    def _on_end(self, _number: int, _frame: object) -> None:
        self._ended = True

    def _wake(self) -> None:
        """No worker waits for its next turn any longer."""
        for worker in self._workers:
            worker.awake.set()

    def _settled(self) -> int:
        return min((worker.seen for worker in self._workers), default=0)

    def _on_hup(self, _number: int, _frame: object) -> None:
        self._reloads += 1

    def _reload(self) -> None:
        wanted = self._reloads
        if wanted == self._done_reloads:
            return
        self._done_reloads = wanted
        try:
            self._shared.credential = read_credential(
                self._env_file, self._shared.credential.generation + 1
            )
        except BadEnvFile as error:
            self._shared.tally.count("failed_reloads", error)
            print(f"the old credential stays in use: {error}", file=sys.stderr, flush=True)
        else:
            self._wake()

    def _write_status(self, ended: bool = False) -> None:
        credential = self._shared.credential
        status = {
            "pid": os.getpid(),
            "started": self._started,
            "updated": time.time(),
            "ended": ended,
            "generation": credential.generation,
            "settled": self._settled(),
            "username": credential.username,
            **self._shared.tally.snapshot(),
        }
        part = self._status_file.with_name(f".{self._status_file.name}.part")
        part.write_text(json.dumps(status, indent=1) + "\n", encoding="utf-8")
        os.replace(part, self._status_file)


def read_status(path: Path) -> dict[str, Any]:
    """The counters; empty before the program has written any."""
    try:
        status: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return status


def failures(status: Mapping[str, Any]) -> dict[str, int]:
    """The counters that have to be 0."""
    return {
        name: int(status.get(name, 0))
        for name in ("failed_logins", "failed_transactions", "failed_reloads")
    }


def tell_to_reload(path: Path, seconds: float) -> str:
    """SIGHUP to the program that writes this status; returns the user name once every worker was seen using it.

    :raises RuntimeError: when the program does not run, could not read its env file, or is not seen in time.
    """
    before = read_status(path)
    if not before or before["ended"] or time.time() - before["updated"] > STALE_SECONDS:
        raise RuntimeError(f"{path}: the client does not run")
    os.kill(before["pid"], signal.SIGHUP)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = read_status(path)
        if status["failed_reloads"] > before["failed_reloads"]:
            raise RuntimeError(
                "the client could not read its env file and goes on with the old credential; see its log"
            )
        if (
            status["generation"] > before["generation"]
            and status["settled"] == status["generation"]
        ):
            return str(status["username"])
        time.sleep(0.05)
    raise RuntimeError(
        f"the client was told to reload, but not all of its connections use the new credential after {seconds:g} s"
    )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="A database client under load that counts every failure."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="work until SIGTERM")
    run.add_argument(
        "--env-file", type=Path, required=True, help=f"a dotenv file with {KEY}=postgresql://..."
    )
    run.add_argument("--held", type=int, default=8, help="workers that hold their connection")
    run.add_argument("--new", type=int, default=4, help="workers that log in for each transaction")
    run.add_argument(
        "--held-rate", type=float, default=10.0, help="transactions per second and held connection"
    )
    run.add_argument("--login-rate", type=float, default=5.0, help="logins per second and worker")
    run.add_argument("--statement", default="", help="SQL to run in each transaction")
    reload = commands.add_parser(
        "reload", help="SIGHUP, and wait until every worker was seen using the new credential"
    )
    reload.add_argument("--timeout", type=float, default=20.0, help="seconds")
    for command in (run, reload):
        command.add_argument(
            "--status-file", type=Path, required=True, help="where the counters are"
        )
    return parser.parse_args(arguments)


def main() -> int:
    """The program."""
    options = parse_arguments()
    try:
        if options.command == "run":
            return Program(options).run()
        print(f"all connections use {tell_to_reload(options.status_file, options.timeout)}")
    except (BadEnvFile, RuntimeError) as error:
        print(f"client: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
