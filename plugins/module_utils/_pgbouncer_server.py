# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talking to a running PgBouncer: logins through it, with a deadline, and its admin console."""

from __future__ import annotations

import re
import select
import time
from dataclasses import dataclass
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._clear_text import (
    CLEAR_TEXT,
    libpq_guard,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Denied,
    KeyturnError,
    MissingLibrary,
    ProbeFailed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

try:
    import psycopg2
    import psycopg2.extensions
except ImportError as error:
    _MISSING: ImportError | None = error
else:
    _MISSING = None

CONSOLE = "pgbouncer"
"""The name of the console's virtual database."""

# RELOAD answers after it has read the file, so that a refusal soon after it is an answer about the
# new file; the margin is for a reload by signal or by another process.
_REFUSAL_STANDS = 1.0
# A pool whose server login failed makes its clients wait (server_login_retry), so that one attempt
# must not use up the whole time.
_ATTEMPT = 5.0
_PAUSES = (0.02, 0.05, 0.1, 0.25)

_REFUSALS = re.compile(
    r"SASL authentication failed|password authentication failed|auth(entication)? failed"
    r"|no such user|is not permitted to log in|role \".*\" does not exist|login rejected",
    re.IGNORECASE,
)
_FATAL = re.compile(r"(?:FATAL|ERROR):\s+([^\n]{1,300})")
_LIBPQ = (
    ("server requested a cleartext password", CLEAR_TEXT),
    ("Connection refused", "nothing listens there"),
    ("could not translate host name", "its name is not known"),
    ("No route to host", "there is no route to it"),
    ("Network is unreachable", "its network is out of reach"),
    ("server closed the connection", "it closed the connection"),
    ("SSL", "the TLS handshake failed"),
    ("certificate", "the TLS handshake failed"),
)


@dataclass(frozen=True)
class Login:
    """Who logs in where.

    :param sslmode: as libpq has it.
    """

    username: str
    password: Secret
    dbname: str
    host: str
    port: int
    sslmode: str = "prefer"

    def __str__(self) -> str:
        return f"{self.username} to {self.dbname} at {self.host}:{self.port}"


def _reason(error: BaseException) -> str:
    """What a driver's error says, without the parts that may quote a connection string."""
    text = str(error)
    told = _FATAL.search(text)
    if told:
        return told.group(1).strip()
    return next((words for mark, words in _LIBPQ if mark in text), "the connection failed")


def _translated(error: BaseException, what: str) -> KeyturnError:
    reason = _reason(error)
    kind = Denied if _REFUSALS.search(reason) or reason == "not allowed" else Unreachable
    return kind(f"{what}: {reason}")


def _wait(connection: Any, until: float) -> None:
    poller = select.poll()
    while True:
        state = connection.poll()
        if state == psycopg2.extensions.POLL_OK:
            return
        left = until - time.monotonic()
        flag = select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT
        poller.register(connection.fileno(), flag)
        if left <= 0 or not poller.poll(left * 1000):
            raise Unreachable("no answer in time")


class Session:
    """One connection, each step bounded by a deadline; a context manager that closes it.

    :param until: end of its time, by :func:`time.monotonic`.
    :raises Denied: the login was refused.
    :raises Unreachable: anything else kept it from being there.
    :raises MissingLibrary: psycopg2 is not installed.
    """

    def __init__(self, login: Login, until: float) -> None:
        if _MISSING is not None:
            raise MissingLibrary(
                "psycopg2 is not installed where this module runs; install the package "
                "python3-psycopg2, or psycopg2-binary into Ansible's Python"
            ) from _MISSING
        self._what = f"login of {login}"
        self._until = until
        self._connection: Any = None
        libpq = psycopg2.extensions.libpq_version()
        options: dict[str, Any] = dict(libpq_guard(login.host, login.sslmode, libpq))
        try:
            self._connection = psycopg2.connect(
                host=login.host,
                port=login.port,
                user=login.username,
                password=login.password.reveal(),
                dbname=login.dbname,
                sslmode=login.sslmode,
                application_name="keyturn",
                async_=True,
                **options,
            )
            _wait(self._connection, until)
        except (psycopg2.Error, Unreachable) as error:
            self.close()
            raise self._told(error) from None

    def _told(self, error: BaseException) -> KeyturnError:
        if isinstance(error, KeyturnError):
            return Unreachable(f"{self._what}: {error.message}")
        return _translated(error, self._what)

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """The rows that a statement without parameters returns, by column name.

        :raises Denied, Unreachable: as the constructor.
        """
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement)
                _wait(self._connection, self._until)
                if cursor.description is None:
                    return []
                names = [column[0] for column in cursor.description]
                return [dict(zip(names, row)) for row in cursor.fetchall()]
        except (psycopg2.Error, Unreachable) as error:
            raise self._told(error) from None

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


