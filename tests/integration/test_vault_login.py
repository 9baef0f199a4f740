# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other ways to log in to a real Vault: that they work, and what is said where they do not."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Denied,
    Sealed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv_task import MODULE
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from estate.authority import Authority
from estate.vault import AppRole, VaultServer
from login_world import ONE, LoginWorld, refusal
from vault_fixtures import vault_approle
from vault_world import proxied

__all__ = ["vault_approle"]

NAMESPACE = b"x-vault-namespace"


@pytest.fixture
def world(vault: VaultServer, vault_mount: str) -> Iterator[LoginWorld]:
    made = LoginWorld(vault, vault_mount)
    yield made
    made.context.close()


# --- JWT


def signed(key: ec.EllipticCurvePrivateKey, **claims: Any) -> str:
    """A JSON Web Token (RFC 7515, ES256)."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    body = {
        "iss": "estate",
        "aud": "vault",
        "iat": int(time.time()),
        "exp": int(time.time()) + 300,
        **claims,
    }
    head = part(json.dumps({"alg": "ES256", "typ": "JWT"}).encode())
    text = f"{head}.{part(json.dumps(body).encode())}"
    made = key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    numbers = utils.decode_dss_signature(made)
    return f"{text}.{part(b''.join(number.to_bytes(32, 'big') for number in numbers))}"


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def test_a_jwt(world: LoginWorld) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    mount = world.server.enable_auth("jwt", jwt_validation_pubkeys=[public_pem(key)])
    role = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["vault"],
        "token_policies": [world.server.policy(world.rules)],
    }
    world.server.request("POST", f"auth/{mount}/role/runner", role)
    token = signed(key, sub="ci")
    world.environ |= {
        "ANSIBLE_HASHI_VAULT_AUTH_METHOD": "jwt",
        "ANSIBLE_HASHI_VAULT_MOUNT_POINT": mount,
        "ANSIBLE_HASHI_VAULT_ROLE_ID": "runner",
        "ANSIBLE_HASHI_VAULT_JWT": token,
    }
    assert world.store().write(ONE, None) == "1"
    assert len(world.tokens(mount)) == 1
    world.context.close()
    assert world.tokens(mount) == []
    world.environ["ANSIBLE_HASHI_VAULT_JWT"] = signed(key, sub="ci", aud="another")
    message = refusal(Denied, world.store().read)
    assert "refuses the jwt login" in message
    assert "audience" in message
    world.environ["ANSIBLE_HASHI_VAULT_MOUNT_POINT"] = "not-there"
    assert "refuses the jwt login at 'not-there'" in refusal(Denied, world.store().read)


# --- the server as in production: certificates, an agent's place, sealing


def test_certificates(production_vault: VaultServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "clients")
    known, stranger = authority.issue("runner", client=True), authority.issue("other", client=True)
    server = production_vault
    world = LoginWorld(server, server.mount_kv(f"kv-{secrets.token_hex(4)}"))
    mount = server.enable_auth("cert")
    role = {
        "certificate": authority.certificate.read_text(encoding="ascii"),
        "allowed_common_names": ["runner"],
        "token_policies": [server.policy(world.rules)],
    }
    server.request("POST", f"auth/{mount}/certs/runner", role)
    prefix = "ANSIBLE_HASHI_VAULT_"
    world.environ |= {
        "VAULT_CACERT": str(server.ca_file),
        f"{prefix}AUTH_METHOD": "cert",
        f"{prefix}MOUNT_POINT": mount,
        f"{prefix}CERT_AUTH_PUBLIC_KEY": str(known.certificate),
        f"{prefix}CERT_AUTH_PRIVATE_KEY": str(known.key),
    }
    assert world.store().write(ONE, None) == "1"
    world.environ[f"{prefix}ROLE_ID"] = "runner"
    assert world.store().read() == (ONE, "1")
    assert len(world.tokens(mount)) == 2
    world.context.close()
    assert world.tokens(mount) == []
    world.environ[f"{prefix}CERT_AUTH_PUBLIC_KEY"] = str(stranger.certificate)
    world.environ[f"{prefix}CERT_AUTH_PRIVATE_KEY"] = str(stranger.key)
    assert "no role there accepts this certificate" in refusal(Denied, world.store().read)
    world.environ[f"{prefix}CERT_AUTH_PUBLIC_KEY"] = str(tmp_path / "no")
    assert "there is no file" in refusal(Denied, world.store)


def test_the_server_in_production(production_vault: VaultServer) -> None:
    """Sealed, it says so; unsealed again by three of five shares, it serves; the audit log has no value."""
    server = production_vault
    world = LoginWorld(server, server.mount_kv(f"kv-{secrets.token_hex(4)}"))
    world.environ |= {"VAULT_CACERT": str(server.ca_file)}
    role = server.approle(server.enable_auth("approle"), world.rules)
    world.use(role)
    value = secrets.token_urlsafe(24)
    version = world.store().write(json.dumps({"key": value}), None)
    server.seal()
    assert "Vault is sealed" in refusal(Sealed, world.store().read)
    for share in server.unseal_keys[:2]:
        server.request("PUT", "sys/unseal", {"key": share})
    assert "Vault is sealed" in refusal(Sealed, world.store().read)
    server.unseal()
    found = world.store().read()
    assert found is not None
    assert found[1] == version
    world.context.close()
    log = server.audit_path.read_text(encoding="utf-8")
    assert server.audit_path.stat().st_mode & 0o777 == 0o600
    assert world.mount in log
    assert value not in log
    assert role.secret_id not in log
    del world.environ["VAULT_CACERT"]
    assert "set VAULT_CACERT to its CA" in refusal(Unreachable, world.store().read)


def test_an_agent_that_adds_the_token(world: LoginWorld) -> None:
    world.environ["VAULT_AUTH_METHOD"] = "none"
    with proxied(world) as agent:
        agent.add_token = world.server.token(world.rules)
        assert world.store().write(ONE, None) == "1"
        assert world.store().read() == (ONE, "1")
        agent.add_token = ""
        message = refusal(Denied, world.store().read)
    assert (
        "No token was sent from here: see whether the agent or proxy there has logged in" in message
    )


@pytest.mark.parametrize("kind", ["userpass", ""])
def test_a_login_where_there_is_none(
    world: LoginWorld, vault_approle: Callable[..., AppRole], kind: str
) -> None:
    """To a token that may ask, Vault answers 404; that says nothing of the secret."""
    world.use(vault_approle(world.rules))
    mount = world.server.enable_auth(kind) if kind else "not-there"
    world.environ["VAULT_LOGIN_MOUNT_POINT"] = mount
    with proxied(world) as agent:
        agent.add_token = world.server.root_token
        message = refusal(Denied, world.store().read)
    assert f"refuses the AppRole login at '{mount}'" in message
    assert "Correct the mount point" in message


def test_a_namespace_is_sent_with_every_call(
    world: LoginWorld, vault_approle: Callable[..., AppRole]
) -> None:
    """The open-source server has no namespaces, and does not look at the header."""
    world.use(vault_approle(world.rules))
    data = f"{world.mount}/data/app".encode()
    with proxied(world) as proxy:
        assert world.store().read() is None
        world.context.close()
        without = len(proxy.heads)
        assert not any(NAMESPACE in head.lower() for head in proxy.heads)
        world.environ["VAULT_NAMESPACE"] = "team-a"
        assert world.store().write(ONE, None) == "1"
        wish = {"engine_mount_point": world.mount, "path": "app", "fields": {"a": "1"}}
        defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
        assert execute(MODULE, {**defaults, **wish}, world.context)["changed"] is True
        world.context.close()
        world.environ.update(VAULT_ADDR="http://127.0.0.1:1", VAULT_CLIENT_TIMEOUT="0.2")
        assert "to http://127.0.0.1:1 (namespace team-a)" in refusal(
            Unreachable, world.store().read
        )
    heads = proxy.heads[without:]
    assert all(NAMESPACE + b": team-a" in head.lower() for head in heads)
    asked = b"\n".join(head.split(b"\r\n")[0] for head in heads)
    # The login and its end, a read, a write, and what looks at the mount.
    for part in (
        b"/login ",
        b"/revoke-self ",
        b"GET /v1/" + data,
        b"POST /v1/" + data,
        b"/mounts/",
    ):
        assert part in asked, part
