# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call to Vault in time: how often it is tried, how long, and whom it follows."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_client import open_vault
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_session import VaultSession
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_settings import vault_settings

REFERENCE = parse_reference("ref+vault://secret/x", "option")
GOOD = b'{"data": {"keys": ["one"]}}'
BUSY = b'{"errors": ["rate limit quota exceeded"]}'
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


def said(status: int, body: bytes, **headers: str) -> Answer:
    def act(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return act


def trickled(handler: http.server.BaseHTTPRequestHandler) -> None:
    """One byte after the other, each in time, and all of them not."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _byte in range(1000):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


@contextmanager
def server(*answers: Answer) -> Iterator[tuple[str, list[str]]]:
    """Gives these answers, the last one for ever; and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = min(len(asked), len(answers) - 1)
            asked.append(self.path)
            try:
                answers[number](self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_args: object) -> None:
            """Nothing."""

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_address[1]}", asked
    listener.shutdown()
    listener.server_close()


def read(address: str, **environ: str) -> object:
    context = Context(environ={"VAULT_ADDR": address, "VAULT_TOKEN": "t", **environ})
    client = open_vault(REFERENCE, context, "option")
    try:
        return client.call("it", "read it", lambda hvac: hvac.adapter.get("/v1/x")["data"])
    finally:
        context.close()


def test_a_busy_server_is_asked_again() -> None:
    with server(said(429, BUSY), said(429, BUSY), said(200, GOOD)) as (address, asked):
        assert read(address) == {"keys": ["one"]}
    assert len(asked) == 3


def test_as_long_as_the_server_says() -> None:
    with server(said(429, BUSY, Retry_After="1"), said(200, GOOD)) as (address, _asked):
        started = time.monotonic()
        assert read(address) == {"keys": ["one"]}
        assert time.monotonic() - started >= 1


def test_not_beyond_the_deadline() -> None:
    with server(said(429, BUSY, Retry_After="30")) as (address, asked):
        started = time.monotonic()
        with pytest.raises(Unreachable, match="limits the rate"):
            read(address, VAULT_CLIENT_TIMEOUT="2")
        assert time.monotonic() - started < 1
    assert len(asked) == 1


@pytest.mark.parametrize("most", [0, 2])
def test_not_more_often_than_the_user_says(most: int) -> None:
    with (
        server(said(429, BUSY)) as (address, asked),
        pytest.raises(Unreachable, match="limits the rate"),
    ):
        read(address, ANSIBLE_HASHI_VAULT_RETRIES=str(most))
    assert len(asked) == most + 1


def test_an_answer_that_trickles_ends_at_the_deadline() -> None:
    with server(trickled) as (address, _asked):
        started = time.monotonic()
        with pytest.raises(Unreachable, match="did not answer in time"):
            read(address, VAULT_CLIENT_TIMEOUT="0.5")
        assert time.monotonic() - started < 2


def test_a_standby_sends_us_to_the_active_node() -> None:
    with server(said(200, GOOD)) as (active, asked):
        moved = said(307, b"", Location=f"{active}/v1/x")
        with server(moved) as (standby, _asked):
            assert read(standby) == {"keys": ["one"]}
    assert asked == ["/v1/x"]


def test_servers_that_send_us_in_circles() -> None:
    with server(said(307, b"", Location="/v1/x")) as (address, asked), pytest.raises(Unreachable):
        read(address, VAULT_CLIENT_TIMEOUT="2")
    assert len(asked) < 10


def test_never_from_tls_to_plain_text() -> None:
    context = Context(environ={"VAULT_ADDR": "https://vault.example", "VAULT_TOKEN": "t"})
    session = VaultSession(vault_settings(REFERENCE, context, "option"), context)
    answer = requests.Response()
    answer.url, answer.status_code = "https://vault.example/v1/x", 307
    answer.headers["Location"] = "http://vault.example/v1/x"
    with pytest.raises(requests.exceptions.InvalidURL):
        session.client.session.get_redirect_target(answer)
    answer.headers["Location"] = "https://other.example/v1/x"
    assert session.client.session.get_redirect_target(answer) == "https://other.example/v1/x"
