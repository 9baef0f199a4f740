# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Vault (or OpenBao) server on 127.0.0.1: as small as it can be, or as one in production is."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estate.authority import Authority
from estate.errors import EstateError, Missing
from estate.ports import reserve
from estate.processes import Daemon, Running, wait_until
from estate.tls import Certificate
from estate.users import make_run_dir

FINDER = Path(__file__).resolve().parents[2] / "scripts" / "vault-binary"


def vault_binary() -> Path:
    """The path of the program: ``$KEYTURN_VAULT_BINARY``, one on PATH, or the cached build; it never builds.

    :raises Missing: when there is none.
    """
    given = os.environ.get("KEYTURN_VAULT_BINARY")
    if given:
        if not os.access(given, os.X_OK):
            raise Missing(f"KEYTURN_VAULT_BINARY: {given} is no executable file")
        return Path(given)
    if not FINDER.exists():
        raise Missing("Vault: set KEYTURN_VAULT_BINARY to a vault or bao program")
    found = subprocess.run([str(FINDER), "--cached"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise Missing(
            f"Vault: {found.stderr.strip() or 'set KEYTURN_VAULT_BINARY to a vault or bao program'}"
        )
    return Path(found.stdout.strip())


class VaultSaysNo(EstateError):
    """Vault's answer was an error.

    :param status: the HTTP status.
    """

    def __init__(self, status: int, call: str) -> None:
        super().__init__(f"Vault answers {status} to {call}")
        self.status = status


@dataclass(frozen=True)
class VaultShape:
    """How a server is made.

    :param storage: ``inmem`` (gone with the process) or ``raft``.
    :param shares: how many key shares there are.
    :param threshold: how many of them open it.
    :param tls: with a certificate of an authority of its own; else plain HTTP.
    :param audit: with an audit log in a file.
    """

    storage: str = "inmem"
    shares: int = 1
    threshold: int = 1
    tls: bool = False
    audit: bool = False


PRODUCTION = VaultShape(storage="raft", shares=5, threshold=3, tls=True, audit=True)
"""What a careful administrator sets up."""


@dataclass(frozen=True)
class AppRole:
    """A role and one secret id of it."""

    mount: str
    name: str
    role_id: str
    secret_id: str
    accessor: str


class VaultServer(Running):
    """One server; a context manager that starts and stops it.

    :param run_dir: where its state goes; a fresh temporary directory, removed by :meth:`close`, when none is given.
    :param storage: ``inmem`` or ``raft``, for a server that is as small as it can be otherwise.
    :param shape: how it is made; counts before ``storage``.
    :ivar root_token: the root token, once started.
    :ivar unseal_keys: the key shares, once started.
    :ivar ca_file: the certificate to trust; none without TLS.
    :ivar audit_path: the audit log; none is kept there unless it was asked for.
    """

    def __init__(
        self,
        run_dir: Path | None = None,
        storage: str = "inmem",
        shape: VaultShape | None = None,
    ) -> None:
        self._binary = vault_binary()
        self._own_run_dir = run_dir is None
        self.run_dir = run_dir or make_run_dir()
        self.log_path = self.run_dir / "vault.log"
        self.audit_path = self.run_dir / "audit.log"
        self.root_token = ""
        self.unseal_keys: list[str] = []
        self.shape = shape or VaultShape(storage)
        self._tls: Certificate | None = None
        self.ca_file: Path | None = None
        if self.shape.tls:
            authority = Authority(self.run_dir)
            self._tls, self.ca_file = authority.issue("vault"), authority.certificate
        self._port, self._cluster_port = reserve(), reserve()
        self._daemon = Daemon("Vault", self._argv(), self.log_path, env={"HOME": str(self.run_dir)})

    @property
    def address(self) -> str:
        """What goes into VAULT_ADDR."""
        return f"{self._scheme}://127.0.0.1:{self._port.number}"

    @property
    def _scheme(self) -> str:
        return "https" if self.shape.tls else "http"

    @property
    def unseal_key(self) -> str:
        """The first key share, which opens it alone where there is one."""
        return self.unseal_keys[0]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._daemon.pid

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, token: str = ""
    ) -> dict[str, Any]:
        """Call its API under ``/v1/``, as root unless another token is given.

        :raises VaultSaysNo: when the answer is an error.
        :raises OSError: when there is no answer.
        """
        status, text = self._call(method, path, body, token)
        if status >= 400:
            raise VaultSaysNo(status, f"{method} {path}")
        parsed: dict[str, Any] = json.loads(text) if text else {}
        return parsed

    def wrapped(self, method: str, path: str, ttl: str = "60s") -> str:
        """A wrapping token of what a call answers."""
        status, text = self._call(method, path, {"keep": "this"}, "", {"X-Vault-Wrap-TTL": ttl})
        if status >= 400:
            raise VaultSaysNo(status, f"{method} {path}")
        return str(json.loads(text)["wrap_info"]["token"])

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        token: str = "",
        further: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            data = json.dumps(body).encode() if body is not None else None
            headers = {"X-Vault-Token": token or self.root_token, **(further or {})}
            connection.request(method, f"/v1/{path}", data, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.ca_file is None:
            return http.client.HTTPConnection("127.0.0.1", self._port.number, timeout=30)
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        return http.client.HTTPSConnection(
            "127.0.0.1", self._port.number, timeout=30, context=trust
        )

    def start(self) -> VaultServer:
        """Start, initialise when it is new, and unseal.

        :raises EstateError: with the end of the log.
        """
        self.start_sealed()
        self.unseal()
        if self.shape.audit and "file/" not in self.request("GET", "sys/audit")["data"]:
            options = {"file_path": str(self.audit_path), "mode": "0600"}
            self.request("PUT", "sys/audit/file", {"type": "file", "options": options})
        return self

    def start_sealed(self) -> None:
        """Start, and initialise when it is new; it is sealed then.

        :raises EstateError: with the end of the log.
        """
        self._daemon.start(lambda: self._health() in (200, 429, 501, 503))
        if self._health() == 501:
            shape = self.shape
            wish = {"secret_shares": shape.shares, "secret_threshold": shape.threshold}
            made = self.request("PUT", "sys/init", wish)
            self.root_token, self.unseal_keys = made["root_token"], list(made["keys_base64"])

    def unseal(self) -> None:
        """Unseal, and wait until it serves: for a moment after unsealing it answers with errors."""
        for key in self.unseal_keys[: self.shape.threshold]:
            self.request("PUT", "sys/unseal", {"key": key})
        wait_until(
            lambda: self._health() == 200 and self._serves(), 20, "Vault to serve after unsealing"
        )

    def seal(self) -> None:
        """Seal it."""
        self.request("PUT", "sys/seal", {})

    def mount_kv(self, name: str, version: int = 2) -> str:
        """Mount a KV engine and wait until it takes writes; returns the name."""
        options = {"version": str(version)}
        self.request("POST", f"sys/mounts/{name}", {"type": "kv", "options": options})
        if version == 1:
            return name
        wait_until(lambda: self._kv_ready(name), 20, f"the mount {name}")
        return name

    def unmount(self, name: str) -> None:
        """Remove a mount with all that it holds."""
        self.request("DELETE", f"sys/mounts/{name}")

    def token(self, rules: str, **options: Any) -> str:
        """A token that may do only what these policy rules say."""
        body = {"policies": [self.policy(rules)], "no_default_policy": True, **options}
        made = self.request("POST", "auth/token/create", body)
        return str(made["auth"]["client_token"])

    def policy(self, rules: str) -> str:
        """A policy with these rules; returns its name."""
        name = f"policy-{os.urandom(6).hex()}"
        self.request("PUT", f"sys/policies/acl/{name}", {"policy": rules})
        return name

    def enable_auth(self, kind: str, **config: Any) -> str:
        """Mount an auth method at a path of its own; returns that.

        :param config: what is written to its configuration.
        """
        mount = f"{kind}-{os.urandom(4).hex()}"
        self.request("POST", f"sys/auth/{mount}", {"type": kind})
        if config:
            self.request("POST", f"auth/{mount}/config", config)
        return mount

    def approle(self, mount: str, rules: str, **options: Any) -> AppRole:
        """A role at a mount of AppRole whose tokens may do only what these rules say, and a secret id."""
        name = f"role-{os.urandom(6).hex()}"
        body = {"token_policies": [self.policy(rules)], "token_ttl": "60s", **options}
        role = f"auth/{mount}/role/{name}"
        self.request("POST", role, body)
        role_id = self.request("GET", f"{role}/role-id")["data"]["role_id"]
        made = self.request("POST", f"{role}/secret-id")["data"]
        return AppRole(mount, name, role_id, made["secret_id"], made["secret_id_accessor"])

    def stop(self) -> None:
        """Stop in good order."""
        self._daemon.stop()

    def close(self) -> None:
        """Stop, give the ports back, and remove the state when it was this object that made the place for it."""
        self.stop()
        self._port.release()
        self._cluster_port.release()
        if self._own_run_dir:
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _argv(self) -> list[str]:
        config = self.run_dir / "vault.json"
        place: dict[str, Any] = {}
        if self.shape.storage == "raft":
            data = self.run_dir / "vault-data"
            data.mkdir(mode=0o700)
            # 1: a leader is found in seconds, as in production, and not in the ten of the default.
            place = {"path": str(data), "node_id": "one", "performance_multiplier": "1"}
        settings = {
            "storage": {self.shape.storage: place},
            "listener": {"tcp": self._listener()},
            "api_addr": self.address,
            "cluster_addr": f"{self._scheme}://127.0.0.1:{self._cluster_port.number}",
            "disable_mlock": True,
        }
        config.write_text(json.dumps(settings), encoding="utf-8")
        return [str(self._binary), "server", f"-config={config}"]

    def _listener(self) -> dict[str, Any]:
        places = {
            "address": f"127.0.0.1:{self._port.number}",
            "cluster_address": f"127.0.0.1:{self._cluster_port.number}",
        }
        if self._tls is None:
            return {**places, "tls_disable": True}
        files = {
            "tls_cert_file": str(self._tls.certificate),
            "tls_key_file": str(self._tls.key),
        }
        return {**places, **files}

    def _health(self) -> int:
        """200 serving, 429 standby, 501 not initialised, 503 sealed; 0 when there is no answer."""
        try:
            return self._call("GET", "sys/health")[0]
        except (OSError, http.client.HTTPException):
            return 0

    def _serves(self) -> bool:
        return self._is_ready("auth/token/lookup-self", (500, 503))

    def _kv_ready(self, name: str) -> bool:
        """A fresh KV v2 mount refuses for a moment, while it is being upgraded from version 1."""
        return self._is_ready(f"{name}/config", (400, 404, 500, 503))

    def _is_ready(self, path: str, not_yet: tuple[int, ...]) -> bool:
        try:
            self.request("GET", path)
        except VaultSaysNo as error:
            if error.status in not_yet:
                return False
            raise
        return True
