# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A consumer for each sink: it reads the sink from its own server and logs in to PostgreSQL with what it found, again and again."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType

import psycopg2
from estate.processes import wait_until
from everywhere import Everywhere

PAUSE = 0.1


class SinkReaders:
    """One thread that goes from sink to sink until the block ends.

    :ivar logins: how often each sink's value was accepted.
    :ivar failures: what failed, by sink; never a value.
    """

    def __init__(self, kept: Everywhere) -> None:
        self._kept = kept
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)
        self.logins: Counter[str] = Counter()
        self.failures: list[str] = []

    def __enter__(self) -> SinkReaders:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(30)

    def _go(self) -> None:
        sinks = list(self._kept.places())
        while not self._ended.wait(PAUSE):
            for sink in sinks:
                self._look(sink)

    def _look(self, sink: str) -> None:
        try:
            self._log_in(sink)
        except Exception as error:
            self.failures.append(f"{sink}: {type(error).__name__}")
        else:
            self.logins[sink] += 1

    def _log_in(self, sink: str) -> None:
        url = self._kept.url(sink)
        if url is None:
            raise LookupError(sink)
        psycopg2.connect(url, connect_timeout=5).close()

    def again(self) -> None:
        """Wait until each sink has been read anew and its value accepted, and nothing ever failed."""
        before = Counter(self.logins)
        sinks = self._kept.places()
        wait_until(
            lambda: bool(self.failures) or all(self.logins[one] > before[one] + 1 for one in sinks),
            20,
            "a login with what each sink shows",
        )
        assert self.failures == []
