# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes of services and by programs: a real HTTP server, real processes."""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    KeyturnError,
    ProbeFailed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes import (
    Evidence,
    Patience,
    ProbeContext,
    run_probe,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

QUICK = Patience(timedelta(seconds=1), timedelta(milliseconds=200))
ONCE = Patience(timedelta(seconds=10), timedelta(milliseconds=100), 0)


def keyring(current: Stage) -> Document:
    return Document("db", secrets.token_bytes(32), current=current)


def no_secret(error: KeyturnError | Evidence, *values: str) -> None:
    text = repr(vars(error)) + str(error)
    assert not any(value in text for value in values)


# --- HTTP

TOKENS = {"good": secrets.token_urlsafe(20), "bad": secrets.token_urlsafe(20)}


class Handler(BaseHTTPRequestHandler):
    """A service that checks a bearer token, and a few odd answers."""

    seen: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers.get("Authorization")))  # type: ignore[attr-defined]
        if self.path.startswith("/away"):
            self._redirect(f"http://localhost:{self.server.server_port}/me")
        elif self.path == "/here":
            self._redirect("/me")
        elif self.path == "/me":
            good = self.headers.get("Authorization") == f"Bearer {TOKENS['good']}"
            self._answer(200 if good else 401, {"ok": good})
        elif self.path == "/slow":
            time.sleep(1.5)
            self._answer(200, {})
        else:
            self._answer(503, {"echo": self.headers.get("Authorization")})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(200 if body == f"token={TOKENS['good']}" else 403, {})

    def _redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def service() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def http(server: ThreadingHTTPServer, path: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "url": f"http://127.0.0.1:{server.server_port}{path}",
        "headers": {"Authorization": "Bearer {pending.value}"},
        **more,
    }


def token(name: str) -> Stage:
    return Stage("r1", "applied", {"value": Secret(TOKENS[name])}, "d")


def web(**more: Any) -> ProbeContext:
    return ProbeContext(
        Context(check_mode=more.pop("check_mode", False)),
        {},
        patience=more.pop("patience", ONCE),
        **more,
    )


def test_a_token_is_accepted_or_refused(service: ThreadingHTTPServer) -> None:
    probe = http(service, "/me", json={"/ok": True})
    evidence = run_probe(probe, token("good"), web())
    assert (evidence.against, evidence.detail) == (
        f"GET http://127.0.0.1:{service.server_port}/me",
        "status 200",
    )
    with pytest.raises(ProbeFailed, match="status 401, expected 200"):
        run_probe(probe, token("bad"), web())
    refused = web(expect="refused", document=keyring(token("good")))
    assert (
        "status 401; the current value is accepted"
        in run_probe(probe, token("bad"), refused).detail
    )
    with pytest.raises(ProbeFailed, match="still accepted"):
        run_probe(probe, token("good"), web(expect="refused"))
    post = http(service, "/form", method="POST", headers={}, body="token={stage.value}")
    assert run_probe(post, token("good"), web()).detail == "status 200"
    assert run_probe(post, token("bad"), web(expect="refused")).detail.startswith(
        "refused with status 403"
    )


def test_an_answer_that_echoes_the_token_is_not_repeated(service: ThreadingHTTPServer) -> None:
    for more in ({}, {"contains": "x" * 20, "status": 503}, {"json": {"/echo": 1}, "status": 503}):
        with pytest.raises(ProbeFailed) as caught:
            run_probe(http(service, "/echo?key=shown", **more), token("good"), web())
        no_secret(caught.value, TOKENS["good"], "key=shown")


def test_redirects_never_carry_the_token_to_another_host(service: ThreadingHTTPServer) -> None:
    with pytest.raises(ProbeFailed, match="status 302"):
        run_probe(http(service, "/here"), token("good"), web())
    assert (
        run_probe(http(service, "/here", redirects="same_host"), token("good"), web()).detail
        == "status 200"
    )
    service.seen.clear()  # type: ignore[attr-defined]
    with pytest.raises(Unreachable, match="redirects to another host"):
        run_probe(http(service, "/away", redirects="same_host"), token("good"), web())
    assert [path for path, _token in service.seen] == ["/away"]  # type: ignore[attr-defined]


def test_a_service_that_is_not_there_or_slow_proves_nothing(service: ThreadingHTTPServer) -> None:
    gone = {"type": "http", "url": "http://127.0.0.1:1/", "headers": {"X": "{stage.value}"}}
    for expect in ("accepted", "refused"):
        with pytest.raises(Unreachable, match="nothing listens there"):
            run_probe(gone, token("good"), web(expect=expect))
    start = time.monotonic()
    with pytest.raises(Unreachable, match="no answer in time"):
        run_probe(http(service, "/slow"), token("good"), web(patience=QUICK))
    assert time.monotonic() - start < 1.4
    plain_as_tls = {**gone, "url": f"https://127.0.0.1:{service.server_port}/"}
    with pytest.raises(Unreachable, match=r"TLS failed|no answer"):
        run_probe(plain_as_tls, token("good"), web(patience=QUICK))


# --- programs


def program(scratch: Path, text: str) -> list[str]:
    path = scratch / "check.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def test_a_program_gets_the_value_without_showing_it(scratch: Path) -> None:
    argv = program(
        scratch,
        "import os, sys\n"
        "value = sys.stdin.read()\n"
        "print(value, file=sys.stderr); print(open('/proc/self/cmdline').read())\n"
        "sys.exit(0 if value == os.environ['TOKEN'] and os.environ['PATH'] else 7)\n",
    )
    probe = {
        "type": "command",
        "argv": argv,
        "environment": {"TOKEN": "{stage.value}"},
        "stdin": "{current.value}",
    }
    evidence = run_probe(probe, token("good"), web())
    assert evidence.detail == "exit code 0, 2 lines of output"
    no_secret(evidence, TOKENS["good"])
    with pytest.raises(ProbeFailed, match="exit code 7") as caught:
        run_probe({**probe, "stdin": "else"}, token("good"), web())
    no_secret(caught.value, TOKENS["good"])
    refused = {**probe, "stdin": "else", "refused_rc": [7]}
    assert run_probe(refused, token("good"), web(expect="refused")).detail.startswith(
        "refused: exit code 7"
    )
    with pytest.raises(Unreachable):
        run_probe({**refused, "refused_rc": 8}, token("good"), web(expect="refused"))


def test_a_program_that_hangs_is_ended_with_its_children(scratch: Path) -> None:
    mark = scratch / "pid"
    argv = ["/bin/sh", "-c", f"sleep 60 & echo $! > {mark}; wait"]
    start = time.monotonic()
    with pytest.raises(Unreachable, match="did not end within 1 s and was killed"):
        run_probe({"type": "command", "argv": argv}, token("good"), web(patience=QUICK))
    assert time.monotonic() - start < 5
    child = Path(f"/proc/{mark.read_text().strip()}/stat")
    until = time.monotonic() + 5
    while child.exists() and ") Z" not in child.read_text() and time.monotonic() < until:
        time.sleep(0.05)
    assert not child.exists() or ") Z" in child.read_text()
