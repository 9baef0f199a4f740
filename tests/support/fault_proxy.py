# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of a real server that does harm as it is told: to connections, requests and answers."""

from __future__ import annotations

import http.client
import http.server
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from backends import Upstream

_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


@dataclass(frozen=True)
class Asked:
    """One request.

    :param writes: whether it changes something at the server.
    """

    method: str
    path: str
    body: bytes
    headers: dict[str, str] = field(repr=False, default_factory=dict)
    writes: bool = False


@dataclass
class Answer:
    """What is sent back."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)


class Exchange:
    """One request, and what can be done with it."""

    def __init__(self, asked: Asked, handler: _Handler) -> None:
        self.asked = asked
        self._handler = handler

    def forward(self) -> Answer:
        """Ask the real server."""
        return self._handler.forward(self.asked)

    def reply(self, answer: Answer) -> None:
        """Answer as a whole."""
        self._handler.send(answer)

    def pass_on(self) -> None:
        """Do what a proxy does."""
        self.reply(self.forward())

    def cut(self) -> None:
        """Break the connection: the other side sees a reset."""
        linger = struct.pack("ii", 1, 0)
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._handler.close_connection = True
        self._handler.connection.close()

    def part(self, answer: Answer, share: float = 0.5) -> None:
        """Send the head and a part of the body of an answer, with the length of all of it."""
        self._handler.send(answer, share)

    def close(self) -> None:
        """End the connection in good order."""
        self._handler.close_connection = True

    def hang(self) -> None:
        """Say nothing, until the other side gives up or the proxy ends."""
        self._handler.wait_for_end()
        self._handler.close_connection = True


Act = Callable[[Exchange], None]


@dataclass
class Fault:
    """What to do with which requests.

    :param act: instead of passing the request on.
    :param when: which requests it is for.
    :param times: how many of them; none for all.
    """

    act: Act
    when: Callable[[Asked], bool] = lambda _asked: True
    times: int | None = None
    seen: int = 0

    def takes(self, asked: Asked) -> bool:
        """Whether it is this one's turn."""
        if not self.when(asked) or (self.times is not None and self.seen >= self.times):
            return False
        self.seen += 1
        return True


