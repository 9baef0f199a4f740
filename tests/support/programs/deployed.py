# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application that is given its credential as environment variables, and answers over HTTP.

Usage: deployed.py PORT FOLDER: ``/health`` answers 200, or 503 where FOLDER has a file ``healthy`` that holds the digest of another value;
any other path answers 200 to ``Authorization: Bearer VALUE`` with the value of ``TOKEN``, and 401 otherwise. What it was started with is
noted in FOLDER as digests of ``TOKEN_ID`` and ``TOKEN``.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[2])


def digest(name: str) -> str:
    """The digest of a variable."""
    return hashlib.sha256(os.environ.get(name, "").encode()).hexdigest()


class Answers(BaseHTTPRequestHandler):
    """See the top of this file."""

    def do_GET(self) -> None:
        """Answer."""
        healthy = FOLDER / "healthy"
        if self.path == "/health":
            well = not healthy.exists() or healthy.read_text() == digest("TOKEN")
            self.send_response(200 if well else 503)
        else:
            shown = self.headers.get("Authorization", "").removeprefix("Bearer ")
            self.send_response(200 if shown == os.environ.get("TOKEN") else 401)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Nothing."""


signal.signal(signal.SIGTERM, lambda *_args: os._exit(0))
with (FOLDER / "notes").open("a") as notes:
    notes.write(f"{digest('TOKEN_ID')} {digest('TOKEN')}\n")
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
