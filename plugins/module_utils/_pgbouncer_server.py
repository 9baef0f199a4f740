# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talking to a running PgBouncer: logins through it, with a deadline, and its admin console."""

from __future__ import annotations

import secrets
import select
import time
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.keyturn.runbooks.plugins.module_utils._clear_text import libpq_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Denied,
    KeyturnError,
    MissingLibrary,
    ProbeFailed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._wire import (
    ACCEPTED,
    NOT_ADMIN,
    REFUSED,
    UNPROVEN,
    Address,
    Verdict,
    judge_error,
    try_login,
)

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
_NONCE_BYTES = 18


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

    def attempt(self, seconds: float, randbytes: Callable[[int], bytes]) -> Verdict:
        """Log in once and ask a question, which shows that the server behind PgBouncer takes the login, too."""
        address = Address(self.host, self.port, self.dbname, self.sslmode, timeout=seconds)
        return try_login(address, self.username, self.password, randbytes(_NONCE_BYTES))


def _translated(verdict: Verdict, what: str) -> KeyturnError:
    if verdict.outcome == REFUSED or verdict.reason in NOT_ADMIN:
        return Denied(f"{what}: {verdict.reason}")
    if verdict.entered:
        return Unreachable(f"{what}: it failed once, and worked when it was tried again")
    return Unreachable(f"{what}: {verdict.reason}")


def _verdict(error: Any) -> Verdict:
    """What the server's answer to a statement says."""
    diag = error.diag
    fields = {"C": error.pgcode, "M": diag.message_primary, "R": diag.source_function}
    if not error.pgcode:
        return Verdict(UNPROVEN, "the connection broke")
    return judge_error({key: text or "" for key, text in fields.items()}, authenticated=True)


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
        except Unreachable as error:
            self.close()
            raise Unreachable(f"{self._what}: {error.message}") from None
        except psycopg2.Error:
            self.close()
            # libpq keeps the code of a refusal to itself.
            left = min(max(until - time.monotonic(), 1.0), _ATTEMPT)
            raise _translated(login.attempt(left, secrets.token_bytes), self._what) from None

    def rows(self, statement: str, until: float | None = None) -> list[dict[str, Any]]:
        """The rows that a statement without parameters returns, by column name.

        :param until: when its time is up, if that is not when the login's is.
        :raises Denied, Unreachable: as the constructor.
        """
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement)
                _wait(self._connection, self._until if until is None else until)
                if cursor.description is None:
                    return []
                names = [column[0] for column in cursor.description]
                return [dict(zip(names, row)) for row in cursor.fetchall()]
        except Unreachable as error:
            raise Unreachable(f"{self._what}: {error.message}") from None
        except psycopg2.Error as error:
            raise _translated(_verdict(error), self._what) from None

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


def _attempt(wish: Expectation, until: float, randbytes: Callable[[int], bytes]) -> str:
    """Why the expectation is not met; empty when it is.

    :raises Unreachable: the login ended in a way that says nothing about it.
    """
    # The last attempt gets a little more time, or it would say no more than that time is up.
    seconds = min(max(until - time.monotonic(), 1.0), _ATTEMPT)
    verdict = wish.login.attempt(seconds, randbytes)
    told = f"login of {wish.login}: {verdict.reason}"
    if verdict.outcome == UNPROVEN:
        raise Unreachable(told)
    if wish.accepted:
        return "" if verdict.entered else told
    return f"login of {wish.login}: it was accepted" if verdict.outcome == ACCEPTED else ""


def prove(
    wish: Expectation, seconds: float, randbytes: Callable[[int], bytes] = secrets.token_bytes
) -> None:
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
            wrong = _attempt(wish, until, randbytes)
            if not wrong:
                return
            problem, limit = ProbeFailed(wrong), stands
        except Unreachable as error:
            problem, limit = error, until
        if time.monotonic() >= limit:
            raise problem
        time.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
        tries += 1


def holds(
    wish: Expectation, seconds: float, randbytes: Callable[[int], bytes] = secrets.token_bytes
) -> bool:
    """Whether one login ends as expected, without waiting for it to change."""
    try:
        return not _attempt(wish, time.monotonic() + seconds, randbytes)
    except Unreachable:
        return False


class Console:
    """The admin console of one PgBouncer.

    :param login: of a user in ``admin_users`` (or ``stats_users``, which may not reload).
    """

    def __init__(self, login: Login, seconds: float) -> None:
        self.login = login
        self._seconds = seconds
        self._session: Session | None = None

    def ask(self, command: str) -> list[dict[str, Any]]:
        """The rows of one ``SHOW`` command, or none of a command that only acts.

        :raises Denied: the login is wrong or the user is no admin.
        :raises Unreachable: PgBouncer did not answer.
        """
        try:
            return self._ask(command)
        except (Denied, Unreachable) as error:
            self.close()
            hint = (
                "check option admin, and that the user is in PgBouncer's admin_users"
                if isinstance(error, Denied)
                else "name its host and port in the option login, or beside username and password in admin"
            )
            raise type(error)(f"PgBouncer's admin console: {error.message}; {hint}") from None

    def _ask(self, command: str) -> list[dict[str, Any]]:
        """Ask in the session of the question before, if it is there still: each login takes both sides some ten milliseconds."""
        if self._session is not None:
            try:
                return self._session.rows(command, time.monotonic() + self._seconds)
            except (Denied, Unreachable):
                self.close()
        until = time.monotonic() + self._seconds
        self._session = Session(self.login, until)
        return self._session.rows(command, until)

    def close(self) -> None:
        """End the session; the next question begins another one."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def reload(self) -> None:
        """Make PgBouncer read its files again. Its answer says nothing about them."""
        self.ask("RELOAD")

    def users(self) -> list[str]:
        """The names that PgBouncer knows. A name whose line is gone stays until it restarts."""
        return [str(row["name"]) for row in self.ask("SHOW USERS")]
