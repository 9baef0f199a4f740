# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When something that failed is tried again: after pauses that grow and differ by chance, as late as the service asked, in time.

What may be tried again is for each client to say. Two things hold for all of them: where no connection came about, nothing was
sent, so that is tried again whatever it is; a write of which something was sent is tried again only where the service said that
it took no effect.
"""

from __future__ import annotations

from typing import Callable, Optional

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds, before chance."""


class Tries:
    """The tries of one call.

    :param left: the seconds until its deadline.
    :param sleep: waits for so many seconds.
    :param randbytes: gives so many bytes of chance.
    :param most: how many times it is tried again at most; none: as often as the deadline lets.
    :param longest: the seconds that a pause grows to, before chance.
    """

    def __init__(
        self,
        left: Callable[[], float],
        sleep: Callable[[float], None],
        randbytes: Callable[[int], bytes],
        most: Optional[int] = None,
        longest: float = LONGEST_PAUSE,
    ) -> None:
        self._left = left
        self._sleep = sleep
        self._randbytes = randbytes
        self._most = most
        self._longest = longest
        self._pause = FIRST_PAUSE
        self._count = 0

    def again(self, asked: float = 0.0, takes: float = 0.0, counts: bool = True) -> bool:
        """Wait until the next try; false, and no wait, where there is none.

        :param asked: the seconds that the service asked to wait.
        :param takes: the seconds that the next try will need, where it cannot be cut short at the deadline.
        :param counts: it is one of those of which there are only so many.
        """
        # Each waits for a time of its own: those that were refused together do not come back together.
        chance = 0.5 + self._randbytes(1)[0] / 255
        wait = max(self._pause * chance, asked)
        used_up = counts and self._most is not None and self._count >= self._most
        if used_up or wait + takes >= self._left():
            return False
        self._sleep(wait)
        self._pause = min(self._pause * 2, self._longest)
        self._count += counts
        return True
