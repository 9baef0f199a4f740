# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Secret of Kubernetes as a place for sinks: its keys are the fields.

Everything else is kept to the byte: other keys (binary ones too), labels, annotations, owner references, the type. What was read is
written back with the changed keys, by compare-and-set (see :mod:`_k8s_object`). The annotation that ``kubectl apply`` keeps its
manifest in is left as it is: no value is written to it, and a note tells that it will put its own back.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, ContextManager, Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Denied,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_notes import managers
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_object import (
    KEY,
    LIMIT,
    Body,
    KubernetesSecret,
    data_of,
    encoded,
    metadata_of,
    raw,
    size_of,
    version_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_replace import StandIn, anew
from ansible_collections.keyturn.runbooks.plugins.module_utils._kubernetes import open_cluster
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, reveal
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import (
    Changes,
    Observed,
    Stale,
    bytes_note,
)

_MARKS = ("labels", "annotations")
_MADE_AGAIN = (
    "it was being replaced when a run was killed; it is made again from what that run left"
)
_BROUGHT_BACK = "it was made by somebody else while it was being replaced; the keys that it lacks are brought back from what that run left"
_UNSEEN = (
    "it is not there, and this identity may not read '{}', which keeps its other keys when a run that was replacing it is killed; allow "
    "the verb get on that name to see them. A later run with replace_immutable brings them back"
)


@dataclass(frozen=True)
class Wish:
    """What a task asks of a Secret beside its keys.

    :param type: of a new one; of one that is there it must be this.
    :param labels: to set, or with none to remove; others are kept.
    :param immutable: none leaves it as it is.
    :param replace_immutable: whether an immutable Secret may be removed and made anew.
    :param must_exist: make it even where it is to have no key.
    """

    type: Optional[str] = None
    labels: Mapping[str, Optional[str]] = field(default_factory=dict)
    annotations: Mapping[str, Optional[str]] = field(default_factory=dict)
    immutable: Optional[bool] = None
    replace_immutable: bool = False
    must_exist: bool = False


@dataclass(frozen=True)
class Found:
    """What was read.

    :param body: the Secret; none when there is none.
    :param left: what an interrupted replacement was to make of it; where there is a Secret, with those keys alone that it lacks.
    """

    body: Optional[Body]
    left: Optional[Body] = None


class KubernetesPlace:
    """One Secret.

    :param where: how messages name it.
    """

    def __init__(self, secret: KubernetesSecret, where: str, wish: Wish = Wish()) -> None:
        self._secret = secret
        self._where = where
        self._wish = wish
        self._stand_in = StandIn(secret)

    def exclusive(self) -> Optional[ContextManager[None]]:
        """Nothing: Kubernetes compares and sets."""
        return None

    def tidy(self) -> None:
        """Remove the stand-in that a killed run left beside a Secret it had replaced."""
        if self._wish.replace_immutable:
            self._stand_in.tidy()

    def check(self, changes: Changes) -> None:
        """Refuse what no key of a Secret can be.

        :raises BadInput: naming the key.
        """
        for name, value in changes.items():
            if not KEY.match(name):
                raise BadInput(
                    f"{self._where}: '{name}' is no name of a key: letters, digits, '-', '_' and '.', at most 253, and not '..' in front"
                )
            try:
                encoded("" if value is None else reveal(value))
            except UnicodeEncodeError:
                raise BadInput(
                    f"{self._where}: key {name}: it holds half of a character, which is no UTF-8"
                ) from None

    def read(self, names: Tuple[str, ...]) -> Observed:
        """The named keys.

        :raises Denied, Unreachable, BadInput, Refused: as Kubernetes says.
        """
        body = self._secret.read()
        left, notes = self._left(body)
        found = Found(body, left)
        fields = {
            name: Secret(self._text(name, value))
            for name, value in {**data_of(left), **data_of(body)}.items()
            if name in names
        }
        notes = (managers(body, names) if body else ()) + notes + bytes_note(fields)
        version = version_of(body) if body else None
        exists = body is not None or left is not None
        return Observed(fields, version, exists, self._drift(found), notes, found)

    def _left(self, body: Optional[Body]) -> Tuple[Optional[Body], Tuple[str, ...]]:
        """What an interrupted replacement left for this Secret, and what a person should know of it.

        Many that may write a Secret may read no other, so a stand-in that cannot be seen stops nothing: whoever finds it later brings
        its keys back.
        """
        if body is not None:
            left = self._stand_in.beyond(body) if self._wish.replace_immutable else None
            return left, (_BROUGHT_BACK,) if left else ()
        try:
            left = self._stand_in.find()
        except Denied:
            return None, (_UNSEEN.format(self._stand_in.name),)
        return left, (_MADE_AGAIN,) if left else ()

    def _text(self, name: str, value: Any) -> str:
        return raw(value, f"{self._where}, key {name}").decode("utf-8", "surrogateescape")

    def _drift(self, found: Found) -> Tuple[str, ...]:
        wish, body = self._wish, found.body
        if body is None:
            left = ("not there: its replacement was interrupted",) if found.left else ()
            return left or (("not there",) if wish.must_exist else ())
        if wish.type is not None and body.get("type") != wish.type:
            raise Refused(
                f"{self._where}: the Secret is of type {body.get('type')}, which nobody can change; leave 'type' out, or remove the "
                "Secret first"
            )
        drift = [f"key {name}: lost in an interrupted replacement" for name in data_of(found.left)]
        for kind in _MARKS:
            there = metadata_of(body).get(kind) or {}
            for name, value in getattr(wish, kind).items():
                if there.get(name) != value:
                    drift.append(f"{kind[:-1]} {name}: {_worded(there.get(name), value)}")
        immutable = bool(body.get("immutable"))
        if wish.immutable is not None and wish.immutable != immutable:
            drift.append("immutable" if immutable else "not immutable")
        return tuple(drift)

    def check_write(self, observed: Observed, changes: Changes) -> None:
        """Find out what would stop :meth:`write`, without one: the immutable Secret, the size, the namespace, the rights.

        :raises Absent, Denied, Refused, BadInput: as :meth:`write` would.
        """
        found = _found(observed)
        body = self._wanted(found, changes)
        if found.body is None:
            if self._secret.namespace_is_missing():
                raise self._secret.no_namespace()
            self._secret.need("create")
        elif self._must_be_replaced(found.body, body):
            self._stand_in.check(found.body)
        else:
            self._secret.need("update")

    def write(self, observed: Observed, changes: Changes) -> Optional[str]:
        """Write the changed keys on top of what was read; everything else is kept.

        :raises Stale: when somebody wrote in between.
        :raises Absent, Denied, Refused, Unreachable, BadInput: as Kubernetes says.
        """
        found = _found(observed)
        body = self._wanted(found, changes)
        try:
            if found.body is None:
                made = self._secret.create(body)
            elif self._must_be_replaced(found.body, body):
                made = self._stand_in.swap(found.body, body)
            else:
                made = self._secret.replace(body)
        except Conflict as error:
            raise Stale(error.message) from None
        if found.left is not None:
            self._stand_in.remove()
        return version_of(made)

    def _wanted(self, found: Found, changes: Changes) -> Body:
        """The Secret as it is to be.

        :raises BadInput: when its values are too large together.
        """
        wish = self._wish
        if found.body is not None:
            body = copy.deepcopy(found.body)
        else:
            empty: Body = {"type": wish.type or "Opaque"}
            body = anew(found.left or empty, self._secret.name, self._secret.namespace)
        data = {**data_of(found.left), **data_of(body)}
        for name, value in changes.items():
            if value is None:
                data.pop(name, None)
            else:
                data[name] = encoded(reveal(value))
        body["data"] = data
        for kind in _MARKS:
            _mark(body["metadata"], kind, getattr(wish, kind))
        if wish.immutable is not None:
            body["immutable"] = wish.immutable
        self._check_size(body)
        return body

    def _check_size(self, body: Body) -> None:
        size = size_of(body, self._where)
        if size > LIMIT:
            raise BadInput(
                f"{self._where}: the Secret's values would be {size} bytes together, and Kubernetes takes {LIMIT}; keep some of them in "
                "a Secret of their own"
            )

    def _must_be_replaced(self, old: Body, new: Body) -> bool:
        """Whether only a new Secret can be like this.

        :raises Refused: when that is not allowed here.
        """
        kept = data_of(old) == data_of(new) and bool(new.get("immutable"))
        if not old.get("immutable") or kept:
            return False
        if not self._wish.replace_immutable:
            raise Refused(
                f"{self._where}: the Secret is immutable, so Kubernetes changes no key of it; write to a Secret of another name and point "
                "the pods to that, or let keyturn.runbooks.k8s_secret replace it with 'replace_immutable: true'"
            )
        return True


def _found(observed: Observed) -> Found:
    if not isinstance(observed.state, Found):
        raise TypeError("observed by another place")
    return observed.state


def _worded(there: Any, value: Optional[str]) -> str:
    if value is None:
        return "there"
    return "not there" if there is None else "another value"


def _mark(metadata: Dict[str, Any], kind: str, wish: Mapping[str, Optional[str]]) -> None:
    """Set labels or annotations; those with none are removed."""
    marks = dict(metadata.get(kind) or {})
    for name, value in wish.items():
        if value is None:
            marks.pop(name, None)
        else:
            marks[name] = value
    if marks or kind in metadata:
        metadata[kind] = marks


def secret_of(
    reference: Reference, context: Context, where: str
) -> Tuple[KubernetesSecret, List[str]]:
    """The Secret that a reference names, and the key if it names one; nothing is asked yet.

    :raises BadInput, Absent, MissingLibrary: when reference or environment lack something.
    """
    _version, kind, namespace, name, *key = reference.path.split("/")
    if kind != "Secret":
        raise BadInput(f"{where}: a {kind} is no place for secrets; expected v1/Secret/…")
    cluster = open_cluster(reference, context, where)
    return KubernetesSecret(cluster, namespace, name, where), key


def open_kubernetes_place(reference: Reference, context: Context, where: str) -> KubernetesPlace:
    """The Secret that a sink's reference names; nothing is read yet.

    :raises BadInput, Absent, MissingLibrary: when reference or environment lack something.
    """
    return KubernetesPlace(secret_of(reference, context, where)[0], where)
