# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast AWS may be called by many threads at once: as fast as it takes, and less fast once it says that this is too fast."""

from __future__ import annotations

import time
from threading import Lock
from typing import Callable

_FIRST_GAP = 0.02
_LONGEST_GAP = 1.0
_SETTLED = 0.2
_NO_GAP = 0.005
_RECOVERY = 0.95


class Pace:
    """The time between two calls: none at first, doubled when AWS throttles, and less again with every call that it takes.

    Calls that were under way together are refused together: that counts once.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._gap = 0.0
        self._next = 0.0
        self._cut = 0.0

    def wait(self, end: float, sleep: Callable[[float], None]) -> bool:
        """Wait for one's turn; false when it would come after the end, which is on the monotonic clock."""
        with self._lock:
            if not self._gap:
                return True
            now = time.monotonic()
            turn = max(now, self._next)
            if turn >= end:
                return False
            self._next = turn + self._gap
        sleep(turn - now)
        return True

    def slower(self) -> None:
        """AWS throttled a call."""
        with self._lock:
            now = time.monotonic()
            if now < self._cut + _SETTLED + self._gap:
                return
            self._cut = now
            self._gap = min(max(self._gap * 2, _FIRST_GAP), _LONGEST_GAP)

    def faster(self) -> None:
        """AWS took a call."""
        if not self._gap:
            return
        with self._lock:
            self._gap *= _RECOVERY
            if self._gap < _NO_GAP:
                self._gap = 0.0
