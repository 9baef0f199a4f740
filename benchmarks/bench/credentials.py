# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials that both contenders rotate: two roles behind PgBouncer, an application's env file, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_step import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from estate.client import read_credential
from estate.databases import Database
from estate.load import database_url, write_env_file
from estate.pgbouncer import PgBouncer


@dataclass(frozen=True)
class Credential:
    """One credential.

    :param name: the inventory host that stands for it.
    :param folder: everything that is written on this machine, but for PgBouncer's userlist.
    :param reload: the command that tells the application, and ends when it was seen using the new value.
    """

    name: str
    folder: Path
    database: Database
    pooler: PgBouncer
    reload: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, str]:
        """The two roles that take turns."""
        return f"{self.name}_a", f"{self.name}_b"

    @property
    def owner(self) -> str:
        """The role that owns what the application uses."""
        return f"{self.name}_owner"

    @property
    def table(self) -> str:
        """What the application uses."""
        return f"{self.name}_songs"

    @property
    def env_file(self) -> Path:
        """Where the application reads its database from."""
        return self.folder / "app.env"

    @property
    def check(self) -> str:
        """A statement that only works with the right rights."""
        return f"TABLE {self.table} LIMIT 0"

    def prepare(self) -> str:
        """Make the roles and the table, give the application its first password, and return it."""
        self.folder.mkdir(mode=0o700)
        for statement in (
            f"CREATE ROLE {self.owner} NOLOGIN",
            f"CREATE TABLE {self.table} (id int)",
            f"ALTER TABLE {self.table} OWNER TO {self.owner}",
        ):
            self.database.execute(statement)
        as_owner = Database(self.database.server, self.database.name, self.owner)
        password = as_owner.create_login(self.roles[0])
        place = (self.pooler.host, self.pooler.port, self.database.name)
        url = database_url(self.roles[0], password, *place)
        write_env_file(self.env_file, url, "# the application", "LOG_LEVEL=info")
        return password

    def user(self) -> str:
        """Whom the application is told to log in as."""
        return read_credential(self.env_file, 1).username

    def verifier(self) -> str:
        """What the userlist holds for the first role."""
        return self.database.verifier(self.roles[0]) or ""


def _private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def keyturn_variables(credential: Credential, admin: Path, console: Path) -> dict[str, Any]:
    """The credential as this collection's playbooks are told of it.

    :param admin: the file with the server's administrator.
    :param console: the file with the pooler's administrator.
    """
    at, road = {"host": "127.0.0.1"}, credential.pooler.port
    url = "postgresql://{current.username}:{current.password|urlencode}"
    place = f"{at['host']}:{road}/{credential.database.name}"
    server = {"port": credential.database.server.port, "dbname": credential.database.name}
    issuer = {
        "type": "postgres_role",
        "strategy": "alternate_roles",
        "roles": list(credential.roles),
        "owner_role": credential.owner,
        "login": {**at, **server, "admin": f"ref+file://{admin}"},
    }
    sink = {
        "name": "app",
        "ref": f"ref+file://{credential.env_file}?format=env#/DATABASE_URL",
        "template": f"{url}@{place}",
    }
    pooler = {
        "name": "pooler",
        "type": "pgbouncer",
        "admin": f"ref+file://{console}",
        "login": {**at, "port": road},
        "userlist": str(credential.pooler.userlist_path),
    }
    app = {"name": "app", "type": "command", "argv": list(credential.reload), "reads": ["app"]}
    return {
        "keyturn_keyring": f"ref+file://{credential.folder}/keyring.json",
        "keyturn_ledger": f"ref+file://{credential.folder}/ledger.jsonl",
        "keyturn_policy": {"rotate": "age", "max_age": "180d", "grace": "0s"},
        "keyturn_issuer": issuer,
        "keyturn_sinks": [sink],
        "keyturn_consumers": [pooler, app],
        "keyturn_probes": [{"type": "postgres", "port": road, "check": [credential.check]}],
        "keyturn_wait": "10s",
    }


def peer_variables(credential: Credential, psql: Path) -> dict[str, Any]:
    """The same as the peer playbook is told of it; what is secret comes from its environment."""
    return {
        "roles": list(credential.roles),
        "owner_role": credential.owner,
        "database": credential.database.name,
        "postgres_port": credential.database.server.port,
        "pgbouncer_port": credential.pooler.port,
        "pgbouncer_admin": credential.pooler.admin_user,
        "userlist": str(credential.pooler.userlist_path),
        "env_file": str(credential.env_file),
        "store": str(credential.folder / "pending.json"),
        "audit_log": str(credential.folder / "audit.log"),
        "check": credential.check,
        "reload": list(credential.reload),
        "psql": str(psql),
    }


def adopt(credential: Credential, variables: dict[str, Any], password: str) -> None:
    """What the adopt playbook leaves, without running it: the value in use is in the keyring."""
    value = _private(credential.folder / "in-use.password", password)
    given = {
        "keyring": variables["keyturn_keyring"],
        "ledger": variables["keyturn_ledger"],
        "credential": credential.name,
    }
    proof = {"type": "postgres", "against": "the pooler", "at": "now", "detail": "handed over"}
    adoption = {
        "transition": "adopt",
        "issuer": variables["keyturn_issuer"],
        "generate": {},
        "value": {"username": credential.roles[0], "password": f"ref+file://{value}"},
        "evidence": [proof],
    }
    for step in (adoption, {"transition": "release"}):
        asked = ArgumentSpecValidator(dict(MODULE.argument_spec)).validate({**given, **step})
        if asked.error_messages:
            raise ValueError("; ".join(asked.error_messages))
        execute(MODULE, dict(asked.validated_parameters), Context())
