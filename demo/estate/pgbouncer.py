# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer in front of a PostgreSQL server, in transaction pooling, with a userlist or an ``auth_query``."""

from __future__ import annotations

import re
import secrets
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from estate.binaries import pgbouncer_binary
from estate.errors import EstateError
from estate.ports import Port, reserve
from estate.postgres import PostgresServer
from estate.processes import Daemon, Running
from estate.users import make_run_dir, server_user, write_private

ADMIN_USER = "pgbouncer_admin"
AUTH_USER = "pgbouncer_auth"
AUTH_SCHEMA = "pgbouncer"
AUTH_QUERY = "SELECT username, password FROM pgbouncer.get_auth($1)"
START_TRIES = 3


class PgBouncer(Running):
    """One PgBouncer; a context manager that starts and stops it.

    :param server: the PostgreSQL behind it.
    :param auth: ``userlist`` or ``auth_query``.
    :param database: the database that it serves.
    :param users: name to password or SCRAM verifier, for the userlist.
    :param run_dir: where its state goes; a fresh temporary directory, removed by :meth:`close`, when none is given.
    :param verbose: PgBouncer's own verbosity, 0 to 2.
    :param ini: further settings of the ``[pgbouncer]`` section, which win over the ones set here.
    """

    def __init__(
        self,
        server: PostgresServer,
        auth: str = "userlist",
        database: str = "postgres",
        users: Mapping[str, str] | None = None,
        run_dir: Path | None = None,
        verbose: int = 0,
        **ini: Any,
    ) -> None:
        if auth not in ("userlist", "auth_query"):
            raise ValueError(f"auth: '{auth}' is neither userlist nor auth_query")
        self.server = server
        self.auth = auth
        self.database = database
        self.host = "127.0.0.1"
        self.admin_user = ADMIN_USER
        self.admin_password = secrets.token_urlsafe(24)
        self.auth_user_password = secrets.token_urlsafe(24)
        self._own_run_dir = run_dir is None
        self.run_dir = run_dir or make_run_dir()
        self._port: Port = reserve()
        self._verbose = verbose
        self._ini = ini
        self._binary = pgbouncer_binary()
        self._daemon: Daemon | None = None
        self._users = dict(users or {})

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self._port.number

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process().pid

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._daemon is not None and self._daemon.running

    @property
    def userlist_path(self) -> Path:
        """The ``auth_file``; 0600 and owned by the user that PgBouncer runs as."""
        return self.run_dir / "userlist.txt"

    @property
    def ini_path(self) -> Path:
        """The configuration; 0600 and owned by the user that PgBouncer runs as."""
        return self.run_dir / "pgbouncer.ini"

    @property
    def log_path(self) -> Path:
        """The log: PgBouncer's standard error, in a file that belongs to this process's user."""
        return self.run_dir / "pgbouncer.log"

    def log(self) -> str:
        """All that PgBouncer has written to its log."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def connect(
        self, user: str, password: str, dbname: str | None = None, **options: Any
    ) -> psycopg2.extensions.connection:
        """A connection through PgBouncer that commits each statement by itself.

        :raises psycopg2.OperationalError: when it is refused.
        """
        options.setdefault("connect_timeout", 10)
        connection: psycopg2.extensions.connection = psycopg2.connect(
            host=self.host,
            port=self.port,
            dbname=dbname or self.database,
            user=user,
            password=password,
            **options,
        )
        connection.autocommit = True
        return connection

    def admin_connect(self) -> psycopg2.extensions.connection:
        """A connection to the admin console."""
        return self.connect(self.admin_user, self.admin_password, "pgbouncer")

    def show(self, what: str) -> list[dict[str, Any]]:
        """The rows of ``SHOW what``: ``CLIENTS``, ``SERVERS``, ``POOLS``, ``USERS``, ``CONFIG`` and so on."""
        names, rows = self._console(f"SHOW {what}")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def command(self, text: str) -> None:
        """A command of the admin console that returns no rows, such as ``RECONNECT``."""
        self._console(text)

    def reload(self) -> None:
        """``RELOAD``. It answers yes even when a file is broken: log in to see whether it worked."""
        self._console("RELOAD")

    def write_userlist(self, users: Mapping[str, str], keep: Sequence[str] = ()) -> None:
        """Write the userlist anew: the admin, what PgBouncer itself needs, these users, and the lines to keep."""
        entries = {self.admin_user: self.admin_password, **users}
        if self.auth == "auth_query":
            entries[AUTH_USER] = self.auth_user_password
        write_private(
            self.userlist_path,
            [*keep, *(f"{_quoted(name)} {_quoted(text)}" for name, text in entries.items())],
        )

    def start(self) -> PgBouncer:
        """Write the files that are not there, make the auth function if needed, and start.

        :raises EstateError: with the end of the log.
        """
        if self.auth == "auth_query":
            make_auth_function(self.server, self.database, self.auth_user_password)
        if not self.userlist_path.exists():
            self.write_userlist(self._users)
        for attempt in range(START_TRIES):
            write_private(self.ini_path, self._ini_lines())
            self._daemon = Daemon(
                "PgBouncer",
                [self._binary, str(self.ini_path)],
                self.log_path,
                server_user(),
                cwd=self.run_dir,
                stop_signal=signal.SIGTERM,
            )
            try:
                self._daemon.start(self._answers)
                return self
            except EstateError as error:
                if attempt == START_TRIES - 1 or "ddress already in use" not in str(error):
                    raise
                self._port.release()
                self._port = reserve()
        return self

    def stop(self) -> None:
        """End it; every client is disconnected."""
        if self._daemon:
            self._daemon.stop()

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process().kill()

    def restart(self) -> PgBouncer:
        """Stop and start."""
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
            raise EstateError("PgBouncer was not started")
        return self._daemon

    def _answers(self) -> bool:
        try:
            self.admin_connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def _console(self, text: str) -> tuple[list[str], list[Any]]:
        connection = self.admin_connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(text)
                names = [column.name for column in cursor.description or ()]
                return names, cursor.fetchall() if names else []
        finally:
            connection.close()

    def _ini_lines(self) -> list[str]:
        target = f"host={self.server.host} port={self.server.port}"
        settings: dict[str, Any] = {
            "listen_addr": self.host,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": self.userlist_path,
            "admin_users": self.admin_user,
            "pool_mode": "transaction",
            "max_client_conn": 200,
            "default_pool_size": 10,
            "verbose": self._verbose,
        }
        if self.auth == "auth_query":
            settings.update({"auth_query": AUTH_QUERY, "auth_user": AUTH_USER})
        settings.update(self._ini)
        body = [f"{name} = {value}" for name, value in settings.items()]
        return ["[databases]", f"{_ini_key(self.database)} = {target}", "", "[pgbouncer]", *body]


def _quoted(text: str) -> str:
    """A userlist's string: double quotes are doubled."""
    return '"' + text.replace('"', '""') + '"'


