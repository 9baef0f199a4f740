# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Service accounts of a Kubernetes: what each may do, and a token that the API server itself made for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from estate.kubernetes import KubernetesServer

RBAC = "rbac.authorization.k8s.io"
TOKEN_SECONDS = 3600


def add_service_account(
    server: KubernetesServer, namespace: str, name: str, rules: Sequence[dict[str, Any]]
) -> str:
    """A service account that may do only this in an existing namespace; returns a token of it, valid for an hour.

    The server knows the account by its name afterwards: ``server.kubeconfig(name)`` is its kubeconfig.
    """
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    rights = f"/apis/{RBAC}/v1/namespaces/{namespace}"
    about = {"metadata": {"name": name}}
    server.request("POST", accounts, about)
    server.request("POST", f"{rights}/roles", {**about, "rules": list(rules)})
    role = {"apiGroup": RBAC, "kind": "Role", "name": name}
    who = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    server.request("POST", f"{rights}/rolebindings", {**about, "roleRef": role, "subjects": [who]})
    asked = {"spec": {"expirationSeconds": TOKEN_SECONDS}}
    made = server.request("POST", f"{accounts}/{name}/token", asked)
    server.tokens[name] = str(made["status"]["token"])
    return server.tokens[name]
