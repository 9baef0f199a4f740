# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times as applications write them into their logs. Pure.

A format is read here and not by ``strptime``: that takes the names of months in the language of whoever runs it.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._log_lines import (
    to_moment,
)

ISO, EPOCH, EPOCH_MS = "iso", "epoch", "epoch_ms"
NAMED = (ISO, EPOCH, EPOCH_MS)
OPTION = "time_format"
_ZONED = re.compile(r"(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)\Z")
_SECONDS = re.compile(r"\d{1,11}(?:\.\d{1,12})?\Z")
_MILLISECONDS = re.compile(r"\d{10,14}(?:\.\d{1,12})?\Z")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG = "january february march april may june july august september october november december"
_ESCAPE = re.compile(r"%(.?)|(\s+)")
_SHORT_FOR = MappingProxyType({"T": "%H:%M:%S", "F": "%Y-%m-%d", "R": "%H:%M"})
_PARTS: Mapping[str, str] = MappingProxyType(
    {
        "Y": r"(?P<Y>\d{4})",
        "m": r"(?P<m>\d\d?)",
        "d": r"(?P<d>\d\d?)",
        "e": r"(?P<d>\d\d?)",
        "b": rf"(?P<b>{'|'.join(_MONTHS)})",
        "B": rf"(?P<b>{'|'.join(_LONG.split())})",
        "H": r"(?P<H>\d\d?)",
        "I": r"(?P<I>\d\d?)",
        "p": r"(?P<p>am|pm)",
        "M": r"(?P<M>\d\d)",
        "S": r"(?P<S>\d\d)",
        "f": r"\d{1,9}",
        "z": r"(?P<z>z|[+-]\d\d:?\d\d)",
        "a": "[a-z]{2,3}",
        "A": "[a-z]{6,9}",
        "%": "%",
    }
)
_LONGEST, _KEPT = 64, 1000
_LATER = timedelta(days=1)
"""How far a clock may be ahead: a time without a year that lies further ahead is one of last year."""


def _pattern(form: str) -> re.Pattern[str]:
    """What a format matches.

    :raises BadInput: for a directive that is not known, or one that is there twice.
    """
    for sign, stands in _SHORT_FOR.items():
        form = form.replace(f"%{sign}", stands)
    text, at = "", 0
    for found in _ESCAPE.finditer(form):
        text += re.escape(form[at : found.start()])
        at = found.end()
        if found[2]:
            text += r"\s+"
        elif found[1] in _PARTS:
            text += _PARTS[found[1]]
        else:
            raise BadInput(
                f"{OPTION}: %{found[1]} is not known here; expected some of {' '.join(f'%{it}' for it in (*_PARTS, *_SHORT_FOR))}"
            )
    try:
        return re.compile(text + re.escape(form[at:]) + r"\Z", re.IGNORECASE)
    except re.error:
        raise BadInput(f"{OPTION}: '{form}' has a part of the time twice") from None


def _check_parts(form: str, parts: Mapping[str, int], offset: Optional[timezone]) -> None:
    lacking: List[str] = []
    if not {"m", "b"} & set(parts):
        lacking.append("a month (%m or %b)")
    if "d" not in parts:
        lacking.append("a day (%d)")
    if "H" not in parts and not {"I", "p"} <= set(parts):
        lacking.append("an hour (%H)")
    if "M" not in parts:
        lacking.append("a minute (%M)")
    if lacking:
        raise BadInput(f"{OPTION}: '{form}' has no {' and no '.join(lacking)}")
    if "z" not in parts and offset is None:
        raise BadInput(
            f"utc_offset: missing; {OPTION} has no zone (%z), so say which one the log is in, such as +00:00, in quotes"
        )


class Clock:
    """Reads the times of one log.

    :param form: one of :data:`NAMED`, or a format with the directives of ``strptime``.
    :param offset: what stands for a zone that is not written.
    :param now: what a year that is not written is found by.
    :ivar zoneless: a time had no zone, and there is no offset.
    :ivar yearless: the format has no year.
    :raises BadInput: for a format that cannot be meant.
    """

    def __init__(self, form: str, offset: Optional[timezone], now: datetime) -> None:
        self._form, self._offset, self._now = form, offset, now
        self._before: Dict[str, Optional[datetime]] = {}
        self.zoneless = False
        self.yearless = False
        if form in NAMED:
            return
        if "%" not in form:
            raise BadInput(
                f"{OPTION}: '{form}' is none; expected {', '.join(NAMED)}, or a format such as '%d/%b/%Y:%H:%M:%S %z'"
            )
        self._pattern = _pattern(form)
        parts = self._pattern.groupindex
        _check_parts(form, parts, offset)
        self.yearless = "Y" not in parts

    def read(self, text: str) -> Optional[datetime]:
        """A time, to the second; none when it is no time."""
        # Many entries of a busy log have the same second.
        if len(text) > _LONGEST:
            return None
        if text in self._before:
            return self._before[text]
        found = self._read(text.strip())
        if len(self._before) > _KEPT:
            self._before.clear()
        self._before[text] = found
        return found

    def _read(self, text: str) -> Optional[datetime]:
        if self._form == ISO:
            return self._iso(text)
        if self._form in NAMED:
            return self._epoch(text)
        found = self._pattern.match(text)
        return self._dated(found.groupdict()) if found else None

    def _iso(self, text: str) -> Optional[datetime]:
        if not _ZONED.search(text[19:]) and self._offset is None:
            self.zoneless = self.zoneless or to_moment(text) is not None
            return None
        return to_moment(text, self._offset or timezone.utc)

    def _epoch(self, text: str) -> Optional[datetime]:
        form, divisor = (_SECONDS, 1) if self._form == EPOCH else (_MILLISECONDS, 1000)
        if not form.match(text):
            return None
        try:
            return datetime.fromtimestamp(int(float(text) / divisor), timezone.utc)
        except (ValueError, OverflowError, OSError):
            return None

    def _dated(self, told: Mapping[str, Optional[str]]) -> Optional[datetime]:
        name = (told.get("b") or "")[:3].lower()
        month = _MONTHS.index(name) + 1 if name else int(told.get("m") or 0)
        hour = int(told.get("H") or told.get("I") or 0)
        if told.get("p"):
            hour = hour % 12 + (12 if (told["p"] or "").lower() == "pm" else 0)
        zone = _zone(told["z"]) if told.get("z") else self._offset
        rest = (month, int(told["d"] or 0), hour, int(told["M"] or 0), int(told.get("S") or 0))
        if not self.yearless:
            return _moment(int(told["Y"] or 0), rest, zone)
        for year in (self._now.year + 1, self._now.year, self._now.year - 1):
            found = _moment(year, rest, zone)
            if found and found <= self._now + _LATER:
                return found
        return None


def _zone(text: Optional[str]) -> Optional[timezone]:
    if not text or text in "zZ":
        return timezone.utc
    digits = text[1:].replace(":", "")
    span = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-span if text[0] == "-" else span) if span < timedelta(days=1) else None


def _moment(year: int, rest: Tuple[int, ...], zone: Optional[timezone]) -> Optional[datetime]:
    if zone is None:
        return None
    try:
        month, day, hour, minute, second = rest
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
