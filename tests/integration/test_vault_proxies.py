# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Vault behind a proxy for HTTP, as ``community.hashi_vault`` names one: nothing goes past it, but what stays on this machine."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Unreachable
from backends import Upstream
from estate.tls import make_certificate
from estate.vault import VaultServer
from fault_proxy import proxy_before
from forward_proxy import forward_proxy
from kv_world import KvWorld
from vault_world import closed_port

NAME = "vault.invalid:8200"
ADDRESS = "192.0.2.1"
"""For documentation only (RFC 5737): nobody is there."""

VARIABLE = "ANSIBLE_HASHI_VAULT_PROXIES"


@pytest.fixture
def world(vault: VaultServer, vault_mount: str) -> KvWorld:
    return KvWorld(vault, vault_mount)


def place_of(server: VaultServer) -> tuple[str, int]:
    host, _colon, port = server.address.removeprefix("http://").partition(":")
    return host, int(port)


def test_plain_text(world: KvWorld) -> None:
    user, password = secrets.token_hex(4), secrets.token_urlsafe(12)
    world.environ["VAULT_ADDR"] = f"http://{NAME}"
    with forward_proxy({NAME: place_of(world.server)}) as proxy:
        world.environ[VARIABLE] = f"http://{user}:{password}@127.0.0.1:{proxy.port}"
        assert world.run(fields={"a": "1"})["changed"] is True
        assert world.run(fields={"a": "1"})["changed"] is False
    assert world.data() == {"a": "1"}
    assert len(proxy.asked) >= 4
    assert all(target.startswith(f"http://{NAME}/v1/") for _method, target in proxy.asked)
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    assert set(proxy.logins) == {f"Basic {login}"}


@pytest.mark.parametrize("by", ["option", "variable"])
def test_tls(world: KvWorld, tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the environment names, and what it excepts, count less.
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("no_proxy", ADDRESS)
    certificate = make_certificate(tmp_path, host=ADDRESS)
    upstream = Upstream(*place_of(world.server))
    with proxy_before(upstream, lambda *_about: False, certificate.server_context()) as listener:
        target = f"{ADDRESS}:8200"
        world.environ.update(
            VAULT_ADDR=f"https://{target}", VAULT_CACERT=str(certificate.certificate)
        )
        with forward_proxy({target: ("127.0.0.1", listener.port)}) as proxy:
            given = {"https": f"http://127.0.0.1:{proxy.port}"}
            options = {"proxies": given} if by == "option" else {}
            if not options:
                world.environ[VARIABLE] = str(given)
            assert world.run(fields={"a": "1"}, **options)["changed"] is True
    assert world.data() == {"a": "1"}
    assert set(proxy.asked) == {("CONNECT", target)}
    assert len(listener.asked) >= 3


def test_what_stays_on_this_machine_goes_through_no_proxy(world: KvWorld) -> None:
    with forward_proxy({}) as proxy:
        world.environ[VARIABLE] = f"http://127.0.0.1:{proxy.port}"
        assert world.run(fields={"a": "1"})["changed"] is True
    assert proxy.asked == []


def test_a_proxy_that_is_not_there(world: KvWorld) -> None:
    password = secrets.token_urlsafe(12)
    world.environ.update(VAULT_ADDR=f"http://{NAME}", VAULT_CLIENT_TIMEOUT="0.3")
    world.environ[VARIABLE] = f"http://u:{password}@127.0.0.1:{closed_port()}"
    with pytest.raises(Unreachable, match="no connection") as caught:
        world.run(fields={"a": "1"})
    assert password not in caught.value.message
