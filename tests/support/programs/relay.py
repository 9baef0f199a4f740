# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that goes on with what it has when it cannot read its file anew, and says so in its log alone.

Usage: relay.py FILE [LAST-WORDS]. It reads the file when it starts and at each SIGHUP; its last words it says when it is ended.
With RELAY_TELLS in its environment it tells systemd when each reload begins and ends, and with which error.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path


def tell(*words: str) -> None:
    """Tell systemd, if it listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream:
            stream.sendto("\n".join(words).encode(), address.replace("@", "\0", 1))


def read() -> int:
    """Read the file, or say why not; returns the error's number."""
    try:
        Path(sys.argv[1]).read_text()
    except OSError as error:
        print(f"error: {error.strerror}: still using what was read before", flush=True)
        return error.errno or 1
    print("key file read", flush=True)
    return 0


def again(*_signal: object) -> None:
    """Read it anew."""
    tells = "RELAY_TELLS" in os.environ
    if tells:
        tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    error = read()
    if tells:
        tell("READY=1", f"ERRNO={error}")


def end(*_signal: object) -> None:
    """Say the last words."""
    print(*sys.argv[2:], flush=True)
    sys.exit(143)


signal.signal(signal.SIGHUP, again)
signal.signal(signal.SIGTERM, end)
read()
tell("READY=1")
while True:
    signal.pause()
