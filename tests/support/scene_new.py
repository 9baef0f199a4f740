# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new environment: a role that has to be made, a token at Cloudflare that has to be made, and one that is generated here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import reveal
from cloudflare_store import Store
from estate.databases import Database
from estate.playbook import Ansible
from scene import Flow, Scene, by_names
from scene_r2 import Tokens, definition
from world import Roles, World

HOSTS = ("db", "r2", "token")


class NewEnvironment(Scene):
    """See the top of this file."""

    name = "a new environment"
    usual = "replace "

    def __init__(self, folder: Path, ansible: Ansible, database: Database, store: Store) -> None:
        super().__init__(folder, ansible)
        self.database, self.prefix = database, database.name
        self.store, self._tokens = store, Tokens(store)
        # A run that is killed leaves no other host at work.
        self.arguments = ["--forks=1"]
        self.by_programs = {"r2.held"}
        server = database.server
        where = {"host": "127.0.0.1", "port": server.port, "dbname": database.name}
        self.login = {**where, "user": server.superuser, "password": server.password}
        admin = {"username": "postgres", "password": server.password}
        self.seen = {"administrator": server.password, "rotator": store.api.login.value}
        login = self.secret_file("login", store.api.login.value)
        self.secret_file("admin", json.dumps(admin))
        issuer = {
            "type": "postgres_role",
            "strategy": "new_role",
            "role_template": f"{self.prefix}_app_{{date}}",
            "owner_role": database.owner,
            "login": {**where, "admin": f"ref+file://{folder}/admin"},
        }
        named = f"ref+file://{folder}/db.env?format=env#/"
        shown = {"DB_USER": "{current.username}", "DB_PASSWORD": "{current.password}"}
        self.define(
            "db",
            keyturn_issuer=issuer,
            keyturn_sinks=[
                {"name": key, "ref": f"{named}{key}", "template": it} for key, it in shown.items()
            ],
            keyturn_probes=[{"type": "postgres", "port": server.port}],
        )
        self.define("r2", **definition(folder, store, login, buckets=["music"]))
        self.define(
            "token",
            keyturn_issuer={"type": "generated", "overlap": True},
            keyturn_sinks=[{"name": "token", "ref": f"ref+file://{folder}/token.value", "template": "{current.value}"}],
            keyturn_probes=[{"type": "command", "argv": ["sh", "-c", "cat > /dev/null"], "stdin": "{stage.value}"}],
        )  # fmt: skip

    def flows(self) -> list[Flow]:
        """All of it at once."""
        return [Flow("bootstrap", "bootstrap", self.remember)]

    def holders(self) -> list[Path]:
        """See :meth:`Scene.holders`."""
        names = ("db.env", "r2.env", "r2.held", "token.value", "login", "admin")
        return [*super().holders(), *(self.folder / name for name in names)]

    def beyond(self) -> Any:
        """The tokens."""
        return self._tokens.there()

    def put_back(self, world: World, now: World) -> None:
        """Tokens and roles."""
        assert self.login
        self._tokens.put_back(world["beyond"])
        Roles(self.login, self.prefix).put_back(world, now)

    def _roles(self) -> list[Any]:
        """Name, right to log in and verifier of each role that was made."""
        query = "SELECT rolname, rolcanlogin, rolpassword FROM pg_authid WHERE starts_with(rolname, %s)"  # fmt: skip
        return [*self.database.execute(query, (f"{self.prefix}_app",))]

    def survives(self, flow: Flow, where: str) -> None:
        """No role and no token is there that no keyring knows."""
        self.remember()
        names = {str(stage.fields.get("username", "")) for _name, stage in self.stages()}
        lost = [row[0] for row in self._roles() if row[0] not in names]
        assert not lost, f"{where}: nobody knows of the roles {lost}"
        known = self.rotations()
        lost = [it.name for it in self.store.api.others if not any(one in it.name for one in known)]  # fmt: skip
        assert not lost, f"{where}: nobody knows of the tokens {lost}"

    def ended(self, flow: Flow, where: str) -> None:
        """Each has one value, which works, and its place has it."""
        db, r2, token = (self.current(host).fields for host in HOSTS)
        assert len(self._roles()) == 1, f"{where}: a second role"
        assert len(self.store.api.others) == 1, f"{where}: a second token"
        user, password = str(db["username"]), reveal(db["password"])
        assert self.database.accepts(user, password), where
        assert password in (self.folder / "db.env").read_text(), where
        assert str(r2["access_key_id"]) in (self.folder / "r2.held").read_text(), where
        assert reveal(token["value"]) == (self.folder / "token.value").read_text(), where

    def beyond_by_names(self, names: Mapping[str, str]) -> Any:
        """Roles and tokens by their stages."""
        roles = [[by_names(str(it), names) for it in row] for row in self._roles()]
        return roles, [by_names(token.name, names) for token in self.store.api.others]
