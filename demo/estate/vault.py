# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Vault (or OpenBao) server: initialised with one key share and unsealed, on 127.0.0.1 without TLS."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from estate.errors import EstateError, Missing
from estate.ports import reserve
from estate.processes import Daemon, Running, wait_until
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


class VaultServer(Running):
    """One server; a context manager that starts and stops it.

    :param run_dir: where its state goes; a fresh temporary directory, removed by :meth:`close`, when none is given.
    :param storage: ``inmem`` (gone with the process) or ``raft``.
    :ivar root_token: the root token, once started.
    :ivar unseal_key: the one key share, once started.
    """

    def __init__(self, run_dir: Path | None = None, storage: str = "inmem") -> None:
        self._binary = vault_binary()
        self._own_run_dir = run_dir is None
        self.run_dir = run_dir or make_run_dir()
        self.log_path = self.run_dir / "vault.log"
        self.root_token = ""
        self.unseal_key = ""
        self._storage = storage
        self._port, self._cluster_port = reserve(), reserve()
        self._daemon = Daemon("Vault", self._argv(), self.log_path, env={"HOME": str(self.run_dir)})

    @property
    def address(self) -> str:
        """What goes into VAULT_ADDR."""
        return f"http://127.0.0.1:{self._port.number}"

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

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, token: str = ""
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port.number, timeout=30)
        try:
            data = json.dumps(body).encode() if body is not None else None
            headers = {"X-Vault-Token": token or self.root_token}
            connection.request(method, f"/v1/{path}", data, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def start(self) -> VaultServer:
        """Start, initialise when it is new, and unseal.

        :raises EstateError: with the end of the log.
        """
        self._daemon.start(lambda: self._health() in (200, 429, 501, 503))
        if self._health() == 501:
            made = self.request("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            self.root_token, self.unseal_key = made["root_token"], made["keys_base64"][0]
        self.unseal()
        return self

    def unseal(self) -> None:
        """Unseal, and wait until it serves: for a moment after unsealing it answers with errors."""
        self.request("PUT", "sys/unseal", {"key": self.unseal_key})
        wait_until(
            lambda: self._health() == 200 and self._serves(), 20, "Vault to serve after unsealing"
        )

    def seal(self) -> None:
        """Seal it."""
        self.request("PUT", "sys/seal", {})

    def mount_kv(self, name: str) -> str:
        """Mount a KV v2 engine and wait until it takes writes; returns the name."""
        self.request("POST", f"sys/mounts/{name}", {"type": "kv", "options": {"version": "2"}})
        wait_until(lambda: self._kv_ready(name), 20, f"the mount {name}")
        return name

    def unmount(self, name: str) -> None:
        """Remove a mount with all that it holds."""
        self.request("DELETE", f"sys/mounts/{name}")

    def token(self, rules: str, **options: Any) -> str:
        """A token that may do only what these policy rules say."""
        name = f"policy-{os.urandom(6).hex()}"
        self.request("PUT", f"sys/policies/acl/{name}", {"policy": rules})
        made = self.request(
            "POST", "auth/token/create", {"policies": [name], "no_default_policy": True, **options}
        )
        return str(made["auth"]["client_token"])

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
        if self._storage == "raft":
            data = self.run_dir / "vault-data"
            data.mkdir(mode=0o700)
            # 1: a leader is found in seconds, as in production, and not in the ten of the default.
            place = {"path": str(data), "node_id": "one", "performance_multiplier": "1"}
        settings = {
            "storage": {self._storage: place},
            "listener": {
                "tcp": {
                    "address": f"127.0.0.1:{self._port.number}",
                    "cluster_address": f"127.0.0.1:{self._cluster_port.number}",
                    "tls_disable": True,
                }
            },
            "api_addr": self.address,
            "cluster_addr": f"http://127.0.0.1:{self._cluster_port.number}",
            "disable_mlock": True,
        }
        config.write_text(json.dumps(settings), encoding="utf-8")
        return [str(self._binary), "server", f"-config={config}"]

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
