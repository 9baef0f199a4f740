# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application in the container: it reads its env file once, when it starts, and logs in with what that says when asked how it is.

Usage: musehub.py ENV_FILE PORT DATABASE_PORT. It answers 200 to /health when the database takes its login, and 503 when it does not.
"""

from __future__ import annotations

import http.server
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psycopg2


def settings(path: Path) -> dict[str, str]:
    """The lines of an env file; the values here need no quotes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def main(env_file: str, port: str, database_port: str) -> None:
    """Serve until SIGTERM, which the first process of a container hears only when it asks for it."""
    own = settings(Path(env_file))
    signal.signal(signal.SIGTERM, lambda *_signal: os._exit(0))

    def healthy() -> bool:
        login = {"user": own["DB_USER"], "password": own["DB_PASSWORD"], "dbname": "musehub"}
        try:
            psycopg2.connect(host="127.0.0.1", port=database_port, **login).close()
        except psycopg2.Error:
            return False
        return True

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if healthy() else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
