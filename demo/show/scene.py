# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's estate: PostgreSQL, PgBouncer, an application under load, and the files that the demo's inventory reads."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2.extensions
from estate.load import PROGRAM, LoadClient, database_url, write_env_file
from estate.pgbouncer import PgBouncer
from estate.postgres import PostgresServer
from estate.processes import Running
from estate.users import make_run_dir
from psycopg2 import sql

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


@dataclass(frozen=True)
class Places:
    """Where things are, below one directory that only this user can list.

    :ivar facts: what the inventory reads: ports and paths, no secret.
    """

    root: Path

    @property
    def facts(self) -> Path:
        """Ports and paths, for the inventory."""
        return self.root / "estate.json"

    @property
    def env_file(self) -> Path:
        """Where the application reads its database from."""
        return self.root / "app" / "app.env"

    @property
    def keyring(self) -> Path:
        """The keyring, encrypted by ansible-vault."""
        return self.root / "keyrings" / "db_shop.json"

    @property
    def keyring_password(self) -> Path:
        """The password that the keyring is encrypted with."""
        return self.root / "secrets" / "keyring-password"

    @property
    def ledger(self) -> Path:
        """The audit log."""
        return self.root / "ledger" / "db_shop.jsonl"

    def secret(self, name: str) -> Path:
        """A file that holds what a person or another system supplies."""
        return self.root / "secrets" / name


class Scene(Running):
    """The estate; a context manager that starts and stops it.

    :param keep: leave the files where they are at the end.
    :ivar known: secrets that are known from the start, name to value.
    """

    def __init__(self, keep: bool = False) -> None:
        self.run_dir = make_run_dir("keyturn-demo-")
        self.places = Places(self.run_dir / "estate")
        self.known: dict[str, str] = {}
        self._keep = keep
        self._stack = ExitStack()
        try:
            self._lay_out()
        except BaseException:
            self.close()
            raise

    def _lay_out(self) -> None:
        for path in (
            self.places.root,
            *map(self.places.root.joinpath, ("app", "keyrings", "ledger", "secrets", "ansible")),
        ):
            path.mkdir(mode=0o700)
        self.postgres = PostgresServer("16", run_dir=self.run_dir, fsync=True)
        self.pgbouncer = PgBouncer(self.postgres, database=DATABASE, run_dir=self.run_dir)
        self.client = LoadClient(
            self.places.env_file, self.places.root / "app", statement=STATEMENT
        )

    @property
    def work_dir(self) -> Path:
        """Where Ansible works: its home, its temporary files, its log."""
        return self.places.root / "ansible"

    def start(self) -> Scene:
        """Start everything, the client last.

        :raises EstateError: when a part does not start.
        """
        self._stack.callback(self.postgres.close)
        self.postgres.start()
        password, verifier = self._prepare()
        self.pgbouncer.write_userlist(
            {ROLES[0]: verifier}, keep=["; the pooler's own entries stay as they are"]
        )
        self._stack.callback(self.pgbouncer.close)
        self.pgbouncer.start()
        url = database_url(ROLES[0], password, self.pgbouncer.host, self.pgbouncer.port, DATABASE)
        write_env_file(self.places.env_file, url, "# settings of the shop", "LOG_LEVEL=info")
        self._write_facts()
        self._stack.callback(self.client.stop)
        self.client.start()
        return self

    def state(self) -> list[str]:
        """All that a run could change: keyring, ledger, env file, userlist, roles; as digests."""
        roles = self.postgres.execute(
            "SELECT rolname, rolcanlogin, rolpassword FROM pg_authid ORDER BY 1"
        )
        files = [
            self.places.keyring,
            self.places.ledger,
            self.places.env_file,
            self.pgbouncer.userlist_path,
        ]
        contents = [repr(roles).encode(), *(path.read_bytes() for path in files if path.exists())]
        return [hashlib.sha256(content).hexdigest() for content in contents]

    def close(self) -> None:
        """Stop everything, the client first."""
        try:
            self._stack.close()
        finally:
            if not self._keep:
                shutil.rmtree(self.run_dir, ignore_errors=True)

    def _prepare(self) -> tuple[str, str]:
        """Make the database as it was before anybody thought of rotation; gives the role's password and verifier."""
        admin_password, password = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self.postgres.execute(f"CREATE DATABASE {DATABASE}")
        connection = self.postgres.connect(DATABASE)
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
        self._write_secret(
            "postgres-admin.json", json.dumps({"username": ADMIN, "password": admin_password})
        )
        admin = {"username": self.pgbouncer.admin_user, "password": self.pgbouncer.admin_password}
        self._write_secret("pgbouncer-admin.json", json.dumps(admin))
        self._write_secret("shop_a", password)
        keyring_password = secrets.token_urlsafe(24)
        self._write_secret(self.places.keyring_password.name, keyring_password)
        self.known = {
            "the superuser's password": self.postgres.password,
            "the rotating role's password": admin_password,
            "PgBouncer's admin password": self.pgbouncer.admin_password,
            "the first password of shop_a": password,
            "the keyring's password": keyring_password,
        }
        return password, verifiers[1]

    def _write_secret(self, name: str, content: str) -> None:
        handle = os.open(self.places.secret(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)

    def _write_facts(self) -> None:
        facts = {
            "dir": str(self.places.root),
            "database": DATABASE,
            "owner": OWNER,
            "roles": ROLES,
            "postgres_port": self.postgres.port,
            "pgbouncer_port": self.pgbouncer.port,
            "userlist": str(self.pgbouncer.userlist_path),
            "python": sys.executable,
            "client": str(PROGRAM),
            "client_status": str(self.client.status_path),
            "env_file": str(self.places.env_file),
        }
        self.places.facts.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
