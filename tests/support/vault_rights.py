# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies of docs/vault.md, and a credential all of which is in Vault, with every procedure on it in this process."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import (
    _keyring_info,
    _procedure,
    _verify_ledger,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import ModuleCore, execute
from estate.databases import Database

PAGE = Path(__file__).resolve().parents[2] / "docs" / "vault.md"
_CAPABILITIES = re.compile(r'^path "([^"]+)" *\{ capabilities = \[(.*)\] \}$')


def policies() -> dict[str, str]:
    """The policies of the page, by the names in their first lines."""
    return dict(re.findall(r"```hcl\n# (\w+)\n(.*?)\n```", PAGE.read_text("utf-8"), re.DOTALL))


def rules(policy: str) -> Iterator[tuple[str, list[str]]]:
    """Each path of a policy with its capabilities."""
    for line in policy.splitlines():
        found = _CAPABILITIES.match(line)
        assert found, line
        yield found.group(1), re.findall(r'"(\w+)"', found.group(2))


def allows(policy: str, path: str, operation: str) -> str:
    """The path of the rule that allows this, as Vault reads ``+`` and a ``*`` at the end; empty where none does."""
    for named, capabilities in rules(policy):
        pattern = re.escape(named).replace(r"\+", "[^/]+").replace(r"\*", ".*")
        if operation in capabilities and re.fullmatch(pattern, path):
            return named
    return ""


def policy_of(given: Iterable[tuple[str, Iterable[str]]]) -> str:
    """The text of a policy with these paths and their capabilities."""
    lines = []
    for path, capabilities in given:
        words = ", ".join(f'"{item}"' for item in capabilities)
        lines += [f'path "{path}" {{ capabilities = [{words}] }}'] if words else []
    return "\n".join(lines)


def in_mount(name: str, mount: str, consumers: str) -> str:
    """A policy of the page for a mount that has the keyrings at its top.

    :param consumers: where the page has ``musehub/*``.
    """
    places = (("secret/", f"{mount}/"), ("/keyrings/", "/"), ("musehub/*", consumers))
    made = []
    for named, capabilities in rules(policies()[name]):
        path = named
        for there, here in places:
            path = path.replace(there, here)
        made.append((path, capabilities))
    return policy_of(made)


def without(policy: str, path: str, capability: str) -> str:
    """All of a policy but one capability of one path."""
    made = policy_of(
        (name, [item for item in capabilities if (name, item) != (path, capability)])
        for name, capabilities in rules(policy)
    )
    assert made != policy
    return made


class InVault:
    """A credential whose keyring, ledger, administrator's login and sink are in one mount.

    :ivar warnings: what was warned about.
    """

    def __init__(self, mount: str, database: Database) -> None:
        self.warnings: list[str] = []
        first = f"{database.name}_a"
        self.first = {"username": first, "password": database.create_login(first)}
        self.options: dict[str, Any] = {
            "keyring": f"ref+vault://{mount}/keyrings/db_app",
            "ledger": "beside",
            "credential": "db_app",
        }
        login = {"host": database.server.host, "port": database.server.port}
        issuer = {
            "type": "postgres_role",
            "strategy": "alternate_roles",
            "roles": [first, f"{database.name}_b"],
            "owner_role": database.owner,
            "login": {
                **login,
                "dbname": database.name,
                "admin": f"ref+vault://{mount}/postgres/admin",
            },
        }
        sink = {
            "name": "app",
            "ref": f"ref+vault://{mount}/musehub/production#/LOGIN",
            "template": "{current.username} {current.password}",
        }
        self.definition: dict[str, Any] = {
            **self.options,
            "policy": {"rotate": "age", "max_age": "180d", "grace": "0s"},
            "issuer": issuer,
            "sinks": [sink],
            "probes": [{"type": "postgres"}],
            "timeout": "5s",
            "interval": "1s",
            "force": True,
        }

    def _run(
        self, core: ModuleCore, environ: dict[str, str], check: bool = False, **options: Any
    ) -> dict[str, Any]:
        asked = ArgumentSpecValidator(dict(core.argument_spec), **core.constraints).validate(
            options
        )
        assert not asked.error_messages, asked.error_messages
        context = Context(check, environ=environ, warn=self.warnings.append)
        try:
            return execute(core, dict(asked.validated_parameters), context)
        finally:
            context.close()

    def do(self, environ: dict[str, str], purpose: str, **more: Any) -> dict[str, Any]:
        """One procedure, as its playbook follows it."""
        given = {**self.definition, "purpose": purpose, **more}
        return self._run(_procedure.MODULE, environ, **given)

    def do_all(self, environ: dict[str, str]) -> None:
        """Adopt, begin and abandon, rotate, roll back, rotate, retire; each does something."""
        begun = {"phases": ["preflight", "stage", "apply"]}
        for purpose, more in (
            ("adopt", {"value": self.first}),
            ("rotate", begun),
            ("abandon", {}),
            ("rotate", {}),
            ("rollback", {}),
            ("retire", {}),
        ):
            assert self.do(environ, purpose, **more)["changed"], purpose

    def status(self, environ: dict[str, str]) -> dict[str, Any]:
        """What ``status`` reads."""
        given = {name: self.definition[name] for name in ("policy", "issuer")}
        return self._run(_keyring_info.MODULE, environ, **self.options, **given)

    def verify(self, environ: dict[str, str]) -> dict[str, Any]:
        """What ``verify_ledger`` tells."""
        return self._run(_verify_ledger.MODULE, environ, **self.options)
