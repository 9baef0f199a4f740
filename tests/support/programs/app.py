# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application that consumes a credential: reads it when it starts and at each SIGHUP, and notes a digest of what it read.

Usage: app.py SOURCE NOTES [SECONDS]: SOURCE is a file, or the name of an environment variable after a $.
With SECONDS it gives up after that time.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType


def read(number: int = 0, frame: FrameType | None = None) -> None:
    """Read the value and note it."""
    source, notes = sys.argv[1:3]
    named = source.startswith("$")
    data = os.environ.get(source[1:], "").encode() if named else Path(source).read_bytes()
    with Path(notes).open("a") as stream:
        stream.write(hashlib.sha256(data).hexdigest() + "\n")


def stop(number: int, frame: FrameType | None) -> None:
    """End at once, as an application in a container must by itself."""
    sys.exit(0 if number == signal.SIGTERM else 7)


def say_ready() -> None:
    """Tell systemd, where it asked for that."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream:
            stream.sendto(b"READY=1", address.replace("@", "\0", 1))


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGALRM, stop)
signal.signal(signal.SIGHUP, read)
read()
say_ready()
signal.setitimer(signal.ITIMER_REAL, float("".join(sys.argv[3:4]) or 0))
while True:
    signal.pause()
