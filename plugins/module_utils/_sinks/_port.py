# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a place that sinks are published to must offer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ContextManager, Iterable, Mapping, Optional, Protocol, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Conflict
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

Fields = Mapping[str, Secret]
Changes = Mapping[str, Optional[Secret]]
"""New values by field; none where the field is to be removed. The one field of a text file has the empty name."""


_NO_TEXT = re.compile("[\udc80-\udcff]")


def bytes_note(fields: Mapping[str, Optional[Secret]]) -> Tuple[str, ...]:
    """What a person should know of fields that hold bytes which are no UTF-8: they stand in a text as ``surrogateescape`` has them."""
    names = (
        name for name, value in sorted(fields.items()) if value and _NO_TEXT.search(value.reveal())
    )
    return tuple(no_text(f"the field '{name}'" if name else "it") for name in names)


def no_text(what: str) -> str:
    """The note that something holds bytes."""
    return f"{what} holds bytes that are no text in UTF-8, which equal no value; a value that is written takes their place"


class Stale(Conflict):
    """The place is no longer as it was observed: nothing was written; read, plan and write anew."""


@dataclass(frozen=True)
class Observed:
    """What a place held when it was read.

    :param fields: of the fields that were asked for, those that are there. None: there, but not as this collection would
        write it (readers disagree about it, or it is no text), so it is not equal to any value.
    :param version: what the place calls this state, where it has such a thing.
    :param exists: whether the place itself (the file, the path) is there.
    :param drift: what must be set right even if no value differs, in words: a file's mode or owner.
    :param notes: what a person should know, in words.
    :param state: whatever the place needs to write on top of exactly what was read.
    """

    fields: Mapping[str, Optional[Secret]]
    version: Optional[str] = None
    exists: bool = True
    drift: Tuple[str, ...] = ()
    notes: Tuple[str, ...] = ()
    state: object = None


def described(place: str, name: str, host: str) -> str:
    """How messages name a sink.

    :param place: its reference, without a fragment.
    :param host: the inventory host that it is written from; empty for the controller.
    """
    return f"sink '{name}'{f' on {host}' if host else ''} ({place})"


def held(observed: Observed, names: Iterable[str]) -> bool:
    """Whether something is there in one of the fields; a text of blanks is nothing."""
    there = [observed.fields[name] for name in names if name in observed.fields]
    return any(value is None or value.reveal().strip() for value in there)


class Place(Protocol):
    """One file, one Vault path, one parameter: what is written by one call."""

    def exclusive(self) -> Optional[ContextManager[None]]:
        """Held from reading to writing; none where the place itself finds out that somebody wrote in between."""

    def tidy(self) -> None:
        """Remove what a killed writer left, where nothing is to be written now."""

    def check(self, changes: Changes) -> None:
        """Refuse values that this place cannot hold so that every reader gets them back.

        :raises BadInput: naming the field and why, never the value.
        """

    def read(self, names: Tuple[str, ...]) -> Observed:
        """What is there now of the named fields.

        :raises Denied, Sealed, Unreachable, Corrupt: never read as "not there".
        """

    def check_write(self, observed: Observed, changes: Changes) -> None:
        """For check mode: find out what would stop :meth:`write`, without writing.

        :raises Absent, Denied, BadInput, Corrupt: as :meth:`write` would.
        """

    def write(self, observed: Observed, changes: Changes) -> Optional[str]:
        """Write the changes on top of what was observed, everything else kept, in one write. The new version, if any.

        :raises Stale: when somebody wrote in between; nothing is written then.
        """
