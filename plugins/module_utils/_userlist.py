# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer's userlist file: read as PgBouncer reads it, changed line by line. Pure.

Grammar, from PgBouncer's documentation (Authentication file format) and ``src/loader.c``, 1.18::

    file    = *(space / comment / entry)
    comment = ";" up to the end of the line, where an entry could begin
    entry   = quoted anything-but-quote quoted anything, up to the end of the line
    quoted  = DQUOTE *(any / DQUOTE DQUOTE) DQUOTE      ; a doubled quote stands for one

PgBouncer stops at the first thing that does not fit and drops every user after it, while RELOAD
still answers success. Where a quote is missing it reads on over the line's end, so that one user
takes the next one's name for a secret. Both are refused here, with the line's number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

_SPACE = " \t\n\v\f\r"
# Bytes between the quotes, a closing NUL included: MAX_USERNAME and MAX_PASSWORD of PgBouncer.
_NAME_BYTES, _SECRET_BYTES = 128, 2048
_REMEDY = (
    "PgBouncer would lose this user or those after it; correct the line first. Nothing was written"
)


@dataclass(frozen=True)
class Entry:
    """One user of a userlist.

    :param line: number of its line, from 1.
    :param start: offset of the first character of its line.
    :param end: offset behind its line's end.
    :param secret_start: offset behind the secret's opening quote.
    :param secret_end: offset of its closing quote.
    """

    name: str
    secret: Secret
    line: int
    start: int
    end: int
    secret_start: int
    secret_end: int


@dataclass(frozen=True)
class Change:
    """What happens to one name: ``added``, ``replaced`` or ``removed``."""

    name: str
    action: str


@dataclass(frozen=True)
class Plan:
    """A userlist as it should be, and what that changes.

    :param text: the new file; equal to the old one when there is nothing to do.
    :param known: false when a secret in ``text`` is one that check mode only predicts.
    """

    text: str
    changes: tuple[Change, ...]
    known: bool = True


