# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values from Secrets and ConfigMaps of a real Kubernetes API, with its own rights."""

from __future__ import annotations

import base64
import datetime
import http.server
import json
import logging
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes.config.incluster_config
import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _k8s_settings
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Corrupt,
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve, resolve_mapping
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from estate.kubernetes import KubernetesServer
from estate.tls import make_certificate

OPTION = "keyturn_issuer.login.admin"


class World:
    """A namespace of its own, a kubeconfig, and a context that keeps its warnings."""

    def __init__(self, server: KubernetesServer, home: Path) -> None:
        self.server = server
        self.home = home
        self.namespace = f"ns-{secrets.token_hex(4)}"
        self.warnings: list[str] = []
        self.environ = {"HOME": str(home), "KEYTURN_K8S_TIMEOUT": "1s"}
        self.context = Context(environ=self.environ, warn=self.warnings.append)
        self.make("namespaces", {"metadata": {"name": self.namespace}})
        self.use("admin")

    def make(self, where: str, body: dict[str, Any]) -> None:
        self.server.request("POST", f"/api/v1/{where}", body)

    def secret(self, name: str, **values: str | bytes) -> None:
        raw = {key: v.encode() if isinstance(v, str) else v for key, v in values.items()}
        data = {key: base64.b64encode(value).decode() for key, value in raw.items()}
        self.make(
            f"namespaces/{self.namespace}/secrets", {"metadata": {"name": name}, "data": data}
        )

    def file(self, config: object, name: str = "kubeconfig") -> Path:
        path = self.home / name
        path.write_text(json.dumps(config), encoding="utf-8")
        path.chmod(0o600)
        return path

    def use(self, user: str, **changes: Any) -> None:
        """Go on as this user."""
        self.environ["KUBECONFIG"] = str(self.file(self.server.kubeconfig(user, **changes)))

    def text(self, rest: str) -> str:
        return f"ref+k8s://v1/{rest.replace('NS', self.namespace, 1)}"

    def value(self, rest: str) -> str:
        return resolve(self.text(rest), self.context, OPTION).reveal()

    def mapping(self, rest: str, *required: str) -> dict[str, str]:
        found = resolve_mapping(self.text(rest), self.context, OPTION, required)
        return {key: item.reveal() for key, item in found.items()}


@pytest.fixture
def world(kubernetes_server: KubernetesServer, tmp_path: Path) -> World:
    return World(kubernetes_server, tmp_path)


