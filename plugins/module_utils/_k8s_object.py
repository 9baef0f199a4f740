# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Secret of Kubernetes: read as it is, and written by compare-and-set, with lost answers looked up.

A write names the resourceVersion and the uid that were read, so that it is refused when anybody wrote in between, or removed
the Secret and made another one of its name. Rights: ``get``, ``create`` and ``update`` on ``secrets``; ``create`` cannot be given for one
name alone, so an empty Secret that somebody made beforehand spares it.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Callable, Dict, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Corrupt,
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_errors import foreign
from ansible_collections.keyturn.runbooks.plugins.module_utils._kubernetes import Call, Cluster

Body = Dict[str, Any]

LIMIT = 1024 * 1024
"""Bytes that all values of one Secret may have together; names do not count (``MaxSecretSize`` in Kubernetes's core types)."""

KEY = re.compile(r"(?!\.\.?\Z|\.\.)[-._a-zA-Z0-9]{1,253}\Z")
"""What Kubernetes takes for the name of a key."""

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAMESPACE = re.compile(_LABEL + r"\Z")
_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*\Z"
)
_SENT_AGAIN = 3
"""How often a write whose answer was lost is sent, after it was seen that it was not done."""


def check_names(namespace: str, name: str, where: str) -> None:
    """Refuse names that no Secret can have, before anything is asked.

    :raises BadInput: naming which.
    """
    if not _NAMESPACE.match(namespace):
        raise BadInput(
            f"{where}: '{namespace}' is no name of a namespace: small letters, digits and dashes, at most 63"
        )
    if not _NAME.match(name):
        raise BadInput(
            f"{where}: '{name}' is no name of a Secret: small letters, digits, dashes and dots, at most 253"
        )


def encoded(text: str) -> str:
    """A value as Kubernetes keeps it. Bytes that are no UTF-8 stand in a text as Python's ``surrogateescape`` has them."""
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii")


