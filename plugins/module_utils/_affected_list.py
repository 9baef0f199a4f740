# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of those affected as it is kept from before the switch until everybody was told. Pure, but for its place.

It is one document. Of a user who was told nothing stays but a digest of the id.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._affected import OPTION, Row
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._due import (
    cut_over,
    taken_out,
    under_way,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Corrupt
from ansible_collections.keyturn.runbooks.plugins.module_utils._json_lines import json_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import Store, open_store
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

KIND = "keyturn.affected"
SCHEMA = 1
SENDING, FAILED, REFUSED, UNCERTAIN = "sending", "failed", "refused", "uncertain"
_DIGEST = 32


@dataclass(frozen=True)
class Waiting:
    """A user who was not told yet, as far as is known.

    :param mark: empty; ``sending``, from right before a message goes until it is known how that ended; ``failed``, to be tried
        again; ``refused`` or ``uncertain``, which no rotation tries again by itself.
    """

    row: Row
    mark: str = ""


@dataclass(frozen=True)
class Kept:
    """The list.

    :param replaced: the rotation whose value ends; empty for a credential without one.
    :param rotation: the rotation that users are told of; empty before the first is.
    :param told: digests of those who were told.
    """

    credential: str
    replaced: str
    taken: str
    users: Mapping[str, Waiting]
    rotation: str = ""
    told: Tuple[str, ...] = field(default_factory=tuple)

    def with_mark(self, name: str, mark: str) -> Kept:
        """The list with another mark at a user."""
        users = dict(self.users)
        users[name] = replace(users[name], mark=mark)
        return replace(self, users=users)

    def with_told(self, name: str, digest: str) -> Kept:
        """The list without a user who was told."""
        users = {other: user for other, user in self.users.items() if other != name}
        return replace(self, users=users, told=(*self.told, digest))

    def marked(self, *marks: str) -> List[str]:
        """The ids of those with one of these marks."""
        return [name for name, user in self.users.items() if user.mark in marks]

    def text(self) -> str:
        """As it is kept."""
        users = {name: {"row": user.row, "mark": user.mark} for name, user in self.users.items()}
        return json_lines(
            {
                "kind": KIND,
                "schema": SCHEMA,
                "credential": self.credential,
                "replaced": self.replaced,
                "rotation": self.rotation,
                "taken": self.taken,
                "told": list(self.told),
                "users": users,
            }
        )


def parse_kept(text: str, where: str) -> Kept:
    """The list, read.

    :raises BadInput: it is something else, or of a newer version.
    :raises Corrupt: it is damaged.
    """
    try:
        body = json.loads(text)
        kind, schema = body["kind"], body["schema"]
    except (ValueError, TypeError, KeyError):
        raise BadInput(
            f"{where}: what is there is no list of affected users; name another place in {OPTION}.keep"
        ) from None
    if kind != KIND or schema != SCHEMA:
        raise BadInput(
            f"{where}: what is there is '{kind}', schema {schema}, and not {KIND}, schema {SCHEMA}; name another place in {OPTION}.keep"
        )
    try:
        users = {
            str(name): Waiting(
                {str(key): str(cell) for key, cell in user["row"].items()}, str(user["mark"])
            )
            for name, user in body["users"].items()
        }
        texts = {name: str(body[name]) for name in ("credential", "replaced", "taken", "rotation")}
        return Kept(users=users, told=tuple(map(str, body["told"])), **texts)
    except (AttributeError, KeyError, TypeError):
        raise Corrupt(
            f"{where}: the list of affected users is damaged; restore the last good copy"
        ) from None


def digest_of(document: Document, name: str) -> str:
    """What is kept of a user's id: keyed, so that nobody can try ids against it who does not have the keyring."""
    text = f"{KIND}\0{name}".encode("utf-8", "surrogatepass")
    return hmac.new(document.salt, text, hashlib.sha256).hexdigest()[:_DIGEST]


def ending(document: Optional[Document]) -> str:
    """The rotation whose value ends by the rotation that is under way or would come next; empty where there is none."""
    if document is None:
        return ""
    current, previous = document.current, document.previous
    if current is not None and current.status == "observed":
        return current.rotation_id
    return previous.rotation_id if previous else ""


def is_switched(document: Optional[Document]) -> bool:
    """Whether the value that ends may be worth nothing by now, though the rotation is not at its end: rows may be others by that."""
    current = document.current if document else None
    dead = bool(document and document.pending and current and current.ended)
    return cut_over(document) or taken_out(document) or dead


def is_of_this_rotation(kept: Optional[Kept], document: Optional[Document]) -> bool:
    """Whether the list was taken for the rotation that is under way."""
    begun = under_way(document) or taken_out(document)
    return kept is not None and begun and kept.replaced == ending(document)


def is_in_use(kept: Kept, document: Optional[Document]) -> bool:
    """Whether consumers were seen using the value of the rotation that the list was taken for."""
    current = document.current if document else None
    if document is None or current is None or current.status != "observed":
        return False
    if current.rotation_id == kept.replaced:
        return False
    if kept.rotation:
        return kept.rotation == current.rotation_id
    # A list of long ago, from before another rotation that nobody was to be told of.
    previous = document.previous
    return not (kept.replaced and previous and previous.rotation_id != kept.replaced)


def taken_anew(
    kept: Optional[Kept],
    document: Optional[Document],
    rows: Mapping[str, Row],
    credential: str,
    now: datetime,
) -> Kept:
    """The list for the rotation that goes on or comes next.

    With those whom an earlier run of this rotation found, and those who were yet to be told of the rotation before.
    """
    left: Dict[str, Waiting] = {}
    if kept is not None and is_of_this_rotation(kept, document):
        left = dict(kept.users)
    elif kept is not None and is_in_use(kept, document):
        left = {name: kept.users[name] for name in kept.marked("", SENDING, FAILED)}
    users = {**left, **{name: Waiting(row) for name, row in rows.items()}}
    return Kept(credential, ending(document), format_time(now), users)


def is_same(kept: Optional[Kept], other: Kept) -> bool:
    """Whether both say the same, whenever they were taken."""
    return kept is not None and replace(kept, taken=other.taken) == other


def beside(keyring: str) -> str:
    """The reference of the list beside a keyring.

    :raises BadInput: for a keyring in a place that takes no long lists.
    """
    reference = parse_reference(keyring, "keyturn_keyring")
    place, mark, query = reference.place.partition("?")
    if reference.scheme in ("vault", "file"):
        return f"{place}.affected{mark}{query}"
    raise BadInput(
        f"{OPTION}.keep: missing; the list of affected users cannot be kept beside {reference.text}: name a place, such as "
        "ref+vault://MOUNT/PATH or ref+file:///PATH"
    )


class Place:
    """Where the list is kept."""

    def __init__(self, reference: str, context: Context) -> None:
        option = f"{OPTION}.keep"
        self._where = f"{option} {reference}"
        self._store: Store = open_store(parse_reference(reference, option), context, option)
        self._version: Optional[str] = None

    def read(self, credential: str) -> Optional[Kept]:
        """The list; none where none was taken.

        :raises KeyturnError: as the store and the document give cause.
        """
        found = self._store.read()
        if found is None:
            return None
        text, self._version = found
        kept = parse_kept(text, self._where)
        if credential and kept.credential != credential:
            raise BadInput(
                f"{self._where}: the list belongs to '{kept.credential}', not to '{credential}'; give each credential its own place"
            )
        return kept

    def write(self, kept: Kept) -> None:
        """Replace it.

        :raises Conflict: somebody else wrote since it was read.
        """
        self._version = self._store.write(kept.text(), self._version)

    def check_write(self) -> None:
        """Find out what would keep it from being written."""
        self._store.check_write(self._version)