def _ini_key(database: str) -> str:
    """The database's key in the ini file; PgBouncer 1.18 reads plain names only, others are met by its fallback."""
    return database if re.fullmatch(r"[A-Za-z0-9_.-]+", database) else "*"


def make_auth_function(server: PostgresServer, database: str, password: str) -> None:
    """Make the role and the SECURITY DEFINER function that ``auth_query`` calls; safe to repeat with another password.

    The statement that sets the password holds a verifier, so that the clear text is not in the server's log.
    """
    connection = server.connect(database)
    verifier = psycopg2.extensions.encrypt_password(
        password, AUTH_USER, connection, "scram-sha-256"
    )
    role, schema = sql.Identifier(AUTH_USER), sql.Identifier(AUTH_SCHEMA)
    names = {"role": role, "schema": schema, "verifier": sql.Literal(verifier)}
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (AUTH_USER,))
            verb = sql.SQL("ALTER" if cursor.fetchone() else "CREATE")
            cursor.execute(
                sql.SQL("{verb} ROLE {role} LOGIN PASSWORD {verifier}").format(verb=verb, **names)
            )
            cursor.execute(sql.SQL(_AUTH_FUNCTION).format(**names))
    finally:
        connection.close()


_AUTH_FUNCTION = """
CREATE SCHEMA IF NOT EXISTS {schema};
GRANT USAGE ON SCHEMA {schema} TO {role};
CREATE OR REPLACE FUNCTION {schema}.get_auth(wanted text) RETURNS TABLE (username text, password text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid WHERE rolname = wanted AND rolcanlogin
$$;
REVOKE ALL ON FUNCTION {schema}.get_auth(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.get_auth(text) TO {role};
"""
