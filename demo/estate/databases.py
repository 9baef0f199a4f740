# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database of its own on a shared server, with the role that owns it; gone afterwards with every role made meanwhile."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2.extensions
from psycopg2 import sql

from estate.postgres import PostgresServer


@dataclass(frozen=True)
class Database:
    """One database.

    :param owner: a NOLOGIN role that owns it.
    """

    server: PostgresServer
    name: str
    owner: str

    def connect(
        self, user: str | None = None, password: str | None = None, **options: Any
    ) -> psycopg2.extensions.connection:
        """A connection to it; as the superuser unless told otherwise."""
        return self.server.connect(self.name, user, password, **options)

    def execute(self, statement: str, parameters: Any = None) -> list[Any]:
        """Run one statement as the superuser; returns its rows, if it has any."""
        return self.server.execute(statement, parameters, self.name)

    def accepts(self, user: str, password: str) -> bool:
        """Whether this user can log in with this password."""
        try:
            self.connect(user, password).close()
        except psycopg2.OperationalError:
            return False
        return True

    def verifier(self, user: str) -> str | None:
        """What the server keeps of a role's password."""
        rows = self.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (user,))
        return str(rows[0][0]) if rows and rows[0][0] is not None else None

    def create_login(self, name: str, member_of_owner: bool = True, options: str = "") -> str:
        """Make a login role with a random password, which is returned; its clear text is in no log.

        :param member_of_owner: it acts as the owner (``ALTER ROLE … SET role``).
        :param options: further words of CREATE ROLE.
        """
        password = secrets.token_urlsafe(24)
        connection = self.connect()
        try:
            verifier = psycopg2.extensions.encrypt_password(
                password, name, connection, "scram-sha-256"
            )
            names = {
                "role": sql.Identifier(name),
                "owner": sql.Identifier(self.owner),
                "verifier": sql.Literal(verifier),
            }
            create = "CREATE ROLE {role} LOGIN PASSWORD {verifier} " + options
            acting = (
                "; GRANT {owner} TO {role}; ALTER ROLE {role} SET role = {owner}"
                if member_of_owner
                else ""
            )
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(create + acting).format(**names))
        finally:
            connection.close()
        return password


def _names(cursor: Any, query: str) -> set[str]:
    cursor.execute(query)
    return {row[0] for row in cursor.fetchall()}


_ROLES, _DATABASES = "SELECT rolname FROM pg_roles", "SELECT datname FROM pg_database"


def _run(cursor: Any, statement: str, *names: str) -> None:
    cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextlib.contextmanager
def _cursor(server: PostgresServer, dbname: str = "postgres") -> Iterator[Any]:
    connection = server.connect(dbname)
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


@contextlib.contextmanager
def fresh_database(server: PostgresServer, prefix: str = "app") -> Iterator[Database]:
    """A database and its owner; afterwards every database and role that did not exist before is dropped."""
    name = f"{prefix}_{secrets.token_hex(4)}"
    database = Database(server, name, f"{name}_owner")
    with _cursor(server) as cursor:
        roles, databases = _names(cursor, _ROLES), _names(cursor, _DATABASES)
        _run(cursor, "CREATE ROLE {} NOLOGIN", database.owner)
        _run(cursor, "CREATE DATABASE {} OWNER {} STRATEGY FILE_COPY", name, database.owner)
    try:
        yield database
    finally:
        if server.running:
            _clean_up(server, roles, databases)


def _clean_up(server: PostgresServer, roles: set[str], databases: set[str]) -> None:
    with _cursor(server) as cursor:
        for name in _names(cursor, _DATABASES) - databases:
            _run(cursor, "DROP DATABASE {} WITH (FORCE)", name)
        added = sorted(_names(cursor, _ROLES) - roles)
        for kept in sorted(databases - {"template0"}) if added else ():
            with _cursor(server, kept) as inside:
                _run(inside, f"DROP OWNED BY {', '.join(['{}'] * len(added))} CASCADE", *added)
        for role in added:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (role,)
            )
            _run(cursor, "DROP ROLE {}", role)
