# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One mount of a real Vault with one identity, and faults of the network in front of it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    parse_reference,
    resolve,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import Store, open_store
from estate.vault import VaultServer

OPTION = "keyturn_keyring"


class World:
    """One mount, one identity, and a context that keeps its warnings."""

    def __init__(self, server: VaultServer, mount: str) -> None:
        self.server = server
        self.mount = mount
        self.warnings: list[str] = []
        # Whoever runs the tests may have a token at home.
        at_home = {"HOME": "/nonexistent"}
        self.environ = {"VAULT_ADDR": server.address, "VAULT_TOKEN": server.root_token, **at_home}
        self.context = Context(environ=self.environ, warn=self.warnings.append)

    def store(self, path: str = "db_app", query: str = "") -> Store:
        text = f"ref+vault://{self.mount}/{path}{query}"
        return open_store(parse_reference(text, OPTION), self.context, OPTION)

    def put(self, path: str, **data: object) -> None:
        self.server.request("POST", f"{self.mount}/data/{path}", {"data": data})

    def value(self, rest: str) -> str:
        return resolve(f"ref+vault://{self.mount}/{rest}", self.context, OPTION).reveal()

    def limit(self, rules: str) -> None:
        """Go on with a token that may do only this; ``MOUNT`` stands for the mount."""
        self.environ["VAULT_TOKEN"] = self.server.token(rules.replace("MOUNT", self.mount))


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Proxy:
    """Forwards connections to Vault, and does harm as told.

    :ivar lose_replies: of that many requests that write, the answer is thrown away and the connection cut.
    :ivar lose_path: only of those to this part of the API.
    :ivar add_token: is put into each request, as an agent does.
    :ivar heads: of the requests that went through.
    :ivar connections: how many were made.
    """

    def __init__(self, server: VaultServer, tls: ssl.SSLContext | None = None) -> None:
        host, _colon, port = server.address.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._tls = tls
        self.lose_replies = 0
        self.lose_path = b""
        self.add_token = ""
        self.heads: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            if self._tls:
                client = self._tls.wrap_socket(client, server_side=True)
            with client, socket.create_connection(self._target) as upstream:
                while self._exchange(client, upstream):
                    pass
        except OSError:
            client.close()

    def _exchange(self, client: socket.socket, upstream: socket.socket) -> bool:
        request = client.recv(1 << 20)
        if not request:
            return False
        if self.add_token:
            line, _end, rest = request.partition(b"\r\n")
            request = b"\r\n".join([line, b"X-Vault-Token: " + self.add_token.encode(), rest])
        upstream.sendall(request)
        head, _blank, body = request.partition(b"\r\n\r\n")
        self.heads.append(head)
        lengths = [
            line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        ]
        missing = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
        while missing > 0:
            more = client.recv(1 << 20)
            upstream.sendall(more)
            missing -= len(more)
        reply = upstream.recv(1 << 20)
        writes = head.startswith((b"POST", b"PUT", b"PATCH", b"DELETE"))
        if writes and self.lose_replies and self.lose_path in head.split(b"\r\n")[0]:
            self.lose_replies -= 1
            return False
        client.sendall(reply)
        return True


@contextmanager
def proxied(world: World, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    proxy = Proxy(world.server, tls)
    scheme = "https" if tls else "http"
    world.environ["VAULT_ADDR"] = f"{scheme}://127.0.0.1:{proxy.port}"
    yield proxy
    proxy.close()
