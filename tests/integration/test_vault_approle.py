# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AppRoles of a real Vault: one login for a task, its renewal and its end, and secret ids that come wrapped."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Denied,
    Unreachable,
)
from backends import Upstream
from estate.playbook import Ansible
from estate.vault import AppRole, VaultServer
from fault_proxy import proxy_before
from login_world import ONE, TWO, LoginWorld, refusal
from vault_fixtures import vault_approle
from vault_world import proxied

__all__ = ["vault_approle"]


@pytest.fixture
def world(vault: VaultServer, vault_mount: str) -> Iterator[LoginWorld]:
    made = LoginWorld(vault, vault_mount)
    yield made
    made.context.close()


def test_one_login_for_all_clients_of_a_task(
    world: LoginWorld, vault_approle: Callable[..., AppRole]
) -> None:
    role = vault_approle(world.rules)
    world.use(role)
    for number in range(3):
        assert world.store(f"path-{number}").write(ONE, None) == "1"
    world.put("other", key="value")
    assert world.value("other#/key") == "value"
    assert len(world.tokens(role.mount)) == 1
    world.context.close()
    assert world.tokens(role.mount) == []
    assert world.warnings == []


def test_each_item_of_a_loop_and_each_lookup_logs_in(
    world: LoginWorld, vault_approle: Callable[..., AppRole], scratch: Path, ansible: Ansible
) -> None:
    role = vault_approle(world.rules)
    world.use(role)
    base = f"ref+vault://{world.mount}/app0#/KEY"
    lookup = "keyturn.runbooks.ref"
    options = {
        "engine_mount_point": world.mount,
        "path": "app{{ item }}",
        "fields": {"KEY": secrets.token_urlsafe(8)},
    }
    one, both = f"lookup('{lookup}', '{base}')", f"query('{lookup}', '{base}', '{base}')"
    asked: dict[str, dict[str, Any]] = {
        "loop": {"keyturn.runbooks.vault_kv": options, "loop": [0, 1, 2]},
        "lookups": {"ansible.builtin.debug": {"msg": f"{{{{ {one} == {one} }}}}"}},
        "query": {"ansible.builtin.debug": {"msg": f"{{{{ {both} | length }}}}"}},
    }
    told = {}
    target = Upstream("127.0.0.1", int(world.server.address.rpartition(":")[2]))
    book = scratch / "play.yml"
    with proxy_before(target, lambda *_asked: False) as proxy:
        world.environ["VAULT_ADDR"] = f"http://127.0.0.1:{proxy.port}"
        for name, task in asked.items():
            play = {"hosts": "localhost", "gather_facts": False, "tasks": [task]}
            book.write_text(yaml.safe_dump([play]))
            proxy.asked.clear()
            ansible.run(str(book), env=dict(world.environ)).check()
            paths = [request.path for request in proxy.asked]
            told[name] = paths.count(f"/v1/auth/{role.mount}/login")
    assert told == {"loop": 3, "lookups": 2, "query": 1}


def test_two_identities_are_two_logins(
    world: LoginWorld, vault_approle: Callable[..., AppRole]
) -> None:
    one, two = vault_approle(world.rules), vault_approle(world.rules)
    for role in (one, two, one):
        world.use(role)
        assert world.store().read() is None
    assert len(world.tokens(one.mount)) == 2
    world.context.close()
    assert world.tokens(one.mount) == []


def test_a_token_that_was_given_is_not_revoked(world: LoginWorld) -> None:
    token = world.environ["VAULT_TOKEN"] = world.server.token(world.rules)
    assert world.store().read() is None
    world.context.close()
    assert world.server.request("GET", f"{world.mount}/config")
    assert world.store().read() is None
    assert world.environ["VAULT_TOKEN"] == token


def test_a_token_near_its_end_is_renewed(
    world: LoginWorld, vault_approle: Callable[..., AppRole]
) -> None:
    role = vault_approle(world.rules, token_ttl="2s", token_max_ttl="60s", secret_id_num_uses=1)
    world.use(role)
    store = world.store()
    version = store.write(ONE, None)
    began = time.monotonic()
    while time.monotonic() - began < 4:
        assert store.read() == (ONE, version)
        time.sleep(0.3)
    assert len(world.tokens(role.mount)) == 1


def test_a_token_that_cannot_last_is_replaced(
    world: LoginWorld, vault_approle: Callable[..., AppRole]
) -> None:
    role = vault_approle(world.rules, token_ttl="2s", token_max_ttl="2s")
    world.use(role)
    store = world.store()
    version = store.write(ONE, None)
    first = [token["accessor"] for token in world.tokens(role.mount)]
    time.sleep(1.6)
    assert store.read() == (ONE, version)
    after = [token["accessor"] for token in world.tokens(role.mount)]
    assert len(after) == 1
    assert after != first


