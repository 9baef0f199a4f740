# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database's credential that dry runs are tried on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils import _scram
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from dry_state import TOLD_BY, Reader
from keeping import CREDENTIAL
from likeness import Facts
from reads import SERVER
from rotation import FORCE, Estate
from world import Roles, World

BROKEN = ("a consumer that fails", "a probe that fails")


class DryEstate(Estate):
    """A credential whose application is a file that tells how often it was told, and whose owner's mail is another one."""

    credential = CREDENTIAL
    playbooks = ("rotate_db", "retire_due", "rollback", "abandon", "adopt", "status")

    def definition(self) -> dict[str, Any]:
        """The credential's host_vars."""
        found = super().definition()
        told = f"echo told >> {self.folder}/told; test ! -e {self.folder}/broken"
        found["keyturn_consumers"][-1]["argv"] = ["sh", "-c", told]
        mail = {"type": "command", "argv": ["sh", "-c", f"cat >> {self.folder}/mail"]}
        found["keyturn_policy"] = {**found["keyturn_policy"], "contacts": [mail]}
        return found

    def breaking(self, how: str) -> dict[str, Any]:
        """Variables of a run in which something fails after the new value was made."""
        definition = self.definition()
        if how == BROKEN[0]:
            consumers = definition["keyturn_consumers"]
            failing = {**consumers[-1], "argv": ["sh", "-c", "exit 1"]}
            return {"keyturn_consumers": [*consumers[:-1], failing]}
        document = self.document() if self.keyring_path.exists() else None
        used = document.current.text("username") if document and document.current else ""
        check = f"SELECT 1 / (session_user = '{used or self.roles[0]}')::int"
        probe = {**definition["keyturn_probes"][0], "check": [check]}
        return {"keyturn_probes": [probe], "keyturn_wait": "1s"}

    def variables_of(self, playbook: str) -> Any:
        """The variables that a playbook needs."""
        return {"rotate_db": FORCE, "adopt": self.adoption}.get(playbook)

    @property
    def login(self) -> dict[str, Any]:
        """Of the server's superuser, as ``psycopg2.connect`` takes it."""
        server = self.database.server
        return {
            "host": "127.0.0.1",
            "port": server.port,
            "dbname": self.database.name,
            "user": server.superuser,
            "password": server.password,
        }

    @property
    def places(self) -> list[str]:
        """Files and folders that a run could change."""
        pooler = self.pooler
        return [
            str(self.folder),
            *([str(pooler.userlist_path), str(pooler.ini_path)] if pooler else []),
        ]

    @cached_property
    def reader(self) -> Reader:
        """Tells its states."""
        return DatabaseReader(self)

    @cached_property
    def _server_roles(self) -> Roles:
        return Roles(self.login, self.prefix)

    def put_back(self, world: World, now: World) -> None:
        """Make its roles what they were."""
        self._server_roles.put_back(world, now)

    def reload(self, world: World) -> None:
        """Have PgBouncer read its userlist, which it leaves out while size, owner and the second of the last change are the same."""
        pooler = self.pooler
        if not pooler:
            return
        os.utime(pooler.userlist_path, (0, 0))
        pooler.reload()
        changed = world["files"][str(pooler.userlist_path)]["mtime"]
        os.utime(pooler.userlist_path, ns=(changed, changed))
        pooler.reload()

    def console(self) -> Any:
        """What PgBouncer itself says of its users and settings."""
        return [self.pooler.show("USERS"), self.pooler.show("CONFIG")] if self.pooler else None


class DatabaseReader(Reader):
    """Tells which state a world with a database is."""

    def __init__(self, estate: DryEstate) -> None:
        super().__init__(estate.definition(), estate.folder)
        self.estate = estate
        # Thousands of rounds each, and the same few pairs again and again.
        self._matches = cache(_scram.matches)

    def _role_facts(self, stage: Stage, roles: Mapping[str, Any]) -> tuple[Any, ...]:
        """Whether the server knows this stage's role, lets it log in, and with its password."""
        row = roles.get(stage.text("username"))
        password, verifier = stage.secret("password"), row["rolpassword"] if row else None
        right = bool(password and verifier and self._matches(password.reveal(), verifier))
        return (row is not None, bool(row and row["rolcanlogin"]), right)

    def surroundings(self, world: World, stages: Mapping[str, Stage]) -> dict[str, Any]:
        """Roles, sink and userlist."""
        roles = {
            row[0]: {"rolcanlogin": row[5], "rolpassword": row[9]}
            for row in world["roles"]
            if row[0].startswith(self.estate.prefix)
        }
        used = {stage.text("username") for stage in stages.values()}
        others = sorted(
            [bool(row["rolcanlogin"]), row["rolpassword"] is not None]
            for name, row in roles.items()
            if name not in used
        )
        pooler = self.estate.pooler
        return {
            "accepted": {name: self._role_facts(stage, roles) for name, stage in stages.items()},
            "other roles": others,
            "sinks": self._shown(world, stages, self.estate.env_file),
            "pooler": self._shown(world, stages, pooler.userlist_path) if pooler else [],
        }

    def _shown(self, world: World, stages: Mapping[str, Stage], path: Path) -> list[str]:
        """Which stages a file holds."""
        text = self.text(world, path)
        found = []
        for name, stage in stages.items():
            for key in ("password", "verifier"):
                secret = stage.secret(key)
                if secret and secret.reveal() in text:
                    found.append(f"{name} {key}")
        return found

    def server(self, facts: Facts, stage: str) -> str:
        """Whether the server lets the role of a stage log in."""
        known, login, right = facts["accepted"][stage]
        return "no role" if not known else "accepted" if login and right else "refused"

    def told_by(self) -> dict[str, tuple[str, ...]]:
        """For each file, and for the servers, the facts that a look at it can depend on."""
        estate = self.estate
        found = {
            **TOLD_BY,
            estate.env_file.name: ("sinks",),
            SERVER: ("accepted", "other roles", "pooler"),
        }
        if estate.pooler:
            for path in (estate.pooler.userlist_path, estate.pooler.ini_path):
                found[path.name] = ("pooler",)
        return found
