# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of units, read from a place in it: nothing between two looks is missed, and nothing older counts.

``journalctl`` is asked and not a library, because every host with systemd has it. Its exit status 0 does not mean that this user
may read the journal, nor that the entry that a look began from is still there: both are found out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Callable, Dict, List, Mapping, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import Machine
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_look import Line, Look
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

SECONDS = 60.0
WAIT = 0.5
"""Seconds between two looks for a line that has yet to come: each has journald write to its disk."""
_CURSOR = re.compile(r"s=[0-9a-f]+;[0-9a-z=;]+\Z")
_FIELDS = (
    "MESSAGE,MESSAGE_ID,N_DROPPED,UNIT,_SYSTEMD_UNIT,_SYSTEMD_INVOCATION_ID,INVOCATION_ID,"
    "OBJECT_SYSTEMD_UNIT"
)
_DROPPED = "a596d6fe7bfa4994828e72309e95d61e"
_NOT_ALLOWED = ("insufficient permissions", "not seeing messages from", "permission denied")
_NO_FILES = "no journal files were found"
_WHO = "become root there, or a member of the group systemd-journal"


def text_of(value: Any) -> str:
    """A field of an entry: journalctl prints one that is no clean text as a list of bytes, and one that is there twice as a list."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        return bytes(item & 0xFF for item in value).decode("utf-8", "replace")
    if isinstance(value, list):
        return " ".join(text_of(item) for item in value)
    return ""


def _time_of(microseconds: str) -> str:
    if not microseconds.isdigit():
        return ""
    return format_time(datetime.fromtimestamp(int(microseconds) / 1e6, timezone.utc))


def check_cursor(cursor: str, option: str) -> str:
    """The cursor, when it is one of a journal.

    :raises BadInput: when it is not.
    """
    if not _CURSOR.match(cursor):
        raise BadInput(f"{option}: this is no cursor of a journal; give one from an earlier result")
    return cursor


@dataclass
class _Reading:
    """One call's entries on their way to a look."""

    look: Look
    passed_over: str
    begin: str
    cursor: str = ""

    def take(self, raw: str) -> None:
        try:
            entry = json.loads(raw)
        except ValueError:
            return
        if not isinstance(entry, dict):
            return
        cursor = text_of(entry.get("__CURSOR"))
        if cursor and cursor == self.begin:
            return
        self.cursor = cursor or self.cursor
        source = next(
            (
                text_of(entry[name])
                for name in ("UNIT", "OBJECT_SYSTEMD_UNIT", "_SYSTEMD_UNIT")
                if entry.get(name)
            ),
            "",
        )
        if entry.get("MESSAGE_ID") == _DROPPED:
            count = text_of(entry.get("N_DROPPED")) or "some"
            self.look.tell_gap(
                f"journald dropped {count} lines of {source}, which wrote more than LogRateLimitBurst allows"
            )
            return
        names = ("_SYSTEMD_INVOCATION_ID", "INVOCATION_ID")
        if self.passed_over and self.passed_over in (text_of(entry.get(name)) for name in names):
            return
        time = _time_of(text_of(entry.get("__REALTIME_TIMESTAMP")))
        self.look.add(Line(text_of(entry.get("MESSAGE")), source, time))


class Journal:
    """The journal of some units of this machine.

    :param units: their names as systemd has them, not aliases.
    :param where: how messages begin.
    """

    def __init__(
        self,
        machine: Machine,
        environ: Mapping[str, str],
        units: Sequence[str],
        where: str,
    ) -> None:
        self._machine = machine
        self._environ = {**environ, "LC_ALL": "C"}
        self.units = tuple(units)
        self._where = where

    def _call(self, words: Sequence[str], take: Callable[[str], None]) -> None:
        """Run journalctl.

        :raises Absent, Denied, Unreachable: it is not there, or says that this user may not read, or something else.
        """
        argv = ["journalctl", "--no-pager", "--output=json", "--all", *words]
        try:
            ended = self._machine.read(argv, SECONDS, take, self._environ)
        except Absent:
            raise Absent(f"{self._where}: there is no journalctl on this host") from None
        except Unreachable as error:
            raise Unreachable(f"{self._where}: {error.message}") from None
        said = ended.err.lower()
        if any(words in said for words in _NOT_ALLOWED):
            raise Denied(
                f"{self._where}: this user may not read the journal, so nothing is known of what was written; {_WHO}"
            )
        if _NO_FILES in said:
            raise Absent(
                f"{self._where}: journald keeps no journal on this host (Storage=none?), so nothing is known of what was written"
            )
        if ended.code:
            raise Unreachable(f"{self._where}: journalctl: {ended.first_line}")

    def _settled(self) -> None:
        """Have journald take in what was written until now; who may not ask for that goes without."""
        try:
            self._machine.run(["journalctl", "--sync"], SECONDS, environ=self._environ)
        except (Absent, Unreachable):
            return

    def _first(self, *words: str) -> Dict[str, Any]:
        found: List[str] = []
        self._call(["--lines=1", "--output-fields=MESSAGE_ID", *words], found.append)
        try:
            entry = json.loads(found[0]) if found else {}
        except ValueError:
            entry = {}
        return entry if isinstance(entry, dict) else {}

    def mark(self) -> str:
        """The cursor of the journal's end; what is written from now on is behind it.

        :raises Absent, Denied, Unreachable: the journal cannot be read.
        """
        self._settled()
        cursor = text_of(self._first().get("__CURSOR"))
        if not cursor:
            raise Absent(
                f"{self._where}: the journal of this host is empty, so nothing is known of what is written"
            )
        return cursor

    def has_lines(self, unit: str) -> bool:
        """Whether anything at all is known of a unit.

        :raises Absent, Denied, Unreachable: as :meth:`mark`.
        """
        return bool(self._first(f"--unit={unit}"))

    def after(self, cursor: str, look: Look, passed_over: str = "") -> str:
        """Look at what was written since a cursor.

        :param passed_over: an invocation whose lines do not count: of a process that was ended on purpose.
        :return: the cursor to go on from.
        :raises Absent, Denied, Unreachable: as :meth:`mark`.
        """
        end = self.mark()
        # Not --after-cursor: with a unit given, systemd 252 leaves out the first entry of that unit when the cursor is of another one.
        end = self._read([f"--cursor={cursor}"], look, passed_over, cursor) or end
        # Last, because what is being read may be removed meanwhile.
        if text_of(self._first(f"--cursor={cursor}").get("__CURSOR")) != cursor:
            look.tell_gap(
                "the journal no longer has the entry that this look began from: what was written right after it may be gone "
                "(rotated away or vacuumed)"
            )
        return end

    def since(self, moment: float, look: Look) -> str:
        """Look at what was written since a moment, in seconds since the epoch; 0 for all that there is.

        :return: the cursor to go on from.
        :raises Absent, Denied, Unreachable: as :meth:`mark`.
        """
        end = self.mark()
        return self._read([f"--since=@{moment:.6f}"] if moment else [], look) or end

    def _read(
        self, words: Sequence[str], look: Look, passed_over: str = "", begin: str = ""
    ) -> str:
        reading = _Reading(look, passed_over, begin)
        units = [f"--unit={unit}" for unit in self.units]
        self._call([f"--output-fields={_FIELDS}", *words, *units], reading.take)
        return reading.cursor
