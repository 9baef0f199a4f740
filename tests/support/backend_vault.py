# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mount of Vault, as the tests over all stores and sinks see it."""

from __future__ import annotations

import os
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from backend_port import Backend, Upstream
from estate.vault import AppRole, VaultSaysNo, VaultServer, vault_binary
from vault_rights import in_mount


class VaultBackend(Backend):
    """A mount of KV version 2."""

    kind = "Vault"
    keeps_versions = True
    field = "VALUE"
    largest = 1_048_576
    # In one text, that is, without the key and what else makes JSON of it.
    beyond = 1_048_700
    largest_value = 1_048_576
    beyond_value = 1_048_577

    def __init__(self, server: VaultServer, mount: str) -> None:
        super().__init__()
        self.server = server
        self.mount = mount
        self.environ = {"VAULT_ADDR": server.address, "VAULT_TOKEN": server.root_token}
        self._root = dict(self.environ)

    def keyring_version(self, name: str = "db_app") -> str:
        found = self.server.request("GET", f"{self.mount}/metadata/{quote(name)}")
        return str(found["data"]["current_version"])

    def note_keyring(self) -> str:
        return self.keyring_version()

    def go_back(self, noted: str) -> None:
        """``vault kv rollback``."""
        asked = ("kv", "rollback", f"-mount={self.mount}", f"-version={noted}", "db_app")
        environ = {
            **self._root,
            "HOME": "/nonexistent",
            "VAULT_CACERT": str(self.server.ca_file or ""),
        }
        program = [str(vault_binary()), *asked]
        subprocess.run(program, env=environ, check=True, capture_output=True, timeout=60)

    def keyring(self, name: str) -> str:
        return f"ref+vault://{self.mount}/{quote(name)}"

    def sink(self, name: str) -> str:
        return f"ref+vault://{self.mount}/sinks/{quote(name)}#/{self.field}"

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found = self.server.request("GET", f"{self.mount}/data/sinks/{quote(name)}")
        except VaultSaysNo as error:
            if error.status == 404:
                return None
            raise
        data: dict[str, Any] = found["data"]
        return data

    def held(self, name: str) -> str | None:
        found = self._read(name)
        return None if found is None else found["data"].get(self.field)

    def others(self, name: str) -> dict[str, str]:
        found = (self._read(name) or {})["data"]
        return {key: value for key, value in found.items() if key != self.field}

    def put(self, name: str, value: str) -> None:
        data = {"OTHER": "kept", self.field: value}
        self.server.request("POST", f"{self.mount}/data/sinks/{quote(name)}", {"data": data})

    def writes(self, name: str) -> int | str:
        found = self._read(name)
        return 0 if found is None else int(found["metadata"]["version"])

    def upstream(self) -> Upstream:
        return Upstream("127.0.0.1", int(self.server.address.rpartition(":")[2]))

    def through(self, port: int, ca: Path | None) -> None:
        self.environ["VAULT_ADDR"] = f"{'https' if ca else 'http'}://127.0.0.1:{port}"
        if ca:
            self.environ["VAULT_CACERT"] = str(ca)

    def heal(self, environ: dict[str, str]) -> None:
        super().heal(environ)
        if self.server.request("GET", "sys/seal-status")["sealed"]:
            self.server.unseal()

    def patience(self, seconds: float) -> None:
        self.environ["VAULT_CLIENT_TIMEOUT"] = str(seconds)

    def restrict(self, rules: str) -> None:
        """Go on as somebody who may do only what these rules of a policy say."""
        self.environ["VAULT_TOKEN"] = self.server.token(rules)

    def values(self) -> list[str]:
        return [self.environ["VAULT_TOKEN"]]


RIGHTS = (
    in_mount("rotate", "MOUNT", "sinks/*") + '\npath "MOUNT/metadata/*" { capabilities = ["read"] }'
)
"""The policy of docs/vault.md for a rotation. The list of versions, which the tests look at beside that, takes the last line."""


class ProductionVaultBackend(VaultBackend):
    """The same in a Vault with raft storage, TLS by its own authority, an audit log and five shares of which three open it.

    It is asked as an AppRole that has the rights of the documentation alone.
    """

    kind = "Vault, raft, TLS"
    # All of a secret is one entry of the log of raft, which takes 1 MiB.
    largest = 1_048_000
    largest_value = 1_048_000

    def __init__(self, server: VaultServer, mount: str, role: AppRole) -> None:
        super().__init__(server, mount)
        self.environ = {
            "VAULT_ADDR": server.address,
            "VAULT_CACERT": str(server.ca_file),
            "VAULT_ROLE_ID": role.role_id,
            "VAULT_SECRET_ID": role.secret_id,
            "VAULT_LOGIN_MOUNT_POINT": role.mount,
        }
        self._secret_id = role.secret_id
        self._roles = role.mount

    def upstream(self) -> Upstream:
        trust = ssl.create_default_context(cafile=str(self.server.ca_file))
        return replace(super().upstream(), tls=trust)

    def through(self, port: int, ca: Path | None) -> None:
        """The server itself is trusted, too: a redirect leads there."""
        assert ca, "TLS"
        assert self.server.ca_file, "TLS"
        both = ca.with_name(f"{ca.stem}-{os.getpid()}-and-vault.pem")
        both.write_text(ca.read_text() + self.server.ca_file.read_text())
        super().through(port, both)

    def new_role(self, rules: str = "", **options: Any) -> AppRole:
        """Another role at the same mount.

        :param rules: of its policy; what the documentation names unless others are given.
        :param options: of the role.
        """
        rules = rules or RIGHTS.replace("MOUNT", self.mount)
        return self.server.approle(self._roles, rules, **options)

    def restrict(self, rules: str) -> None:
        self.use(self.new_role(rules))

    def use(self, role: AppRole) -> None:
        """Go on as another role at the same mount."""
        self.environ.update(VAULT_ROLE_ID=role.role_id, VAULT_SECRET_ID=role.secret_id)
        self._secret_id = role.secret_id

    def tokens(self) -> list[str]:
        """Those of its logins."""
        return [session.client.token for session in self.sessions.values() if session.client.token]

    def token_at(self, address: str) -> str:
        """The one of its login at this address."""
        clients = [session.client for session in self.sessions.values()]
        return str(next(client.token for client in clients if client.url == address))

    def lasts(self, token: str) -> int:
        """The seconds that Vault gives a token; 0 for one that it does not know."""
        try:
            found = self.server.request("POST", "auth/token/lookup", {"token": token})
        except VaultSaysNo as error:
            if error.status == 403:
                return 0
            raise
        return int(found["data"]["ttl"])

    def values(self) -> list[str]:
        return [self._secret_id, *self.tokens()]
