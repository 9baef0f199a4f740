# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Roles of docs/stores.md, and somebody who has one of them, or less, in a namespace of a real Kubernetes."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from estate.kubernetes import USERS, KubernetesServer
from k8s_task import TaskWorld
from k8s_world import RBAC

PAGE = Path(__file__).resolve().parents[2] / "docs" / "stores.md"
USER = "reader"
Rule = dict[str, Any]
Right = tuple[str, str]
"""A verb, and the name of the Secret that it is for; none for all of them."""


def _objects() -> list[dict[str, Any]]:
    """The manifests of the page."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return [yaml.safe_load(block) for block in blocks]


def roles() -> dict[str, list[Rule]]:
    """The rules of each Role of the page."""
    found = _objects()
    return {role["metadata"]["name"]: role["rules"] for role in found if role["kind"] == "Role"}


@contextmanager
def policy(server: KubernetesServer, namespaces: Sequence[str]) -> Iterator[None]:
    """The page's admission policy, until the block ends; bound to these namespaces instead of the page's."""
    base = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
    kinds = {"ValidatingAdmissionPolicy": "ies", "ValidatingAdmissionPolicyBinding": "ybindings"}
    found = {item["kind"]: item for item in _objects() if item["kind"] in kinds}
    [names] = _selected(found["ValidatingAdmissionPolicyBinding"])
    names["values"] = list(namespaces)
    for kind, ending in kinds.items():
        server.request("POST", f"{base}{ending}", found[kind])
    try:
        yield
    finally:
        for kind, ending in kinds.items():
            server.request("DELETE", f"{base}{ending}/{found[kind]['metadata']['name']}")


def _selected(binding: dict[str, Any]) -> list[dict[str, Any]]:
    selector = binding["spec"]["matchResources"]["namespaceSelector"]
    expressions: list[dict[str, Any]] = selector["matchExpressions"]
    return expressions


def rights(rules: list[Rule]) -> Iterator[Right]:
    """Everything that rules allow, one by one."""
    for rule in rules:
        for name in rule.get("resourceNames", [""]):
            yield from ((verb, name) for verb in rule["verbs"])


def without(rules: list[Rule], verb: str, name: str) -> list[Rule]:
    """All rules but one right."""
    kept = copy.deepcopy(rules)
    [rule] = [item for item in kept if item.get("resourceNames", [""]) == [name]]
    rule["verbs"].remove(verb)
    return [item for item in kept if item["verbs"]]


class FewRights(TaskWorld):
    """A namespace, and a user who may do in it what is told."""

    def may(self, rules: list[Rule]) -> None:
        """Go on as a user with these rights and no others; waits until the server knows of them."""
        base = f"/apis/{RBAC}/v1/namespaces/{self.namespace}"
        name = {"metadata": {"name": "least"}}
        self.server.request("POST", f"{base}/roles", {**name, "rules": rules})
        role = {"apiGroup": RBAC, "kind": "Role", "name": "least"}
        who = {"apiGroup": RBAC, "kind": "User", "name": USER}
        body = {**name, "roleRef": role, "subjects": [who]}
        self.server.request("POST", f"{base}/rolebindings", body)
        until = time.monotonic() + 10
        while not all(self._allowed(*right) for right in rights(rules)):
            assert time.monotonic() < until, "the server does not know of the Role"
            time.sleep(0.02)
        self.use(USER)

    def _allowed(self, verb: str, name: str) -> bool:
        about = {"namespace": self.namespace, "verb": verb, "resource": "secrets", "name": name}
        spec = {"user": USER, "groups": [USERS[USER]], "resourceAttributes": about}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(self.server.request("POST", path, {"spec": spec})["status"]["allowed"])
