# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyrings and values in a real Vault, with its real states and with faults of the network in front of it."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _vault_client
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    MissingLibrary,
    Sealed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._json_lines import json_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    SALT_BYTES,
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    resolve_mapping,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from estate.vault import VaultSaysNo, VaultServer
from vault_world import OPTION, World, closed_port, proxied

ONE, TWO = '{\n "step": 1\n}\n', '{\n "step": 2\n}\n'


@pytest.fixture
def world(vault: VaultServer, vault_mount: str) -> World:
    return World(vault, vault_mount)


def refusal(kind: type[KeyturnError], call: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(kind) as caught:
        call(*args)
    assert caught.type is kind
    assert OPTION in caught.value.message
    return caught.value.message


# --- keyrings


def test_a_keyring_is_readable_in_vault(world: World) -> None:
    password = secrets.token_urlsafe(24)
    document = Document("db_app", secrets.token_bytes(SALT_BYTES), step=7)
    stage = Stage("r1", "issued", {"username": "app_a", "password": Secret(password)})
    text = dump_text(Document("db_app", document.salt, 7, current=None, pending=stage))
    assert world.store().write(text, None) == "1"
    kept = world.server.request("GET", f"{world.mount}/data/db_app")["data"]["data"]
    assert kept["credential"] == "db_app"
    assert kept["step"] == 7
    assert world.value("db_app#/stages/pending/secrets/password") == password
    assert world.value("db_app#/step") == "7"
    assert world.store().read() == (text, "1")


@pytest.mark.parametrize("where", ["mount", "secret"])
def test_cas_required(world: World, where: str) -> None:
    path = "config" if where == "mount" else "metadata/db_app"
    world.server.request("POST", f"{world.mount}/{path}", {"cas_required": True})
    store = world.store()
    assert store.read() is None
    assert store.write(TWO, store.write(ONE, None)) == "2"


def test_a_deleted_version_counts_as_absent_and_is_told(world: World) -> None:
    store = world.store()
    store.write(TWO, store.write(ONE, None))
    world.server.request("DELETE", f"{world.mount}/data/db_app")
    assert store.read() is None
    assert "version 2 of Vault path" in world.warnings[0]
    assert "vault kv undelete" in world.warnings[0]
    assert [(item.version, item.state) for item in store.versions()] == [
        ("2", "deleted"),
        ("1", "old"),
    ]
    with pytest.raises(Conflict):
        store.write(ONE, "1")
    assert store.write(ONE, None) == "3"
    assert store.read() == (ONE, "3")


def test_a_destroyed_version(world: World) -> None:
    store = world.store()
    store.write(ONE, None)
    world.server.request("PUT", f"{world.mount}/destroy/db_app", {"versions": [1]})
    assert store.read() is None
    assert "was destroyed" in world.warnings[0]
    assert store.versions()[0].state == "destroyed"
    assert store.write(TWO, None) == "2"


def test_only_metadata_is_there(world: World) -> None:
    world.server.request("POST", f"{world.mount}/metadata/db_app", {"max_versions": 3})
    store = world.store()
    assert store.read() is None
    assert store.versions() == []
    assert world.warnings == []
    assert store.write(ONE, None) == "1"


def test_all_metadata_removed_meanwhile(world: World) -> None:
    store = world.store()
    version = store.write(TWO, store.write(ONE, None))
    world.server.request("DELETE", f"{world.mount}/metadata/db_app")
    with pytest.raises(Conflict):
        store.write(ONE, version)
    assert store.read() is None


def test_old_versions_are_pruned_by_vault(world: World) -> None:
    store = world.store()
    version = store.write(ONE, None)
    for number in range(12):
        version = store.write(f'{{\n "step": {number}\n}}\n', version)
    found = store.versions()
    assert version == "13"
    assert [item.version for item in found][:2] == ["13", "12"]
    assert len(found) == 10


def test_a_version_one_engine_is_refused_before_anything_is_written(world: World) -> None:
    name = f"v1-{secrets.token_hex(4)}"
    world.server.request("POST", f"sys/mounts/{name}", {"type": "kv", "options": {"version": "1"}})
    try:
        world.mount = name
        message = refusal(BadInput, world.store().read)
        assert "is kv version 1; expected a KV engine of version 2" in message
        refusal(BadInput, world.store().write, ONE, None)
        with pytest.raises(VaultSaysNo) as caught:
            world.server.request("GET", f"{name}/data/db_app")
        assert caught.value.status == 404
    finally:
        world.server.unmount(name)


def test_a_mount_of_two_names(world: World) -> None:
    name = world.server.mount_kv(f"team-{secrets.token_hex(3)}/kv")
    try:
        world.mount = name
        assert world.store("db", f"?mount={name}").write(ONE, None) == "1"
        assert world.store("db", f"?mount={name}").read() == (ONE, "1")
        assert "?mount=" in refusal(Absent, world.store("db").read)
    finally:
        world.server.unmount(name)


def test_a_store_has_no_version_parameter(world: World) -> None:
    assert "always its newest version" in refusal(BadInput, world.store, "db_app", "?version=1")


# --- values


def test_values(world: World) -> None:
    world.put(
        "admin", username="postgres", password="p", port=5432, tls=True, none=None, m={"a": 1}
    )
    assert world.value("admin#/username") == "postgres"
    assert world.value("admin#/port") == "5432"
    assert world.value("admin#/tls") == "true"
    assert world.value("admin#/m/a") == "1"
    assert "add one of its keys to the reference: m, none, password" in refusal(
        BadInput, world.value, "admin"
    )
    assert "the value is null" in refusal(BadInput, world.value, "admin#/none")
    assert "no key 'user'; keys there: m, none, password" in refusal(
        Absent, world.value, "admin#/user"
    )
    world.put("login", username="u", password="q")
    found = resolve_mapping(
        f"ref+vault://{world.mount}/login", world.context, OPTION, ("username", "password")
    )
    assert {key: item.reveal() for key, item in found.items()} == {"username": "u", "password": "q"}


def test_values_of_versions(world: World) -> None:
    world.put("x", v="first")
    world.put("x", v="second")
    assert world.value("x#/v") == "second"
    assert world.value("x?version=1#/v") == "first"
    assert "there is no version 9 of Vault path" in refusal(Absent, world.value, "x?version=9#/v")
    for wrong in ("0", "last", "-1"):
        assert "a number from 1 on" in refusal(BadInput, world.value, f"x?version={wrong}#/v")
    world.server.request("DELETE", f"{world.mount}/data/x")
    assert "was deleted; 'vault kv undelete'" in refusal(Absent, world.value, "x#/v")
    world.server.request("PUT", f"{world.mount}/destroy/x", {"versions": [2]})
    assert "was destroyed; nothing brings it back" in refusal(Absent, world.value, "x#/v")


# --- absent, denied, sealed, unreachable


READ_ONLY = 'path "MOUNT/data/*" { capabilities = ["read"] }'
WRITE_ONLY = 'path "MOUNT/data/*" { capabilities = ["create", "update"] }'
DATA_ONLY = 'path "MOUNT/data/*" { capabilities = ["create", "update", "read"] }'


def test_four_different_messages(world: World) -> None:
    messages = [refusal(Absent, world.value, "gone#/v")]
    assert "there is no Vault path" in messages[0]
    root = world.environ["VAULT_TOKEN"]
    world.limit(WRITE_ONLY)
    messages.append(refusal(Denied, world.value, "gone#/v"))
    world.environ["VAULT_TOKEN"] = root
    world.server.seal()
    try:
        messages.append(refusal(Sealed, world.value, "gone#/v"))
    finally:
        world.server.unseal()
    world.environ["VAULT_ADDR"] = f"http://127.0.0.1:{closed_port()}"
    world.environ["VAULT_CLIENT_TIMEOUT"] = "0.5"
    messages.append(refusal(Unreachable, world.value, "gone#/v"))
    assert "no connection to http://127.0.0.1" in messages[3]
    assert len(set(messages)) == 4


def test_absent_is_never_taken_from_a_denial(world: World) -> None:
    """A token that may not read could not know whether there is a keyring, and must not make one."""
    world.store().write(ONE, None)
    world.limit(WRITE_ONLY)
    for call in (world.store().read, lambda: world.store().write(TWO, None)):
        assert "denies this token to read it" in refusal(Denied, call)
    world.limit(READ_ONLY)
    assert world.store().read() == (ONE, "1")
    assert "denies this token to write to it" in refusal(Denied, world.store().write, TWO, "1")
    world.limit(DATA_ONLY)
    assert world.store().write(TWO, "1") == "2"
    assert "to read its metadata" in refusal(Denied, world.store().versions)


def test_a_path_that_is_not_mounted(world: World) -> None:
    world.mount = "not-mounted"
    assert "nothing is mounted there" in refusal(Absent, world.store().read)
    assert "nothing is mounted there" in refusal(Absent, world.store().write, ONE, "1")
    world.limit(READ_ONLY.replace("MOUNT", "elsewhere"))
    assert "for a path that is not mounted" in refusal(Denied, world.store().read)


def test_absent_to_a_token_that_may_not_look_at_the_mount(world: World) -> None:
    world.limit(DATA_ONLY)
    store = world.store()
    assert store.read() is None
    assert store.write(ONE, None) == "1"


def test_tokens_that_are_good_no_more(world: World) -> None:
    for token in ("hvs.wrong", secrets.token_urlsafe(20)):
        world.environ["VAULT_TOKEN"] = token
        message = refusal(Denied, world.store().read)
        assert "wrong, expired, revoked or used up" in message
        assert token not in message
    world.environ["VAULT_TOKEN"] = world.server.token(
        DATA_ONLY.replace("MOUNT", world.mount), num_uses=1
    )
    assert world.store("used").read() is None
    assert "used up" in refusal(Denied, world.store().read)


def test_a_server_that_never_answers(world: World) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        world.environ["VAULT_ADDR"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
        world.environ["VAULT_CLIENT_TIMEOUT"] = "0.4"
        started = time.monotonic()
        message = refusal(Unreachable, world.store().read)
        assert 0.3 < time.monotonic() - started < 2
    assert "did not answer in time" in message


def test_a_connection_is_tried_for_until_the_deadline(world: World) -> None:
    """It sends nothing, so this is for writes as well."""
    world.environ["VAULT_ADDR"] = f"http://127.0.0.1:{closed_port()}"
    world.environ["VAULT_CLIENT_TIMEOUT"] = "1"
    store, started = world.store(), time.monotonic()
    with pytest.raises(Unreachable, match="no connection to") as caught:
        store.write(ONE, "1")
    assert 0.2 < time.monotonic() - started < 3
    assert not caught.value.details["uncertain"]


def test_right_after_an_unseal_is_waited_for(world: World, scratch: Path) -> None:
    """A node with raft storage answers with an error for a moment after it was unsealed."""
    with VaultServer(scratch, storage="raft") as server:
        clustered = World(server, server.mount_kv("kv"))
        store = clustered.store()
        version = store.write(ONE, None)
        for call in (lambda: store.write(TWO, version), store.read):
            server.seal()
            server.request("PUT", "sys/unseal", {"key": server.unseal_key})
            assert call()
        assert store.read() == (TWO, "2")


def test_a_rate_limit_is_waited_for_until_the_deadline(world: World) -> None:
    store = world.store()
    version = store.write(ONE, None)
    quota = f"sys/quotas/rate-limit/{secrets.token_hex(4)}"
    rule = {"path": f"{world.mount}/", "rate": 1, "interval": "1s"}
    world.server.request("POST", quota, rule)
    try:
        for _call in range(3):
            assert store.read() == (ONE, version)
        world.server.request("POST", quota, {**rule, "interval": "60s"})
        world.environ["VAULT_CLIENT_TIMEOUT"] = "1"
        started = time.monotonic()
        message = refusal(Unreachable, lambda: [world.store().read() for _call in range(3)])
        assert time.monotonic() - started < 3
        assert "limits the rate" in message
    finally:
        world.server.request("DELETE", quota)


# --- who asks


@pytest.fixture(scope="module")
def approle(vault: VaultServer) -> Iterator[Callable[..., dict[str, str]]]:
    """Makes an AppRole and gives its environment variables."""
    mount = f"approle-{secrets.token_hex(3)}"
    vault.request("POST", f"sys/auth/{mount}", {"type": "approle"})

    def make(rules: str, **options: object) -> dict[str, str]:
        name = f"role-{secrets.token_hex(4)}"
        vault.request("PUT", f"sys/policies/acl/{name}", {"policy": rules})
        body = {"token_policies": [name], "token_ttl": "60s", **options}
        vault.request("POST", f"auth/{mount}/role/{name}", body)
        role = vault.request("GET", f"auth/{mount}/role/{name}/role-id")["data"]["role_id"]
        made = vault.request("POST", f"auth/{mount}/role/{name}/secret-id")["data"]["secret_id"]
        return {"role": role, "secret": made, "mount": mount}

    yield make
    vault.request("DELETE", f"sys/auth/{mount}")


@pytest.mark.parametrize("prefix", ["VAULT_", "ANSIBLE_HASHI_VAULT_"])
def test_an_approle(world: World, approle: Callable[..., dict[str, str]], prefix: str) -> None:
    made = approle(DATA_ONLY.replace("MOUNT", world.mount))
    login = {"VAULT_": "VAULT_LOGIN_MOUNT_POINT"}.get(prefix, f"{prefix}MOUNT_POINT")
    del world.environ["VAULT_TOKEN"]
    world.environ |= {f"{prefix}ROLE_ID": made["role"], f"{prefix}SECRET_ID": made["secret"]}
    world.environ |= {login: made["mount"]}
    store = world.store()
    assert store.write(TWO, store.write(ONE, None)) == "2"
    assert made["secret"] not in repr(store)


def test_an_approle_that_is_good_no_more(
    world: World, approle: Callable[..., dict[str, str]]
) -> None:
    made = approle(DATA_ONLY.replace("MOUNT", world.mount), secret_id_num_uses=1)
    environ = {"VAULT_ROLE_ID": made["role"], "VAULT_SECRET_ID": made["secret"]}
    del world.environ["VAULT_TOKEN"]
    world.environ |= {**environ, "VAULT_LOGIN_MOUNT_POINT": made["mount"]}
    assert world.store().read() is None
    # Another task: within one, the login is shared.
    world.context.close()
    message = refusal(Denied, world.store().read)
    assert "refuses the AppRole login" in message
    assert made["secret"] not in message
    assert made["role"] not in message


def test_one_login_for_many_calls(world: World, approle: Callable[..., dict[str, str]]) -> None:
    made = approle(DATA_ONLY.replace("MOUNT", world.mount), secret_id_num_uses=1)
    del world.environ["VAULT_TOKEN"]
    world.environ |= {"VAULT_ROLE_ID": made["role"], "VAULT_SECRET_ID": made["secret"]}
    world.environ |= {"VAULT_LOGIN_MOUNT_POINT": made["mount"]}
    store = world.store()
    version = store.write(ONE, None)
    for _call in range(3):
        assert store.read() == (ONE, version)


def test_a_token_file(world: World, tmp_path: Path) -> None:
    token = world.environ.pop("VAULT_TOKEN")
    (tmp_path / ".vault-token").write_text(f"{token}\n", encoding="utf-8")
    (tmp_path / ".vault-token").chmod(0o600)
    world.environ["HOME"] = str(tmp_path)
    assert world.store().read() is None
    assert world.warnings == []


def test_the_process_environment_does_not_count(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the task's environment says is what counts, also where hvac would look elsewhere on its own."""
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_TOKEN", "hvs.wrong")
    monkeypatch.setenv("VAULT_NAMESPACE", "other")
    assert world.store().read() is None
    del world.environ["VAULT_TOKEN"]
    world.environ["HOME"] = str(tmp_path)
    assert "no credentials for Vault" in refusal(BadInput, world.store)


def test_without_hvac(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_vault_client, "HAS_HVAC", False)
    assert "pip install hvac" in refusal(MissingLibrary, world.store)


# --- nothing shows


def test_no_secret_in_messages_or_representations(world: World) -> None:
    value = secrets.token_urlsafe(24)
    text = json_lines({"secret": value})
    store = world.store()
    version = store.write(text, None)
    secret = vars(store)["_secret"]
    client = vars(secret)["_client"]
    shown = [repr(item) for item in (store, secret, client, vars(client)["_settings"])]
    shown.append(refusal(Conflict, store.write, text, None))
    shown.append(refusal(Conflict, store.write, text, "99"))
    shown.append(refusal(Absent, world.value, "db_app#/other"))
    shown.append(refusal(BadInput, world.value, "db_app#/secret/deeper"))
    shown.append(refusal(BadInput, world.value, "db_app"))
    world.limit(READ_ONLY)
    shown.append(refusal(Denied, world.store().write, text, version))
    everything = "\n".join([*shown, *world.warnings])
    for hidden in (value, world.server.root_token, world.environ["VAULT_TOKEN"]):
        assert hidden not in everything


# --- faults between here and Vault


def test_a_write_whose_answer_was_lost_is_known_as_done(world: World) -> None:
    with proxied(world) as proxy:
        store = world.store()
        proxy.lose_replies = 1
        assert store.write(ONE, None) == "1"
        proxy.lose_replies = 1
        assert store.write(TWO, "1") == "2"
        assert store.read() == (TWO, "2")
        assert [item.version for item in store.versions()] == ["2", "1"]


def test_a_write_that_was_lost_with_the_answer_stays_an_error(world: World) -> None:
    """Somebody else's write in between is not taken for one's own."""
    store = world.store()
    version = store.write(ONE, None)
    with proxied(world) as proxy:
        slow = world.store()
        store.write(TWO, version)
        proxy.lose_replies = 1
        with pytest.raises(Unreachable) as caught:
            slow.write('{\n "step": 3\n}\n', version)
    assert caught.value.details["uncertain"] is True
    assert store.read() == (TWO, "2")


@contextmanager
def stranger(status: int, kind: str, body: bytes) -> Iterator[tuple[str, list[str]]]:
    """A web server that is no Vault; gives its address and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.command)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_args: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (200, "text/html", b"<html>Please log in: SENSITIVE</html>"),
        (200, "application/json", b'{"data": SENSITIVE'),
        (200, "application/json", b"[]"),
        (200, "application/json", b'{"data": {"data": {"a": 1}}}'),
        (200, "application/json", b'{"data": {"data": "SENSITIVE", "metadata": {"version": 1}}}'),
        (500, "application/json", b'["SENSITIVE"]'),
        (500, "application/json", b'{"errors": "SENSITIVE"}'),
        (502, "text/html", b"SENSITIVE"),
        (503, "text/html", b"SENSITIVE"),
        (504, "text/html", b"SENSITIVE"),
        (418, "text/plain", b"SENSITIVE"),
        (400, "text/html", b"SENSITIVE"),
        (403, "text/html", b"SENSITIVE"),
        (404, "text/html", b"SENSITIVE"),
        (404, "application/json", b'["SENSITIVE"]'),
        (404, "application/json", b'{"message": "SENSITIVE"}'),
    ],
)
def test_answers_that_are_not_vaults(world: World, status: int, kind: str, body: bytes) -> None:
    world.environ["VAULT_CLIENT_TIMEOUT"] = "0.5"
    with stranger(status, kind, body) as (address, _asked):
        world.environ["VAULT_ADDR"] = address
        for call in (world.store().read, lambda: world.store().write(ONE, "1")):
            assert "SENSITIVE" not in refusal(Unreachable, call)


def test_a_write_that_may_be_done_is_not_sent_again(world: World) -> None:
    with stranger(500, "application/json", b'{"errors": ["storage"]}') as (address, asked):
        world.environ |= {"VAULT_ADDR": address, "VAULT_CLIENT_TIMEOUT": "0.5"}
        refusal(Unreachable, world.store().write, ONE, "1")
    assert asked.count("POST") == 1


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that is its own CA, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_tls(world: World, certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with proxied(world, tls):
        assert "VAULT_CACERT" in refusal(Unreachable, world.store().read)
        world.environ["VAULT_CACERT"] = str(certificate)
        assert world.store().read() is None
        assert world.warnings == []
        world.environ["VAULT_ADDR"] = world.environ["VAULT_ADDR"].replace("127.0.0.1", "localhost")
        assert "certificate" in refusal(Unreachable, world.store().read)
        world.environ["VAULT_SKIP_VERIFY"] = "true"
        assert world.store().read() is None
        assert "is not checked" in world.warnings[0]


def test_a_document_that_is_too_large_is_no_trouble_of_vaults(world: World) -> None:
    text = "x" * 1_048_600
    store = world.store()
    version = store.write(ONE, None)
    with pytest.raises(BadInput, match="1048576 bytes") as caught:
        store.write(text, version)
    assert caught.value.details["uncertain"] is False
    assert store.read() == (ONE, version)
