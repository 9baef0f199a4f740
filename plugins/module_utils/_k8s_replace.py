# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An immutable Secret with other values: Kubernetes has no write for that, so it is removed and made anew.

In between the Secret is not there, and its other keys would be lost with a run that is killed just then. So the new one is first written to
a *stand-in* beside it, which says what it stands in for; a later run that finds the stand-in and no Secret makes the Secret of it.
Somebody who may not read the stand-in can make the Secret in between, without the keys that it keeps: a stand-in is therefore only
removed when the Secret has all of its keys, and until then they are brought back.
Rights beside those of a write: ``delete``, and ``get`` and ``delete`` on the stand-in's name.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, NoReturn, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_object import (
    Body,
    KubernetesSecret,
    data_of,
    metadata_of,
)

MARK = "keyturn.runbooks/stands-in-for"
_ABOUT = "keyturn.runbooks/metadata"
_SUFFIX = ".keyturn-stand-in"
_KEPT = ("labels", "annotations", "ownerReferences")
_LONGEST = 253


def anew(body: Mapping[str, Any], name: str, namespace: str) -> Body:
    """The Secret as it can be made: without what Kubernetes itself has written into it."""
    told = metadata_of(body)
    metadata: Dict[str, Any] = {key: told[key] for key in _KEPT if told.get(key)}
    kept = {key: body[key] for key in ("type", "data", "immutable") if body.get(key) is not None}
    about = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {**metadata, **about}, **kept}


def _about(found: Body) -> Dict[str, Any]:
    """What a stand-in says of the Secret, beside its values."""
    try:
        about = json.loads(metadata_of(found)["annotations"].get(_ABOUT) or "{}")
    except ValueError:
        about = None
    return about if isinstance(about, dict) else {}


