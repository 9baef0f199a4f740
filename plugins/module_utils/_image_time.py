# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long may be spent on an image, and on one part of it: whoever made it chose what is in it, and rules may need hours for that."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any, Callable, List

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_archive import Readable

LONGEST = 60.0
"""Seconds of processor time for one file. One of 10 MB that is all text takes some seconds."""
_LEAST = 0.001


class Timed:
    """A stream that is read until a point in time.

    :param ends: when, by ``time.monotonic``.
    """

    def __init__(self, source: Readable, ends: float) -> None:
        self._source = source
        self._ends = ends

    def read(self, size: int = -1) -> bytes:
        """See :class:`Readable`.

        :raises Unreachable: the time is over.
        """
        if time.monotonic() > self._ends:
            raise Unreachable("the image was not read to its end in time; give a longer 'timeout'")
        return self._source.read(size)


class _TooLong(BaseException):
    """It took too much time. No ``except Exception`` of a package's is to take it for an error of its own."""


class Patience:
    """Gives a part up that takes too long, and says so.

    The clock counts the time that this process works, not what others take from it, and belongs to nobody else: Ansible's own limit for
    a task is SIGALRM. Outside of a process's main thread there is no such clock, and nothing is given up.

    :param ends: when all of it is to be done, by ``time.monotonic``.
    :ivar problems: what was given up, for people.
    """

    def __init__(self, ends: float) -> None:
        self._ends = ends
        self._working = False
        self.problems: List[str] = []

    def _ring(self, _number: int, _frame: Any) -> None:
        if self._working:
            raise _TooLong

    def spend(self, what: str, work: Callable[[], None]) -> None:
        """Do it, and give it up when it takes too long.

        :param what: what it is about, for people.
        """
        if threading.current_thread() is not threading.main_thread():
            work()
            return
        before = signal.signal(signal.SIGVTALRM, self._ring)
        seconds = max(_LEAST, min(LONGEST, self._ends - time.monotonic()))
        try:
            self._working = True
            # Again and again: one that comes in the middle of another package's cleaning up may be lost.
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds, max(_LEAST, seconds / 10))
            work()
            self._working = False
        except _TooLong:
            self.problems.append(f"{what}: it took too long, and not all of it was looked at")
        finally:
            self._working = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
