# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever listens in the place of a server that is down, and asks for the password itself, is not told it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import psycopg2.extensions
import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _pgbouncer_server, _wire
from ansible_collections.keyturn.runbooks.plugins.module_utils._clear_text import (
    libpq_guard,
    may_ask_for_clear_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes import _session
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

PASSWORD = "told-to-nobody"
LIBPQ_16 = 160000


class Impostor(threading.Thread):
    """A listener that speaks no TLS and asks every client for its password in clear text."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self.heard = b""

    def run(self) -> None:
        while True:
            try:
                client, _address = self.listening.accept()
            except OSError:
                return
            with client:
                client.settimeout(3)
                self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        # An encryption request is 8 bytes long and answered with no; then comes the startup message.
        while True:
            (length,) = struct.unpack("!I", client.recv(4, socket.MSG_WAITALL))
            client.recv(length - 4, socket.MSG_WAITALL)
            if length > 8:
                break
            client.sendall(b"N")
        client.sendall(b"R" + struct.pack("!II", 8, 3))
        self.heard += client.recv(1000)


@pytest.fixture
def impostor() -> Iterator[Impostor]:
    started = Impostor()
    started.start()
    yield started
    started.listening.close()


def console(port: int) -> None:
    login = _pgbouncer_server.Login("admin", Secret(PASSWORD), "pgbouncer", "127.0.0.1", port)
    _pgbouncer_server.Session(login, time.monotonic() + 3)


def probe(port: int) -> None:
    address = _wire.Address("127.0.0.1", port, "app")
    _session.Session(address, "app", Secret(PASSWORD), time.monotonic() + 3)


@pytest.mark.skipif(
    psycopg2.extensions.libpq_version() < LIBPQ_16, reason="this libpq has no require_auth"
)
@pytest.mark.parametrize("connect", [console, probe])
def test_libpq_does_not_tell_the_password(impostor: Impostor, connect: object) -> None:
    assert callable(connect)
    with pytest.raises(KeyturnError) as told:
        connect(impostor.port)
    assert PASSWORD not in told.value.message
    assert connect is probe or "in clear text" in told.value.message
    assert PASSWORD.encode() not in impostor.heard


def test_a_login_spoken_here_does_not_tell_it_either(impostor: Impostor) -> None:
    address = _wire.Address("127.0.0.1", impostor.port, "app")
    verdict = _wire.try_login(address, "app", PASSWORD, bytes(18))
    assert (verdict.outcome, "set sslmode" in verdict.reason) == (_wire.UNPROVEN, True)
    assert PASSWORD.encode() not in impostor.heard


@pytest.mark.parametrize(
    ("host", "sslmode", "may"),
    [
        ("db1", "prefer", False),
        ("db1", "disable", False),
        ("db1", "require", True),
        ("db1", "verify-full", True),
        ("/run/postgresql", "prefer", True),
        ("", "prefer", True),
    ],
)
def test_where_a_server_may_ask_for_it(
    host: str, sslmode: str, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGREQUIREAUTH", raising=False)
    assert may_ask_for_clear_text(host, sslmode) is may
    assert bool(libpq_guard(host, sslmode, LIBPQ_16)) is not may
    assert libpq_guard(host, sslmode, LIBPQ_16 - 1) == {}
    monkeypatch.setenv("PGREQUIREAUTH", "scram-sha-256")
    assert libpq_guard(host, sslmode, LIBPQ_16) == {}