def test_a_secret_id_for_one_login_is_used_to_the_end(
    world: LoginWorld, vault_approle: Callable[..., AppRole]
) -> None:
    role = vault_approle(world.rules, token_ttl="2s", token_max_ttl="2s", secret_id_num_uses=1)
    world.use(role)
    store = world.store()
    version = store.write(ONE, None)
    time.sleep(1.5)
    assert store.read() == (ONE, version)
    time.sleep(1.6)
    assert "Give the role a longer token_max_ttl" in refusal(Denied, store.read)


def test_a_token_that_was_revoked_meanwhile_is_replaced(
    world: LoginWorld, vault_approle: Callable[..., AppRole]
) -> None:
    role = vault_approle(world.rules)
    world.use(role)
    store = world.store()
    version = store.write(ONE, None)
    (token,) = world.tokens(role.mount)
    body = {"accessor": token["accessor"]}
    world.server.request("POST", "auth/token/revoke-accessor", body)
    assert store.write(TWO, version) == "2"


def test_batch_tokens_are_neither_renewed_nor_revoked(
    world: LoginWorld, vault_approle: Callable[..., AppRole]
) -> None:
    world.use(vault_approle(world.rules, token_type="batch"))
    assert world.store().write(ONE, None) == "1"
    world.context.close()
    assert world.warnings == []


def test_a_revocation_that_fails_is_told_and_holds_nothing_up(
    world: LoginWorld, vault_approle: Callable[..., AppRole]
) -> None:
    world.use(vault_approle(world.rules))
    with proxied(world) as proxy:
        assert world.store().read() is None
        proxy.lose_replies = 5
        started = time.monotonic()
        world.context.close()
        assert time.monotonic() - started < 4
    assert "could not be revoked; it ends by itself in" in world.warnings[0]


# --- wrapped secret ids


def wrapped(world: LoginWorld, path: str, ttl: str = "60s") -> str:
    """A wrapping token of what a path of the API makes."""
    return world.server.wrapped("POST", path, ttl)


def test_a_wrapped_secret_id(world: LoginWorld, vault_approle: Callable[..., AppRole]) -> None:
    role = vault_approle(world.rules)
    world.use(role)
    token = wrapped(world, f"auth/{role.mount}/role/{role.name}/secret-id")
    world.environ |= {"VAULT_SECRET_ID": token, "VAULT_SECRET_ID_WRAPPED": "true"}
    for _client in range(2):
        assert world.store().read() is None
    # Another task finds that it was taken out already.
    world.context.close()
    message = refusal(Denied, world.store().read)
    assert "it expired, or somebody else unwrapped it before" in message
    assert "destroy it by its accessor" in message
    assert token not in message


def test_a_wrapped_secret_id_outlives_its_first_login(
    world: LoginWorld, vault_approle: Callable[..., AppRole]
) -> None:
    role = vault_approle(world.rules, token_ttl="2s", token_max_ttl="2s")
    world.use(role)
    token = wrapped(world, f"auth/{role.mount}/role/{role.name}/secret-id")
    world.environ |= {"VAULT_SECRET_ID": token, "VAULT_SECRET_ID_WRAPPED": "true"}
    store = world.store()
    assert store.read() is None
    time.sleep(1.6)
    assert store.read() is None
    assert len(world.tokens(role.mount)) == 1


def test_an_expired_wrapping_token(
    world: LoginWorld, vault_approle: Callable[..., AppRole]
) -> None:
    role = vault_approle(world.rules)
    world.use(role)
    token = wrapped(world, f"auth/{role.mount}/role/{role.name}/secret-id", "1s")
    world.environ |= {"VAULT_SECRET_ID": token, "VAULT_SECRET_ID_WRAPPED": "true"}
    time.sleep(1.2)
    assert "is not valid any more" in refusal(Denied, world.store().read)


def test_a_wrapping_token_of_something_else_is_left_wrapped(
    world: LoginWorld, vault_approle: Callable[..., AppRole]
) -> None:
    role = vault_approle(world.rules)
    world.use(role)
    token = wrapped(world, "sys/wrapping/wrap")
    world.environ |= {"VAULT_SECRET_ID": token, "VAULT_SECRET_ID_WRAPPED": "true"}
    message = refusal(Denied, world.store().read)
    assert f"does not hold a secret id of the AppRole method at '{role.mount}'" in message
    assert world.server.request("POST", "sys/wrapping/lookup", {"token": token})


def test_an_unwrapping_whose_answer_was_lost(
    world: LoginWorld, vault_approle: Callable[..., AppRole]
) -> None:
    role = vault_approle(world.rules)
    world.use(role)
    token = wrapped(world, f"auth/{role.mount}/role/{role.name}/secret-id")
    world.environ |= {"VAULT_SECRET_ID": token, "VAULT_SECRET_ID_WRAPPED": "true"}
    with proxied(world) as proxy:
        proxy.lose_path = b"sys/wrapping/unwrap"
        proxy.lose_replies = 1
        message = refusal(Unreachable, world.store().read)
    assert "may be used up; destroy the secret id by its accessor" in message
