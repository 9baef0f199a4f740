# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""References to Kubernetes: the keys of a Secret or a ConfigMap. They are read and never written here."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Dict, Mapping, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    Corrupt,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._kubernetes import (
    TIMEOUT,
    Cluster,
    said_absent,
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
    cluster = Cluster(reference, context, option)
    place = f"{kind} {namespace}/{name}"

    def ask(api: Any) -> Any:
        read = api.read_namespaced_secret if kind == "Secret" else api.read_namespaced_config_map
        try:
            return read(name, namespace, _request_timeout=TIMEOUT)
        except Exception as error:
            if said_absent(error):
                raise _absent(api, cluster, kind, namespace, name) from None
            raise

    found = cluster.call(place, f"get {kind.lower()}s in namespace {namespace}", ask)
    if not (found.metadata and found.metadata.name == name):
        raise Unreachable(
            f"{cluster.where(place)}: an answer that is not Kubernetes's; check the kubeconfig's server and what stands between"
        )
    keys = _keys(found, kind, cluster.where(place))
    return _one(keys, key[0], cluster.where(place), structured) if key else keys


def _absent(api: Any, cluster: Cluster, kind: str, namespace: str, name: str) -> Absent:
    """Kubernetes says of a missing namespace only that the object in it is missing: ask for that too, where one may."""
    where = cluster.where(f"{kind} {namespace}/{name}")
    try:
        api.read_namespace(namespace, _request_timeout=TIMEOUT)
    except Exception as error:
        if said_absent(error):
            return Absent(f"{where}: there is no namespace '{namespace}'")
        return Absent(
            f"{where}: there is no {kind} '{name}' in namespace '{namespace}', or no such namespace: this identity may not ask"
        )
    return Absent(f"{where}: the namespace '{namespace}' is there, and has no {kind} '{name}'")


def _decoded(value: Union[str, bytes], where: str) -> Union[str, Unusable]:
    try:
        return decode(base64.b64decode(value, validate=True), where)
    except binascii.Error:
        return Unusable(Corrupt(f"{where}: no base64"))
    except Corrupt as error:
        return Unusable(error)


def _keys(found: Any, kind: str, where: str) -> Dict[str, Any]:
    encoded: Mapping[str, Any] = (found.data if kind == "Secret" else found.binary_data) or {}
    keys: Dict[str, Any] = {
        key: _decoded(value, f"{where}, key {key}") for key, value in encoded.items()
    }
    return keys if kind == "Secret" else {**keys, **(found.data or {})}


def _one(keys: Mapping[str, Any], key: str, where: str, structured: bool) -> Any:
    if key not in keys:
        shown = ", ".join(sorted(keys)[:_SHOWN_KEYS]) or "none"
        raise Absent(f"{where}: it has no key '{key}'; keys there: {shown}")
    value = keys[key]
    return read_keys(value, where) if structured and isinstance(value, str) else value
