# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Vault that asks a real Kubernetes who somebody is, by its method ``kubernetes`` and the API server's TokenReview."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

from estate.errors import Missing
from estate.kubernetes import KubernetesServer
from estate.vault import FINDER, VaultSaysNo, VaultServer, vault_binary

PLUGIN = "vault-plugin-auth-kubernetes"
METHOD = "kubernetes"
NAMESPACE = "default"
AUDIENCE = "vault"
RBAC = "rbac.authorization.k8s.io"


class MethodVault(VaultServer):
    """A Vault with the method, which a build of the tests' own has as a program beside it and others have inside."""

    def _argv(self) -> list[str]:
        argv = super()._argv()
        config = self.run_dir / "vault.json"
        settings = {**json.loads(config.read_text()), "plugin_directory": str(plugin().parent)}
        config.write_text(json.dumps(settings), encoding="utf-8")
        return argv

    def start(self) -> MethodVault:
        """Start, and make the method known where it is not.

        :raises EstateError: with the end of the log.
        """
        super().start()
        if METHOD not in self.request("LIST", "sys/plugins/catalog/auth")["data"]["keys"]:
            digest = hashlib.sha256(plugin().read_bytes()).hexdigest()
            known = {"sha256": digest, "command": PLUGIN}
            self.request("POST", f"sys/plugins/catalog/auth/{METHOD}", known)
        return self


def plugin() -> Path:
    """The program of the method, beside the server's own.

    :raises Missing: when it is not built and cannot be.
    """
    path = vault_binary().resolve().with_name(PLUGIN)
    if not path.exists():
        done = subprocess.run([FINDER], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"Vault's method kubernetes: {done.stderr.strip()[-300:]}")
    return path


class Accounts:
    """Service accounts of a cluster, and the role of a Vault's method that takes one of them.

    :ivar mount: where the method is mounted.
    :ivar name: the service account that the role ``runner`` takes.
    :ivar reviewer: the service account as which Vault asks.
    """

    def __init__(self, server: VaultServer, cluster: KubernetesServer, rules: str) -> None:
        self.server, self.cluster = server, cluster
        self.name, self.reviewer = (
            f"{kind}-{secrets.token_hex(3)}" for kind in ("runner", "vault")
        )
        for name in (self.name, self.reviewer):
            self.make(name)
        self._bind()
        self.mount = server.enable_auth(
            METHOD,
            kubernetes_host=cluster.address,
            kubernetes_ca_cert=cluster.tls.certificate.read_text(encoding="ascii"),
            token_reviewer_jwt=self.token(self.reviewer, []),
            disable_local_ca_jwt=True,
        )
        role = {
            "bound_service_account_names": [self.name],
            "bound_service_account_namespaces": [NAMESPACE],
            "audience": AUDIENCE,
            "token_policies": [server.policy(rules)],
            "token_ttl": "60s",
        }
        server.request("POST", f"auth/{self.mount}/role/runner", role)

    def make(self, name: str) -> None:
        """A service account."""
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        self.cluster.request("POST", path, {"metadata": {"name": name}})

    def token(self, name: str, audiences: list[str], seconds: int = 600) -> str:
        """A token that the API server makes for an account, as it does for a pod.

        :param audiences: whom it is for; none for the API server itself.
        """
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}/token"
        wish: dict[str, Any] = {"expirationSeconds": seconds, "audiences": audiences}
        return str(self.cluster.request("POST", path, {"spec": wish})["status"]["token"])

    def _bind(self) -> None:
        """Let Vault review tokens, by the role that Kubernetes itself has for that."""
        about = {"metadata": {"name": self.reviewer}}
        role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "system:auth-delegator"}
        who = {"kind": "ServiceAccount", "name": self.reviewer, "namespace": NAMESPACE}
        path = f"/apis/{RBAC}/v1/clusterrolebindings"
        self.cluster.request("POST", path, {**about, "roleRef": role, "subjects": [who]})

    def forbid_reviews(self) -> None:
        """Take that right from Vault."""
        path = f"/apis/{RBAC}/v1/clusterrolebindings/{self.reviewer}"
        self.cluster.request("DELETE", path)

    def close(self) -> None:
        """Take away what is bound in the whole cluster."""
        with contextlib.suppress(Exception):
            self.forbid_reviews()
        with contextlib.suppress(VaultSaysNo):
            self.server.request("DELETE", f"sys/auth/{self.mount}")