def decode(content: bytes) -> str:
    """A file's bytes as text; :func:`encode` makes the same bytes of it, whatever they are."""
    return content.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The inverse of :func:`decode`."""
    return text.encode("utf-8", "surrogateescape")


def quote(text: str) -> str:
    """A name or a secret as it stands in the file."""
    return '"' + text.replace('"', '""') + '"'


class _Reader:
    """Goes through a userlist the way PgBouncer does."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where
        self.at = 0

    def broken(self, at: int, what: str) -> BadInput:
        line = self.text.count("\n", 0, at) + 1
        return BadInput(f"{self.where}, line {line}: {what}. {_REMEDY}", line=line)

    def skip_space(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in _SPACE:
            self.at += 1

    def line_end(self, at: int) -> int:
        """Offset behind the line that ``at`` is in."""
        found = self.text.find("\n", at)
        return len(self.text) if found < 0 else found + 1

    def quoted(self, what: str, limit: int) -> tuple[int, int]:
        """Offsets between the quotes of the quoted text that begins here; moves behind it."""
        start = self.at + 1
        end = self.text.find('"', start)
        while end >= 0 and self.text[end + 1 : end + 2] == '"':
            end = self.text.find('"', end + 2)
        if end < 0 or "\n" in self.text[start:end]:
            raise self.broken(start, f"the {what}'s closing quote is missing on its line")
        if len(encode(self.text[start:end])) >= limit:
            raise self.broken(
                start, f"the {what} has more than the {limit - 1} bytes that are read"
            )
        self.at = end + 1
        return start, end

    def entry(self) -> Entry:
        """The entry that begins here; moves behind its line."""
        begin = self.at
        name_start, name_end = self.quoted("name", _NAME_BYTES)
        gap = self.text.find('"', self.at)
        if gap < 0 or "\n" in self.text[self.at : gap]:
            raise self.broken(begin, "the name has no secret in double quotes on its line")
        self.at = gap
        secret_start, secret_end = self.quoted("secret", _SECRET_BYTES)
        self.at = self.line_end(self.at)
        name = _unquote(self.text[name_start:name_end])
        secret = Secret(_unquote(self.text[secret_start:secret_end]))
        line = self.text.count("\n", 0, begin) + 1
        start = self.text.rfind("\n", 0, begin) + 1
        return Entry(name, secret, line, start, self.at, secret_start, secret_end)


def _unquote(text: str) -> str:
    return text.replace('""', '"')


def parse(text: str, where: str) -> list[Entry]:
    """The users of a userlist, in order. Of a name that stands there twice PgBouncer uses the last.

    :param where: how messages name the file.
    :raises BadInput: for what PgBouncer does not read to the end, or reads as something else than
        it looks like.
    """
    reader = _Reader(text, where)
    if "\0" in text:
        raise reader.broken(text.index("\0"), "there is a NUL byte, at which PgBouncer stops")
    entries: list[Entry] = []
    while True:
        reader.skip_space()
        if reader.at >= len(text):
            return entries
        if text[reader.at] == ";":
            reader.at = reader.line_end(reader.at)
        elif text[reader.at] == '"':
            entries.append(reader.entry())
        else:
            hint = " (a comment begins with ;)" if text[reader.at] == "#" else ""
            raise reader.broken(reader.at, f"expected a user's name in double quotes{hint}")


def _storable(text: str, limit: int) -> bool:
    inner = quote(text)[1:-1]
    return bool(text) and not set(text) & {"\0", "\n"} and len(encode(inner)) < limit


def _check(entries: Mapping[str, Secret]) -> None:
    for name, secret in entries.items():
        if not _storable(name, _NAME_BYTES):
            raise BadInput(
                f"entries: {name!r} cannot stand in a userlist; expected a name of 1 to "
                f"{_NAME_BYTES - 1} bytes without line ends"
            )
        if not _storable(secret.reveal(), _SECRET_BYTES):
            raise BadInput(
                f"entries: the secret of {name!r} cannot stand in a userlist: it is empty, longer "
                f"than {_SECRET_BYTES - 1} bytes, or holds a line end or a NUL"
            )


def _fits(entry: Entry, secret: Secret) -> bool:
    return secret.known and entry.secret == secret


def plan(text: str, wanted: Mapping[str, Secret], absent: Collection[str], where: str) -> Plan:
    """The userlist with ``wanted`` in it and without ``absent``; other names' lines stay.

    :param wanted: name → secret: a SCRAM secret, an md5 hash or a password. One that is not
        :attr:`Secret.known` always counts as a change.
    :param absent: names whose lines go, unless they are wanted.
    :raises BadInput: when the file is broken, see :func:`parse`, or a name or a secret cannot be
        written into one.
    """
    _check(wanted)
    found = parse(text, where)
    actions: dict[str, str] = {}
    pieces: list[str] = []
    done = 0
    for entry in found:
        wish = wanted.get(entry.name)
        if wish is not None and not _fits(entry, wish):
            actions[entry.name] = "replaced"
            pieces += [text[done : entry.secret_start], quote(wish.reveal())[1:-1]]
            done = entry.secret_end
        elif wish is None and entry.name in absent:
            actions[entry.name] = "removed"
            pieces.append(text[done : entry.start])
            done = entry.end
    pieces.append(text[done:])
    there = {entry.name for entry in found}
    missing = [name for name in wanted if name not in there]
    actions.update(dict.fromkeys(missing, "added"))
    known = all(wanted[name].known for name, action in actions.items() if action != "removed")
    changes = tuple(Change(name, action) for name, action in actions.items())
    return Plan(_append("".join(pieces), missing, wanted), changes, known)


def _append(text: str, names: list[str], wanted: Mapping[str, Secret]) -> str:
    end = "\r\n" if text.endswith("\r\n") else "\n"
    if names and text and not text.endswith("\n"):
        text += end
    lines = (f"{quote(name)} {quote(wanted[name].reveal())}{end}" for name in names)
    return text + "".join(lines)


def secrets_of(text: str, where: str) -> dict[str, Secret]:
    """Name → the secret that PgBouncer would use, for a comparison.

    :raises BadInput: see :func:`parse`.
    """
    return {entry.name: entry.secret for entry in parse(text, where)}
