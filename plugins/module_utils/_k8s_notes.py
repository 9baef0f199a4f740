# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else writes a Secret, and which pods will not see that it changed. Nothing of a value is told."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_object import metadata_of
from ansible_collections.keyturn.runbooks.plugins.module_utils._kubernetes import Call, Cluster

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_MOST_PODS = 500
_SHOWN = 10


def managers(body: Mapping[str, Any], names: Sequence[str]) -> Tuple[str, ...]:
    """Who will set these keys again, as far as the Secret tells, in words for a person.

    :param names: the keys that are written here.
    """
    return (*_owners(body), *_applied(body, names), *_kubectl(body, names))


def _owners(body: Mapping[str, Any]) -> Iterator[str]:
    for owner in metadata_of(body).get("ownerReferences") or []:
        if owner.get("controller"):
            yield (
                f"it is made by {owner.get('kind')} {owner.get('name')}, which may put its own values back; change the value there, "
                "or let that leave these keys alone"
            )


def _applied(body: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    for entry in metadata_of(body).get("managedFields") or []:
        held = ((entry.get("fieldsV1") or {}).get("f:data") or {}).keys()
        shared = [name for name in names if f"f:{name}" in held]
        if entry.get("operation") == "Apply" and shared:
            yield (
                f"{entry.get('manager')} manages {_listed(shared)} by server-side apply, and puts its value back when it next applies; "
                "take the key out of what it applies"
            )


def _kubectl(body: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    text = (metadata_of(body).get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return
    try:
        manifest = json.loads(text)
        held = {**(manifest.get("data") or {}), **(manifest.get("stringData") or {})}
    except (ValueError, AttributeError, TypeError):
        return
    shared = [name for name in names if name in held]
    if shared:
        yield (
            f"'kubectl apply' keeps {_listed(shared)} of its manifest in the annotation last-applied-configuration, in the clear, and puts "
            "that value back when it next applies; take the key out of the manifest and remove the annotation with "
            "'kubectl annotate secret NAME kubectl.kubernetes.io/last-applied-configuration-'"
        )


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def stale_pods(
    cluster: Cluster, namespace: str, name: str, keys: Sequence[str], replaced: bool
) -> List[str]:
    """The pods that go on with the old value of one of these keys until they are restarted.

    They have it as an environment variable, or as a file by subPath; or the Secret was immutable, which a node does not look at again.
    Empty too where this identity may not list pods, or nothing answers. One question, for the first 500 pods of the namespace.
    """
    call = Call(
        "GET",
        ("api", "v1", "namespaces", namespace, "pods"),
        f"pods of {namespace}",
        f"list pods in namespace {namespace}",
        "list",
        query=f"limit={_MOST_PODS}",
    )
    try:
        found = cluster.find(call) or {}
        return sorted(
            str(metadata_of(pod).get("name"))
            for pod in found.get("items") or []
            if (pod.get("status") or {}).get("phase") in ("Pending", "Running")
            and _keeps_old(pod.get("spec") or {}, name, set(keys), replaced)
        )
    except (KeyturnError, AttributeError, LookupError, TypeError, ValueError):
        # The Secret is written: pods of no known shape must not make a failure of it.
        return []


def _keeps_old(spec: Mapping[str, Any], name: str, keys: Any, replaced: bool) -> bool:
    volumes = {item["name"] for item in spec.get("volumes") or [] if _is_of(item, name)}
    if replaced and volumes:
        return True
    containers: List[Dict[str, Any]] = [
        *(spec.get("containers") or []),
        *(spec.get("initContainers") or []),
    ]
    return any(_reads_once(item, name, keys, volumes) for item in containers)


def _reads_once(container: Mapping[str, Any], name: str, keys: Any, volumes: Any) -> bool:
    for source in container.get("envFrom") or []:
        if (source.get("secretRef") or {}).get("name") == name:
            return True
    for variable in container.get("env") or []:
        asked = (variable.get("valueFrom") or {}).get("secretKeyRef") or {}
        if asked.get("name") == name and asked.get("key") in keys:
            return True
    return any(
        mount.get("name") in volumes and (mount.get("subPath") or mount.get("subPathExpr"))
        for mount in container.get("volumeMounts") or []
    )


def _is_of(volume: Mapping[str, Any], name: str) -> bool:
    if (volume.get("secret") or {}).get("secretName") == name:
        return True
    sources = (volume.get("projected") or {}).get("sources") or []
    return any((source.get("secret") or {}).get("name") == name for source in sources)
