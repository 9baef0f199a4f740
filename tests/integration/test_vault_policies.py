# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies that the documentation ships: each is enough for what it is for, and none of its rules can be left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _vault_session
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Denied,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_export import (
    MODULE as EXPORT,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv_task import MODULE
from estate.databases import Database
from estate.playbook import Ansible
from estate.vault import AppRole, VaultServer
from rotation import FORCE, Estate
from vault_fixtures import vault_approle
from vault_rights import InVault, policies, rules, without
from vault_world import Proxy

__all__ = ["vault_approle"]

POLICIES = policies()
CHECK_MODE_ONLY = "sys/capabilities-self"
RENEW, REVOKE = "auth/token/renew-self", "auth/token/revoke-self"
RIGHTS = {
    name: [
        (path, capability)
        for path, capabilities in rules(policy)
        for capability in capabilities
        if path.startswith("secret/")
    ]
    for name, policy in POLICIES.items()
}
"""What each policy allows in the mount; what it allows beside that has tests of its own."""

pytestmark = pytest.mark.pg_versions("16")


@dataclass
class Place:
    """A mount, and who may do what in it."""

    server: VaultServer
    mount: str
    approle: Callable[..., AppRole]
    proxies: list[Proxy] = field(default_factory=list)

    def rules(self, name: str, *left_out: tuple[str, str]) -> str:
        """A policy of the page for this mount, or all of it but some capabilities of a path."""
        policy = POLICIES[name]
        for path, capability in left_out:
            policy = without(policy, path, capability)
        return policy.replace('path "secret/', f'path "{self.mount}/')

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
    """By the playbooks, with the policy of the page alone."""
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
    found = place.server.request("GET", f"{mount}/data/musehub/production")["data"]["data"]
    assert f"{database.name}_b" in found["DATABASE_URL"]
    estate.environ |= place.environ(place.rules("read"))
    assert "db_app" in estate.run("status", "-e", "output=json").check().stdout


@pytest.fixture
def credential(place: Place, database: Database) -> InVault:
    admin = {"username": "postgres", "password": database.server.password}
    place.server.request("POST", f"{place.mount}/data/postgres/admin", {"data": admin})
    return InVault(place.mount, database)


def denied(caught: pytest.ExceptionInfo[KeyturnError]) -> bool:
    """Whether a procedure ended with what Vault denies, be it at a gate or at a step."""
    told = any(text in caught.value.message for text in ("Vault denies", "this token may not"))
    return told and caught.value.details["kind"] in ("Denied", "Refused")


def look(place: Place, credential: InVault, policy: str) -> None:
    """What only reads."""
    assert credential.status(place.environ(policy))["keyring"]["exists"] is True
    assert credential.verify(place.environ(policy))["faults"] == []


def test_every_procedure_and_every_look_at_it(place: Place, credential: InVault) -> None:
    """Adopt, begin and abandon, rotate, roll back, retire; then its state, and its ledger verified."""
    credential.do_all(place.environ(place.rules("rotate")))
    for name in ("rotate", "read"):
        look(place, credential, place.rules(name))
    assert credential.warnings == []
    # Whoever only looks can do nothing else.
    with pytest.raises(KeyturnError) as caught:
        credential.do(place.environ(place.rules("read")), "rotate")
    assert denied(caught)


@pytest.mark.parametrize("right", RIGHTS["rotate"], ids="-".join)
def test_no_right_of_a_rotation_can_be_left_out(
    place: Place, credential: InVault, right: tuple[str, str]
) -> None:
    with pytest.raises(KeyturnError) as caught:
        credential.do_all(place.environ(place.rules("rotate", right)))
    assert denied(caught)


@pytest.mark.parametrize("right", RIGHTS["read"], ids="-".join)
def test_no_right_of_a_look_can_be_left_out(
    place: Place, credential: InVault, right: tuple[str, str]
) -> None:
    credential.do(place.environ(place.rules("rotate")), "adopt", value=credential.first)
    with pytest.raises(Denied):
        look(place, credential, place.rules("read", right))


def test_a_dry_run_finds_a_missing_right_by_looking_its_own_up(
    place: Place, credential: InVault
) -> None:
    missing = ("secret/data/musehub/*", "update")
    credential.do(place.environ(place.rules("rotate")), "adopt", value=credential.first)
    credential.do(place.environ(place.rules("rotate", missing)), "rotate", check=True)
    place.server.request(
        "POST", f"{place.mount}/data/musehub/production", {"data": {"LOGIN": "another"}}
    )
    with pytest.raises(KeyturnError) as caught:
        credential.do(place.environ(place.rules("rotate", missing)), "rotate", check=True)
    assert denied(caught)
    less = place.rules("rotate", missing, (CHECK_MODE_ONLY, "update"))
    assert credential.do(place.environ(less), "rotate", check=True)["changed"]


@pytest.mark.parametrize("name", POLICIES)
def test_a_token_that_may_not_revoke_itself_is_told(place: Place, name: str) -> None:
    place.server.request("POST", f"{place.mount}/data/musehub/app", {"data": {"a": "b"}})
    place.server.request("POST", f"{place.mount}/data/keyrings/db_app", {"data": {"a": "b"}})
    path = "musehub/app" if "/musehub/" in POLICIES[name] else "keyrings/db_app"
    for left_out in ([], [(REVOKE, "update")]):
        warnings: list[str] = []
        environ = place.environ(place.rules(name, *left_out))
        context = Context(environ=environ, warn=warnings.append)
        resolve(f"ref+vault://{place.mount}/{path}#/a", context, "value")
        context.close()
        assert [REVOKE in text for text in warnings] == [True] * len(left_out)


@pytest.mark.parametrize("name", [name for name in POLICIES if RENEW in POLICIES[name]])
def test_a_login_near_its_end_is_renewed_and_not_made_once_more(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    reference = f"ref+vault://{place.mount}/musehub/app#/a"
    place.server.request("POST", f"{place.mount}/data/musehub/app", {"data": {"a": "b"}})
    for left_out in ([], [(RENEW, "update")]):
        proxy, clock = place.proxy(), SimpleNamespace(monotonic=time.monotonic)
        monkeypatch.setattr(_vault_session, "time", clock)
        rules = place.rules(name, *left_out)
        context = Context(environ=place.environ(rules, f"http://127.0.0.1:{proxy.port}"))
        for seconds in (0.0, 50.0):
            clock.monotonic = lambda seconds=seconds: time.monotonic() + seconds
            assert resolve(reference, context, "value").reveal() == "b"
        context.close()
        assert counted(proxy, b"/login") == 1 + len(left_out)


def export(place: Place, policy: str, folder: Path) -> dict[str, Any]:
    """One task of ``vault_export`` with these rules alone."""
    context = Context(environ=place.environ(policy))
    defaults = {name: option.get("default") for name, option in EXPORT.argument_spec.items()}
    given = {"sources": [f"ref+vault://{place.mount}/musehub/app"], "dest": str(folder / "env")}
    assert EXPORT.prepare
    try:
        return EXPORT.prepare({**defaults, **given}, context)
    finally:
        context.close()


def test_references_are_read(place: Place, scratch: Path) -> None:
    place.server.request("POST", f"{place.mount}/data/musehub/app", {"data": {"A": "b"}})
    assert export(place, place.rules("reference"), scratch)["dest"]
    [right] = RIGHTS["reference"]
    with pytest.raises(Denied):
        export(place, place.rules("reference", right), scratch)


def ask(place: Place, rules: str, **options: Any) -> dict[str, Any]:
    """One task of ``vault_kv`` with these rules alone."""
    context = Context(environ=place.environ(rules))
    defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
    given = {"engine_mount_point": place.mount, "path": "musehub/app", **options}
    try:
        return execute(MODULE, {**defaults, **given}, context)
    finally:
        context.close()


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


@pytest.mark.parametrize("right", RIGHTS["vault_kv"], ids="-".join)
def test_no_right_of_vault_kv_can_be_left_out(place: Place, right: tuple[str, str]) -> None:
    with pytest.raises(Denied):
        ask_all(place, place.rules("vault_kv", right))
