# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Service accounts of a real Kubernetes and their tokens: good ones, expired ones, and those of an account that is gone."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from estate.kubernetes import KubernetesServer
from estate.processes import wait_until

RBAC = "rbac.authorization.k8s.io"


class Account:
    """A service account that may do some things with the Secrets of its namespace, and nothing else."""

    def __init__(
        self, server: KubernetesServer, namespace: str, name: str, verbs: Sequence[str]
    ) -> None:
        self._server = server
        self._path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self._name = name
        named = {"metadata": {"name": name}}
        server.request("POST", self._path, named)
        base = f"/apis/{RBAC}/v1/namespaces/{namespace}"
        rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": list(verbs)}
        server.request("POST", f"{base}/roles", {**named, "rules": [rule]})
        role = {"apiGroup": RBAC, "kind": "Role", "name": name}
        who = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        server.request(
            "POST", f"{base}/rolebindings", {**named, "roleRef": role, "subjects": [who]}
        )

    def token(self) -> str:
        """A token that the API server makes (TokenRequest)."""
        asked = f"{self._path}/{self._name}/token"
        return str(self._server.request("POST", asked, {"spec": {}})["status"]["token"])

    def expired_token(self) -> str:
        """One that the API server made an hour and two minutes ago, and its hour is over.

        It makes none that lasts less than ten minutes, so the times in one of its tokens are moved, and it is signed again with the
        API server's own key; one that is signed so with times that are good is taken.
        """
        made = self.token()
        assert self._is_known(self._dated(made, 0)), "a token that is signed here is a good one"
        return self._dated(made, -3720)

    def revoked_token(self) -> str:
        """One of this account, which is deleted: all its tokens end with it."""
        made = [self.token() for _number in range(8)]
        self._server.request("DELETE", f"{self._path}/{self._name}")
        # A token that was taken once is taken for ten more seconds, so each of them is shown once.
        wait_until(lambda: not self._is_known(made.pop()), 5, "the deletion to be heard of", 0.1)
        return made[-1]

    def _dated(self, token: str, seconds: int) -> str:
        head, body, _signature = token.split(".")
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(f"{body}=="))
        for name in ("iat", "nbf", "exp"):
            claims[name] += seconds
        told = f"{head}.{_encoded(json.dumps(claims).encode())}"
        key = serialization.load_pem_private_key(self._server.tls.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        pair = decode_dss_signature(key.sign(told.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{told}.{_encoded(b''.join(number.to_bytes(32, 'big') for number in pair))}"

    def _is_known(self, token: str) -> bool:
        """Whether the API server takes the token for somebody's, whatever that one may do."""
        trust = ssl.create_default_context(cafile=str(self._server.tls.certificate))
        host = self._server.address.rpartition("/")[2]
        connection = http.client.HTTPSConnection(host, timeout=10, context=trust)
        try:
            connection.request("GET", "/api", headers={"Authorization": f"Bearer {token}"})
            return connection.getresponse().status != 401
        finally:
            connection.close()


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
