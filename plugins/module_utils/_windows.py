# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance windows: when work is allowed, by the wall clock of a place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from typing import Any, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    MissingLibrary,
)

try:
    import zoneinfo
except ImportError:  # Python 3.8
    HAS_ZONEINFO = False
else:
    HAS_ZONEINFO = True

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_KEYS = ("days", "start", "end", "timezone")
_CLOCK = re.compile(r"^([01]?\d|2[0-4]):([0-5]\d)$")
_MINUTES_A_DAY = 24 * 60
_DAYS_AHEAD = 9


@dataclass(frozen=True)
class Window:
    """One recurring window.

    :param days: the weekdays on which it opens; Monday is 0.
    :param start: minutes after midnight, 0 to 1439.
    :param end: minutes after the midnight of the day on which it opens; over 1440 when it crosses midnight.
    :param zone: the name of its time zone.
    """

    days: FrozenSet[int]
    start: int
    end: int
    zone: str


@dataclass(frozen=True)
class WindowState:
    """Where a moment stands: inside a window until ``closes``, or outside until ``opens`` (none: not within a week)."""

    is_open: bool
    opens: Optional[datetime] = None
    closes: Optional[datetime] = None


def zone_of(name: str, where: str) -> tzinfo:
    """The time zone of an IANA name.

    :raises BadInput: when the name is unknown here.
    :raises MissingLibrary: on a Python without ``zoneinfo`` (3.8), for any other zone than UTC.
    """
    if name.upper() in ("UTC", "Z", "ETC/UTC"):
        return timezone.utc
    if not HAS_ZONEINFO:
        raise MissingLibrary(
            f"{where}: time zone '{name}' needs Python 3.9 or newer; write the window in UTC or use a newer Python"
        )
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput(
            f"{where}: '{name}' is no known time zone; expected an IANA name such as Europe/Berlin, or UTC "
            "(when the name is right, install the system's tzdata or the Python package tzdata)"
        ) from None


def _minutes(value: Any, where: str, latest: int = _MINUTES_A_DAY) -> int:
    if isinstance(value, int):
        raise BadInput(
            f"{where}: {value} is a number: YAML reads an unquoted time such as 22:00 as one; put it in quotes, '22:00'"
        )
    found = _CLOCK.match(str(value).strip())
    minutes = int(found.group(1)) * 60 + int(found.group(2)) if found else _MINUTES_A_DAY + 1
    if minutes > latest:
        last = "24:00" if latest == _MINUTES_A_DAY else "23:59"
        raise BadInput(
            f"{where}: '{value}' is no time of day; expected 'HH:MM' from '00:00' to '{last}'"
        )
    return minutes


def _days(value: Any, where: str) -> FrozenSet[int]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not names:
        raise BadInput(f"{where}: expected a list of weekdays, such as [sat, sun]")
    days = set()
    for name in names:
        text = str(name).strip().lower()
        if text not in DAYS and text not in _NAMES:
            raise BadInput(f"{where}: '{name}' is no weekday; expected one of {', '.join(DAYS)}")
        days.add(DAYS.index(text[:3]))
    return frozenset(days)


def _parse_window(body: Any, where: str) -> Window:
    if not isinstance(body, Mapping):
        raise BadInput(f"{where}: expected a mapping with {', '.join(_KEYS)}")
    strange = sorted(str(key) for key in body if key not in _KEYS)
    if strange:
        raise BadInput(f"{where}: unknown key {', '.join(strange)}; expected {', '.join(_KEYS)}")
    for key in ("start", "end"):
        if key not in body:
            raise BadInput(f"{where}: '{key}' is missing; expected 'HH:MM'")
    start = _minutes(body["start"], f"{where}.start", _MINUTES_A_DAY - 1)
    end = _minutes(body["end"], f"{where}.end")
    if start == end:
        raise BadInput(
            f"{where}: start and end are the same; for a whole day write start '00:00' and end '24:00'"
        )
    zone = str(body.get("timezone", "UTC"))
    zone_of(zone, f"{where}.timezone")
    days = _days(body.get("days", DAYS), f"{where}.days")
    return Window(days, start, end if end > start else end + _MINUTES_A_DAY, zone)


def parse_windows(value: Any, where: str) -> Tuple[Window, ...]:
    """Read a window or a list of windows.

    :raises BadInput: naming the window and the key.
    """
    bodies = [value] if isinstance(value, Mapping) else value
    if not isinstance(bodies, (list, tuple)):
        raise BadInput(f"{where}: expected a list of windows, each with {', '.join(_KEYS)}")
    return tuple(_parse_window(body, f"{where}[{number}]") for number, body in enumerate(bodies))


def _instant(day: date, minutes: int, zone: tzinfo) -> datetime:
    """The moment at which the clock of a place shows that many minutes after that day's midnight.

    A time that a change of the clock skips is read with the offset before the change, one that comes twice is the first
    (RFC 5545, section 3.3.5): both are what ``fold=0`` means.
    """
    shown = datetime.combine(day + timedelta(days=minutes // _MINUTES_A_DAY), time(0))
    shown += timedelta(minutes=minutes % _MINUTES_A_DAY)
    return shown.replace(tzinfo=zone).astimezone(timezone.utc)


def openings(window: Window, now: datetime) -> List[Tuple[datetime, datetime]]:
    """The window's (opens, closes), in UTC and in order, from the day before yesterday to a week ahead."""
    zone = zone_of(window.zone, "window")
    today = now.astimezone(zone).date()
    found = []
    for offset in range(-2, _DAYS_AHEAD):
        day = today + timedelta(days=offset)
        if day.weekday() in window.days:
            opens, closes = _instant(day, window.start, zone), _instant(day, window.end, zone)
            if opens < closes:
                found.append((opens, closes))
    return found


def window_state(windows: Sequence[Window], now: datetime) -> WindowState:
    """Whether any of the windows is open now; its closing time counts windows that follow without a gap.

    Without windows it is always open.
    """
    if not windows:
        return WindowState(True)
    spans = sorted(span for window in windows for span in openings(window, now))
    closes: Optional[datetime] = None
    for opens, ends in spans:
        if opens <= (closes or now) < ends:
            closes = ends
    if closes:
        return WindowState(True, closes=closes)
    return WindowState(
        False, opens=min((opens for opens, ends in spans if opens > now), default=None)
    )
