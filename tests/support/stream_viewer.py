# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who watches a broadcast, and an ingest that shows it: under a name of its own, since a stream key is nothing for viewers."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from estate.errors import EstateError
from estate.processes import Running, wait_until
from ingest import Ingest, program

WATCH, TEST, NAME = "watch", "test", "air"
# Whoever watches hears of the end of a broadcast, and else would wait on the same connection.
_OPEN = f"application {WATCH} {{ live on; publish_notify on; }}"


class WatchedIngest(Ingest):
    """An ingest that forwards what is published on ``live`` to where viewers are; a test stream goes to ``test`` and no further."""

    def __init__(self) -> None:
        super().__init__(applications=("live", TEST))

    def _configured(self, module: Path, applications: Sequence[str], careful: bool) -> str:
        text = super()._configured(module, applications, careful)
        asked, to = "live on;\n", f"rtmp://127.0.0.1:{self.port}/{WATCH}/{NAME}"
        forwarded = text.replace(asked, f"{asked}            push {to};\n", 1)
        return forwarded.replace("\n    }\n}\nhttp {", f"\n        {_OPEN}\n    }}\n}}\nhttp {{", 1)

    def connections(self, *applications: str) -> dict[str, str]:
        """Who is connected there now, by the number of the connection: the application and since when, in milliseconds."""
        found = {}
        now = time.time() * 1000
        for place in ElementTree.fromstring(self.statistics()).iter("application"):  # noqa: S314
            if (name := place.findtext("name", "")) in applications:
                for client in place.iter("client"):
                    since = now - float(client.findtext("time", "0"))
                    found[client.findtext("id", "")] = f"{name} {since:.0f}"
        return found


@dataclass
class View:
    """One broadcast as it was seen.

    :ivar times: of its frames, in milliseconds of the broadcast.
    """

    times: list[int] = field(default_factory=list)

    def gaps(self, usual: int) -> list[tuple[int, int]]:
        """Frames between which something is missing, or that came twice."""
        return [(one, two) for one, two in pairwise(self.times) if two - one != usual]


class Viewer(Running):
    """A player that is always there: it waits for a broadcast, sees it to its end, and waits for the next one.

    :ivar views: what it saw, the last one perhaps still going on.
    :ivar calls: how often it had to connect.
    """

    def __init__(self, ingest: WatchedIngest) -> None:
        self.views: list[View] = []
        self.calls = 0
        self._argv = [
            *(program("ffmpeg", "ffmpeg"), "-hide_banner", "-loglevel", "quiet", "-nostdin"),
            *("-analyzeduration", "500000", "-probesize", "20000", "-i", f"{ingest.url(WATCH)}/{NAME}"),
            *("-map", "0:v", "-c", "copy", "-flush_packets", "1", "-f", "framecrc", "-"),
        ]  # fmt: skip
        self._process: subprocess.Popen[str] | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> Viewer:
        """Begin to watch."""
        self._thread.start()
        wait_until(lambda: self._process is not None, 10, "the viewer")
        return self

    def _watch(self) -> None:
        while not self._ended:
            self.calls += 1
            with subprocess.Popen(self._argv, stdout=subprocess.PIPE, text=True) as process:
                self._process = process
                assert process.stdout
                view = View()
                for line in process.stdout:
                    words = line.replace(",", " ").split()
                    if not line.startswith("#") and len(words) >= 6:
                        view.times.append(int(words[1]))
                        if len(view.times) == 1:
                            self.views.append(view)
            time.sleep(0.05)

    @property
    def seen(self) -> int:
        """How many frames it saw."""
        return sum(len(view.times) for view in self.views)

    def wait(self, more: int) -> None:
        """Until it has seen so many frames more.

        :raises EstateError: when they do not come.
        """
        wanted = self.seen + more
        wait_until(lambda: self.seen >= wanted, 60, f"the viewer to see {more} frames more")

    def wait_for_end(self) -> None:
        """Until it has noticed that a broadcast is over, and waits for the next one."""
        wait_until(lambda: self.calls > len(self.views), 60, "the viewer to see the end")

    def close(self) -> None:
        """Go away."""
        self._ended = True
        if self._process:
            self._process.kill()
        self._thread.join(20)
        if self._thread.is_alive():
            raise EstateError("the viewer did not end")
