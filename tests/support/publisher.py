# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else is on the line: somebody who is live, a server that says nothing, and a look at what processes show."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator

from estate.errors import EstateError
from estate.processes import Running, tail, wait_until
from ingest import Ingest, program


class Publisher(Running):
    """Somebody who is live with a key: a real ffmpeg, which gets the key by its standard input and shows it to nobody.

    :param ingest: where it goes live.
    :raises Missing: when ffmpeg is not installed.
    """

    def __init__(self, ingest: Ingest, key: str, application: str = "live") -> None:
        self._ingest, self._key, self._application = ingest, key, application
        self._log = ingest.run_dir / f"publisher-{secrets.token_hex(4)}.err"
        self._argv = [
            *(program("ffmpeg", "ffmpeg"), "-hide_banner", "-loglevel", "error", "-nostdin"),
            *("-re", "-f", "lavfi", "-i", "testsrc=size=160x90:rate=10"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"),
            *("-pix_fmt", "yuv420p", "-g", "10", "-t", "600"),
            *("-fpre", "/dev/stdin", "-f", "flv", ingest.url(application)),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it is still there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id; 0 when it was not started."""
        return self._process.pid if self._process else 0

    def start(self) -> Publisher:
        """Go live.

        :raises EstateError: when the ingest does not take it.
        """
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        assert self._process.stdin
        self._process.stdin.write(f"rtmp_playpath={self._key}\n".encode())
        self._process.stdin.close()
        wait_until(self._live, 20, "the ingest to take the publisher")
        return self

    def _live(self) -> bool:
        if not self.running:
            raise EstateError(f"the publisher ended:\n{tail(self._log)}")
        return self._key in self._ingest.publishing(self._application)

    def close(self) -> None:
        """Go off, and wait until the ingest has seen it."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._log.unlink(missing_ok=True)
        wait_until(self._seen_off, 10, "the ingest to see the publisher off")

    def _seen_off(self) -> bool:
        try:
            return self._key not in self._ingest.publishing(self._application)
        except EstateError:
            return True


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    listening = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def take() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken.append(listening.accept()[0])

    threading.Thread(target=take, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        # Closing alone does not wake a thread that waits for a connection.
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for one in taken:
            one.close()


def shown_by_processes(*keys: str) -> list[str]:
    """The command lines and environments of all processes in which one of the keys stands."""
    found = []
    wanted = [key.encode() for key in keys]
    for process in os.scandir("/proc"):
        if process.name.isdigit():
            for kind in ("cmdline", "environ"):
                path = f"/proc/{process.name}/{kind}"
                with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
                    text = file.read(1 << 20)
                    found += [path] if any(key in text for key in wanted) else []
    return found
