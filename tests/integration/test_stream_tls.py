# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test streams over TLS: to an ingest whose certificate is trusted, and to one that somebody put in its place."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams import (
    Pattern,
    Streamed,
    Wanted,
    _ffmpeg,
    read_target,
    stream,
)
from estate.authority import Authority
from ingest import Ingest, new_key
from machines import required

SMALL = Pattern(160, 90, 10, 200_000, 64_000, 0.5)


@contextmanager
def encrypted(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """A port that speaks TLS and passes on what it hears."""
    loop, started = asyncio.new_event_loop(), threading.Event()
    ports: list[int] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(near, there), pump(far, back))

    async def begin() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        started.set()

    def run() -> None:
        loop.create_task(begin())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    yield ports[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def publish(port: int, key: str, method: str) -> Streamed:
    target = read_target(f"rtmps://127.0.0.1:{port}/live", None, "p")
    return stream(target, Secret(key), SMALL, method, Wanted(), dict(os.environ), 10.0, "p")


def test_a_key_goes_only_to_whom_the_system_trusts(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key()
    authority, other = Authority(scratch), Authority(scratch, "other")
    trusted = authority.issue("ingest").server_context()
    impostor = other.issue("impostor").server_context()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with required(), Ingest(scratch) as ingest:
        ingest.allow(key)
        with encrypted(ingest.port, trusted) as port:
            for method in ("ffmpeg", "pyav"):
                assert publish(port, key, method).ended.outcome == "accepted", method
                assert publish(port, new_key(), method).ended.outcome == "refused", method
        calls = ingest.callback_log.read_text()
        with encrypted(ingest.port, impostor) as port:
            found = publish(port, key, "auto")
            # Nor where the other one comes only after the first look.
            url = read_target(f"rtmps://127.0.0.1:{port}/live", None, "p")
            program, surroundings = _ffmpeg.find(os.environ)[0], dict(os.environ)
            late = _ffmpeg.publish(program, surroundings, url, Secret(key), SMALL, 8.0, bool)
        assert late.outcome == "unreachable"
        assert (found.ended.outcome, found.method) == ("unreachable", "")
        assert found.ended.detail.startswith("its certificate is not trusted (")
        plain = publish(ingest.port, key, "auto")
        assert (plain.ended.outcome, plain.method) == ("unreachable", "")
        assert plain.ended.detail == "TLS failed; expected an ingest for rtmps"
        assert ingest.callback_log.read_text() == calls
