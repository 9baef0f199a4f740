# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A yes of somebody who only listens in the database's place is no proof, and neither is one of a server that asks nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import socket
import struct
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_server import (
    Expectation,
    Login,
    holds,
    prove,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes import (
    Patience,
    ProbeContext,
    run_probe,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._scram import verifier
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._wire import (
    ACCEPTED,
    REFUSED,
    UNPROVEN,
    Address,
    try_login,
)
from estate.postgres import PostgresServer
from estate.tls import make_certificate

READY, DONE = b"Z\0\0\0\5I", b"C" + struct.pack("!I", 13) + b"SELECT 1\0"
BRIEF = Patience(timedelta(seconds=3), timedelta(milliseconds=100), 0)


def authentication(method: int, body: bytes = b"") -> bytes:
    return b"R" + struct.pack("!II", len(body) + 8, method) + body


class Server(threading.Thread):
    """Says yes to everybody. How far it goes to look like the real one is its manner; ``honest`` knows the verifier."""

    def __init__(self, manner: str, password: str) -> None:
        super().__init__(daemon=True)
        self.manner = manner
        self.verifier = verifier(password, os.urandom(16))
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                client, _address = self.listening.accept()
            except OSError:
                return
            with client:
                client.settimeout(3)
                try:
                    self.serve(client)
                except (OSError, struct.error):
                    continue

    def message(self, client: socket.socket) -> bytes:
        client.recv(1, socket.MSG_WAITALL)
        return self.body(client)

    def body(self, client: socket.socket) -> bytes:
        (length,) = struct.unpack("!I", client.recv(4, socket.MSG_WAITALL))
        return client.recv(length - 4, socket.MSG_WAITALL)

    def serve(self, client: socket.socket) -> None:
        while len(self.body(client)) == 4:
            client.sendall(b"N")
        self.authenticate(client)
        client.sendall(authentication(0) + READY)
        while self.message(client):
            client.sendall(DONE + READY)

    def authenticate(self, client: socket.socket) -> None:
        if self.manner == "open":
            return
        if self.manner == "md5":
            client.sendall(authentication(5, os.urandom(4)))
            self.message(client)
            return
        client.sendall(authentication(10, b"SCRAM-SHA-256\0\0"))
        first = self.message(client).split(b"n,,", 1)[1]
        if self.manner == "hasty":
            return
        if self.manner == "md5 after all":
            client.sendall(authentication(5, os.urandom(4)))
            self.message(client)
            return
        self.scram(client, first)

    def scram(self, client: socket.socket, first: bytes) -> None:
        cost, keys = self.verifier.split("$")[1:]
        rounds, salt = cost.split(":")
        nonce = first.partition(b"r=")[2] + (b"" if self.manner == "echo" else b"mine")
        challenge = b"r=" + nonce + f",s={salt},i={rounds}".encode()
        client.sendall(authentication(11, challenge))
        final = self.message(client)
        signed = b",".join([first, challenge, final.rpartition(b",p=")[0]])
        key = base64.b64decode(keys.split(":")[1])
        signature = hmac.new(key, signed, hashlib.sha256).digest()
        if self.manner == "forged":
            signature = os.urandom(32)
        if self.manner == "empty":
            signature = b""
        if self.manner == "error":
            client.sendall(authentication(12, b"e=other-error"))
        elif self.manner != "unsigned":
            client.sendall(authentication(12, b"v=" + base64.b64encode(signature)))


@pytest.fixture
def password() -> str:
    return secrets.token_urlsafe(24)


@pytest.fixture
def server(request: pytest.FixtureRequest, password: str) -> Iterator[Server]:
    started = Server(request.param, password)
    started.start()
    yield started
    started.listening.close()


def address(port: int) -> Address:
    return Address("127.0.0.1", port, "app", timeout=3)


@pytest.mark.parametrize("server", ["honest"], indirect=True)
def test_a_server_that_knows_the_password_is_believed(server: Server, password: str) -> None:
    assert try_login(address(server.port), "a", password, os.urandom(18)).outcome == ACCEPTED
    told = try_login(address(server.port), "a", password + "x", os.urandom(18))
    assert (told.outcome, "did not prove that it knows" in told.reason) == (UNPROVEN, True)


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ("open", "without asking for the password"),
        ("hasty", "did not prove that it knows"),
        ("unsigned", "did not prove that it knows"),
        ("forged", "did not prove that it knows"),
        ("empty", "did not prove that it knows"),
        ("error", "did not prove that it knows"),
        ("echo", "challenge is malformed"),
        ("md5", "not known by a certificate"),
        ("md5 after all", "not known by a certificate"),
    ],
    indirect=["server"],
)
def test_an_impostor_that_lets_anybody_in_makes_no_proof(
    server: Server, told: str, password: str
) -> None:
    verdict = try_login(address(server.port), "a", password, os.urandom(18))
    assert (verdict.outcome, told in verdict.reason) == (UNPROVEN, True), verdict

    stage = Stage("r1", "applied", {"username": "a", "password": Secret(password)}, "d")
    issuer = {"login": {"host": "127.0.0.1", "port": server.port, "dbname": "app"}}
    ctx = ProbeContext(Context(progress=print), issuer, patience=BRIEF)
    with pytest.raises(Unreachable, match=told):
        run_probe({"type": "postgres"}, stage, ctx)

    login = Login("a", Secret(password), "app", "127.0.0.1", server.port)
    for accepted in (True, False):
        with pytest.raises(Unreachable, match=told):
            prove(Expectation(login, accepted), 0.3)
        assert not holds(Expectation(login, accepted), 1)


@pytest.mark.pg_versions("15")
def test_a_server_without_scram_must_be_known_otherwise(
    postgres: PostgresServer, scratch: Path, password: str
) -> None:
    own = make_certificate(scratch)
    settings = {"ssl": "on", "ssl_cert_file": str(own.certificate), "ssl_key_file": str(own.key)}
    with PostgresServer(postgres.version, run_dir=scratch, settings=settings) as server:
        server.execute(
            "SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD %s", (password,)
        )
        server.execute("CREATE ROLE free LOGIN PASSWORD %s", (password,))
        rules = server.datadir / "pg_hba.conf"
        added = "host all old 127.0.0.1/32 md5\nhost all free 127.0.0.1/32 trust\n"
        rules.write_text(added + rules.read_text())
        server.restart()
        for user, mode, given, outcome in (
            ("old", "prefer", password, UNPROVEN),
            ("old", "require", password, UNPROVEN),
            ("old", "verify-full", password, ACCEPTED),
            ("old", "verify-full", password + "x", REFUSED),
            ("old", "prefer", password + "x", REFUSED),
            ("free", "verify-full", password, UNPROVEN),
            ("free", "prefer", password + "x", UNPROVEN),
        ):
            root = str(own.certificate) if mode == "verify-full" else ""
            here = Address(server.host, server.port, "postgres", mode, root, timeout=5)
            verdict = try_login(here, user, given, os.urandom(18))
            assert verdict.outcome == outcome, (user, mode, verdict)
        server.execute("ALTER ROLE free NOLOGIN")
        here = Address(server.host, server.port, "postgres", timeout=5)
        assert try_login(here, "free", password, os.urandom(18)).outcome == REFUSED
