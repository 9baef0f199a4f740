# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations and times as people write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Optional, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:(\d+)\s*([smhdw]))")


def parse_duration(value: Union[str, int, float], option: str) -> timedelta:
    """Read ``180d``, ``48h``, ``1d12h`` or a number of seconds.

    :raises BadInput: for anything else, and for a negative duration.
    """
    text = str(value).strip().lower()
    if re.match(r"^\d+(\.\d+)?$", text):
        return timedelta(seconds=float(text))
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise BadInput(
            f"{option}: '{value}' is no duration; expected a number with a unit, such as 30m, 48h, 180d or 2w"
        )
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))


def format_duration(value: timedelta) -> str:
    """The two largest units of a duration: ``3d 4h``, ``12m 5s``, ``0s``."""
    left = int(abs(value).total_seconds())
    parts = []
    for unit in "dhms":
        number, left = divmod(left, _UNITS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return " ".join(parts[:2]) or "0s"


def parse_time(value: str, where: str) -> datetime:
    """Read an RFC 3339 time with a zone.

    :raises BadInput: when it is no time or has no zone: a time without one is a guess.
    """
    try:
        moment = datetime.fromisoformat(value.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    except (ValueError, AttributeError):
        raise BadInput(
            f"{where}: '{value}' is no time; expected RFC 3339 such as 2026-01-31T22:00:00Z"
        ) from None
    if moment.tzinfo is None:
        raise BadInput(f"{where}: '{value}' has no time zone; add Z or an offset such as +01:00")
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError:
        raise BadInput(f"{where}: '{value}' is no time in UTC that a calendar has") from None


def parse_time_if_given(value: Optional[str], where: str) -> Optional[datetime]:
    """Like :func:`parse_time`; none for an empty text and for none.

    :raises BadInput: as :func:`parse_time`.
    """
    return parse_time(value, where) if value else None


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    plain = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return f"{plain.isoformat(timespec='microseconds')}Z"