class FaultProxy:
    """One proxy.

    :param writes: tells a request that changes something: ``(method, path, headers) -> bool``.
    :ivar faults: the first one that takes a request does what it does; without one the request is passed on.
    :ivar asked: all that was asked, for counting.
    :ivar answered: the status of each answer of the real server.
    :ivar adds: headers that are put into each request on its way.
    """

    def __init__(
        self,
        upstream: Upstream,
        writes: Callable[[str, str, dict[str, str]], bool],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.upstream = upstream
        self.writes = writes
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.answered: list[int] = []
        self.adds: dict[str, str] = {}
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listens = True
        self._server = _Server(("127.0.0.1", 0), self)
        self.port = int(self._server.server_address[1])
        self._start()

    def _start(self) -> None:
        serve = self._server.serve_forever
        threading.Thread(target=serve, args=(0.02,), daemon=True).start()

    @property
    def tls(self) -> ssl.SSLContext | None:
        """What its listener shows."""
        return self._tls

    def took(self, connection: socket.socket) -> None:
        """Know of a connection."""
        with self._lock:
            self._open.add(connection)

    def let_go(self, connection: socket.socket) -> None:
        """Know that it ended."""
        with self._lock:
            self._open.discard(connection)

    def stop(self) -> None:
        """Take no connections any more, and end those that there are."""
        if self._listens:
            self._listens = False
            self._server.shutdown()
            self._server.server_close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def restart(self) -> None:
        """Take connections again, at the same port."""
        self._server = _Server(("127.0.0.1", self.port), self)
        self._listens = True
        self._start()

    def close(self) -> None:
        """End."""
        self.stop()

    def clear(self) -> None:
        """Be as at the beginning, without a connection."""
        self.stop()
        self.faults, self.asked, self.answered, self.adds = [], [], [], {}
        self.restart()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(address, _Handler)

    def finish_request(self, request: object, client_address: object) -> None:
        """In the connection's own thread: a handshake that fails ends this connection alone."""
        connection = request
        if self.proxy.tls:
            try:
                connection = self.proxy.tls.wrap_socket(request, server_side=True)  # type: ignore[arg-type]
            except OSError:
                return
        self.proxy.took(connection)  # type: ignore[arg-type]
        try:
            super().finish_request(connection, client_address)  # type: ignore[arg-type]
        finally:
            self.proxy.let_go(connection)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections are meant to break here."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = dict(self.headers.items())
        writes = proxy.writes(self.command, self.path, headers)
        asked = Asked(self.command, self.path, body, headers, writes)
        proxy.asked.append(asked)
        exchange = Exchange(asked, self)
        fault = next((one for one in proxy.faults if one.takes(asked)), None)
        (fault.act if fault else Exchange.pass_on)(exchange)

    def forward(self, asked: Asked) -> Answer:
        upstream = self.server.proxy.upstream
        if upstream.tls:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                upstream.host, upstream.port, timeout=30, context=upstream.tls
            )
        else:
            connection = http.client.HTTPConnection(upstream.host, upstream.port, timeout=30)
        try:
            # As it came, with the name of this proxy as its host: AWS's signature covers it.
            headers = {**asked.headers, **self.server.proxy.adds}
            connection.request(asked.method, asked.path, asked.body, headers)
            answer = connection.getresponse()
            self.server.proxy.answered.append(answer.status)
            kept = {key: value for key, value in answer.getheaders() if key.lower() not in _HOP}
            return Answer(answer.status, kept, answer.read())
        finally:
            connection.close()

    def send(self, answer: Answer, share: float = 1.0) -> None:
        self.send_response_only(answer.status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[: int(len(answer.body) * share)])
        self.wfile.flush()

    def wait_for_end(self) -> None:
        while self._is_open():
            pass

    def _is_open(self) -> bool:
        """Whether the other side is still there, after a tenth of a second."""
        self.connection.settimeout(0.1)
        try:
            return bool(self.connection.recv(1))
        except TimeoutError:
            return True
        except OSError:
            return False

    def log_message(self, *_args: object) -> None:
        """Nothing."""


def said(status: int, body: bytes = b"{}", **headers: str) -> Act:
    """An answer that is not the server's own."""

    def act(exchange: Exchange) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        exchange.reply(Answer(status, {"Content-Type": "application/json", **named}, body))

    return act


def reset(exchange: Exchange) -> None:
    """The connection breaks before the server hears of the request."""
    exchange.cut()


def reset_in_reply(exchange: Exchange) -> None:
    """The server does it, and the connection breaks in the middle of the answer."""
    exchange.part(exchange.forward())
    exchange.cut()


def lost(exchange: Exchange) -> None:
    """The server does it, and nothing of the answer comes."""
    exchange.forward()
    exchange.cut()


def truncated(exchange: Exchange) -> None:
    """The server does it, and the answer ends early."""
    exchange.part(exchange.forward())
    exchange.close()


def malformed(exchange: Exchange) -> None:
    """The server does it, and what comes back is cut JSON that calls itself whole."""
    answer = exchange.forward()
    answer.body = answer.body[: len(answer.body) // 2] or b"{"
    exchange.reply(answer)


def slow(seconds: float) -> Act:
    """Each answer takes its time."""

    def act(exchange: Exchange) -> None:
        time.sleep(seconds)
        exchange.pass_on()

    return act


def hang(exchange: Exchange) -> None:
    """No answer ever; the server does not hear of the request."""
    exchange.hang()


def done_and_hang(exchange: Exchange) -> None:
    """No answer ever; the server did it."""
    exchange.forward()
    exchange.hang()


@contextmanager
def proxy_before(
    upstream: Upstream,
    writes: Callable[[str, str, dict[str, str]], bool],
    tls: ssl.SSLContext | None = None,
) -> Iterator[FaultProxy]:
    """A proxy that ends with the block."""
    proxy = FaultProxy(upstream, writes, tls)
    try:
        yield proxy
    finally:
        proxy.close()
