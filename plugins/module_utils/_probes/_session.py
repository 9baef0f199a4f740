# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A login with the driver that applications use (libpq), each step bounded by a deadline."""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._clear_text import libpq_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    KeyturnError,
    MissingLibrary,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._wire import Address

try:
    import psycopg2
    import psycopg2.errorcodes
    import psycopg2.extensions
except ImportError:
    HAS_PSYCOPG2 = False
else:
    HAS_PSYCOPG2 = True

# For these the server's first line holds names of objects and nothing else: no right, no table, no schema, read-only.
_TELLING = ("42501", "42P01", "3F000", "25006")


@dataclass(frozen=True)
class Server:
    """What a session says of itself."""

    session_user: str
    current_user: str


class SqlFailed(KeyturnError):
    """The server refused a statement.

    :ivar code: the SQLSTATE.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class LoginFailed(KeyturnError):
    """libpq could not log in; its text depends on the language, so that :func:`_wire.try_login` finds out why."""


def _wait(connection: Any, until: float) -> None:
    poller = select.poll()
    while True:
        state = connection.poll()
        if state == psycopg2.extensions.POLL_OK:
            return
        left = until - time.monotonic()
        poller.register(
            connection.fileno(),
            select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT,
        )
        if left <= 0 or not poller.poll(left * 1000):
            raise Unreachable("no answer in time")


def _failed(error: Any) -> SqlFailed:
    code = str(error.pgcode or "no code")
    primary = str(error.diag.message_primary or "") if code in _TELLING else ""
    if primary:
        return SqlFailed(code, f"{primary} ({code})")
    names = {value: name for name, value in vars(psycopg2.errorcodes).items() if name.isupper()}
    name = names.get(code, "").lower().replace("_", " ")
    return SqlFailed(code, f"SQLSTATE {code} ({name})" if name else f"SQLSTATE {code}")


class Session:
    """One connection; a context manager that closes it.

    :raises LoginFailed: the login did not succeed.
    :raises Unreachable: time was up.
    :raises MissingLibrary: psycopg2 is not installed.
    """

    def __init__(self, address: Address, user: str, password: Secret, until: float) -> None:
        if not HAS_PSYCOPG2:
            raise MissingLibrary(
                "psycopg2 is not installed where this task runs; install psycopg2-binary into Ansible's Python, or the "
                "package python3-psycopg2"
            )
        tls = {
            "sslmode": address.sslmode,
            "sslrootcert": address.sslrootcert,
            "sslcert": address.sslcert,
            "sslkey": address.sslkey,
        }
        options: Dict[str, Any] = {name: value for name, value in tls.items() if value}
        libpq = psycopg2.extensions.libpq_version()
        options.update(libpq_guard(address.host, address.sslmode, libpq))
        self._until = until
        self._connection: Optional[Any] = None
        try:
            self._connection = psycopg2.connect(
                host=address.host,
                port=address.port,
                dbname=address.dbname,
                user=user,
                password=password.reveal(),
                application_name="keyturn probe",
                gssencmode="disable",
                async_=True,
                **options,
            )
            _wait(self._connection, until)
        except psycopg2.Error:
            self.close()
            raise LoginFailed("the login failed") from None
        except Unreachable:
            self.close()
            raise

    def rows(
        self, statement: str, parameters: Optional[Tuple[Any, ...]] = None
    ) -> List[Tuple[Any, ...]]:
        """What a statement returns.

        :raises SqlFailed: the server refused it.
        :raises Unreachable: time was up or the connection broke.
        """
        connection = self._connection
        if connection is None:
            raise Unreachable("the connection is closed")
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                _wait(connection, self._until)
                return list(cursor.fetchall()) if cursor.description else []
        except psycopg2.Error as error:
            if error.pgcode:
                raise _failed(error) from None
            raise Unreachable("the connection broke") from None

    def who(self) -> Server:
        """Who the server takes this session for."""
        session_user, current_user = self.rows("SELECT session_user, current_user")[0]
        return Server(str(session_user), str(current_user))

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
