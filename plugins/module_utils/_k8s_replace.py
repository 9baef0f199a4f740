# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An immutable Secret with other values: Kubernetes has no write for that, so it is removed and made anew.

In between the Secret is not there, and its other keys would be lost with a run that is killed just then. So the new one is first written to
a *stand-in* beside it, which says what it stands in for; a later run that finds the stand-in and no Secret makes the Secret of it.
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


class StandIn:
    """The copy beside a Secret.

    :param secret: what it stands in for.
    """

    def __init__(self, secret: KubernetesSecret) -> None:
        self._secret = secret
        self._name = f"{secret.name}{_SUFFIX}"

    def _beside(self) -> Optional[KubernetesSecret]:
        return self._secret.beside(self._name) if len(self._name) <= _LONGEST else None

    def find(self) -> Optional[Body]:
        """The Secret that an earlier run was to make; none when there is no stand-in, or this identity may not read it.

        :raises Unreachable: without an answer.
        """
        beside = self._beside()
        found = self._read(beside) if beside else None
        if found is None:
            return None
        about = json.loads(metadata_of(found)["annotations"].get(_ABOUT) or "{}")
        body = {
            "metadata": about.get("metadata") or {},
            "type": found.get("type"),
            "data": data_of(found),
            "immutable": about.get("immutable"),
        }
        return anew(body, self._secret.name, self._secret.namespace)

    def _read(self, beside: KubernetesSecret) -> Optional[Body]:
        try:
            found = beside.read()
        except Denied:
            return None
        marked = (metadata_of(found or {}).get("annotations") or {}).get(MARK)
        return found if marked == self._secret.name else None

    def remove(self) -> None:
        """Remove it where it is there.

        :raises Conflict, Denied, Unreachable: as Kubernetes says.
        """
        beside = self._beside()
        found = self._read(beside) if beside else None
        if beside and found is not None:
            beside.delete(found)

    def swap(self, old: Body, new: Body) -> Body:
        """Remove the Secret that was read and make the new one, by way of the stand-in.

        :raises Conflict: when the Secret is no longer what was read; it is left as it is.
        :raises Refused: when something else decides when the Secret goes.
        :raises Denied, Unreachable, BadInput: as Kubernetes says. The next run goes on from there.
        """
        beside = self.check(old)
        body = anew(new, self._secret.name, self._secret.namespace)
        kept = {key: body["metadata"][key] for key in _KEPT if key in body["metadata"]}
        about = json.dumps({"metadata": kept, "immutable": body.get("immutable")})
        copy = {**body, "metadata": {"annotations": {MARK: self._secret.name, _ABOUT: about}}}
        copy["metadata"].update(name=self._name, namespace=self._secret.namespace)
        copy.pop("immutable", None)
        self.remove()
        beside.create(copy)
        try:
            self._secret.delete(old)
        except Denied as error:
            self._give_up(error)
        made = self._secret.create(body)
        self.remove()
        return made

    def _give_up(self, error: Denied) -> NoReturn:
        """Leave nothing beside a Secret that stays."""
        try:
            self.remove()
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
        beside.need("delete")
        return beside
