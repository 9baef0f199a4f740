# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says to an ingest who may publish: what nginx' rtmp module asks before it takes a stream.

Usage: allow.py FOLDER. A stream is taken when FOLDER has a file of the name that the question's URL ends with, and in it the key
on a line of its own. The file is read for each question, so that a key counts from the moment at which it is there. No key is logged.
"""

from __future__ import annotations

import hmac
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

FOLDER = Path(sys.argv[1])


def is_listed(name: str, key: str) -> bool:
    """Whether a key is on the list of this name; none is where there is no list."""
    if not key or not name.isidentifier():
        return False
    try:
        lines = (FOLDER / name).read_bytes().splitlines()
    except FileNotFoundError:
        return False
    # Each line is looked at, so that the time says nothing.
    return sum(hmac.compare_digest(line.strip(), key.encode()) for line in lines) > 0


class Question(BaseHTTPRequestHandler):
    """One stream that wants to be published."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        asked = {name: values[0] for name, values in parse_qs(body).items()}
        taken = is_listed(self.path.rpartition("/")[2], asked.get("name", ""))
        word = "taken" if taken else "refused"
        print(f"{word}: a stream for {asked.get('app')} from {asked.get('addr')}", flush=True)
        self.send_response(200 if taken else 403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *told: object) -> None:
        """Nothing beside the line above."""


ThreadingHTTPServer(("127.0.0.1", 8081), Question).serve_forever()
