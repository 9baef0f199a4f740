# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that goes on with what it has when it cannot read its file anew, and says so in its log alone.

Usage: relay.py FILE [LAST-WORDS]. It reads the file when it starts and at each SIGHUP; its last words it says when it is ended.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path


def read(*_signal: object) -> None:
    """Read the file, or say why not."""
    try:
        Path(sys.argv[1]).read_text()
    except OSError as error:
        print(f"error: {error.strerror}: still using what was read before", flush=True)
    else:
        print("key file read", flush=True)


def end(*_signal: object) -> None:
    """Say the last words."""
    print(*sys.argv[2:], flush=True)
    sys.exit(143)


signal.signal(signal.SIGHUP, read)
signal.signal(signal.SIGTERM, end)
read()
address = os.environ.get("NOTIFY_SOCKET", "")
if address:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream:
        stream.sendto(b"READY=1", address.replace("@", "\0", 1))
while True:
    signal.pause()
