# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins to a real Vault as the service account of a pod: Vault asks a real Kubernetes about the token."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _vault_identity
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied
from estate.kubernetes import KubernetesServer
from login_world import ONE, LoginWorld, refusal
from machines import required
from vault_kubernetes import AUDIENCE, Accounts, MethodVault


@pytest.fixture(scope="module")
def server(run_dir: Path) -> Iterator[MethodVault]:
    """One of this file's own: it is told of the program of the method."""
    place = run_dir / f"vault-{secrets.token_hex(3)}"
    place.mkdir(mode=0o700)
    with required():
        made = MethodVault(place)
    with made:
        yield made


@pytest.fixture
def world(server: MethodVault) -> Iterator[LoginWorld]:
    made = LoginWorld(server, server.mount_kv(f"kv-{secrets.token_hex(4)}"))
    yield made
    made.context.close()
    server.unmount(made.mount)


@pytest.fixture
def accounts(world: LoginWorld, kubernetes_server: KubernetesServer) -> Iterator[Accounts]:
    made = Accounts(world.server, kubernetes_server, world.rules)
    world.environ |= {"VAULT_AUTH_METHOD": "kubernetes", "VAULT_ROLE_ID": "runner"}
    world.environ["VAULT_LOGIN_MOUNT_POINT"] = made.mount
    yield made
    made.close()


def test_the_service_account_of_a_pod(
    world: LoginWorld, accounts: Accounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = tmp_path / "token"
    monkeypatch.setattr(_vault_identity, "POD_IDENTITY", str(pod))
    pod.write_text(accounts.token(accounts.name, [AUDIENCE]) + "\n")
    assert world.store().write(ONE, None) == "1"
    assert world.store().read() == (ONE, "1")
    (login,) = world.tokens(accounts.mount)
    assert login["meta"]["service_account_name"] == accounts.name
    world.context.close()
    assert world.tokens(accounts.mount) == []
    # Kubernetes replaces the file; the next task takes what is there then.
    pod.write_text(accounts.token(accounts.name, [AUDIENCE]))
    assert world.store().read() == (ONE, "1")
    pod.unlink()
    world.context.close()
    assert "no pod with a service account" in refusal(Denied, world.store)


@pytest.mark.parametrize("how", ["another account", "another audience", "no token", "no role"])
def test_who_is_not_the_role_s_account_is_refused(
    world: LoginWorld, accounts: Accounts, how: str
) -> None:
    other = f"other-{secrets.token_hex(3)}"
    accounts.make(other)
    token = {
        "another account": lambda: accounts.token(other, [AUDIENCE]),
        "another audience": lambda: accounts.token(accounts.name, ["somebody-else"]),
        "no token": lambda: "no.token.at-all",
        "no role": lambda: accounts.token(accounts.name, [AUDIENCE]),
    }[how]()
    world.environ["ANSIBLE_HASHI_VAULT_JWT"] = token
    if how == "no role":
        world.environ["VAULT_ROLE_ID"] = "another"
    message = refusal(Denied, world.store().read)
    assert f"refuses the kubernetes login at '{accounts.mount}'" in message
    assert "Compare the role with the pod" in message
    assert token not in message
    assert world.tokens(accounts.mount) == []


@pytest.mark.parametrize("how", ["no right to ask", "no way there"])
def test_a_vault_that_cannot_ask_kubernetes(
    world: LoginWorld, accounts: Accounts, how: str
) -> None:
    """To whoever logs in, Vault answers as for a token that it does not take."""
    world.environ["ANSIBLE_HASHI_VAULT_JWT"] = accounts.token(accounts.name, [AUDIENCE])
    if how == "no right to ask":
        accounts.forbid_reviews()
    else:
        config = {"kubernetes_host": "https://127.0.0.1:1", "disable_local_ca_jwt": True}
        world.server.request("POST", f"auth/{accounts.mount}/config", config)
    message = refusal(Denied, world.store().read)
    assert "or Vault could not ask the cluster" in message
    assert "needs system:auth-delegator, and Vault's log tells of it" in message