def refusal(kind: type[KeyturnError], call: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(kind) as caught:
        call(*args)
    assert caught.type is kind
    assert OPTION in caught.value.message
    return caught.value.message


# --- values


def test_a_key_of_a_secret(world: World) -> None:
    value = secrets.token_urlsafe(16) + "ü\n"
    world.secret("db", password=value, username="admin", **{"tls.key": "pem"})
    assert world.value("Secret/NS/db/password") == value
    assert world.value("Secret/NS/db#/password") == value
    assert world.value("Secret/NS/db/tls.key") == "pem"
    assert world.mapping("Secret/NS/db", "username") == {
        "password": value,
        "username": "admin",
        "tls.key": "pem",
    }


def test_a_document_in_a_key(world: World) -> None:
    world.secret("db", login=json.dumps({"username": "admin", "port": 5432}), plain="text")
    assert world.value("Secret/NS/db/login#/port") == "5432"
    assert world.mapping("Secret/NS/db/login") == {"username": "admin", "port": "5432"}
    assert "single value" in refusal(BadInput, world.mapping, "Secret/NS/db/plain")


def test_a_config_map(world: World) -> None:
    where = f"namespaces/{world.namespace}/configmaps"
    binary = {"raw": base64.b64encode(b"text").decode()}
    body = {"metadata": {"name": "app"}, "data": {"HOST": "db1"}, "binaryData": binary}
    world.make(where, body)
    assert world.mapping("ConfigMap/NS/app") == {"HOST": "db1", "raw": "text"}
    assert world.value("ConfigMap/NS/app/HOST") == "db1"


def test_bytes_are_refused_only_when_they_are_asked_for(world: World) -> None:
    world.secret("store", keystore=b"\xff\x00", password="p")
    assert world.value("Secret/NS/store/password") == "p"
    assert world.value("Secret/NS/store#/password") == "p"
    assert "key keystore: no UTF-8" in refusal(Corrupt, world.value, "Secret/NS/store/keystore")
    assert "no UTF-8" in refusal(Corrupt, world.value, "Secret/NS/store#/keystore")


# --- absent, denied, unreachable


def test_what_is_not_there(world: World) -> None:
    world.secret("db", password="p", username="u")
    world.secret("empty")
    message = refusal(Absent, world.value, "Secret/NS/db/token")
    assert f"Kubernetes Secret {world.namespace}/db at {world.server.address}" in message
    assert "it has no key 'token'; keys there: password, username" in message
    assert "keys there: none" in refusal(Absent, world.value, "Secret/NS/empty/token")
    assert f"the namespace '{world.namespace}' is there, and has no Secret 'no'" in refusal(
        Absent, world.value, "Secret/NS/no/token"
    )
    assert "has no ConfigMap 'db'" in refusal(Absent, world.value, "ConfigMap/NS/db/x")
    assert "there is no namespace 'gone'" in refusal(Absent, world.value, "Secret/gone/db/token")


def test_denied_is_not_absent(world: World) -> None:
    world.secret("db", password="p")
    world.use("weak")
    message = refusal(Denied, world.value, "Secret/NS/db/password")
    assert f"denies this identity to get secrets in namespace {world.namespace}" in message
    refusal(Denied, world.value, "Secret/NS/no/password")
    refusal(Denied, world.value, "ConfigMap/NS/no/password")


def test_one_who_may_read_secrets_and_no_namespaces(world: World) -> None:
    world.secret("db", password="p")
    base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{world.namespace}"
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    world.server.request("POST", f"{base}/roles", {"metadata": {"name": "r"}, "rules": [rule]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    who = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}
    body = {"metadata": {"name": "r"}, "roleRef": role, "subjects": [who]}
    world.server.request("POST", f"{base}/rolebindings", body)
    world.use("reader")
    assert world.value("Secret/NS/db/password") == "p"
    message = refusal(Absent, world.value, "Secret/NS/no/password")
    assert "or no such namespace: this identity may not ask" in message


def test_a_token_that_kubernetes_does_not_know(world: World) -> None:
    token = secrets.token_urlsafe(24)
    config = world.server.kubeconfig()
    config["users"][0]["user"]["token"] = token
    world.file(config)
    message = refusal(Denied, world.value, "Secret/NS/db/password")
    assert "does not accept the credentials" in message
    assert token not in message


def test_nobody_there(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    world.use("admin", server=f"https://127.0.0.1:{port}")
    message = refusal(Unreachable, world.value, "Secret/NS/db/password")
    assert f"at https://127.0.0.1:{port}: no connection" in message


def test_a_certificate_of_somebody_else(world: World) -> None:
    other = make_certificate(world.home, "other")
    world.use("admin", **{"certificate-authority": str(other.certificate)})
    message = refusal(Unreachable, world.value, "Secret/NS/db/password")
    assert "TLS certificate was not accepted" in message


def test_an_unchecked_certificate_is_warned_of(world: World) -> None:
    world.secret("db", password="p")
    config = world.server.kubeconfig()
    cluster = {"server": world.server.address, "insecure-skip-tls-verify": True}
    config["clusters"][0]["cluster"] = cluster
    world.file(config)
    assert world.value("Secret/NS/db/password") == "p"
    assert any("is not checked" in warning for warning in world.warnings)


class Page(http.server.BaseHTTPRequestHandler):
    """Gives the server's one answer to everybody."""

    def do_GET(self) -> None:
        server: Any = self.server
        body = server.body.encode()
        self.send_response(server.status)
        self.send_header("Content-Type", "application/json" if body[:1] == b"{" else "text/html")
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Retry-After", "3600")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@contextmanager
def page(status: int, body: str) -> Iterator[str]:
    """The address of a server that answers like this."""
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.status, server.body = status, body
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "kind", "problem"),
    [
        (404, "<html>not here</html>", Unreachable, "not Kubernetes's"),
        (404, '{"message": "not here"}', Unreachable, "not Kubernetes's"),
        (200, "<html>not here</html>", Unreachable, "not Kubernetes's"),
        (200, '{"message": "not here"}', Unreachable, "not Kubernetes's"),
        (302, "not here", Unreachable, "not Kubernetes's"),
        (403, "not here", Unreachable, "not Kubernetes's"),
        (429, "not here", Unreachable, "limits the rate"),
        (503, "not here", Unreachable, "HTTP 503"),
        (400, "not here", Unreachable, "not Kubernetes's"),
    ],
)
def test_what_answers_in_kubernetes_place(
    world: World, status: int, body: str, kind: type[KeyturnError], problem: str
) -> None:
    with page(status, body) as address:
        world.use("admin", server=address)
        message = refusal(kind, world.value, "Secret/NS/db/password")
    assert problem in message
    assert "not here" not in message


# --- which cluster, as whom


def test_the_kubeconfig_is_that_of_the_reference_then_of_the_task(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.secret("db", password="p")
    weak = world.file(world.server.kubeconfig("weak"), "weak")
    refusal(Denied, world.value, f"Secret/NS/db/password?kubeConfigPath={weak}")
    monkeypatch.setenv("KUBECONFIG", str(weak))
    assert world.value("Secret/NS/db/password") == "p"
    world.environ["KUBECONFIG"] = str(world.home / "gone")
    assert "there is no kubeconfig" in refusal(BadInput, world.value, "Secret/NS/db/password")
    del world.environ["KUBECONFIG"]
    assert "set KUBECONFIG" in refusal(BadInput, world.value, "Secret/NS/db/password")
    (world.home / ".kube").mkdir()
    world.file(world.server.kubeconfig(), ".kube/config")
    assert world.value("Secret/NS/db/password") == "p"


def test_a_context_and_several_files(world: World) -> None:
    world.secret("db", password="p")
    files = [world.file(world.server.kubeconfig(user), user) for user in ("weak", "admin")]
    world.environ["KUBECONFIG"] = ":".join(map(str, [world.home / "gone", *files]))
    refusal(Denied, world.value, "Secret/NS/db/password")
    assert world.value("Secret/NS/db/password?kubeContext=admin") == "p"
    message = refusal(BadInput, world.value, "Secret/NS/db/password?kubeContext=other")
    assert "its context 'other'" in message


def test_a_kubeconfig_that_is_none(world: World) -> None:
    for content in ("", "[]", "a: [", "clusters: 1", '{"current-context": "x"}'):
        Path(world.environ["KUBECONFIG"]).write_text(content)
        assert "no usable one" in refusal(BadInput, world.value, "Secret/NS/db/password")


def test_no_pod(world: World) -> None:
    assert "no pod of Kubernetes" in refusal(
        BadInput, world.value, "Secret/NS/db/password?inCluster"
    )
    message = refusal(BadInput, world.value, "Secret/NS/db/password?inCluster=true&kubeContext=x")
    assert "takes no kubeconfig" in message


def test_in_a_pod(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.secret("db", password="p")
    token = world.home / "token"
    token.write_text(world.server.tokens["admin"])
    pod = kubernetes.config.incluster_config
    monkeypatch.setattr(pod, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(pod, "SERVICE_CERT_FILENAME", str(world.server.tls.certificate))
    monkeypatch.setattr(_k8s_settings, "POD_IDENTITY", str(token))
    host, port = world.server.address.rpartition("/")[2].split(":")
    world.environ.update(KUBERNETES_SERVICE_HOST=host, KUBERNETES_SERVICE_PORT=port)
    world.use("weak")
    assert world.value("Secret/NS/db/password?inCluster") == "p"
    refusal(Denied, world.value, "Secret/NS/db/password?inCluster=false")
    del world.environ["KUBECONFIG"]
    assert world.value("Secret/NS/db/password") == "p"


def client_certificate(server: KubernetesServer) -> tuple[bytes, bytes]:
    """Certificate and key of an administrator."""
    tls = server.tls
    ca = x509.load_pem_x509_certificate(tls.certificate.read_bytes())
    signer: Any = serialization.load_pem_private_key(tls.key.read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.NameOID
    subject = [
        x509.NameAttribute(name.COMMON_NAME, "someone"),
        x509.NameAttribute(name.ORGANIZATION_NAME, "system:masters"),
    ]
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made.public_bytes(serialization.Encoding.PEM), private


def test_keys_in_a_kubeconfig_leave_no_files(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.secret("db", password="p")
    certificate, key = client_certificate(world.server)
    config = world.server.kubeconfig()
    config["users"][0]["user"] = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    world.file(config)
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    for _again in range(2):
        assert world.value("Secret/NS/db/password") == "p"
        assert list(place.iterdir()) == []


def test_a_program_that_gives_credentials_sees_the_tasks_environment(world: World) -> None:
    world.secret("db", password="p")
    config = world.server.kubeconfig()
    token = config["users"][0]["user"]["token"]
    answer = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}'
    program = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "/bin/sh",
        "args": ["-c", f"printf '{answer}' \"$CLOUD_TOKEN\""],
        "interactiveMode": "Never",
    }
    config["users"][0]["user"] = {"exec": program}
    world.file(config)
    world.environ["CLOUD_TOKEN"] = token
    world.environ["PATH"] = "/usr/bin:/bin"
    assert world.value("Secret/NS/db/password") == "p"
    del world.environ["CLOUD_TOKEN"]
    refusal(Denied, world.value, "Secret/NS/db/password")


def test_nothing_is_logged_and_no_value_is_in_a_message(
    world: World, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    value = secrets.token_urlsafe(16)
    world.secret("db", password=value, half='{"a": "' + value)
    found = resolve(world.text("Secret/NS/db/password"), world.context, OPTION)
    assert found.reveal() == value
    assert caplog.records == []
    assert value not in repr(found)
    assert value not in refusal(Absent, world.value, "Secret/NS/db/no")
    assert value not in refusal(Corrupt, world.value, "Secret/NS/db/half#/a")
    assert value not in refusal(BadInput, world.value, "Secret/NS/db/password#/a")
    shown = capfd.readouterr()
    for hidden in (value, world.server.tokens["admin"]):
        assert hidden not in shown.out + shown.err