@dataclass(frozen=True)
class Expectation:
    """A login and how it must end.

    :param accepted: whether it must be accepted; otherwise it must be refused.
    :param kept: only if it is accepted before anything is changed.
    """

    login: Login
    accepted: bool
    kept: bool = False

    def __str__(self) -> str:
        return f"{self.login} must be {'accepted' if self.accepted else 'refused'}"


def ask_through(login: Login, question: str, seconds: float) -> list[dict[str, Any]]:
    """Rows that the database server behind PgBouncer answers.

    :raises Denied, Unreachable: as :class:`Session`.
    """
    with Session(login, time.monotonic() + seconds) as session:
        return session.rows(question)


def _try(login: Login, until: float) -> None:
    # PgBouncer welcomes a client before it has a server connection for it: only an answer of the
    # server shows that both logins work.
    # The last attempt gets a little more time, or it would say no more than that time is up.
    ask_through(login, "SELECT 1", min(max(until - time.monotonic(), 1.0), _ATTEMPT))


def _attempt(wish: Expectation, until: float) -> str:
    """Why the expectation is not met; empty when it is."""
    try:
        _try(wish.login, until)
    except Denied as error:
        return error.message if wish.accepted else ""
    return "" if wish.accepted else f"login of {wish.login}: it was accepted"


def prove(wish: Expectation, seconds: float) -> None:
    """Log in until it ends as expected, or time is up.

    :param seconds: for an answer that is neither yes nor no; a wrong answer stands after a second.
    :raises ProbeFailed: it ended otherwise.
    :raises Unreachable: no clear answer came.
    """
    begin = time.monotonic()
    until = begin + seconds
    stands = min(until, begin + _REFUSAL_STANDS)
    tries = 0
    while True:
        problem: KeyturnError
        try:
            wrong = _attempt(wish, until)
            if not wrong:
                return
            problem, limit = ProbeFailed(wrong), stands
        except Unreachable as error:
            problem, limit = error, until
        if time.monotonic() >= limit:
            raise problem
        time.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
        tries += 1


def holds(wish: Expectation, seconds: float) -> bool:
    """Whether one login ends as expected, without waiting for it to change."""
    try:
        return not _attempt(wish, time.monotonic() + seconds)
    except Unreachable:
        return False


class Console:
    """The admin console of one PgBouncer.

    :param login: of a user in ``admin_users`` (or ``stats_users``, which may not reload).
    """

    def __init__(self, login: Login, seconds: float) -> None:
        self.login = login
        self._seconds = seconds

    def ask(self, command: str) -> list[dict[str, Any]]:
        """The rows of one ``SHOW`` command, or none of a command that only acts.

        :raises Denied: the login is wrong or the user is no admin.
        :raises Unreachable: PgBouncer did not answer.
        """
        try:
            with Session(self.login, time.monotonic() + self._seconds) as session:
                return session.rows(command)
        except (Denied, Unreachable) as error:
            raise type(error)(
                f"PgBouncer's admin console: {error.message}; check option admin, and that the "
                "user is in PgBouncer's admin_users"
            ) from None

    def reload(self) -> None:
        """Make PgBouncer read its files again. Its answer says nothing about them."""
        self.ask("RELOAD")

    def users(self) -> list[str]:
        """The names that PgBouncer knows. A name whose line is gone stays until it restarts."""
        return [str(row["name"]) for row in self.ask("SHOW USERS")]
