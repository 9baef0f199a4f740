# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane of a real Kubernetes: etcd and the API server on 127.0.0.1, with RBAC and without nodes or pods."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from estate.errors import EstateError, Missing
from estate.ports import Port, reserve
from estate.processes import Daemon, Running
from estate.tls import Certificate, make_certificate
from estate.users import make_run_dir

FINDER = Path(__file__).resolve().parents[2] / "scripts" / "kubernetes-binary"
VARIABLE = "KEYTURN_KUBE_APISERVER_BINARY"
USERS = {"admin": "system:masters", "reader": "readers", "weak": "nobodies"}
"""User names with their groups. Nothing is granted to the last two."""


def api_server_binary() -> Path:
    """The path of the program: ``$KEYTURN_KUBE_APISERVER_BINARY``, one on PATH, or the cached build; it never builds.

    :raises Missing: when there is none.
    """
    given = os.environ.get(VARIABLE)
    if given:
        if not os.access(given, os.X_OK):
            raise Missing(f"{VARIABLE}: {given} is no executable file")
        return Path(given)
    if not FINDER.exists():
        raise Missing(f"Kubernetes: set {VARIABLE} to a kube-apiserver program")
    found = subprocess.run([str(FINDER), "--cached"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise Missing(f"Kubernetes: {found.stderr.strip() or f'set {VARIABLE}'}")
    return Path(found.stdout.strip())


def etcd_binary() -> str:
    """The path of etcd.

    :raises Missing: when there is none.
    """
    found = shutil.which("etcd", path=os.environ.get("PATH", "") + ":/usr/local/bin:/usr/sbin")
    if not found:
        raise Missing("etcd: install the Debian package etcd-server")
    return found


class KubernetesSaysNo(EstateError):
    """Kubernetes's answer was an error.

    :param status: the HTTP status.
    """

    def __init__(self, status: int, call: str) -> None:
        super().__init__(f"Kubernetes answers {status} to {call}")
        self.status = status


class KubernetesServer(Running):
    """One control plane; a context manager that starts and stops it.

    :param run_dir: where its state goes; a fresh temporary directory, removed by :meth:`close`, when none is given.
    :param binary: the API server; without it as :func:`api_server_binary` finds it.
    :ivar tokens: the bearer token of each of :data:`USERS`.
    :raises Missing: when one of its programs is not there.
    """

    def __init__(self, run_dir: Path | None = None, binary: Path | None = None) -> None:
        self._binary, etcd = binary or api_server_binary(), etcd_binary()
        self._own_run_dir = run_dir is None
        self.run_dir = run_dir or make_run_dir()
        self.tokens = {user: secrets.token_urlsafe(24) for user in USERS}
        self._port, self._client_port, self._peer_port = reserve(), reserve(), reserve()
        self._etcd = Daemon("etcd", self._etcd_argv(etcd), self.run_dir / "etcd.log")
        self._tls: Certificate | None = None
        self._api: Daemon | None = None

    @property
    def address(self) -> str:
        """The server of a kubeconfig."""
        return f"https://127.0.0.1:{self._port.number}"

    @property
    def tls(self) -> Certificate:
        """Its certificate, which is also the CA of clients' certificates.

        :raises EstateError: before it is started.
        """
        if self._tls is None:
            raise EstateError("Kubernetes was not started")
        return self._tls

    def kubeconfig(self, user: str = "admin", **changes: Any) -> dict[str, Any]:
        """A kubeconfig as a mapping, with one context that bears the user's name.

        :param changes: keys of its cluster, instead of those that fit.
        """
        cluster = {
            "server": self.address,
            "certificate-authority": str(self.tls.certificate),
            **changes,
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": user,
            "clusters": [{"name": "estate", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.tokens[user]}}],
            "contexts": [{"name": user, "context": {"cluster": "estate", "user": user}}],
        }

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Call its API as the administrator.

        :raises KubernetesSaysNo: when the answer is an error.
        :raises OSError: when there is no answer.
        """
        status, text = self._call(method, path, body, content_type)
        if status >= 400:
            raise KubernetesSaysNo(status, f"{method} {path}")
        parsed: dict[str, Any] = json.loads(text)
        return parsed

    def start(self) -> KubernetesServer:
        """Start both, and wait until the API is ready.

        :raises EstateError: with the end of the log.
        """
        self._tls = make_certificate(self.run_dir, "kubernetes")
        self._write_tokens()
        self._etcd.start(lambda: _answers(self._client_port))
        self._api = Daemon("the API server", self._api_argv(), self.run_dir / "apiserver.log")
        self._api.start(self._ready, 60)
        return self

    def stop_api(self) -> None:
        """End the API server; etcd stays."""
        if self._api:
            self._api.stop()

    def start_api(self, wait: bool = True) -> None:
        """Start the API server again.

        :param wait: until it is ready.
        :raises EstateError: with the end of the log.
        """
        if self._api:
            self._api.start(self._ready if wait else lambda: True, 60)

    def close(self) -> None:
        """Stop, give the ports back, and remove the state when it was this object that made the place for it."""
        if self._api:
            self._api.stop()
        self._etcd.stop()
        for port in (self._port, self._client_port, self._peer_port):
            port.release()
        if self._own_run_dir:
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _etcd_argv(self, binary: str) -> list[str]:
        client = f"http://127.0.0.1:{self._client_port.number}"
        peer = f"http://127.0.0.1:{self._peer_port.number}"
        data = self.run_dir / "etcd"
        return [
            binary,
            f"--data-dir={data}",
            # What it holds goes with the test; a disk that is waited for makes nothing truer.
            "--unsafe-no-fsync",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def _api_argv(self) -> list[str]:
        options = self._api_options()
        return [str(self._binary), *(f"--{name}={value}" for name, value in options.items())]

    def _api_options(self) -> dict[str, str]:
        tls = self.tls
        return {
            "etcd-servers": f"http://127.0.0.1:{self._client_port.number}",
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": str(self._port.number),
            "tls-cert-file": str(tls.certificate),
            "tls-private-key-file": str(tls.key),
            "client-ca-file": str(tls.certificate),
            "cert-dir": str(self.run_dir / "certs"),
            "token-auth-file": str(self.run_dir / "tokens.csv"),
            "authorization-mode": "RBAC",
            "anonymous-auth": "false",
            "service-cluster-ip-range": "10.96.0.0/16",
            "service-account-issuer": self.address,
            "service-account-key-file": str(tls.certificate),
            "service-account-signing-key-file": str(tls.key),
            # No controller makes the service account that this would wait for.
            "disable-admission-plugins": "ServiceAccount",
        }

    def _users(self) -> list[tuple[str, str]]:
        """Names with their groups."""
        return list(USERS.items())

    def _write_tokens(self) -> None:
        lines = [f'{self.tokens[user]},{user},{user},"{group}"' for user, group in self._users()]
        handle = os.open(self.run_dir / "tokens.csv", os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write("".join(f"{line}\n" for line in lines))

    def _ready(self) -> bool:
        try:
            return self._call("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> tuple[int, bytes]:
        trust = ssl.create_default_context(cafile=str(self.tls.certificate))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._port.number, timeout=30, context=trust
        )
        try:
            data = json.dumps(body).encode() if body is not None else None
            headers = {
                "Authorization": f"Bearer {self.tokens['admin']}",
                "Content-Type": content_type,
            }
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _answers(port: Port) -> bool:
    """Whether etcd says that it is healthy."""
    connection = http.client.HTTPConnection("127.0.0.1", port.number, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
