# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One credential around a database: its roles, a keyring and a sink in files, and the modules' cores run on them."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import _preflight, _probe
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.databases import Database

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)
POLICY = {"rotate": "age", "max_age": "180d", "grace": "48h"}


@dataclass
class Estate:
    """One credential: roles, a keyring in a file, a sink in a file."""

    database: Database
    place: Path
    passwords: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def keyring(self) -> Path:
        return self.place / "keyring.json"

    @property
    def admin(self) -> Path:
        return self.place / "admin.json"

    @property
    def issuer(self) -> dict[str, Any]:
        server = self.database.server
        login = {
            "host": server.host,
            "port": server.port,
            "dbname": self.database.name,
            "admin": f"ref+file://{self.admin}",
        }
        return {
            "type": "postgres_role",
            "strategy": "alternate_roles",
            "roles": ["app_a", "app_b"],
            "login": login,
        }

    def role(self, name: str) -> Stage:
        if name not in self.passwords:
            self.passwords[name] = self.database.create_login(name)
        fields = {"username": name, "password": Secret(self.passwords[name])}
        return Stage(f"r_{name}", "observed", fields, "d", made=NOW - 200 * DAY)

    def save(self, **stages: Any) -> None:
        document = Document("db", secrets.token_bytes(32), **stages)
        filled = {
            name: document.with_fingerprints(stage) for name, stage in document.stages.items()
        }
        self.keyring.touch(0o600)
        self.keyring.write_text(dump_text(replace(document, **filled)))

    def options(self, **more: Any) -> dict[str, Any]:
        fixed = {
            "keyring": f"ref+file://{self.keyring}",
            "credential": "db",
            "policy": POLICY,
            "issuer": self.issuer,
        }
        return {**fixed, "probes": [{"type": "postgres"}], **more}

    def preflight(self, **more: Any) -> dict[str, Any]:
        return self.run(_preflight.MODULE, self.options(**more))

    def probe(self, **more: Any) -> dict[str, Any]:
        check_mode = more.pop("check_mode", False)
        wanted = {name: value for name, value in self.options(**more).items() if name != "policy"}
        given = {"timeout": "1s", "interval": "0s", **wanted}
        return self.run(_probe.MODULE, given, check_mode)

    def run(self, module: Any, options: dict[str, Any], check_mode: bool = False) -> dict[str, Any]:
        validated = ArgumentSpecValidator(dict(module.argument_spec)).validate(options)
        assert not validated.error_messages
        params = dict(validated.validated_parameters)
        result: dict[str, Any] = module.run(params, Context(check_mode, warn=self.warnings.append))
        self.no_secret_in(json.dumps(result))
        return result

    def no_secret_in(self, text: str) -> None:
        values = [*self.passwords.values(), self.database.server.password]
        assert not any(value in text for value in values)


def make_estate(database: Database, tmp_path: Path) -> Estate:
    """A fresh one; its administrator's password is in a file."""
    found = Estate(database, tmp_path)
    found.admin.touch(0o600)
    found.admin.write_text(
        json.dumps({"username": "postgres", "password": database.server.password})
    )
    return found


def sink(
    path: Path,
    template: str = "postgresql://{current.username}:{current.password|urlencode}@db/app",
) -> dict[str, Any]:
    return {"name": "app", "ref": f"ref+file://{path}", "template": template}
