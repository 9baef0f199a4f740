# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace of its own in the tests' Kubernetes: Secrets as they are kept, identities with few rights, and a lossy road to the server."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import ssl
import threading
from collections.abc import Iterator, Sequence
from http.client import HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import (
    Outcome,
    Wanted,
    bring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._k8s import (
    KubernetesPlace,
    open_kubernetes_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import Store, open_store
from estate.kubernetes import KubernetesSaysNo, KubernetesServer

RBAC = "rbac.authorization.k8s.io"


def b64(value: str | bytes) -> str:
    """As Kubernetes keeps it."""
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


class KubernetesWorld:
    """A namespace, a kubeconfig, and a context that keeps its warnings."""

    def __init__(self, server: KubernetesServer, home: Path) -> None:
        self.server = server
        self.home = home
        self.namespace = f"ns-{secrets.token_hex(4)}"
        self.warnings: list[str] = []
        self.environ = {"HOME": str(home), "KEYTURN_K8S_TIMEOUT": "5s"}
        self.context = Context(environ=self.environ, warn=self.warnings.append)
        server.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self.use("admin")

    @property
    def secrets(self) -> str:
        """The path of its Secrets."""
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    def use(self, user: str, **changes: Any) -> None:
        """Go on as this user, or by another road."""
        path = self.home / f"kubeconfig-{user}"
        path.write_text(json.dumps(self.server.kubeconfig(user, **changes)), encoding="utf-8")
        path.chmod(0o600)
        self.environ["KUBECONFIG"] = str(path)

    def allow(self, user: str, verbs: Sequence[str], names: Sequence[str] = ()) -> None:
        """Let a user do that with Secrets of the namespace."""
        base = f"/apis/{RBAC}/v1/namespaces/{self.namespace}"
        name = f"{user}-{secrets.token_hex(3)}"
        rule: dict[str, Any] = {"apiGroups": [""], "resources": ["secrets"], "verbs": list(verbs)}
        if names:
            rule["resourceNames"] = list(names)
        self.server.request("POST", f"{base}/roles", {"metadata": {"name": name}, "rules": [rule]})
        role = {"apiGroup": RBAC, "kind": "Role", "name": name}
        who = {"apiGroup": RBAC, "kind": "User", "name": user}
        body = {"metadata": {"name": name}, "roleRef": role, "subjects": [who]}
        self.server.request("POST", f"{base}/rolebindings", body)

    def make(self, name: str, values: dict[str, str | bytes], **more: Any) -> dict[str, Any]:
        """A Secret, made by somebody else."""
        metadata = {"name": name, **more.pop("metadata", {})}
        data = {key: b64(value) for key, value in values.items()}
        return self.server.request(
            "POST", self.secrets, {"metadata": metadata, "data": data, **more}
        )

    def get(self, name: str) -> dict[str, Any]:
        """A Secret as Kubernetes keeps it."""
        return self.server.request("GET", f"{self.secrets}/{name}")

    def exists(self, name: str) -> bool:
        """Whether there is such a Secret."""
        try:
            self.get(name)
        except KubernetesSaysNo as error:
            if error.status == 404:
                return False
            raise
        return True

    def values(self, name: str) -> dict[str, bytes]:
        """The values of a Secret."""
        data = self.get(name).get("data") or {}
        return {key: base64.b64decode(value) for key, value in data.items()}

    def version(self, name: str) -> str:
        """The resourceVersion of a Secret."""
        return str(self.get(name)["metadata"]["resourceVersion"])

    def set(self, name: str, **values: str) -> None:
        """Somebody else changes keys."""
        body = self.get(name)
        body.setdefault("data", {}).update({key: b64(value) for key, value in values.items()})
        self.server.request("PUT", f"{self.secrets}/{name}", body)

    def mark(self, name: str, **labels: str) -> None:
        """Somebody else sets labels."""
        body = self.get(name)
        body["metadata"].setdefault("labels", {}).update(labels)
        self.server.request("PUT", f"{self.secrets}/{name}", body)

    def reference(self, name: str) -> str:
        """A Secret as it is named in a definition."""
        return f"ref+k8s://v1/Secret/{self.namespace}/{name}"

    def place(self, name: str) -> KubernetesPlace:
        """The Secret as a place for sinks."""
        return open_kubernetes_place(
            parse_reference(self.reference(name), "x"), self.context, f"sink '{name}'"
        )

    def bring(self, name: str, fields: dict[str, str | None], **options: Any) -> Outcome:
        """Bring the Secret to these keys."""
        wanted = {key: None if text is None else Secret(text) for key, text in fields.items()}
        place = options.pop("place", None) or self.place(name)
        return bring(place, Wanted(f"sink '{name}'", wanted, **options), lambda: None, self.context)

    def store(self, name: str) -> Store:
        """The Secret as a store for a keyring."""
        return open_store(parse_reference(self.reference(name), "x"), self.context, "keyring")


class Road:
    """A road to the API server that does to each request what it is told, once for each thing told.

    :ivar plan: what to do with the next requests that change something: ``pass``, ``lose`` (do it, and let no answer come),
        ``drop`` (do not pass it on), or a status to answer with.
    :ivar seen: the methods that came, in order.
    """

    def __init__(self, server: KubernetesServer) -> None:
        self.server = server
        self.plan: list[str] = []
        self.reads: list[str] = []
        self.seen: list[str] = []

    def forward(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        """Pass a request on."""
        trust = ssl.create_default_context(cafile=str(self.server.tls.certificate))
        host = self.server.address.rpartition("/")[2]
        line = HTTPSConnection(host, timeout=10, context=trust)
        try:
            kept = {
                name: headers[name] for name in ("Authorization", "Content-Type") if headers[name]
            }
            line.request(method, path, body or None, kept)
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()


class _Handler(BaseHTTPRequestHandler):
    """One request on a road."""

    road: Road

    def _pass(self) -> None:
        road = self.road
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        road.seen.append(self.command)
        plan = road.reads if self.command == "GET" else road.plan
        step = plan.pop(0) if plan else "pass"
        if step.isdigit():
            self._answer(int(step), b'{"kind":"Status","apiVersion":"v1","reason":"Busy"}')
            return
        if step == "drop":
            self.close_connection = True
            return
        try:
            status, answer = road.forward(self.command, self.path, self.headers, body)
        except (OSError, HTTPException):
            self.close_connection = True
            return
        if step == "lose":
            self.close_connection = True
            return
        self._answer(status, answer)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def road_to(server: KubernetesServer) -> Iterator[tuple[Road, str]]:
    """The road, and the address at its near end."""
    road = Road(server)

    class Handler(_Handler):
        """One request on this road."""

    Handler.road = road
    for method in ("GET", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._pass)
    near = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=near.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield road, f"http://127.0.0.1:{near.server_port}"
    finally:
        near.shutdown()
        near.server_close()
