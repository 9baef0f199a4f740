# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's estate: PostgreSQL, PgBouncer, an application under load, and the files that the demo's inventory reads."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.parsing.vault import VaultLib, VaultSecret
from estate.load import PROGRAM, LoadClient, database_url, write_env_file
from estate.pgbouncer import PgBouncer
from estate.postgres import PostgresServer
from estate.processes import Running
from estate.shop import ADMIN, DATABASE, OWNER, ROLES, STATEMENT, Shop, open_shop, write_secret
from estate.users import make_run_dir


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
        self.shop = open_shop(self.postgres)
        self._keep_secrets(self.shop)
        self.pgbouncer.write_userlist(
            {ROLES[0]: self.shop.verifier}, keep=["; the pooler's own entries stay as they are"]
        )
        self._stack.callback(self.pgbouncer.close)
        self.pgbouncer.start()
        road = (self.pgbouncer.host, self.pgbouncer.port, DATABASE)
        url = database_url(ROLES[0], self.shop.password, *road)
        write_env_file(self.places.env_file, url, "# settings of the shop", "LOG_LEVEL=info")
        self._write_facts()
        self._stack.callback(self.client.stop)
        self.client.start()
        return self

    def state(self) -> list[str]:
        """All that a run could change: keyring, ledger, env file, userlist, roles; as digests."""
        files = [
            self.places.keyring,
            self.places.ledger,
            self.places.env_file,
            self.pgbouncer.userlist_path,
        ]
        contents = [
            self.shop.roles().encode(),
            *(path.read_bytes() for path in files if path.exists()),
        ]
        return [hashlib.sha256(content).hexdigest() for content in contents]

    def users(self) -> list[str]:
        """Who works with the database at this moment."""
        rows = self.pgbouncer.show("CLIENTS")
        return sorted({row["user"] for row in rows if row["database"] != "pgbouncer"})

    def keyring(self) -> dict[str, Any] | None:
        """The keyring; none before there is one."""
        path = self.places.keyring
        return read_keyring(path, self.places.keyring_password) if path.exists() else None

    def close(self) -> None:
        """Stop everything, the client first."""
        try:
            self._stack.close()
        finally:
            if not self._keep:
                shutil.rmtree(self.run_dir, ignore_errors=True)

    def _keep_secrets(self, shop: Shop) -> None:
        """Write what a person supplies to files, and know it."""
        self._write_login("postgres-admin.json", ADMIN, shop.admin_password)
        admin, admin_password = self.pgbouncer.admin_user, self.pgbouncer.admin_password
        self._write_login("pgbouncer-admin.json", admin, admin_password)
        write_secret(self.places.secret(ROLES[0]), shop.password)
        keyring_password = secrets.token_urlsafe(24)
        write_secret(self.places.keyring_password, keyring_password)
        self.known = {
            "the superuser's password": self.postgres.password,
            "the rotating role's password": shop.admin_password,
            "PgBouncer's admin password": admin_password,
            f"the first password of {ROLES[0]}": shop.password,
            "the keyring's password": keyring_password,
        }

    def _write_login(self, name: str, user: str, password: str) -> None:
        login = {"username": user, "password": password}
        write_secret(self.places.secret(name), json.dumps(login))

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


def read_keyring(path: Path, password: Path) -> dict[str, Any]:
    """What ``ansible-vault view`` shows of a keyring."""
    library = VaultLib([("default", VaultSecret(password.read_bytes().strip()))])
    document: dict[str, Any] = json.loads(library.decrypt(path.read_bytes()))
    return document
