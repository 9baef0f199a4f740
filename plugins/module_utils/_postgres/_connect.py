# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to a PostgreSQL server, one for each database, and its errors in this collection's words."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Type, TypeVar

from ansible_collections.keyturn.runbooks.plugins.module_utils._clear_text import libpq_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    Conflict,
    Denied,
    KeyturnError,
    MissingLibrary,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._login import (
    Login,
    open_login,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import (
    identifier,
    literal,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._wire import Address, try_login

try:
    import psycopg2
    import psycopg2.extensions
except ImportError as _error:
    _MISSING: Optional[ImportError] = _error
else:
    _MISSING = None

Row = Tuple[Any, ...]
Result = TypeVar("Result")

_STATEMENT_TIMEOUT = 30_000
_LOCK_TIMEOUT = 2_000
_SHORT_LOCK_TIMEOUT = 200
"""For a lock that stops everybody else: whoever asks for the table meanwhile waits behind this one."""
_LOCK_WAIT = 60.0
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)

_SETUP = (
    "SET standard_conforming_strings = on; SET search_path = pg_catalog; "
    f"SET statement_timeout = {_STATEMENT_TIMEOUT}; SET lock_timeout = {_LOCK_TIMEOUT}"
)

_OPEN_TRANSACTIONS = """
SELECT format('%s pid %s (%s) since %s s', usename, pid, coalesce(nullif(application_name, ''), 'no application name'),
              extract(epoch FROM clock_timestamp() - xact_start)::int)
  FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
 ORDER BY xact_start LIMIT 3
"""

_UNREACHABLE_TEXTS = (
    (
        "Connection refused",
        "nothing listens there; start the server, or correct login.host and login.port",
    ),
    ("timeout expired", "no answer in time"),
    ("could not translate host name", "the name of the host is not known"),
    ("No route to host", "there is no route to the host"),
    ("Network is unreachable", "the network is not reachable"),
    ("No such file or directory", "there is no such socket or certificate file"),
    ("certificate", "the server's certificate was not accepted"),
    ("does not support SSL", "the server does not speak TLS"),
    ("session is read-only", "the server takes no writes"),
    ("server closed the connection", "the server closed the connection"),
    ('" does not exist', "there is no such database; correct login.dbname, or create it"),
)

_KINDS = {
    "42501": (Denied, "the administrator may not do this"),
    "28000": (Denied, "the login was refused"),
    "28P01": (Denied, "the password was refused"),
    "2BP01": (Refused, "something still depends on it"),
    "0LP01": (Refused, "this right cannot be given that way"),
    "25006": (Refused, "the server is read-only (a standby, or default_transaction_read_only)"),
    "55P03": (Refused, "a lock could not be had in time"),
    "40P01": (Refused, "it met a deadlock again and again"),
    "57014": (Unreachable, "it took too long and was cancelled"),
    "53300": (Unreachable, "the server has no connection left"),
    "3D000": (Absent, "there is no such database"),
    "42704": (Conflict, "something that it names is gone"),
    "42P01": (Conflict, "a table that it names is gone"),
    "42710": (Conflict, "somebody else made it first"),
    "XX000": (Conflict, "the server gave an internal error"),
}

_DEPENDED_ON = "2BP01"
_QUOTABLE = ("42501", "2BP01", "0LP01", "3D000", "42704", "42P01", "42710", "53300")
"""Errors whose primary message names objects and privileges only, never a part of a statement or a value."""


def explain(error: Any, what: str) -> KeyturnError:
    """A driver's error as one of ours.

    :param what: what was being done, in words.
    """
    code = getattr(error, "pgcode", None) or ""
    if not code or code.startswith(("08", "57P")):
        return Unreachable(
            f"{what}: the connection to the server was lost; run again when it is back"
        )
    kind, words = _KINDS.get(code, (Conflict, "the server refused"))
    told = f": {error.diag.message_primary}" if code in _QUOTABLE else ""
    if code == _DEPENDED_ON and error.diag.message_detail:
        told += f" ({'; '.join(error.diag.message_detail.splitlines()[:5])})"
    return kind(f"{what}: {words}{told} (SQLSTATE {code})", sqlstate=code)


def _may_pass(error: Any) -> bool:
    """Whether the same transaction may succeed a moment later."""
    text = str(getattr(error.diag, "message_primary", "") or "")
    return error.pgcode in ("55P03", "40P01", "40001") or (
        error.pgcode == "XX000" and text.startswith("tuple concurrently")
    )


class Server:
    """One administrator's connections to one server; a context manager that closes them.

    :param context: for the environment and the random source.
    :param lock_wait: seconds for which a transaction is tried again when it does not get a lock.
    """

    def __init__(self, login: Login, context: Context, lock_wait: float = _LOCK_WAIT) -> None:
        self.login = login
        self._context = context
        self._lock_wait = lock_wait
        self._connections: Dict[str, Any] = {}

    @classmethod
    def open(cls, login: Any, context: Context, option: str) -> Server:
        """The server that a ``login`` mapping names; connects when it is first asked for something."""
        return cls(open_login(login, context, option), context)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _connection(self, database: str) -> Any:
        database = database or self.login.dbname
        if database not in self._connections:
            self._connections[database] = self._connect(database)
        return self._connections[database]

    def _connect(self, database: str) -> Any:
        if _MISSING is not None:
            raise MissingLibrary(
                "psycopg2 is not installed where this runs; install psycopg2-binary into Ansible's Python, or the "
                "package python3-psycopg2"
            ) from _MISSING
        try:
            version = psycopg2.extensions.libpq_version()
            guard = libpq_guard(self.login.host, self.login.sslmode, version)
            connection = psycopg2.connect(**{**self.login.arguments(database), **guard})
        except psycopg2.OperationalError as error:
            raise self._explain_login(database, str(error)) from None
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(_SETUP)
        return connection

    def _explain_login(self, database: str, text: str) -> KeyturnError:
        where = f"login of {self.login} to database {database}"
        for mark, words in _UNREACHABLE_TEXTS:
            if mark in text:
                return Unreachable(f"{where}: {words}")
        verdict = self.try_login(self.login.username, self.login.password, database)
        if verdict is None:
            return Unreachable(
                f"{where}: it failed; give the administrator's password to learn why"
            )
        outcome, reason = verdict
        kind: Type[KeyturnError] = Denied if outcome == "refused" else Unreachable
        if outcome == "refused":
            reason += "; correct the administrator's user and password in login.admin"
        return kind(f"{where}: {reason if outcome != 'accepted' else 'it failed once; run again'}")

    def try_login(
        self, username: str, password: Any, database: str = ""
    ) -> Optional[Tuple[str, str]]:
        """How a login ends: ``accepted``, ``refused`` or ``unproven``, and why; none without a password."""
        login = self.login
        if password is None:
            return None
        address = Address(
            host=login.host or "localhost",
            port=login.port,
            dbname=database or login.dbname,
            sslmode=login.sslmode,
            sslrootcert=login.sslrootcert,
            sslcert=login.sslcert,
            sslkey=login.sslkey,
            timeout=float(login.connect_timeout),
        )
        verdict = try_login(address, username, password, self._context.randbytes(18))
        return verdict.outcome, verdict.reason

    def rows(self, query: str, parameters: Any = None, database: str = "") -> List[Row]:
        """The rows of a query.

        :param parameters: for the placeholders of psycopg2.
        :raises Denied, Unreachable: and the other kinds of :func:`explain`.
        """
        what = f"reading from database {database or self.login.dbname}"

        def read(cursor: Any) -> List[Row]:
            cursor.execute(query, parameters)
            return list(cursor.fetchall())

        return self._patiently(read, what, database)

    def _patiently(self, job: Callable[[Any], Result], what: str, database: str) -> Result:
        """Do it again when a lock or a concurrent change got in the way."""
        connection = self._connection(database)
        until = time.monotonic() + self._lock_wait
        attempt = 0
        while True:
            try:
                with connection.cursor() as cursor:
                    return job(cursor)
            except psycopg2.Error as error:
                self._roll_back(connection)
                if not _may_pass(error):
                    raise explain(error, what) from None
                if time.monotonic() > until:
                    raise self._gave_up(error, what, database) from None
            time.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
            attempt += 1

    def write(
        self,
        statements: Sequence[str],
        what: str,
        database: str = "",
        run_as: str = "",
        settings: Sequence[Tuple[str, str]] = (),
        strong_lock: bool = False,
    ) -> None:
        """Run statements in one transaction, again when a lock or a concurrent change gets in the way.

        :param what: for messages, without values.
        :param run_as: a role to act as.
        :param settings: parameters of the transaction, such as the names that a ``DO`` block reads.
        :param strong_lock: it takes a lock that stops readers, so it must not queue for long.
        :raises Refused: when the lock could not be had in all the time allowed, naming who holds it back.
        """
        text = self._transaction(statements, run_as, settings, strong_lock)
        self._patiently(lambda cursor: cursor.execute(text), what, database)

    def _gave_up(self, error: Any, what: str, database: str) -> KeyturnError:
        explained = explain(error, what)
        open_ones = "; ".join(row[0] for row in self.rows(_OPEN_TRANSACTIONS, None, database))
        longest = f"; the longest open transactions there: {open_ones}" if open_ones else ""
        return Refused(
            f"{explained.message}, tried for {self._lock_wait:.0f} s{longest}; run again when they have ended"
        )

    @staticmethod
    def _transaction(
        statements: Sequence[str],
        run_as: str,
        settings: Sequence[Tuple[str, str]],
        strong_lock: bool,
    ) -> str:
        parts = ["BEGIN"]
        if strong_lock:
            parts.append(f"SET LOCAL lock_timeout = {_SHORT_LOCK_TIMEOUT}")
        if run_as:
            parts.append(f"SET LOCAL ROLE {identifier(run_as)}")
        for name, value in settings:
            parts.append(f"SELECT set_config({literal(name)}, {literal(value)}, true)")
        return "; ".join([*parts, *statements, "COMMIT"])

    def _roll_back(self, connection: Any) -> None:
        """Leave the failed transaction, if there is one; forget a connection that is lost."""
        if connection.closed:
            kept = {
                name: item for name, item in self._connections.items() if item is not connection
            }
            self._connections = kept
        elif connection.info.transaction_status != psycopg2.extensions.TRANSACTION_STATUS_IDLE:
            with connection.cursor() as cursor:
                cursor.execute("ROLLBACK")


__all__ = ["Login", "Row", "Server", "explain"]
