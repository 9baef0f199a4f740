# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP API with its state in memory and faults on demand; the fakes of providers are made of it."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

CUT = -1
"""As a status: the connection is closed without an answer."""


@dataclass(frozen=True)
class Asked:
    """One request.

    :param path: unquoted.
    :param query: in the order in which it came.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    raw_path: str = ""

    def json(self) -> Any:
        return json.loads(self.body or b"null")

    @property
    def bearer(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a call.

    :param reply: what is answered instead; status ``CUT`` answers nothing.
    :param after: the call takes effect all the same, before that.
    :param slow: seconds until anything happens.
    """

    reply: Reply | None = None
    after: bool = False
    slow: float = 0.0


def new_token() -> str:
    """A value that is known nowhere else."""
    return secrets.token_urlsafe(24)


Self = TypeVar("Self", bound="ApiServer")


class ApiServer:
    """Answers on a port of this machine while it is entered.

    :ivar lines: what an access log would hold.
    :ivar asked: how often each call was asked for.
    :ivar writes: how many calls changed something.
    :ivar wrong: requests that were not as the provider describes them.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.asked: Counter[str] = Counter()
        self.writes = 0
        self.wrong: list[str] = []
        self._faults: dict[str, list[Fault]] = {}
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self: Self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="fake API", daemon=True
        ).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, call: str, *faults: Fault) -> None:
        """Let the next times of a call go wrong, one after the other."""
        with self._lock:
            self._faults.setdefault(call, []).extend(faults)

    def name(self, asked: Asked) -> str:
        """What a call is named in :meth:`fail`."""
        return f"{asked.method} {asked.path}"

    def answer(self, asked: Asked) -> Reply:
        """Do it."""
        raise NotImplementedError

    def handle(self, asked: Asked) -> Reply:
        with self._lock:
            called = self.name(asked)
            self.asked[called] += 1
            self.lines.append(f"{asked.method} {asked.raw_path}")
            waiting = self._faults.get(called) or []
            fault = waiting.pop(0) if waiting else Fault()
        time.sleep(fault.slow)
        with self._lock:
            reply = None if fault.reply and not fault.after else self.answer(asked)
        return fault.reply or reply or Reply()


def _handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one piece: else the body waits for the receipt of the headers.
        wbufsize = -1

        def _any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            asked = Asked(
                method=self.command,
                path=unquote(parts.path),
                query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(length),
                raw_path=self.path,
            )
            self._send(server.handle(asked))

        def do_GET(self) -> None:
            self._any()

        def do_POST(self) -> None:
            self._any()

        def do_PUT(self) -> None:
            self._any()

        def do_DELETE(self) -> None:
            self._any()

        def _send(self, reply: Reply) -> None:
            self.close_connection = True
            if reply.status == CUT:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            text = b"" if reply.body is None else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_arguments: Any) -> None:
            """Nothing: the lines are kept."""

    return Handler