def raw(value: Any, where: str) -> bytes:
    """The bytes of a value.

    :raises Corrupt: for what is no base64.
    """
    try:
        return base64.b64decode(value or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Corrupt(f"{where}: no base64") from None


def data_of(body: Optional[Mapping[str, Any]]) -> Dict[str, str]:
    """The values of a Secret, in base64."""
    return dict((body or {}).get("data") or {})


def size_of(body: Mapping[str, Any], where: str) -> int:
    """Bytes of all values together."""
    return sum(len(raw(value, where)) for value in data_of(body).values())


def metadata_of(body: Mapping[str, Any]) -> Dict[str, Any]:
    """What Kubernetes keeps about a Secret."""
    return dict(body.get("metadata") or {})


def version_of(body: Mapping[str, Any]) -> str:
    """Its resourceVersion."""
    return str(metadata_of(body).get("resourceVersion") or "")


class KubernetesSecret:
    """One Secret.

    :ivar place: how messages call it.
    :raises BadInput: for names that no Secret can have.
    """

    def __init__(self, cluster: Cluster, namespace: str, name: str, where: str) -> None:
        check_names(namespace, name, where)
        self.cluster = cluster
        self.namespace = namespace
        self.name = name
        self.place = f"Secret {namespace}/{name}"

    def __repr__(self) -> str:
        return f"KubernetesSecret({self.place})"

    @property
    def where(self) -> str:
        """How messages name it, with what asked for it and in which cluster."""
        return self.cluster.where(self.place)

    def beside(self, name: str) -> KubernetesSecret:
        """Another Secret of the same namespace."""
        return KubernetesSecret(self.cluster, self.namespace, name, self.where)

    def _call(self, verb: str, body: Optional[Body] = None, named: bool = True) -> Call:
        methods = {"get": "GET", "create": "POST", "update": "PUT", "delete": "DELETE"}
        path = ("api", "v1", "namespaces", self.namespace, "secrets")
        return Call(
            methods[verb],
            (*path, self.name) if named else path,
            self.place,
            f"{verb} secrets in namespace {self.namespace}",
            verb,
            body,
            query="fieldManager=keyturn" if verb in ("create", "update") else "",
        )

    def read(self, end: Optional[float] = None) -> Optional[Body]:
        """The Secret; none when Kubernetes says that there is none.

        :raises Denied, Unreachable, BadInput: as Kubernetes says.
        """
        found = self.cluster.find(self._call("get"), end)
        if found is not None and metadata_of(found).get("name") != self.name:
            raise foreign(self.where, "another object")
        return found

    def namespace_is_missing(self) -> bool:
        """Whether Kubernetes says that there is no such namespace; not where this identity may not ask.

        :raises Unreachable: without an answer.
        """
        call = Call(
            "GET",
            ("api", "v1", "namespaces", self.namespace),
            f"namespace {self.namespace}",
            f"get the namespace {self.namespace}",
            "get",
        )
        try:
            return self.cluster.find(call) is None
        except Denied:
            return False

    def no_namespace(self) -> Absent:
        """The error for a namespace that is missing."""
        return Absent(f"{self.where}: there is no namespace '{self.namespace}'; make it first")

    def create(self, body: Body) -> Body:
        """Make it, where there is none.

        :raises Conflict: when there is one.
        :raises Absent: when there is no namespace.
        :raises Denied, Refused, Unreachable, BadInput: as Kubernetes says.
        """
        try:
            return self._settled(lambda end: self._sent("create", body, end), body, "")
        except Absent:
            raise self.no_namespace() from None

    def replace(self, body: Body) -> Body:
        """Write over what was read; the body names its resourceVersion and uid.

        :raises Conflict: when it is no longer that; nothing was written.
        :raises Denied, Refused, Unreachable, BadInput: as Kubernetes says.
        """
        try:
            return self._settled(
                lambda end: self._sent("update", body, end), body, version_of(body)
            )
        except Absent:
            raise Conflict(
                f"{self.where}: it was removed meanwhile; nothing was written. Run again"
            ) from None

    def delete(self, body: Mapping[str, Any]) -> None:
        """Remove exactly what was read.

        :raises Conflict: when it is no longer that; nothing was removed.
        :raises Denied, Unreachable, BadInput: as Kubernetes says.
        """
        uid, version = metadata_of(body).get("uid"), version_of(body)
        options: Body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, "resourceVersion": version},
        }
        end = self.cluster.end()
        try:
            self.cluster.send(self._call("delete", options), end)
        except Absent:
            return
        except (Unreachable, Conflict) as error:
            if not error.details.get("uncertain"):
                raise
            found = self._looked_up(error, end)
            if found is not None and metadata_of(found).get("uid") == uid:
                raise

    def _sent(self, verb: str, body: Body, end: float) -> Body:
        return self.cluster.send(self._call(verb, body, named=verb != "create"), end)

    def _settled(self, send: Callable[[float], Body], wanted: Body, before: str) -> Body:
        """Send a write. Where its answer was lost, look whether it was done; where it was not, send it again.

        Sent twice, it cannot be done twice: it names the version that it follows, or must be the first.
        """
        end = self.cluster.end()
        sent = 0
        lost = False
        while True:
            sent += 1
            try:
                return send(end)
            except (Absent, Conflict, Unreachable) as error:
                lost = lost or bool(error.details.get("uncertain"))
                error.details["uncertain"] = lost
                if not lost:
                    raise
                found = self._looked_up(error, end)
                if found is not None and _holds(found, wanted, before):
                    return found
                unchanged = version_of(found or {}) == before
                if not unchanged or isinstance(error, Conflict) or sent == _SENT_AGAIN:
                    raise

    def _looked_up(self, error: KeyturnError, end: float) -> Optional[Body]:
        try:
            return self.read(end)
        except KeyturnError:
            raise error from None

    def may(self, verb: str) -> bool:
        """Whether Kubernetes lets this identity do that; also true where it does not say.

        :param verb: ``create`` (which Kubernetes checks without a name), ``update`` or ``delete``.
        :raises Unreachable: without an answer.
        """
        attributes = {"namespace": self.namespace, "verb": verb, "resource": "secrets"}
        if verb != "create":
            attributes["name"] = self.name
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = ("apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews")
        # It writes nothing, so it may be asked again.
        call = Call("POST", path, self.place, "look up its rights", "get", body)
        try:
            answer = self.cluster.send(call)
        except (Denied, Absent):
            return True
        told = answer.get("status") or {}
        if not isinstance(told, dict):
            raise foreign(self.where, "no review of rights")
        return bool(told.get("allowed", True))

    def need(self, *verbs: str) -> None:
        """Make sure of rights, in check mode.

        :raises Denied: naming the first that is missing.
        """
        for verb in verbs:
            if not self.may(verb):
                raise Denied(
                    f"{self.where}: Kubernetes denies this identity to {verb} secrets in namespace {self.namespace}; allow the verb "
                    f"{verb} in a Role, and bind it"
                )


def _holds(found: Mapping[str, Any], wanted: Mapping[str, Any], before: str) -> bool:
    """Whether a Secret is what a write should have made of it."""
    if version_of(found) == before or data_of(found) != data_of(wanted):
        return False
    if bool(found.get("immutable")) != bool(wanted.get("immutable")):
        return False
    kept, asked = metadata_of(found), metadata_of(wanted)
    return all(
        dict(kept.get(kind) or {}).items() >= dict(asked.get(kind) or {}).items()
        for kind in ("labels", "annotations")
    )
