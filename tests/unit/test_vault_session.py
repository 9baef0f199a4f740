# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call to Vault in time: how often it is tried, how long, and whom it follows."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    Denied,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_client import (
    VaultClient,
    open_vault,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv import KvSecret
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_metadata import KvMetadata
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_session import VaultSession
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_settings import vault_settings

REFERENCE = parse_reference("ref+vault://secret/x", "option")
GOOD = b'{"data": {"keys": ["one"]}}'
BUSY = b'{"errors": ["rate limit quota exceeded"]}'
APPROLE = {"VAULT_TOKEN": "", "VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s"}
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


def said(status: int, body: bytes, **headers: str) -> Answer:
    def act(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content_Type": "application/json", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return act


STANDING_BEFORE = said(503, b"<html>No server is available</html>", Content_Type="text/html")
OWN_503 = said(503, b'{"errors": ["not ready"]}')


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
def server(*answers: Answer, port: int = 0) -> Iterator[tuple[str, list[str]]]:
    """Gives these answers, the last one for ever; and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            number = min(len(asked), len(answers) - 1)
            asked.append(self.path)
            try:
                answers[number](self)
            except OSError:
                self.close_connection = True

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_args: object) -> None:
            """Nothing."""

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.server_address[1]}", asked
    finally:
        listener.shutdown()
        listener.server_close()


def read(address: str, writes: bool = False, **environ: str) -> object:
    context = Context(environ={"VAULT_ADDR": address, "VAULT_TOKEN": "t", **environ})
    client = open_vault(REFERENCE, context, "option")

    def ask(hvac: Any) -> object:
        return hvac.adapter.get("/v1/x")["data"]

    try:
        return client.call("it", "read it", ask, writes)
    finally:
        context.close()


def test_a_busy_server_is_asked_again() -> None:
    with server(said(429, BUSY), said(429, BUSY), said(200, GOOD)) as (address, asked):
        assert read(address) == {"keys": ["one"]}
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("answer", "writes", "repeats", "sent"),
    [
        (STANDING_BEFORE, False, False, 2),
        (STANDING_BEFORE, True, True, 2),
        # It may have passed the write on before, and a second one would do harm.
        (STANDING_BEFORE, True, False, 1),
        (OWN_503, True, False, 2),
    ],
)
def test_a_503_is_asked_again_where_that_does_no_harm(
    answer: Answer, writes: bool, repeats: bool, sent: int
) -> None:
    with server(answer, said(200, GOOD)) as (address, asked), ExitStack() as stack:
        context = Context(environ={"VAULT_ADDR": address, "VAULT_TOKEN": "t"})
        stack.callback(context.close)
        client = open_vault(REFERENCE, context, "option")
        if sent == 1:
            caught = stack.enter_context(pytest.raises(Unreachable))
        client.call("it", "do it", lambda hvac: hvac.adapter.get("/v1/x"), writes, repeats=repeats)
    assert len(asked) == sent
    if sent == 1:
        assert caught.value.details["uncertain"] is True


def test_named_versions_may_be_sent_again() -> None:
    """Metadata that is written as a whole may not."""
    found = {"current_version": 1, "custom_metadata": {"a": "b"}, "max_versions": 0}
    entry = {"created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "destroyed": True}
    state = json.dumps({"data": {**found, "versions": {"1": entry}}}).encode()
    with server(STANDING_BEFORE, said(204, b""), said(200, state)) as (address, asked):
        context = Context(environ={"VAULT_ADDR": address, "VAULT_TOKEN": "t"})
        metadata = KvMetadata(open_vault(REFERENCE, context, "option"), "secret", "x")
        metadata.change_versions("destroy", [1], "destroyed")
        context.close()
    assert [path.split("/")[3] for path in asked] == ["destroy", "destroy", "metadata"]
    with server(said(200, state), STANDING_BEFORE, said(200, state)) as (address, asked):
        context = Context(environ={"VAULT_ADDR": address, "VAULT_TOKEN": "t"})
        metadata = KvMetadata(open_vault(REFERENCE, context, "option"), "secret", "x")
        # It was done all the same, which the look afterwards shows.
        metadata.set({"a": "b"}, None, None)
        context.close()
    assert len(asked) == 3


def test_as_long_as_the_server_says() -> None:
    with server(said(429, BUSY, Retry_After="1"), said(200, GOOD)) as (address, _asked):
        started = time.monotonic()
        assert read(address) == {"keys": ["one"]}
        assert time.monotonic() - started >= 1


def cut(handler: http.server.BaseHTTPRequestHandler) -> None:
    """No answer at all."""
    handler.close_connection = True
    handler.connection.close()


def test_a_wish_counts_for_the_next_try_alone() -> None:
    answers = (said(429, BUSY, Retry_After="2"), cut, said(200, GOOD))
    with server(*answers) as (address, asked):
        assert read(address, VAULT_CLIENT_TIMEOUT="3.8") == {"keys": ["one"]}
    assert len(asked) == 3


def test_a_server_that_is_not_there_yet_is_waited_for() -> None:
    """Nothing was sent, so this is for a write as well."""
    with server(said(200, GOOD)) as (address, _asked):
        port = int(address.rpartition(":")[2])
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            stack.enter_context(server(said(200, GOOD), port=port))

    context = Context(environ={"VAULT_ADDR": address, "VAULT_TOKEN": "t"})
    settings = vault_settings(REFERENCE, context, "option")
    client = VaultClient(settings, context, "option", sleep)
    with ExitStack() as stack:
        found = client.call("it", "do it", lambda hvac: hvac.adapter.post("/v1/x"), writes=True)
    assert found == {"data": {"keys": ["one"]}}
    assert len(waits) == 3


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


@pytest.mark.parametrize(
    ("address", "source", "target", "follows"),
    [
        ("https://vault.example", "", "https://other.example/v1/x", True),
        ("https://vault.example", "", "//other.example/v1/x", True),
        ("https://vault.example", "", "/v1/y", True),
        ("https://vault.example", "", "http://vault.example/v1/x", False),
        ("https://vault.example", "", "HTTP://vault.example/v1/x", False),
        ("https://vault.example", "", " \tHt\ttp://vault.example/v1/x", False),
        ("https://vault.example", "", "http://127.0.0.1/v1/x", False),
        ("http://127.0.0.1:8200", "", "http://localhost:8300/v1/x", True),
        ("http://127.0.0.1:8200", "", "https://vault.example/v1/x", True),
        ("http://127.0.0.1:8200", "", "http://vault.example/v1/x", False),
        ("http://127.0.0.1:8200", "", "HTTP://10.0.0.1/v1/x", False),
        ("http://127.0.0.1:8200", "", "//10.0.0.1/v1/x", False),
        ("http://127.0.0.1:8200", "", "http://127.0.0.1@vault.example/v1/x", False),
        ("http://127.0.0.1:8200", "", "http://vault.example\\@127.0.0.1/v1/x", False),
        ("http://127.0.0.1:8200", "https://vault.example", "http://127.0.0.1/v1/x", False),
        ("http://vault.example", "", "http://other.example/v1/x", True),
        ("http://vault.example", "https://vault.example", "http://other.example/v1/x", False),
    ],
)
def test_never_from_what_none_can_read_to_plain_text(
    address: str, source: str, target: str, follows: bool
) -> None:
    context = Context(environ={"VAULT_ADDR": address, "VAULT_TOKEN": "t"})
    session = VaultSession(vault_settings(REFERENCE, context, "option"), context)
    answer = requests.Response()
    answer.url, answer.status_code = f"{source or address}/v1/x", 307
    answer.headers["Location"] = target
    if follows:
        assert session.client.session.get_redirect_target(answer) == target
    else:
        with pytest.raises(requests.exceptions.InvalidURL):
            session.client.session.get_redirect_target(answer)


def test_a_token_does_not_go_where_it_could_be_read() -> None:
    with server(said(200, GOOD)) as (active, asked):
        # The same machine, by an address that this test takes for another.
        away = active.replace("127.0.0.1", "127.0.0.2")
        with (
            server(said(307, b"", Location=f"{away}/v1/x")) as (standby, _asked),
            pytest.raises(Unreachable, match="an answer that is not Vault's"),
        ):
            read(standby)
    assert asked == []


# --- Proxies


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the environment's proxy was asked."""
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with server(said(200, GOOD)) as (address, asked):
        monkeypatch.setenv("http_proxy", address.replace("//", "//me:hidden@"))
        yield asked


def test_no_proxy_between_this_machine_and_itself(proxy: list[str]) -> None:
    with server(said(200, GOOD)) as (address, asked):
        for host in ("127.0.0.1", "localhost"):
            assert read(address.replace("127.0.0.1", host)) == {"keys": ["one"]}
        with server(said(307, b"", Location=f"{address}/v1/x")) as (standby, _asked):
            assert read(standby) == {"keys": ["one"]}
    assert len(asked) == 3
    assert proxy == []


def test_a_proxy_to_elsewhere_is_used(proxy: list[str]) -> None:
    assert read("http://vault.invalid:8200") == {"keys": ["one"]}
    assert proxy == ["http://vault.invalid:8200/v1/x"]


def test_the_authorities_of_the_environment_count_on_this_machine_too(
    proxy: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What requests itself reads, where neither an option nor VAULT_CACERT names another."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    context = Context(environ={"VAULT_ADDR": "https://127.0.0.1:8200", "VAULT_TOKEN": "t"})
    session = VaultSession(vault_settings(REFERENCE, context, "option"), context).client.session
    url = "https://127.0.0.1:8200/v1/x"
    for given, used in ((True, str(tmp_path / "ca.pem")), ("/own.pem", "/own.pem")):
        merged = session.merge_environment_settings(url, {}, None, given, None)
        assert (merged["verify"], dict(merged["proxies"])) == (used, {})
    assert proxy == []


# --- Answers that are not Vault's


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "answer",
    [
        said(200, DEEP),
        said(200, b"[]"),
        said(400, DEEP),
        said(404, DEEP),
        said(301, b"", Location="http://[::bad"),
        said(307, b"", Location="//[bad/v1/x"),
        said(307, b"", Location="http://127.0.0.1:port/v1/x"),
        said(307, b"", Location="\u00ff"),
        said(307, b"", Location="x-scheme://127.0.0.1/"),
        said(404, b'{"errors": [{"status": "404"}]}'),
        said(404, b'{"errors": ["not found"]}'),
        said(404, b'{"errors": null}'),
        said(404, b'{"errors": "no handler for route"}'),
        said(404, b'{"data": null}'),
        said(404, b'{"data": {"detail": "no such page"}}'),
        said(
            404, b'{"errors": [{"status": "404"}]}', Content_Type="application/json; charset=utf-8"
        ),
        said(
            403, b'{"errors": [{"status": "403"}]}', Content_Type="application/json; charset=utf-8"
        ),
    ],
)
@pytest.mark.parametrize("writes", [False, True])
def test_an_answer_that_is_not_vaults(answer: Answer, writes: bool) -> None:
    with (
        server(answer) as (address, _asked),
        pytest.raises(Unreachable, match="an answer that is not Vault's") as caught,
    ):
        read(address, writes=writes)
    assert caught.value.details["uncertain"] is writes


@pytest.mark.parametrize("after", ["\u00b2", "1e9", "-1", "soon", "0"])
def test_a_pause_that_is_no_number_is_not_asked_for(after: str) -> None:
    with server(said(429, BUSY, Retry_After=after), said(200, GOOD)) as (address, asked):
        assert read(address) == {"keys": ["one"]}
    assert len(asked) == 2


def test_a_clock_that_is_none() -> None:
    wrong = said(200, GOOD, Date="Mon, 01 Jan 2026 00:00:00 +99999999999999999")
    with server(wrong) as (address, _asked):
        assert read(address) == {"keys": ["one"]}


LISTED = [
    b"[]",
    b'{"data": []}',
    b'{"data": {"versions": []}}',
    b'{"data": {"current_version": 1, "versions": {"x": {}}}}',
    b'{"data": {"current_version": 1e999, "versions": {}}}',
    b'{"data": {"current_version": 1, "versions": {"1": "SENSITIVE"}}}',
]


@pytest.mark.parametrize("body", LISTED)
def test_metadata_that_is_not_vaults(body: bytes) -> None:
    with server(said(200, body)) as (address, _asked):
        context = Context(environ={"VAULT_ADDR": address, "VAULT_TOKEN": "t"})
        client = open_vault(REFERENCE, context, "option")
        for call in (KvSecret(client, "a", "b").versions, KvMetadata(client, "a", "b").read):
            with pytest.raises(Unreachable, match="an answer that is not Vault's"):
                call()
        context.close()


@pytest.mark.parametrize("body", [b'{"data": []}', b'{"data": {"options": ["SENSITIVE"]}}'])
def test_an_engine_that_is_not_vaults(body: bytes) -> None:
    answers = [said(404, b'{"errors": []}'), said(200, body)]
    with server(*answers) as (address, _asked):
        context = Context(environ={"VAULT_ADDR": address, "VAULT_TOKEN": "t"})
        secret = KvSecret(open_vault(REFERENCE, context, "option"), "a", "b")
        with pytest.raises(Unreachable, match="an answer that is not Vault's"):
            secret.read()
        context.close()


@pytest.mark.parametrize("seconds", [b"[]", b"1" + b"0" * 400])
def test_a_login_that_is_not_vaults(seconds: bytes) -> None:
    body = b'{"auth": {"client_token": "t", "lease_duration": ' + seconds + b"}}"
    with (
        server(said(200, body)) as (address, _asked),
        pytest.raises(Unreachable, match="an answer that is not Vault's"),
    ):
        read(address, **APPROLE)


# --- What Vault says with 404


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"errors": []}', "no such secret"),
        (b'{"errors": ["no handler for route \\"x\\". route entry not found."]}', "mounted"),
        (b'{"errors": ["1 error occurred:\\n\\t* unsupported path"]}', "no such secret"),
        (b'{"data": {"data": null, "metadata": {"version": 1}}}', "no such secret"),
        (
            b'{"data": null, "warnings": ["Invalid path for a versioned K/V secrets engine."]}',
            "no such secret",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_absent_is_what_vault_itself_says(body: bytes, message: str, kind: str) -> None:
    with (
        server(said(404, body, Content_Type=kind)) as (address, _asked),
        pytest.raises(Absent, match=message),
    ):
        read(address)


@pytest.mark.parametrize("wrapped", ["false", "true"])
@pytest.mark.parametrize("body", [b'{"errors": []}', b'{"errors": ["no handler for route"]}'])
def test_a_login_that_is_not_there_is_no_absent_secret(body: bytes, wrapped: str) -> None:
    with (
        server(said(404, body)) as (address, _asked),
        pytest.raises(Denied, match=r"nothing is mounted there\. Correct the mount point"),
    ):
        read(address, **APPROLE, VAULT_SECRET_ID_WRAPPED=wrapped)


@pytest.mark.parametrize("wrapped", ["false", "true"])
@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_page_in_place_of_the_login(status: int, wrapped: str) -> None:
    with (
        server(said(status, b"<html>", Content_Type="text/html")) as (address, _asked),
        pytest.raises(Unreachable, match="an answer that is not Vault's"),
    ):
        read(address, **APPROLE, VAULT_SECRET_ID_WRAPPED=wrapped)
