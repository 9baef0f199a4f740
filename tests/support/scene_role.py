# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database password that somebody else may know, with the one before it still accepted; an application keeps what it read last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from estate.databases import Database
from estate.playbook import Ansible
from scene import FORCE, Flow, Scene
from world import Roles, World

NAME = "db_app"
REASON = {"keyturn_reason": "a laptop was stolen", "keyturn_hosts": NAME}
ROTATE_FIRST, REVOKE_FIRST = "compromise, rotate_first", "compromise, revoke_first"


class ExposedRole(Scene):
    """See the top of this file.

    :ivar held: what the application read when it was told last.
    :ivar exposed: the logins that somebody else may know.
    """

    name = "a compromised password"

    def __init__(self, folder: Path, ansible: Ansible, database: Database) -> None:
        super().__init__(folder, ansible)
        self.database, self.prefix = database, database.name
        server = database.server
        self.login = {
            "host": "127.0.0.1",
            "port": server.port,
            "dbname": database.name,
            "user": server.superuser,
            "password": server.password,
        }
        roles = [f"{self.prefix}_{letter}" for letter in "ab"]
        self.first = (roles[0], database.create_login(roles[0]))
        self.exposed: list[tuple[str, str]] = []
        self.until = ""
        self.env_file, self.held = folder / "app.env", folder / "held.env"
        self.by_programs = {self.held.name}
        self._files()
        self.define(NAME, **self._definition(roles))

    def _files(self) -> None:
        user, password = self.first
        admin = {"username": "postgres", "password": self.database.server.password}
        self.secret_file("admin", json.dumps(admin))
        self.secret_file("in-use", password)
        for path in (self.env_file, self.held):
            self.secret_file(path.name, f"DB_USER={user}\nDB_PASSWORD={password}\n")
        self.seen = {"first password": password, "administrator": admin["password"]}

    def _definition(self, roles: list[str]) -> dict[str, Any]:
        where = {key: self.login[key] for key in ("host", "port", "dbname")} if self.login else {}
        named = f"ref+file://{self.env_file}?format=env#/"
        both = {"DB_USER": "{current.username}", "DB_PASSWORD": "{current.password}"}
        told = ["cp", str(self.env_file), str(self.held)]
        return {
            "keyturn_issuer": {
                "type": "postgres_role",
                "strategy": "alternate_roles",
                "login": {**where, "admin": f"ref+file://{self.folder}/admin"},
                "roles": roles,
                "owner_role": self.database.owner,
            },
            "keyturn_sinks": [
                {"name": key, "ref": f"{named}{key}", "template": it} for key, it in both.items()
            ],
            "keyturn_consumers": [
                {"name": "app", "type": "command", "argv": told, "reads": [*both]}
            ],
            "keyturn_probes": [{"type": "postgres", "port": where["port"]}],
        }

    def flows(self) -> list[Flow]:
        """Both orders, from the same state."""
        return [
            Flow(name, "respond_compromise", self._exposed, self._answer(order))
            for name, order in ((REVOKE_FIRST, "revoke_first"), (ROTATE_FIRST, "rotate_first"))
        ]

    def _answer(self, order: str) -> Any:
        # Said again, it would name the answer as well without a time.
        return lambda: {**REASON, "keyturn_response": order, "keyturn_made_before": self.until}

    def _exposed(self) -> None:
        """A value in use, and the one before it."""
        if not self.keyring(NAME).exists():
            user, _password = self.first
            value = {"username": user, "password": f"ref+file://{self.folder}/in-use"}
            self.run("adopt", extra={"keyturn_adopt": value}).check()
            self.run("rotate", extra=FORCE).check()
            self.exposed = [self.first, self.logged_in(self.env_file)]
            self._exposed_world = self.world()
        self.restore(self._exposed_world)
        self.until = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def holders(self) -> list[Path]:
        """See :meth:`Scene.holders`."""
        given = [self.folder / name for name in ("admin", "in-use")]
        return [*super().holders(), self.env_file, self.held, *given]

    def put_back(self, world: World, now: World) -> None:
        """Its roles."""
        assert self.login
        Roles(self.login, self.prefix).put_back(world, now)

    def logged_in(self, path: Path) -> tuple[str, str]:
        """What a file tells an application."""
        lines = (line.partition("=") for line in path.read_text().splitlines())
        found = {key: value.strip("'\"") for key, _equals, value in lines}
        return found["DB_USER"], found["DB_PASSWORD"]

    def survives(self, flow: Flow, where: str) -> None:
        """The server knows no value that the keyring never had; nobody is locked out but as was told before."""
        self.remember()
        known = {*self.seen.values(), *self._first_verifier()}
        rows = self.database.execute(
            "SELECT rolname, rolpassword FROM pg_authid WHERE starts_with(rolname, %s) AND rolpassword IS NOT NULL",
            (f"{self.prefix}_",),
        )
        lost = [name for name, verifier in rows if verifier not in known]
        assert not lost, f"{where}: the server has a value that the keyring never had, of {lost}"
        works = self.database.accepts(*self.logged_in(self.held))
        if flow.name == ROTATE_FIRST:
            assert works, f"{where}: the application is locked out"
        elif not works:
            document = self.document(NAME)
            current = document.current if document else None
            told = document and (
                current is None or current.compromised or current.status == "promoted"
            )
            assert told, f"{where}: the application is locked out, and nothing says so"

    def _first_verifier(self) -> set[str]:
        """The first value was given to the server by whoever made the role."""
        kept: set[str] = getattr(self, "_verifiers", set())
        if not kept:
            found = self.database.verifier(self.first[0])
            kept = self._verifiers = {found} if found else set()
        return kept

    def ended(self, flow: Flow, where: str) -> None:
        """What was exposed is refused, by whatever name, and everybody has another one."""
        for user, password in self.exposed:
            assert not self.database.accepts(user, password), f"{where}: {user} is still accepted"
        document = self.document(NAME)
        assert document and document.current and document.current.status == "observed", where
        assert not document.previous and not document.pending, where
        assert not document.current.compromised, where
        used = self.logged_in(self.held)
        assert used == self.logged_in(self.env_file) and self.database.accepts(*used), where
        kept = self.keyring(NAME).read_text()
        assert not any(password in kept for _user, password in self.exposed), where

    def beyond_by_names(self, names: Mapping[str, str]) -> Any:
        """Each role: whose it is, whether it may log in, and by whose value."""
        rows = self.database.execute(
            "SELECT rolname, rolcanlogin, rolpassword, rolvaliduntil FROM pg_authid WHERE starts_with(rolname, %s)",
            (f"{self.prefix}_",),
        )
        return sorted(
            (names.get(name, "other"), login, names.get(password or "", str(password and "other")))
            for name, login, password, _until in rows
        )
