# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that keep whoever asks them waiting."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import (
    Call,
    NotSent,
    send,
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LATE = "no answer in time|the answer took too long"


class Dripping:
    """A server that says something at once, and then the same little again and again.

    :ivar gone: how many connections were ended by the other side.
    """

    def __init__(self, first: bytes, drop: bytes = b"") -> None:
        self._first, self._drop = first, drop
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/"
        self.gone = threading.Semaphore(0)
        self._ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while not self._ended.is_set():
                connection, _address = self._listening.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(self._first)
            while self._drop and not self._ended.wait(0.02):
                connection.sendall(self._drop)
        self.gone.release()

    def close(self) -> None:
        self._ended.set()
        self._listening.close()


@pytest.fixture(autouse=True, scope="module")
def _imported() -> None:
    # The first import of it takes longer than what is measured here.
    import ansible.module_utils.urls  # noqa: F401


@pytest.fixture(
    params=[
        (b"", b"x"),
        (HEAD, b"X-More: 1\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"\r\n", b"x"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED, b"0"),
        (HEAD.replace(b"200 OK", b"500 No") + b"\r\n", b"x"),
        (HEAD + b"Content-Encoding: gzip\r\n\r\n", b"\x1f"),
        (HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"x")[:10], b"\0"),
    ],
    ids=["status", "headers", "continue", "body", "chunks", "chunk size", "error", "no gzip", "gzip"],
)  # fmt: skip
def dripping(request: pytest.FixtureRequest) -> Iterator[Dripping]:
    server = Dripping(*request.param)
    yield server
    server.close()


def test_one_that_drips_is_not_waited_for(dripping: Dripping) -> None:
    before = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        send(Call(dripping.url, timeout=0.4))
    assert time.monotonic() - before < 1.2
    assert not isinstance(caught.value, NotSent)


def test_a_body_that_drips_is_left_alone_afterwards() -> None:
    server = Dripping(HEAD + b"\r\n", b"x")
    with closing(server), pytest.raises(Unreachable, match=LATE):
        send(Call(server.url, timeout=0.3))
    assert server.gone.acquire(timeout=5)


def test_one_that_is_silent_is_not_waited_for() -> None:
    server = Dripping(b"")
    with closing(server), socket.create_server(("127.0.0.1", 0)) as silent:
        before = time.monotonic()
        with pytest.raises(Unreachable, match="no answer in time"):
            send(Call(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.3))
        assert time.monotonic() - before < 1.0


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole",
        b"HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\nwhole",
        b"HTTP/1.0 200 OK\r\n\r\nwhole",
        CHUNKED + b"3\r\nwho\r\n2\r\nle\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"whole"),
    ],
    ids=["length", "error", "to its end", "chunks", "gzip"],
)  # fmt: skip
def test_what_was_said_is_read_whole(text: bytes) -> None:
    server = Dripping(text)
    with closing(server):
        assert send(Call(server.url, timeout=5)).body == b"whole"
