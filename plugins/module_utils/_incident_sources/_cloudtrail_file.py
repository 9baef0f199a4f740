# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log file of CloudTrail: where its trail puts it, and its records one by one, so that no file is in memory as a whole. Pure.

A file is ``{"Records": [{…}, …]}`` as gzip, of up to some hundred thousand events. A small file can unpack to one without end.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Iterator, List, Optional, Protocol

from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import (
    Event,
    Window,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._cloudtrail_event import (
    Unreadable,
    Wanted,
    event_told,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_time

LATE = timedelta(hours=1)
"""How long after an event its file is looked for. AWS says 5 minutes on average."""
EARLY = timedelta(minutes=5)
"""How far the clock of whoever wrote a file's name may be behind."""
LARGEST = 256 << 20
"""Bytes of a file when it is unpacked. AWS closes a file at some 50 MB."""
MOST = 1_000_000
"""Events of a file."""
_RECORD = 2 << 20
"""Characters of one record. AWS cuts an event at 1 MB."""
_CHUNK = 1 << 18
_NAME = re.compile(r"(\d{12})_CloudTrail_([a-z0-9-]+)_(\d{8}T\d{4})Z_[A-Za-z0-9]+\.json\.gz\Z")
_BEGIN = re.compile(r'\s*\{\s*"Records"\s*:\s*\[\s*')
_NEXT = re.compile(r"\s*,\s*")
_END = re.compile(r"\s*\]\s*\}\s*\Z")


class Body(Protocol):
    """What a file is read from."""

    def read(self, size: int) -> bytes:
        """The next bytes; none at the end."""


class Broken(Exception):
    """It is no log file of CloudTrail's, or breaks off. Its text says which."""


@dataclass
class FileRead:
    """What a file told.

    :ivar broken: why not all of it was read.
    """

    events: List[Event] = field(default_factory=list)
    seen: int = 0
    unreadable: int = 0
    broken: str = ""


def days(window: Window) -> List[str]:
    """The days whose folders may have a file with an event of the window, as a trail writes them."""
    first, last = window.since.date(), (window.until + LATE).date()
    count = (last - first).days + 1
    return [f"{first + timedelta(days=number):%Y/%m/%d}" for number in range(count)]


def delivered(name: str) -> Optional[datetime]:
    """When a file was put there, as its name says; none for a name that is not CloudTrail's."""
    found = _NAME.match(name)
    try:
        made = datetime.strptime(found[3], "%Y%m%dT%H%M") if found else None
    except ValueError:
        return None
    return made.replace(tzinfo=timezone.utc) if made else None


def may_tell(made: datetime, window: Window) -> bool:
    """Whether a file of this time may have an event of the window."""
    return window.since - EARLY <= made <= window.until + LATE


def _unpacked(body: Body) -> Iterator[bytes]:
    """The file without its compression, some at a time.

    :raises Broken: it is no gzip, breaks off, or is too large.
    """
    left, total, unpacker = b"", 0, zlib.decompressobj(31)
    while True:
        given = left or body.read(_CHUNK)
        if not given and unpacker.eof:
            return
        if unpacker.eof:
            unpacker = zlib.decompressobj(31)
        try:
            # Without input it gives what it still holds.
            data = unpacker.decompress(given, _CHUNK)
        except zlib.error:
            raise Broken("it is no gzip") from None
        left = unpacker.unconsumed_tail or unpacker.unused_data
        total += len(data)
        if total > LARGEST:
            raise Broken(f"it unpacks to more than {LARGEST >> 20} MB")
        if not given and not data and not unpacker.eof:
            raise Broken("it breaks off")
        yield data


def records(body: Body) -> Iterator[Any]:
    """The records of a file, of which only the one at hand is in memory.

    :raises Broken: when it is none, after those that could be read.
    """
    text = _Text(body)
    if not text.skips(_BEGIN):
        raise Broken("it is no log of CloudTrail")
    more = text.sign() != "]"
    while more:
        yield text.value()
        more = text.skips(_NEXT)
    if not text.ends():
        raise Broken("it is no log of CloudTrail to its end")


class _Text:
    """The text of a file, and how far it was read."""

    def __init__(self, body: Body) -> None:
        self._chunks = _unpacked(body)
        self._signs = codecs.getincrementaldecoder("utf-8")("replace")
        self._values = json.JSONDecoder()
        self._text, self._at = "", 0

    def _more(self) -> bool:
        """Take in more of it; whether there was more."""
        data = next(self._chunks, None)
        if data is None:
            return False
        self._text, self._at = self._text[self._at :] + self._signs.decode(data), 0
        return True

    def skips(self, expression: Any) -> bool:
        """Go behind what is expected here; whether it was there."""
        while True:
            found = expression.match(self._text, self._at)
            # What is at the end of the text so far may go on.
            if (not found or found.end() == len(self._text)) and len(self._text) - self._at < _CHUNK and self._more():  # fmt: skip
                continue
            if found:
                self._at = found.end()
            return bool(found)

    def sign(self) -> str:
        """The next sign; empty at the end."""
        while self._at >= len(self._text) and self._more():
            pass
        return self._text[self._at : self._at + 1]

    def value(self) -> Any:
        """The next value.

        :raises Broken: there is none, or it is longer than a record of CloudTrail's.
        """
        tried, ended = 0, False
        while True:
            length = len(self._text) - self._at
            # Each try reads the value from its beginning: a long one is not tried again for each piece of it.
            if ended or length > 2 * tried:
                try:
                    found, self._at = self._values.raw_decode(self._text, self._at)
                except (ValueError, RecursionError):
                    tried = length
                else:
                    return found
            if ended or length > _RECORD:
                raise Broken("a record is no JSON, or too long")
            ended = not self._more()

    def ends(self) -> bool:
        """Whether nothing follows but the end."""
        while len(self._text) - self._at < _CHUNK and self._more():
            pass
        return bool(_END.match(self._text, self._at))


def read_file(body: Body, wanted: Wanted, window: Window, most: int) -> FileRead:
    """The uses that a file tells of.

    :param most: so many are kept.
    """
    found = FileRead()
    try:
        for record in records(body):
            if found.seen >= MOST:
                raise Broken(f"it has more than {MOST} events")
            found.seen += 1
            try:
                event = event_told(record, wanted)
            except Unreadable:
                found.unreadable += 1
                continue
            if event and window.has(parse_time(event.at, "eventTime")):
                found.events.append(event)
                if len(found.events) >= most:
                    return found
    except Broken as error:
        found.broken = str(error)
    return found