class StandIn:
    """The copy beside a Secret.

    :ivar name: what it is called.
    :ivar where: how messages name what it stands in for.
    :param secret: that.
    """

    def __init__(self, secret: KubernetesSecret) -> None:
        self._secret = secret
        self.name = f"{secret.name}{_SUFFIX}"
        self.where = secret.where

    def _beside(self) -> Optional[KubernetesSecret]:
        return self._secret.beside(self.name) if len(self.name) <= _LONGEST else None

    def find(self) -> Optional[Body]:
        """The Secret that an earlier run was to make; none when there is no stand-in.

        :raises Denied: when this identity may not read it: there may be one.
        :raises Unreachable: without an answer.
        """
        beside = self._beside()
        found = self._read(beside) if beside else None
        return None if found is None else self._made_of(found)

    def _made_of(self, found: Body) -> Body:
        about = _about(found)
        body = {
            "metadata": about.get("metadata") or {},
            "type": found.get("type"),
            "data": data_of(found),
            "immutable": about.get("immutable"),
        }
        return anew(body, self._secret.name, self._secret.namespace)

    def beyond(self, body: Body) -> Optional[Body]:
        """What the stand-in keeps and a Secret that somebody made meanwhile lacks; none where it lacks nothing.

        :raises Unreachable: without an answer.
        """
        beside = self._beside()
        found = self._seen(beside) if beside else None
        rest = self._lacking(body, found) if found is not None else {}
        return {**self._made_of(found), "data": rest} if found is not None and rest else None

    @staticmethod
    def _lacking(body: Body, found: Body) -> Dict[str, str]:
        """The values of a stand-in that a Secret has no key for; the Secret that was to be replaced has lost nothing."""
        if metadata_of(body).get("uid") == _about(found).get("uid", ""):
            return {}
        there = data_of(body)
        return {key: value for key, value in data_of(found).items() if key not in there}

    def _seen(self, beside: KubernetesSecret) -> Optional[Body]:
        """The stand-in; none too where this identity may not read it."""
        try:
            return self._read(beside)
        except Denied:
            return None

    def _read(self, beside: KubernetesSecret) -> Optional[Body]:
        found = beside.read()
        marked = (metadata_of(found or {}).get("annotations") or {}).get(MARK)
        return found if marked == self._secret.name else None

    def remove(self) -> None:
        """Remove it where it is there.

        :raises Conflict, Denied, Unreachable: as Kubernetes says.
        """
        beside = self._beside()
        found = self._seen(beside) if beside else None
        if beside and found is not None:
            beside.delete(found)

    def check_remove(self) -> None:
        """Find out what would stop :meth:`remove`, without a write.

        :raises Denied: when the right is missing.
        """
        beside = self._beside()
        if beside:
            beside.need("delete")

    def tidy(self) -> None:
        """Remove it where it is there, and the Secret has all that it keeps.

        :raises Conflict, Denied, Unreachable: as Kubernetes says.
        """
        beside = self._beside()
        found = self._seen(beside) if beside else None
        if beside is None or found is None:
            return
        body = self._secret.read()
        if body is not None and not self._lacking(body, found):
            beside.delete(found)

    def swap(self, old: Body, new: Body) -> Body:
        """Remove the Secret that was read and make the new one, by way of the stand-in.

        :raises Conflict: when the Secret is no longer what was read; it is left as it is.
        :raises Refused: when something else decides when the Secret goes.
        :raises Denied, Unreachable, BadInput: as Kubernetes says. The next run goes on from there.
        """
        beside = self.check(old)
        body = anew(new, self._secret.name, self._secret.namespace)
        self._put(beside, body, old)
        try:
            self._secret.delete(old)
        except Denied as error:
            self._give_up(error)
        made = self._secret.create(body)
        self.remove()
        return made

    def _copy(self, body: Body, **about: Any) -> Body:
        """The stand-in for a Secret that is to be like this."""
        kept = {key: body["metadata"][key] for key in _KEPT if key in body["metadata"]}
        told = json.dumps({"metadata": kept, "immutable": body.get("immutable"), **about})
        copy = {**body, "metadata": {"annotations": {MARK: self._secret.name, _ABOUT: told}}}
        copy["metadata"].update(name=self.name, namespace=self._secret.namespace)
        copy.pop("immutable", None)
        return copy

    def _put(self, beside: KubernetesSecret, body: Body, old: Body) -> None:
        """Write the stand-in; over one that keeps what the Secret lacks, so that there is no moment without it.

        That one does not say which Secret it replaces, as that has not all that it keeps.
        """
        found = self._seen(beside)
        same = found is not None and found.get("type") == body.get("type")
        if found is not None and same and self._lacking(old, found):
            copy = self._copy(body)
            which = {key: metadata_of(found).get(key) for key in ("uid", "resourceVersion")}
            beside.replace({**copy, "metadata": {**copy["metadata"], **which}})
            return
        self.remove()
        beside.create(self._copy(body, uid=metadata_of(old).get("uid")))

    def _give_up(self, error: Denied) -> NoReturn:
        """Leave nothing beside a Secret that stays, but what it lacks."""
        try:
            self.tidy()
        except KeyturnError:
            raise error from None
        raise error

    def check(self, old: Body) -> KubernetesSecret:
        """Find out what would stop :meth:`swap`, without a write.

        :raises Refused, BadInput: when the Secret cannot go at once, or has no place beside it.
        :raises Denied: when a right is missing: half of it is worse than nothing.
        """
        if metadata_of(old).get("finalizers"):
            raise Refused(
                f"{self._secret.where}: it has finalizers, so something else decides when it goes; remove the Secret by hand"
            )
        beside = self._beside()
        if beside is None:
            raise BadInput(
                f"{self._secret.where}: its name leaves no room for the stand-in that keeps its values while it is replaced; at most "
                f"{_LONGEST - len(_SUFFIX)} characters"
            )
        self._secret.need("create", "delete")
        beside.need("get", "delete")
        return beside
