# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server and a runner that share a token, each with an env file of its own, and what their operators have for them.

Usage::

    two_services.py hub ENV_FILE PORT
    two_services.py runner ENV_FILE PORT COUNTS
    two_services.py fetch ADDRESS PARAMETER ENV_FILE
    two_services.py accepts ENV_FILE PORT
    two_services.py works COUNTS

An env file has one line, ``TOKENS=`` with commas between several. Both services read it anew on SIGHUP, and start all over on SIGUSR1.
Where a file ``stuck`` lies beside it, a service takes that text and no other. The runner calls all the time and keeps in COUNTS how
often it did, when it was refused, and how often in a row it was not. ``fetch`` brings a parameter of AWS into an env file; ``accepts``
and ``works`` end with 0 when the server takes what the env file says, and when the runner is not refused any more.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

LINE = "TOKENS="


def written(path: Path, text: str) -> None:
    """Replace a file in one step; it is nobody else's."""
    part = path.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(text)
    os.replace(part, path)


def tokens_of(path: Path) -> list[str]:
    """What an env file says."""
    return path.read_text().strip().removeprefix(LINE).split(",")


class Tokens:
    """The tokens of an env file, as they were when it was read last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = tokens_of(path)
        signal.signal(signal.SIGHUP, self.read)
        signal.signal(signal.SIGUSR1, self.begin_anew)

    def read(self, *_signal: object) -> None:
        stuck = self.path.with_name("stuck")
        if not stuck.exists() or stuck.read_text() == self.path.read_text():
            self.now = tokens_of(self.path)

    def begin_anew(self, *_signal: object) -> None:
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606 - there is no shell in it


def status_of(port: int, token: str) -> int:
    """How a call with this token is answered; 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/work", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def hub(path: Path, port: int) -> None:
    """Answer 200 to those who show one of the tokens, and 401 to others."""
    tokens = Tokens(path)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            self.send_response(200 if shown in tokens.now else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            """Nothing."""

    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def runner(path: Path, port: int, counts: Path) -> None:
    """Call every few milliseconds."""
    found: dict[str, Any] = {"calls": 0, "refused": []}
    if counts.exists():
        found = json.loads(counts.read_text())
    # Not kept from before a restart: it says how the process that is there now fares.
    found["in_a_row"] = 0
    tokens = Tokens(path)
    while True:
        accepted = status_of(port, tokens.now[0]) == 200
        found["calls"] += 1
        found["in_a_row"] = found["in_a_row"] + 1 if accepted else 0
        if not accepted:
            found["refused"].append(time.time())
        written(counts, json.dumps(found))
        time.sleep(0.01)


def parameter(address: str, name: str) -> str:
    """A parameter's value."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    asked = json.dumps({"Name": name, "WithDecryption": True})
    signed = "AWS4-HMAC-SHA256 Credential=any/20260101/eu-west-1/ssm/aws4_request"
    headers = {
        "X-Amz-Target": "AmazonSSM.GetParameter",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": signed,
    }
    connection.request("POST", "/", asked, headers)
    found: str = json.loads(connection.getresponse().read())["Parameter"]["Value"]
    return found


def fetch(address: str, name: str, path: Path) -> None:
    """What a deploy script does: the parameter becomes a line of the env file."""
    written(path, f"{LINE}{parameter(address, name)}\n")


def works(counts: Path) -> bool:
    """Whether the runner is accepted again and again from now on."""
    before = json.loads(counts.read_text())["calls"]
    while True:
        now = json.loads(counts.read_text())
        if now["calls"] >= before + 5:
            return bool(now["in_a_row"] >= 4)
        time.sleep(0.01)


def main(role: str, *rest: str) -> int:
    if role == "hub":
        hub(Path(rest[0]), int(rest[1]))
    elif role == "runner":
        runner(Path(rest[0]), int(rest[1]), Path(rest[2]))
    elif role == "fetch":
        fetch(rest[0], rest[1], Path(rest[2]))
    elif role == "accepts":
        given = tokens_of(Path(rest[0]))
        return 0 if all(status_of(int(rest[1]), token) == 200 for token in given) else 1
    else:
        return 0 if works(Path(rest[0])) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
