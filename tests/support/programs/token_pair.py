# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two services that share a token: ``hub`` answers those who show one of its tokens, ``runner`` shows its own again and again.

Usage: token_pair.py hub FILE_OF_TOKENS PORT; token_pair.py runner FILE_OF_TOKEN PORT COUNTS. Both read their file anew on SIGHUP.
The file of the hub has its tokens with commas between; the runner counts its answers by status in the file COUNTS.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any


class Kept:
    """The text of a file, as it was when it was read last."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.text = ""
        self.read()
        signal.signal(signal.SIGHUP, self.read)

    def read(self, *_signal: object) -> None:
        """Read it anew."""
        self.text = self.path.read_text()


def hub(tokens: Kept, port: int) -> None:
    """Answer 200 to those who show a token of the list, and 401 to all others."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            self.send_response(200 if shown and shown in tokens.text.split(",") else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            """Nothing."""

    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def runner(token: Kept, port: int, counts: Path) -> None:
    """Ask every few milliseconds."""
    seen: Counter[str] = Counter()
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/work", headers={"Authorization": f"Bearer {token.text}"})
        seen[str(connection.getresponse().status)] += 1
        connection.close()
        part = counts.with_suffix(".part")
        part.write_text(json.dumps(seen))
        os.replace(part, counts)
        time.sleep(0.005)


if __name__ == "__main__":
    role, path, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if role == "hub":
        hub(Kept(path), port)
    else:
        runner(Kept(path), port, Path(sys.argv[4]))
