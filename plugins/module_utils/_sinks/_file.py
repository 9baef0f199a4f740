# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file as a place for sinks: its text as a whole, or the keys in it."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, Mapping, Optional, Protocol, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import (
    Held,
    check_replaceable,
    hold,
    read_with_mode,
    remove_leftovers,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, reveal
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._define import WHOLE
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import (
    Changes,
    Observed,
    bytes_note,
)

EVERYBODY = "every user of the machine can read it"
"""How the note about a file begins that is no place for a secret."""


class Codec(Protocol):
    """How a file holds fields."""

    def check(self, changes: Changes, where: str) -> None:
        """Refuse values that the format cannot carry."""

    def fields(self, text: str, names: Tuple[str, ...], where: str) -> Dict[str, Optional[Secret]]:
        """The fields that are there."""

    def notes(self, text: str, names: Tuple[str, ...]) -> Tuple[str, ...]:
        """What a person should know about the file as it was."""

    def edit(self, text: str, changes: Mapping[str, Optional[str]], where: str) -> Optional[str]:
        """The new text; none when the file is to go."""


class TextCodec:
    """The file's whole text, to the last byte, is one field."""

    def check(self, changes: Changes, where: str) -> None:
        """Any text fits."""

    def fields(self, text: str, names: Tuple[str, ...], where: str) -> Dict[str, Optional[Secret]]:
        """The text."""
        return {WHOLE: Secret(text)}

    def notes(self, text: str, names: Tuple[str, ...]) -> Tuple[str, ...]:
        """Nothing."""
        return ()

    def edit(self, text: str, changes: Mapping[str, Optional[str]], where: str) -> Optional[str]:
        """The text itself."""
        return changes.get(WHOLE, text)


@dataclass(frozen=True)
class Attributes:
    """What a definition says of a file's mode and owners; none where it says nothing: kept on a file that is there."""

    mode: Optional[int] = None
    owner: Optional[str] = None
    group: Optional[str] = None


def _number(name: str, kind: str, where: str) -> int:
    if name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        raise BadInput(f"{where}: there is no {kind} '{name}' on this machine") from None


def owners_of(attributes: Attributes, where: str) -> Tuple[Optional[int], Optional[int]]:
    """The numbers of the owner and the group that are wanted; none where the definition says nothing.

    :raises BadInput: there is none of that name on this machine.
    """
    owner, group = attributes.owner, attributes.group
    uid = None if owner is None else _number(owner, "user", where)
    return uid, None if group is None else _number(group, "group", where)


def attribute_drift(attributes: Attributes, status: os.stat_result, where: str) -> Tuple[str, ...]:
    """What must be set right of mode and owners, in words.

    :raises BadInput: as :func:`owners_of`.
    """
    uid, gid = owners_of(attributes, where)
    mode = stat.S_IMODE(status.st_mode)
    drift = []
    if attributes.mode not in (None, mode):
        drift.append(f"mode {mode:04o} instead of {attributes.mode:04o}")
    if uid not in (None, status.st_uid):
        drift.append(f"owner {status.st_uid} instead of {attributes.owner}")
    if gid not in (None, status.st_gid):
        drift.append(f"group {status.st_gid} instead of {attributes.group}")
    return tuple(drift)


@dataclass(frozen=True)
class _State:
    """What was read."""

    text: str


def edited(
    codec: Codec,
    before: str,
    changes: Changes,
    where: str,
    check: Optional[Callable[[str], object]] = None,
) -> Optional[str]:
    """The text of a place with one text after the changes, all else as it was; none when it is to go.

    :param before: the text as it was read; empty for a place that is not there.
    :param where: how messages name the place.
    :param check: refuses a text that the place cannot hold; none where it holds any.
    :raises BadInput: as ``check`` does.
    :raises Corrupt: when the text is not what the codec reads.
    """
    texts = {name: None if value is None else reveal(value) for name, value in changes.items()}
    text = codec.edit(before, texts, where)
    if text is not None and check is not None:
        check(text)
    return text


def known(changes: Changes) -> Changes:
    """Those that check mode knows: a value that is made later has no size yet."""
    return {name: value for name, value in changes.items() if value is None or value.known}


class FilePlace:
    """One file on this machine.

    :param path: absolute; its directory must exist.
    :param where: how messages name it.
    """

    def __init__(self, path: str, codec: Codec, attributes: Attributes, where: str) -> None:
        if not os.path.isabs(path):
            raise BadInput(f"{where}: expected an absolute path")
        self._path = path
        self._codec = codec
        self._attributes = attributes
        self._where = where
        self._held: Optional[Held] = None

    def tidy(self) -> None:
        """Remove a copy that a killed writer left beside the file."""
        remove_leftovers(self._path, self._where)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the file's lock, so that writers of other keys wait. Not in check mode: it makes the lock file."""
        with hold(self._path, self._where) as held:
            self._held = held
            try:
                yield
            finally:
                self._held = None

    def check(self, changes: Changes) -> None:
        """Refuse values that the format cannot carry.

        :raises BadInput: naming the key.
        """
        self._codec.check(changes, self._where)

    def read(self, names: Tuple[str, ...]) -> Observed:
        """The named fields.

        :raises Denied, BadInput, Corrupt, Unreachable: when the file is there and cannot be read.
        """
        held = self._held
        found = held.read_with_mode() if held else read_with_mode(self._path, self._where)
        if found is None:
            return Observed({}, exists=False, state=_State(""))
        data, mode = found
        text = data.decode("utf-8", "surrogateescape")
        notes = self._codec.notes(text, names)
        if mode & stat.S_IROTH and self._attributes.mode is None:
            notes += (f"{EVERYBODY} (mode {mode:04o}); set 'mode' in the sink, such as \"0600\"",)
        fields = self._codec.fields(text, names, self._where)
        notes += bytes_note(fields)
        return Observed(fields, drift=self._drift(), notes=notes, state=_State(text))

    def _drift(self) -> Tuple[str, ...]:
        status = self._held.status() if self._held else os.stat(self._path)
        return () if status is None else attribute_drift(self._attributes, status, self._where)

    def check_write(self, observed: Observed, changes: Changes) -> None:
        """Find out what would stop a write, without one.

        :raises Absent, Denied, BadInput, Corrupt: as :meth:`write`.
        """
        check_replaceable(self._path, self._where)
        owners_of(self._attributes, self._where)
        self._edited(observed, known(changes))

    def _edited(self, observed: Observed, changes: Changes) -> Optional[str]:
        if not isinstance(observed.state, _State):
            raise TypeError("observed by another place")
        return edited(self._codec, observed.state.text, changes, self._where)

    def write(self, observed: Observed, changes: Changes) -> Optional[str]:
        """Replace the file under the lock that :meth:`exclusive` took.

        :raises Absent, Denied, Unreachable, BadInput: nothing was changed then.
        """
        if self._held is None:
            raise Conflict(f"{self._where}: the lock is not held")
        text = self._edited(observed, changes)
        if text is None:
            self._held.remove()
            return None
        uid, gid = owners_of(self._attributes, self._where)
        data = text.encode("utf-8", "surrogateescape")
        self._held.replace(data, self._attributes.mode, uid, gid)
        return None
