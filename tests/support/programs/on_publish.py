# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: python on_publish.py PORT ALLOWED LOG [quiet]
"""Answers an ingest's ``on_publish``: 200 for a key that stands in the file ALLOWED, one on each line, else 403.

The file is read again for each call, so that a sink can write it. LOG gets each call with its key, as such programs do; with
``quiet`` it gets the application and the answer alone.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

ALLOWED, LOG = Path(sys.argv[2]), Path(sys.argv[3])
QUIET = sys.argv[4:] == ["quiet"]


class Handler(BaseHTTPRequestHandler):
    """One question of the ingest; ``GET`` only says that somebody is here."""

    def do_GET(self) -> None:
        """Say that this program answers."""
        self._answer(204)

    def do_POST(self) -> None:
        """Look whether the key is allowed."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        asked = {name: values[-1] for name, values in parse_qs(body).items()}
        key = asked.get("name", "")
        allowed = ALLOWED.read_text("utf-8").split() if ALLOWED.exists() else []
        status = 200 if key and key in allowed else 403
        told = f"{asked.get('call')} app={asked.get('app')} {status}"
        with LOG.open("a", encoding="utf-8") as log:
            log.write(f"{told}\n" if QUIET else f"{told} name={key}\n")
        self._answer(status)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Nothing: the log is its own."""


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
