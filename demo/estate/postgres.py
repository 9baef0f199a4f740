# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server of its own data directory, port and log, with SCRAM for everybody."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions

from estate.binaries import postgres_bindir
from estate.errors import EstateError
from estate.ports import Port, reserve
from estate.processes import Daemon, Running, tail
from estate.users import make_run_dir, private_dir, server_user, write_private

VERSIONS = ("15", "16", "18")
SUPERUSER = "postgres"
START_TRIES = 3


class PostgresServer(Running):
    """One server; a context manager that starts and stops it.

    :param version: the major version: 15, 16 or 18.
    :param run_dir: where its state goes; a fresh temporary directory, removed by :meth:`close`, when none is given.
    :param max_connections: the server's limit.
    :param fsync: whether writes reach the disk; off is right for tests only.
    :param settings: further server settings, which win over the ones set here.
    """

    def __init__(
        self,
        version: str = "16",
        run_dir: Path | None = None,
        max_connections: int = 100,
        fsync: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.version = version
        self.bindir = postgres_bindir(version)
        self.host = "127.0.0.1"
        self.superuser = SUPERUSER
        self.password = secrets.token_urlsafe(24)
        self.run_dir = run_dir or make_run_dir()
        self._own_run_dir = run_dir is None
        self.datadir = self.run_dir / f"pg{version}-data"
        self.log_path = self.run_dir / f"postgres-{version}.log"
        self._port: Port = reserve()
        self._settings = {**_defaults(max_connections, fsync), **(settings or {})}
        self._daemon: Daemon | None = None

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self._port.number

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return self._process().pid

    @property
    def running(self) -> bool:
        """Whether the postmaster lives."""
        return self._daemon is not None and self._daemon.running

    def dsn(self, dbname: str = "postgres", user: str | None = None) -> str:
        """A connection string without a password."""
        return f"host={self.host} port={self.port} dbname={dbname} user={user or self.superuser}"

    def connect(
        self,
        dbname: str = "postgres",
        user: str | None = None,
        password: str | None = None,
        **options: Any,
    ) -> psycopg2.extensions.connection:
        """A connection that commits each statement by itself; as the superuser unless told otherwise.

        :raises psycopg2.OperationalError: when the server refuses or is not there.
        """
        options.setdefault("connect_timeout", 10)
        connection: psycopg2.extensions.connection = psycopg2.connect(
            host=self.host,
            port=self.port,
            dbname=dbname,
            user=user or self.superuser,
            password=self.password if password is None else password,
            **options,
        )
        connection.autocommit = True
        return connection

    def execute(
        self, statement: str, parameters: Any = None, dbname: str = "postgres"
    ) -> list[Any]:
        """Run one statement as the superuser; returns its rows, if it has any."""
        connection = self.connect(dbname)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def log(self) -> str:
        """All that the server has written to its log."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def start(self) -> PostgresServer:
        """Make the data directory if there is none, and start.

        :raises EstateError: with the end of the log.
        """
        if not self.datadir.exists():
            self._initdb()
        for attempt in range(START_TRIES):
            self._daemon = self._new_daemon()
            try:
                self._daemon.start(self._answers)
                return self
            except EstateError as error:
                if attempt == START_TRIES - 1 or not self._retry_after(str(error)):
                    raise
        return self

    def stop(self) -> None:
        """Stop in good order: sessions are ended, nothing is lost."""
        if self._daemon:
            self._daemon.stop()

    def kill(self) -> None:
        """End the postmaster by SIGKILL; the next start recovers."""
        self._process().kill()

    def restart(self) -> PostgresServer:
        """Stop and start; ends every session."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stop, give the port back, and remove the state when it was this object that made the place for it."""
        self.stop()
        self._port.release()
        if self._own_run_dir:
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _process(self) -> Daemon:
        if self._daemon is None:
            raise EstateError(f"PostgreSQL {self.version} was not started")
        return self._daemon

    def _new_daemon(self) -> Daemon:
        argv = [str(self.bindir / "postgres"), "-D", str(self.datadir), "-p", str(self.port)]
        name = f"PostgreSQL {self.version}"
        return Daemon(
            name, argv, self.log_path, server_user(), cwd=self.run_dir, stop_signal=signal.SIGINT
        )

    def _retry_after(self, message: str) -> bool:
        """Whether another try makes sense: the port was taken meanwhile, or the backends of a killed postmaster linger."""
        if "could not bind" in message:
            self._port.release()
            self._port = reserve()
            return True
        return "shared memory block" in message

    def _answers(self) -> bool:
        try:
            self.connect(connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _initdb(self) -> None:
        datadir = private_dir(self.run_dir, self.datadir.name)
        pwfile = self.run_dir / f".pwfile-{self.version}"
        write_private(pwfile, [self.password])
        argv = [
            str(self.bindir / "initdb"),
            "-N",
            "-A",
            "scram-sha-256",
            "-U",
            self.superuser,
            "-E",
            "UTF8",
            "--locale=C",
        ]
        user = server_user()
        options: dict[str, Any] = dict(user.popen_options()) if user else {}
        handle = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            subprocess.run(
                [*argv, f"--pwfile={pwfile}", "-D", str(datadir)],
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                cwd=self.run_dir,
                check=True,
                **options,
            )
        except subprocess.CalledProcessError:
            raise EstateError(
                f"initdb of PostgreSQL {self.version} failed:\n{tail(self.log_path)}"
            ) from None
        finally:
            os.close(handle)
            pwfile.unlink()
        with (datadir / "postgresql.conf").open("a", encoding="utf-8") as stream:
            stream.write("".join(f"{name} = '{value}'\n" for name, value in self._settings.items()))


def _defaults(max_connections: int, fsync: bool) -> dict[str, str]:
    """The server's settings; everything that a client sends goes to the log, so that a leak would be seen there."""
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "max_connections": str(max_connections),
        "shared_buffers": "16MB",
        "log_statement": "all",
        "log_min_error_statement": "error",
        "log_connections": "on",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_timezone": "UTC",
    }
    if not fsync:
        settings.update({"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})
    return settings
