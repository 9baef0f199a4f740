# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pretends to be Kubernetes, what is missing to log in there, and where a client's key is while it is read."""

from __future__ import annotations

import base64
import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _k8s_client
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_notes import stale_pods
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_object import KubernetesSecret
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_settings import (
    settings_of_task,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._kubernetes import (
    Cluster,
    open_cluster,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve

REF = "ref+k8s://v1/Secret/default/app#/p"


class Page(http.server.BaseHTTPRequestHandler):
    """Answers everything with the same."""

    def do_GET(self) -> None:
        """Any request."""
        server: Any = self.server
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(server.status)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(server.body)))
        self.end_headers()
        self.wfile.write(server.body)

    def __getattr__(self, name: str) -> Any:
        if name in ("do_POST", "do_PUT", "do_DELETE"):
            return self.do_GET
        raise AttributeError(name)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@contextmanager
def page(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Iterator[str]:
    """The address of a server that answers like this."""
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.status, server.body, server.headers = status, body, headers or {}
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def context_for(home: Path, server: str, user: dict[str, str], **cluster: str) -> Context:
    """A task that has a kubeconfig for this server."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    (home / "kubeconfig").write_text(json.dumps(config), encoding="utf-8")
    environ = {"HOME": str(home), "KUBECONFIG": str(home / "kubeconfig")}
    return Context(environ={**environ, "KEYTURN_K8S_TIMEOUT": "1s"})


def secret(**more: Any) -> bytes:
    """A Secret as Kubernetes would answer, but for what is given."""
    metadata = {"name": "app", "namespace": "default", "uid": "1", "resourceVersion": "1"}
    return json.dumps(
        {"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "data": {}, **more}
    ).encode()


STRANGE: list[tuple[bytes, int, dict[str, str]]] = [
    (b"[" * 100_000 + b"]" * 100_000, 200, {}),
    (b"", 301, {"Location": "http://[::bad"}),
    (secret(metadata=["app"]), 200, {}),
    (secret(kind=["Secret"]), 200, {}),
    (secret(data=["p"]), 200, {}),
    (secret(data={"p": ["x"]}), 200, {}),
    (secret(data={"p": 1}), 200, {}),
    (secret(metadata={"name": "app", "annotations": ["x"]}), 200, {}),
    (secret(metadata={"name": "app", "labels": {"a": ["x"]}}), 200, {}),
    (secret(metadata={"name": "app", "ownerReferences": ["x"]}), 200, {}),
    (secret(metadata={"name": "app", "managedFields": [{"fieldsV1": ["x"]}]}), 200, {}),
]


@pytest.mark.parametrize(("body", "status", "headers"), STRANGE)
def test_an_answer_of_another_shape_is_not_kubernetes(
    tmp_path: Path, body: bytes, status: int, headers: dict[str, str]
) -> None:
    with page(body, status, headers) as address:
        context = context_for(tmp_path, address, {"token": "t"})
        with pytest.raises(Unreachable, match="an answer that is not Kubernetes's"):
            resolve(REF, context, "x")
        held = KubernetesSecret(
            open_cluster(parse_reference(REF, "x"), context, "x"), "default", "app", "x"
        )
        for write in (held.create, held.replace, held.delete):
            with pytest.raises(Unreachable, match="an answer that is not Kubernetes's") as caught:
                write({"metadata": {"name": "app", "resourceVersion": "1", "uid": "1"}})
            assert caught.value.details["uncertain"] is True


@pytest.mark.parametrize("pause", ["\u00b2", "-1", "soon", "9" * 400])
def test_a_pause_that_is_none(tmp_path: Path, pause: str) -> None:
    with (
        page(b"{}", 429, {"Retry-After": pause}) as address,
        pytest.raises(Unreachable, match="limits the rate"),
    ):
        resolve(REF, context_for(tmp_path, address, {"token": "t"}), "x")


@pytest.mark.parametrize("details", [["x"], "x", {"kind": ["x"]}])
def test_an_error_of_another_shape(tmp_path: Path, details: Any) -> None:
    told = {"kind": "Status", "apiVersion": "v1", "reason": "NotFound", "details": details}
    with page(json.dumps(told).encode(), 404) as address:
        context = context_for(tmp_path, address, {"token": "t"})
        cluster = open_cluster(parse_reference(REF, "x"), context, "x")
        with pytest.raises(Unreachable, match="an answer that is not Kubernetes's"):
            KubernetesSecret(cluster, "default", "app", "x").create({"metadata": {"name": "app"}})


@pytest.mark.parametrize(
    "items", ["x", ["x"], [{"spec": "x", "status": {"phase": "Running"}}], [{"metadata": []}]]
)
def test_pods_of_another_shape_are_not_listed(tmp_path: Path, items: Any) -> None:
    listed = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
    with page(json.dumps(listed).encode()) as address:
        context = context_for(tmp_path, address, {"token": "t"})
        cluster = open_cluster(parse_reference(REF, "x"), context, "x")
        assert stale_pods(cluster, "default", "app", ["p"], False) == []


def test_a_review_of_rights_of_another_shape(tmp_path: Path) -> None:
    review = b'{"kind": "SelfSubjectAccessReview", "apiVersion": "v1", "status": ["x"]}'
    with page(review) as address:
        context = context_for(tmp_path, address, {"token": "t"})
        cluster = open_cluster(parse_reference(REF, "x"), context, "x")
        with pytest.raises(Unreachable, match="an answer that is not Kubernetes's"):
            KubernetesSecret(cluster, "default", "app", "x").need("create")


# --- what is missing to log in is no value that is missing


def test_what_is_missing_to_log_in_is_never_absent(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    environ = {"HOME": str(tmp_path), "KUBECONFIG": gone}
    with pytest.raises(BadInput, match="there is no kubeconfig"):
        resolve(REF, Context(environ=environ), "x")
    with pytest.raises(Denied, match="gone"):
        resolve(REF, context_for(tmp_path, "http://127.0.0.1:1", {"tokenFile": gone}), "x")
    given = {"K8S_AUTH_HOST": "http://127.0.0.1:1", "K8S_AUTH_API_KEY": f"ref+file://{gone}"}
    with pytest.raises(Denied, match="api_key"):
        resolve(REF, Context(environ={"HOME": str(tmp_path), **given}), "x")


# --- the client's key


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    """A user whose key is in the kubeconfig."""
    key, certificate = tmp_path / "key.pem", tmp_path / "crt.pem"
    line = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=u -days 1"
    subprocess.run(
        [*line.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    names = {"client-key-data": key, "client-certificate-data": certificate}
    return {
        name: base64.b64encode(path.read_bytes()).decode("ascii") for name, path in names.items()
    }


@pytest.mark.parametrize("inline", [False, True])
def test_no_file_of_a_key_is_left_when_something_is_asked(
    tmp_path: Path, user: dict[str, str], monkeypatch: pytest.MonkeyPatch, inline: bool
) -> None:
    there, seen = tmp_path / "tmp", []
    there.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(there))
    authority = user["client-certificate-data"]
    context = context_for(
        tmp_path, "https://localhost:1", user, **{"certificate-authority-data": authority}
    )
    cluster = open_cluster(parse_reference(REF, "x"), context, "x")
    if inline:
        content = json.loads(Path(context.environ.pop("KUBECONFIG")).read_text())
        given = {"in_cluster": False, "kubeconfig": content}
        cluster = Cluster(settings_of_task(given, context, "x"), context, "x")
    held = KubernetesSecret(cluster, "default", "app", "x")
    cluster._sleep = lambda _seconds: seen.append(list(there.iterdir()))
    with pytest.raises(Unreachable, match="no connection"):
        held.read()
    assert seen
    assert not any(seen)
    assert not list(there.iterdir())


def test_a_run_that_is_killed_while_it_logs_in_leaves_no_key(
    tmp_path: Path, user: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "tmp"
    there.mkdir()
    context = context_for(tmp_path, "https://localhost:1", user)
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(tempfile, "tempdir", str(there))
        monkeypatch.setattr(
            _k8s_client.Opener, "_lay_over", lambda *_args: os.kill(os.getpid(), signal.SIGKILL)
        )
        try:
            resolve(REF, context, "x")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert sys.platform != "linux" or not list(there.iterdir())
