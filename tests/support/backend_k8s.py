# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of Kubernetes, as the tests over all stores and sinks see them."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from backend_port import NO_TEXT, Backend, Upstream
from estate.kubernetes import KubernetesSaysNo, KubernetesServer

if TYPE_CHECKING:
    from fault_proxy import FaultProxy


class KubernetesBackend(Backend):
    """Secrets of one namespace."""

    kind = "Kubernetes"
    field = "VALUE"
    keeps_bytes = True
    largest = 1_048_576
    beyond = 1_048_577
    largest_value = 1_048_576
    beyond_value = 1_048_577
    refused_names = (
        *("under_score", "deep/er/path", "a b"),
        *("with blank", "with.dots.and-dashes_", "team/a/b.c", "ünïcode", "a+b=c,d@e:f", "100%"),
    )

    refused_fields = ("a/b", "with blank", "ünïcode")

    def __init__(self, server: KubernetesServer, folder: Path) -> None:
        super().__init__()
        self.server = server
        self.namespace = f"t{secrets.token_hex(5)}"
        self._file, self._counted = folder / "kubeconfig", folder / "kubeconfig-counted"
        self._cluster: dict[str, Any] = {}
        self._token = ""
        self._counter: FaultProxy | None = None
        server.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self._configure()
        self.environ = {"KUBECONFIG": str(self._file), "HOME": str(folder)}

    def _configure(self, **changes: Any) -> None:
        self._cluster.update(changes)
        self._write(self._file, self._cluster)
        if self._counter:
            near = {"server": f"http://127.0.0.1:{self._counter.port}"}
            self._write(self._counted, {**near, **self._cluster})

    def _write(self, file: Path, cluster: dict[str, Any]) -> None:
        config = self.server.kubeconfig(**cluster)
        if self._token:
            config["users"][0]["user"]["token"] = self._token
        file.write_text(json.dumps(config), encoding="utf-8")
        file.chmod(0o600)

    def context(self, **changes: Any) -> Context:
        """By way of what counts, once something is counted; processes that race have the straight road of ``environ``."""
        found = super().context(**changes)
        if self._counter and found.environ.get("KUBECONFIG") == str(self._file):
            return replace(found, environ={**found.environ, "KUBECONFIG": str(self._counted)})
        return found

    def end(self) -> None:
        super().end()
        if self._counter:
            self._counter.close()

    def patience(self, seconds: float) -> None:
        self.environ["KEYTURN_K8S_TIMEOUT"] = str(seconds)

    def heal(self, environ: dict[str, str]) -> None:
        super().heal(environ)
        self._cluster, self._token = {}, ""
        self._configure()

    def act_as(self, rights: str) -> None:
        """Go on as a service account that may ``read`` Secrets, or nothing; or as nobody that is known.

        :param rights: ``reader``, ``stranger`` or ``unknown``.
        """
        account = f"/api/v1/namespaces/{self.namespace}/serviceaccounts"
        if rights == "unknown":
            self._token = secrets.token_urlsafe(24)
        else:
            self.server.request("POST", account, {"metadata": {"name": rights}})
            asked = f"{account}/{rights}/token"
            self._token = self.server.request("POST", asked, {"spec": {}})["status"]["token"]
        if rights == "reader":
            self._let_read(rights)
        self._configure()

    def _let_read(self, account: str) -> None:
        where = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]
        name = {"metadata": {"name": account}}
        self.server.request("POST", f"{where}/roles", {**name, "rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
        subject = {"kind": "ServiceAccount", "name": account, "namespace": self.namespace}
        body = {**name, "roleRef": role, "subjects": [subject]}
        self.server.request("POST", f"{where}/rolebindings", body)

    def keyring(self, name: str) -> str:
        return f"ref+k8s://v1/Secret/{self.namespace}/{quote(self._named(name))}"

    @staticmethod
    def _named(name: str) -> str:
        """As names are written there."""
        return "keyring-" + name.replace("db_app", "db-app")

    @property
    def _keyring(self) -> str:
        return f"{self._secrets}/{self._named('db_app')}"

    def keyring_version(self, name: str = "db_app") -> str:
        """As :meth:`writes`."""
        return self.writes(self._named(name))

    def note_keyring(self) -> str:
        """``kubectl get secret NAME -o json | jq '{data}'``."""
        found = self.server.request("GET", self._keyring)
        return json.dumps({"data": found["data"]})

    def go_back(self, noted: str) -> None:
        """``kubectl patch secret NAME --patch-file COPY``."""
        kind = "application/strategic-merge-patch+json"
        self.server.request("PATCH", self._keyring, json.loads(noted), kind)

    def spoil_keyring(self) -> bytes:
        data = {"data": {"keyring.json": base64.b64encode(NO_TEXT).decode()}}
        self.server.request("PATCH", self._keyring, data, "application/merge-patch+json")
        return NO_TEXT

    def spoiled(self) -> bytes:
        found = self.server.request("GET", self._keyring)
        return base64.b64decode(found["data"]["keyring.json"])

    def spoil(self, name: str) -> bytes:
        self.put(name, "text")
        data = {"data": {self.field: base64.b64encode(NO_TEXT).decode()}}
        kind = "application/merge-patch+json"
        self.server.request("PATCH", f"{self._secrets}/{name}", data, kind)
        return NO_TEXT

    def sink(self, name: str) -> str:
        return f"ref+k8s://v1/Secret/{self.namespace}/{quote(name)}#/{self.field}"

    @property
    def _secrets(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return self.server.request("GET", f"{self._secrets}/{name}")
        except KubernetesSaysNo as error:
            if error.status == 404:
                return None
            raise

    def held(self, name: str) -> str | None:
        found = self._read(name)
        value = (found or {}).get("data", {}).get(self.field)
        return None if value is None else base64.b64decode(value).decode("utf-8", "replace")

    def others(self, name: str) -> dict[str, str]:
        found = self._read(name) or {}
        data = {
            key: base64.b64decode(value).decode("utf-8", "surrogateescape")
            for key, value in found["data"].items()
            if key != self.field
        }
        kept = ("labels", "annotations", "ownerReferences")
        about = {key: json.dumps(found["metadata"].get(key)) for key in kept}
        return {**data, **about, "type": found["type"]}

    def put(self, name: str, value: str) -> None:
        data = {"OTHER": "kept", self.field: value}
        body = {
            "metadata": {
                "name": name,
                "labels": {"team": "platform"},
                "annotations": {"example.com/kept": "yes"},
            },
            "type": "example.com/app",
            "data": {"BINARY": base64.b64encode(NO_TEXT).decode()},
            "stringData": data,
        }
        there = self._read(name)
        if there is not None:
            body["type"] = there["type"]
        where = f"{self._secrets}/{name}" if there else self._secrets
        self.server.request("PUT" if there else "POST", where, body)

    def writes(self, name: str) -> str:
        """The resourceVersion, and how many requests of this process there were that change something, since this was first asked.

        An update that changes nothing leaves the resourceVersion as it was, so the requests themselves are counted, on their way.
        """
        if self._counter is None:
            self._counter = self._count()
            self._configure()
        found = self._read(name)
        version = "" if found is None else str(found["metadata"]["resourceVersion"])
        sent = sum(asked.writes for asked in list(self._counter.asked))
        return f"{version} after {sent} writes"

    def _count(self) -> FaultProxy:
        """A proxy that knows which requests are for Secrets of this namespace and change something."""
        # It is of the modules that are made of this one.
        from fault_proxy import FaultProxy

        def is_write(method: str, path: str, _headers: dict[str, str]) -> bool:
            return method != "GET" and path.partition("?")[0].startswith(self._secrets)

        return FaultProxy(self.upstream(), is_write)

    def upstream(self) -> Upstream:
        trust = ssl.create_default_context(cafile=str(self.server.tls.certificate))
        return Upstream("127.0.0.1", int(self.server.address.rpartition(":")[2]), trust)

    def through(self, port: int, ca: Path | None) -> None:
        if ca is None:
            self._configure(server=f"http://127.0.0.1:{port}")
        else:
            address = f"https://127.0.0.1:{port}"
            self._configure(**{"server": address, "certificate-authority": str(ca)})

    def values(self) -> list[str]:
        return [self._token or self.server.tokens["admin"]]
