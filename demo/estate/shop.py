# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A shop's database as it was before anybody thought of rotation: its owner, one role in use, and one that may rotate."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from estate.postgres import PostgresServer

DATABASE = "shop"
OWNER = "shop_owner"
ROLES = ("shop_a", "shop_b")
ADMIN = "rotator"
STATEMENT = "INSERT INTO orders (article) VALUES ('pencil')"

_PREPARE = """
CREATE ROLE {owner} NOLOGIN;
CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD {admin_verifier};
GRANT pg_signal_backend, pg_read_all_stats TO {admin};
GRANT {owner} TO {admin} WITH ADMIN OPTION;
CREATE ROLE {role} LOGIN PASSWORD {role_verifier} IN ROLE {owner};
ALTER ROLE {role} SET role = {owner};
GRANT {role} TO {admin} WITH ADMIN OPTION;
"""
_ROLES = "SELECT rolname, rolcanlogin, rolpassword FROM pg_authid ORDER BY 1"
_SESSIONS = "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = %s AND usename = ANY(%s)"


@dataclass(frozen=True)
class Shop:
    """The database.

    :param password: of the role in use, the first of :data:`ROLES`.
    :param verifier: what PostgreSQL keeps of it.
    :param admin_password: of the role that rotates; it is no superuser.
    """

    postgres: PostgresServer
    password: str = field(repr=False)
    verifier: str = field(repr=False)
    admin_password: str = field(repr=False)

    def roles(self) -> str:
        """All roles with their verifiers."""
        return repr(self.postgres.execute(_ROLES))

    def users(self) -> list[str]:
        """The roles of the shop that have a session at this moment, whoever they act as."""
        return sorted(row[0] for row in self.postgres.execute(_SESSIONS, (DATABASE, list(ROLES))))

    def accepts(self, user: str, password: str) -> bool:
        """Whether a fresh login succeeds."""
        try:
            self.postgres.connect(DATABASE, user, password).close()
        except psycopg2.OperationalError:
            return False
        return True


def open_shop(postgres: PostgresServer) -> Shop:
    """Make the database on a server that has none; clear text reaches none of its logs."""
    admin_password, password = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    postgres.execute(f"CREATE DATABASE {DATABASE}")
    connection = postgres.connect(DATABASE)
    verifiers = [
        psycopg2.extensions.encrypt_password(text, name, connection, "scram-sha-256")
        for text, name in ((admin_password, ADMIN), (password, ROLES[0]))
    ]
    names: dict[str, Any] = {
        "owner": sql.Identifier(OWNER),
        "admin": sql.Identifier(ADMIN),
        "role": sql.Identifier(ROLES[0]),
        "admin_verifier": sql.Literal(verifiers[0]),
        "role_verifier": sql.Literal(verifiers[1]),
    }
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(_PREPARE).format(**names))
        cursor.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, article text NOT NULL)")
        cursor.execute(
            f"ALTER TABLE orders OWNER TO {OWNER}; ALTER DATABASE {DATABASE} OWNER TO {OWNER}"
        )
    connection.close()
    return Shop(postgres, password, verifiers[1], admin_password)


def write_secret(path: Path, content: str) -> None:
    """Make a file that only this user can read, from its first moment."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(content)
