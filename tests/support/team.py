# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The credentials of a team in one inventory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    chain_faults,
    tail_faults,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers import FileLedger
from estate.client import read_credential
from estate.databases import Database
from estate.load import write_env_file
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible, PlaybookResult

NAMES = ("billing", "search", "shop", "wiki")
SHARING = ("shop", "wiki")


@dataclass
class Team:
    """Several credentials on one server; two of them behind one pooler, with one env file.

    :param keyrings: reference to where the keyrings are, without the name.
    """

    folder: Path
    database: Database
    pooler: PgBouncer
    ansible: Ansible
    keyrings: str = ""

    def __post_init__(self) -> None:
        self.inventory = self.folder / "inventory"
        (self.inventory / "host_vars").mkdir(parents=True)
        self._admin("pg-admin", "postgres", self.database.server.password)
        self._admin("pooler-admin", self.pooler.admin_user, self.pooler.admin_password)
        self.database.execute("CREATE TABLE songs (id int)")
        self.database.execute(f'ALTER TABLE songs OWNER TO "{self.database.owner}"')
        write_env_file(self.env_file("shop"), "postgresql://nobody@nowhere/none")
        self.write()

    def _admin(self, name: str, user: str, password: str) -> None:
        path = self.folder / f"{name}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"username": user, "password": password}))

    def env_file(self, name: str) -> Path:
        """Where an application reads its URL."""
        return self.folder / ("both.env" if name in SHARING else f"{name}.env")

    def roles(self, name: str) -> list[str]:
        """The two roles that take turns."""
        return [f"{self.database.name}_{name}_{letter}" for letter in "ab"]

    def write(self, **reloads: list[str]) -> None:
        """Write the inventory.

        :param reloads: by name, the command that has an application read its env file again.
        """
        hosts = {"postgres_roles": {"hosts": {f"db_{name}": None for name in NAMES}}}
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
        for name in NAMES:
            variables = self._definition(name, reloads.get(name, ["true"]))
            path = self.inventory / "host_vars" / f"db_{name}.yml"
            path.write_text(yaml.safe_dump(variables))

    def _definition(self, name: str, reload: list[str]) -> dict[str, Any]:
        server, port = self.database.server, self.port(name)
        login = {"host": server.host, "port": server.port, "dbname": self.database.name}
        url = "postgresql://{current.username}:{current.password|urlencode}"
        key = "DATABASE_URL" if name not in SHARING else f"{name.upper()}_URL"
        sink = {
            "name": "app",
            "ref": f"ref+file://{self.env_file(name)}?format=env#/{key}",
            "template": f"{url}@127.0.0.1:{port}/{self.database.name}",
        }
        consumers: list[dict[str, Any]] = [
            {"name": "app", "type": "command", "argv": reload, "reads": ["app"]}
        ]
        if name in SHARING:
            pooler = {"name": "pooler", "type": "pgbouncer"}
            pooler["userlist"] = str(self.pooler.userlist_path)
            admin = f"ref+file://{self.folder}/pooler-admin.json"
            where = {"host": "127.0.0.1", "port": self.pooler.port}
            consumers.insert(0, {**pooler, "admin": admin, "login": where})
        found: dict[str, Any] = {
            "keyturn_keyring": f"{self.keyrings or f'ref+file://{self.folder}'}/{name}",
            "keyturn_policy": {"rotate": "age", "max_age": "180d", "grace": "0s"},
            "keyturn_issuer": {
                "type": "postgres_role",
                "strategy": "alternate_roles",
                "roles": self.roles(name),
                "owner_role": self.database.owner,
                "login": {**login, "admin": f"ref+file://{self.folder}/pg-admin.json"},
            },
            "keyturn_sinks": [sink],
            "keyturn_consumers": consumers,
            "keyturn_probes": [{"type": "postgres", "port": port}],
            "keyturn_wait": "10s",
        }
        if not self.keyrings:
            found["keyturn_ledger"] = f"ref+file://{self.folder}/ledger.jsonl"
        return found

    def port(self, name: str) -> int:
        """Where an application connects."""
        return self.pooler.port if name in SHARING else self.database.server.port

    def run(self, playbook: str, *arguments: str, **extra: Any) -> PlaybookResult:
        """Run one of the collection's playbooks over all credentials."""
        return self.ansible.run(
            f"keyturn.runbooks.{playbook}",
            *arguments,
            inventory=self.inventory,
            extra_vars=extra,
        )

    def document(self, name: str) -> Document | None:
        """A keyring, if there is one."""
        path = self.folder / name
        return parse_document(path.read_text()) if path.exists() else None

    def stage_role(self, name: str) -> str:
        """The role that a credential uses now."""
        document = self.document(name)
        assert document and document.current
        return document.current.text("username")

    def lines(self, name: str) -> list[dict[str, Any]]:
        """What the audit log tells of a credential; for keyrings in files."""
        return FileLedger(str(self.folder / "ledger.jsonl")).read(f"db_{name}").lines

    def phases(self, name: str) -> list[str]:
        """Its steps."""
        return [line["phase"] for line in self.lines(name)]

    def ledger_faults(self, name: str) -> list[str]:
        """What is wrong with it."""
        document = self.document(name)
        lines = self.lines(name)
        return chain_faults(lines) + tail_faults(lines, document.ledger if document else None)

    def in_use(self) -> dict[str, str]:
        """For each credential that is in use and settled, its rotation."""
        found = {name: self.document(name) for name in NAMES}
        return {
            name: document.current.rotation_id
            for name, document in found.items()
            if document
            and document.current
            and document.current.status == "observed"
            and document.claim is None
        }

    def assert_applications_work(self, *names: str) -> None:
        """Each one's line is there and is accepted where it connects."""
        for name in names:
            text = self.env_file(name).read_text()
            line = text.partition(f"{name.upper()}_URL=" if name in SHARING else "DATABASE_URL=")[2]
            alone = self.folder / f"{name}.seen"
            alone.write_text("DATABASE_URL=" + line.splitlines()[0])
            url = read_credential(alone, 1)
            assert url.port == self.port(name) and url.username in self.roles(name)
            psycopg2.connect(
                host="127.0.0.1",
                port=url.port,
                dbname=self.database.name,
                user=url.username,
                password=url.password,
            ).close()
