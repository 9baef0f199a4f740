# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy for HTTP as companies have it: it is asked for whole URLs, or to connect (RFC 9110, 9.3.6), and finds servers by their names."""

from __future__ import annotations

import http.client
import http.server
import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_HOP = ("connection", "proxy-authorization", "proxy-connection", "transfer-encoding")


@dataclass
class ForwardProxy:
    """One proxy.

    :param servers: where the servers are, as host and port, by the name and port that they are asked for.
    :ivar asked: method and target of each request.
    :ivar logins: what each brought as its Proxy-Authorization.
    """

    servers: Mapping[str, tuple[str, int]]
    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def _told(self, name: str) -> tuple[str, int]:
        proxy: ForwardProxy = self.server.proxy
        proxy.asked.append((self.command, self.path))
        proxy.logins.append(self.headers.get("Proxy-Authorization", ""))
        return proxy.servers[name]

    def do_CONNECT(self) -> None:
        """Pass bytes on in both directions until one side ends."""
        with socket.create_connection(self._told(self.path), timeout=10) as far:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: far, far: self.connection}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        self.close_connection = True
                        return
                    ends[end].sendall(data)

    def _forward(self) -> None:
        parts = urlsplit(self.path)
        host, port = self._told(parts.netloc)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kept = {key: value for key, value in self.headers.items() if key.lower() not in _HOP}
        line = http.client.HTTPConnection(host, port, timeout=10)
        try:
            query = f"?{parts.query}" if parts.query else ""
            line.request(self.command, f"{parts.path}{query}", body, kept)
            answer = line.getresponse()
            content = answer.read()
        finally:
            line.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._forward
        raise AttributeError(name)

    def log_message(self, *_args: object) -> None:
        """Nothing."""


@contextmanager
def forward_proxy(servers: Mapping[str, tuple[str, int]]) -> Iterator[ForwardProxy]:
    """A proxy that ends with the block."""
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads, server.block_on_close = True, False
    server.proxy = ForwardProxy(servers, int(server.server_address[1]))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.server_close()
