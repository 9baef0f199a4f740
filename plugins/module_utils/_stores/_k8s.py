# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A document in a Secret of Kubernetes: ``ref+k8s://v1/Secret/namespace/name``.

* The document's text is the key ``keyring.json`` of a Secret of its own, and a part of it can be referred to:
  ``ref+k8s://v1/Secret/namespace/name/keyring.json#/...``.
* A version is the Secret's resourceVersion; each write is refused by Kubernetes when the Secret is no longer that (or when there is
  one, for a first write). Whoever changes a label in between is a conflict too: the step that lost is run again.
* Kubernetes keeps no older versions, so an old document cannot be brought back from it: back etcd up.
* An empty Secret counts as a place without a document, so that an identity needs no ``create``, which Kubernetes cannot grant for one
  name alone. A Secret that holds other keys and no document is refused: it is somebody else's.
* A write whose answer was lost is looked up: if the Secret holds what was to be written, it was written.
* Rights: ``get`` and ``update`` on the Secret by its name, and ``create`` on ``secrets`` where there is none yet. Whoever may read
  Secrets in the namespace can read the credential, and whoever may make pods in it can, too: give keyrings a namespace of their own.
"""

from __future__ import annotations

import base64
import copy
from datetime import datetime
from typing import List, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Corrupt,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_object import (
    LIMIT,
    Body,
    KubernetesSecret,
    data_of,
    metadata_of,
    raw,
    version_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._k8s import secret_of
from ansible_collections.keyturn.runbooks.plugins.module_utils._store_port import StoredVersion

TEXT_KEY = "keyring.json"
_LABELS = {"app.kubernetes.io/managed-by": "keyturn.runbooks"}


def _time(text: Optional[str]) -> Optional[datetime]:
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return None


class KubernetesStore:
    """One document as one Secret."""

    def __init__(self, secret: KubernetesSecret) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return f"KubernetesStore({self._secret.place})"

    def _read(self) -> Optional[Body]:
        """The Secret; none when there is none.

        :raises Absent: when there is not even its namespace.
        :raises BadInput: when it is no place for a keyring.
        """
        body = self._secret.read()
        if body is None:
            if self._secret.namespace_is_missing():
                raise self._secret.no_namespace()
            return None
        if data_of(body) and TEXT_KEY not in data_of(body):
            raise BadInput(
                f"{self._secret.where}: the Secret has other keys and no '{TEXT_KEY}', so it is no keyring; name a Secret of its own"
            )
        return body

    def read(self) -> Optional[Tuple[str, str]]:
        """The document and its version; none when Kubernetes says that there is none.

        :raises Absent: when there is not even its namespace.
        :raises Denied, Unreachable, BadInput, Corrupt: as the error says.
        """
        body = self._read()
        if body is None or TEXT_KEY not in data_of(body):
            return None
        return self._text(body), version_of(body)

    def _text(self, body: Body) -> str:
        where = f"{self._secret.where}, key {TEXT_KEY}"
        try:
            return raw(data_of(body)[TEXT_KEY], where).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise Corrupt(
                f"{where}: it holds bytes that are no text in UTF-8; put back the last good copy"
            ) from None

    def write(self, text: str, expected: Optional[str]) -> str:
        """Write a version if the present one is the expected one.

        :raises Conflict: when it is not; nothing was written.
        :raises Absent, Denied, Refused, Unreachable, BadInput: as the error says.
        """
        value = text.encode("utf-8", "surrogatepass")
        body = self._writable()
        if expected is None:
            return self._first(value, body)
        if body is None or version_of(body) != expected:
            raise Conflict(
                f"{self._secret.where}: somebody else wrote there first; nothing was written. Run again"
            )
        return version_of(self._secret.replace(self._with(value, body)))

    def check_write(self, expected: Optional[str]) -> None:
        """Ask Kubernetes whether this identity may write there.

        :raises Absent, Denied, Refused, Unreachable, BadInput: as :meth:`write` would.
        """
        body = self._writable()
        self._secret.need("create" if body is None else "update")

    def _writable(self) -> Optional[Body]:
        body = self._read()
        if body is not None and body.get("immutable"):
            raise Refused(
                f"{self._secret.where}: the Secret is immutable, so no keyring can be kept in it; name another one"
            )
        return body

    def _first(self, value: bytes, body: Optional[Body]) -> str:
        if body is None:
            metadata = {
                "name": self._secret.name,
                "namespace": self._secret.namespace,
                "labels": dict(_LABELS),
            }
            new = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata}
            return version_of(self._secret.create(self._with(value, new)))
        if TEXT_KEY in data_of(body):
            raise Conflict(f"{self._secret.where}: it was made meanwhile; nothing was written")
        return version_of(self._secret.replace(self._with(value, body)))

    def _with(self, value: bytes, body: Body) -> Body:
        others = sum(
            len(raw(held, self._secret.where))
            for key, held in data_of(body).items()
            if key != TEXT_KEY
        )
        if others + len(value) > LIMIT:
            raise BadInput(
                f"{self._secret.where}: the keyring would be {len(value)} bytes, and Kubernetes takes {LIMIT} for all keys of a Secret; "
                "retire stages that are no longer needed, or keep the keyring elsewhere"
            )
        new = copy.deepcopy(body)
        new["data"] = {**data_of(body), TEXT_KEY: base64.b64encode(value).decode("ascii")}
        return new

    def time(self) -> Optional[datetime]:
        """What Kubernetes's clock says now, to the second; none before its first answer."""
        return self._secret.cluster.time()

    def versions(self) -> List[StoredVersion]:
        """The present one; Kubernetes keeps no other.

        :raises Absent, Denied, Unreachable, BadInput: as the error says.
        """
        body = self._read()
        if body is None or TEXT_KEY not in data_of(body):
            return []
        fields = metadata_of(body).get("managedFields") or []
        times = [_time(entry.get("time")) for entry in fields]
        made = max((time for time in times if time), default=None)
        return [StoredVersion(version_of(body), "current", made)]


def open_kubernetes_store(reference: Reference, context: Context, option: str) -> KubernetesStore:
    """The store of a ``ref+k8s`` reference; nothing is asked yet.

    :raises BadInput, Absent, MissingLibrary: when reference or environment lack something.
    """
    secret, key = secret_of(reference, context, option)
    if key:
        raise BadInput(
            f"{option}: {reference.text}: a keyring fills its Secret alone; leave out the key '{key[0]}'"
        )
    return KubernetesStore(secret)
