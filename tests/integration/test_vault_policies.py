# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies that the documentation ships: each is enough for what it is for, and none of its rules can be left out."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv_task import MODULE
from estate.databases import Database
from estate.playbook import Ansible
from estate.vault import AppRole, VaultServer
from rotation import FORCE, Estate
from vault_fixtures import vault_approle
from vault_world import Proxy

__all__ = ["vault_approle"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "vault.md"
POLICIES = dict(re.findall(r"```hcl\n# (\w+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
CHECK_MODE_ONLY = "sys/capabilities-self"
LOGIN_ONLY = "auth/token/"

pytestmark = pytest.mark.pg_versions("16")


@dataclass
class Place:
    """A mount, and who may do what in it."""

    server: VaultServer
    mount: str
    approle: Callable[..., AppRole]
    proxies: list[Proxy] = field(default_factory=list)

    def rules(self, name: str, without: str = "") -> str:
        """A policy of the page for this mount, or all of it but one rule."""
        lines = POLICIES[name].splitlines()
        kept = [line for line in lines if not without or without not in line]
        assert len(kept) == len(lines) - bool(without)
        return "\n".join(kept).replace('path "secret/', f'path "{self.mount}/')

    def environ(self, rules: str, address: str = "") -> dict[str, str]:
        """Logs in as a role that has these rules and no others."""
        role = self.approle(rules, token_no_default_policy=True)
        return {
            "VAULT_ADDR": address or self.server.address,
            "VAULT_ROLE_ID": role.role_id,
            "VAULT_SECRET_ID": role.secret_id,
            "VAULT_LOGIN_MOUNT_POINT": role.mount,
        }

    def proxy(self) -> Proxy:
        """Between here and Vault, to count what passes."""
        self.proxies.append(Proxy(self.server))
        return self.proxies[-1]


@pytest.fixture
def place(
    vault: VaultServer, vault_mount: str, vault_approle: Callable[..., AppRole]
) -> Iterator[Place]:
    made = Place(vault, vault_mount, vault_approle)
    yield made
    for proxy in made.proxies:
        proxy.close()


def counted(proxy: Proxy, end: bytes) -> int:
    """How many requests went to a path that ends so."""
    return sum(head.split(b" ", 2)[1].endswith(end) for head in proxy.heads)


def test_a_credential_is_rotated_with_one_login_for_each_task(
    place: Place, scratch: Path, database: Database, ansible: Ansible
) -> None:
    """Adopt, rotate, roll back, retire: with the policy of the page alone."""
    mount, proxy = place.mount, place.proxy()
    admin = {"username": "postgres", "password": database.server.password}
    place.server.request("POST", f"{mount}/data/postgres/admin", {"data": admin})
    first = f"{database.name}_a"
    estate = Estate(
        scratch,
        database,
        ansible,
        variables={
            "keyturn_keyring": f"ref+vault://{mount}/keyrings/db_app",
            "keyturn_ledger": "beside",
            "keyturn_consumers": [],
            "keyturn_sinks": [
                {
                    "ref": f"ref+vault://{mount}/musehub/production#/DATABASE_URL",
                    "template": "postgresql://{current.username}:{current.password|urlencode}@db/x",
                }
            ],
        },
        environ=place.environ(place.rules("rotate"), f"http://127.0.0.1:{proxy.port}"),
    )
    issuer = {**estate.definition()["keyturn_issuer"]}
    issuer["login"] = {**issuer["login"], "admin": f"ref+vault://{mount}/postgres/admin"}
    estate.variables["keyturn_issuer"] = issuer
    estate.hand_over(first, database.create_login(first))
    estate._write_inventory()
    estate.run("adopt", extra=estate.adoption).check()
    proxy.heads.clear()
    estate.run("rotate_db", "--check", "--diff").check()
    assert counted(proxy, b"/login") == counted(proxy, b"/revoke-self") > 0
    proxy.heads.clear()
    done = estate.run("rotate_db", extra=FORCE).check()
    logins, others = counted(proxy, b"/login"), len(proxy.heads)
    assert logins == counted(proxy, b"/revoke-self")
    assert (logins, others > 20) == (1, True), (logins, others, done.steps)
    for playbook in ("rollback", "retire_due"):
        estate.run(playbook).check()
    found = place.server.request("GET", f"{mount}/data/musehub/production")["data"]["data"]
    assert first in found["DATABASE_URL"]
    estate.environ |= place.environ(place.rules("read"))
    assert "db_app" in estate.run("status", "-e", "output=json").check().stdout


def ask(place: Place, rules: str, **options: Any) -> dict[str, Any]:
    """One task of ``vault_kv`` with these rules alone."""
    warnings: list[str] = []
    context = Context(environ=place.environ(rules), warn=warnings.append)
    defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
    given = {"engine_mount_point": place.mount, "path": "musehub/app", **options}
    try:
        return execute(MODULE, {**defaults, **given}, context)
    finally:
        context.close()
        assert bool(warnings) is ("revoke-self" not in rules), warnings


STEPS: tuple[dict[str, Any], ...] = (
    {"fields": {"a": "1"}, "owner": "platform"},
    {"fields": {"a": "2"}, "keep": 5},
    {"state": "deleted"},
    {"state": "undeleted"},
    {"state": "destroyed", "versions": [1]},
    {"state": "absent"},
)


def ask_all(place: Place, rules: str) -> list[dict[str, Any]]:
    """Every step, one after the other."""
    return [ask(place, rules, **step) for step in STEPS]


def test_everything_that_vault_kv_does(place: Place) -> None:
    assert all(done["changed"] for done in ask_all(place, place.rules("vault_kv")))


@pytest.mark.parametrize(
    "rule",
    [line.split('"')[1] for line in POLICIES["vault_kv"].splitlines() if "secret/" in line],
)
def test_no_rule_of_vault_kv_can_be_left_out(place: Place, rule: str) -> None:
    rules = place.rules("vault_kv", without=f'"{rule}"')
    with pytest.raises(Denied):
        ask_all(place, rules)


def test_a_token_that_may_not_revoke_itself_is_told(place: Place) -> None:
    rules = place.rules("vault_kv", without="revoke-self")
    assert ask(place, rules, fields={"a": secrets.token_urlsafe(8)})["changed"] is True
