# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""References to Kubernetes: the keys of a Secret or a ConfigMap. They are read and never written here."""

from __future__ import annotations

import base64
from typing import Any, Dict, Mapping, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    Corrupt,
    Denied,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_errors import foreign
from ansible_collections.keyturn.runbooks.plugins.module_utils._kubernetes import (
    Call,
    Cluster,
    open_cluster,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ref_sources import (
    Unusable,
    decode,
    read_keys,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference

_SHOWN_KEYS = 20


def load_object(reference: Reference, context: Context, option: str, structured: bool) -> Any:
    """The keys of a Secret or a ConfigMap; or, where the path names a key, its text."""
    _v1, kind, namespace, name, *key = reference.path.split("/")
    cluster = open_cluster(reference, context, option)
    place, kinds = f"{kind} {namespace}/{name}", f"{kind.lower()}s"
    path = ("api", "v1", "namespaces", namespace, kinds, name)
    found = cluster.find(Call("GET", path, place, f"get {kinds} in namespace {namespace}", "get"))
    if found is None:
        raise _absent(cluster, kind, namespace, name)
    if (found.get("metadata") or {}).get("name") != name:
        raise foreign(cluster.where(place), "another object")
    keys = _keys(found, kind, cluster.where(place))
    return _one(keys, key[0], cluster.where(place), structured) if key else keys


def _absent(cluster: Cluster, kind: str, namespace: str, name: str) -> Absent:
    """Kubernetes says of a missing namespace only that the object in it is missing: ask for that too, where one may."""
    where = cluster.where(f"{kind} {namespace}/{name}")
    path = ("api", "v1", "namespaces", namespace)
    call = Call("GET", path, f"namespace {namespace}", f"get the namespace {namespace}", "get")
    try:
        if cluster.find(call) is None:
            return Absent(f"{where}: there is no namespace '{namespace}'")
    except Denied:
        return Absent(
            f"{where}: there is no {kind} '{name}' in namespace '{namespace}', or no such namespace: this identity may not ask"
        )
    return Absent(f"{where}: the namespace '{namespace}' is there, and has no {kind} '{name}'")


def _decoded(value: Union[str, bytes], where: str) -> Union[str, Unusable]:
    try:
        return decode(base64.b64decode(value or "", validate=True), where)
    except ValueError:
        return Unusable(Corrupt(f"{where}: no base64"))
    except Corrupt as error:
        return Unusable(error)


def _keys(found: Any, kind: str, where: str) -> Dict[str, Any]:
    encoded: Mapping[str, Any] = found.get("data" if kind == "Secret" else "binaryData") or {}
    keys: Dict[str, Any] = {
        key: _decoded(value, f"{where}, key {key}") for key, value in encoded.items()
    }
    return keys if kind == "Secret" else {**keys, **(found.get("data") or {})}


def _one(keys: Mapping[str, Any], key: str, where: str, structured: bool) -> Any:
    if key not in keys:
        shown = ", ".join(sorted(keys)[:_SHOWN_KEYS]) or "none"
        raise Absent(f"{where}: it has no key '{key}'; keys there: {shown}")
    value = keys[key]
    return read_keys(value, where) if structured and isinstance(value, str) else value
