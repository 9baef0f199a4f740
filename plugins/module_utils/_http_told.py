# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer of HTTP tells beside its content: the server's clock, and how long not to ask again."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Callable, Optional


class ServerClock:
    """A server's clock, as far as its answers tell it.

    :param now: this machine's clock, in UTC with a zone.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._ahead: Optional[timedelta] = None

    def hear(self, date: Optional[str]) -> None:
        """Keep how far the server's clock is ahead of ours: every answer tells its time, in whole seconds (RFC 9110, 6.6.1).

        :param date: the header Date; one that is missing or no time tells nothing.
        """
        try:
            told = parsedate_to_datetime(date or "")
        except (OverflowError, TypeError, ValueError):
            return
        if told.tzinfo is not None:
            self._ahead = told - self._now()

    def time(self) -> Optional[datetime]:
        """What the server's clock says now, to the second; none before its first answer, or beyond the last year of a calendar."""
        if self._ahead is None:
            return None
        try:
            return self._now() + self._ahead
        except OverflowError:
            return None


def wished_seconds(retry_after: Optional[str]) -> float:
    """What the header Retry-After says (RFC 9110, 10.2.3), in seconds; 0 where it says nothing, or a date."""
    text = retry_after or ""
    return float(text) if text.isascii() and text.isdecimal() else 0.0
