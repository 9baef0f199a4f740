# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notifications to a real HTTP server, a real mail server and real programs."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import secrets
import socketserver
import ssl
import sys
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._notify import run
from estate.tls import Certificate, make_certificate


def params(*contacts: dict[str, Any], **more: Any) -> dict[str, Any]:
    fixed = {
        "credential": "db",
        "event": "success",
        "rotation_id": "r1",
        "phase": "observe",
        "owner": "platform",
    }
    timing = {"timeout": "5s", "interval": "0s", "retries": 2}
    return {**fixed, **timing, "text": "took 4 s", "contacts": list(contacts), **more}


def tell(
    *contacts: dict[str, Any], environ: dict[str, str] | None = None, **more: Any
) -> tuple[dict[str, Any], list[str]]:
    warnings: list[str] = []
    context = Context(warn=warnings.append, environ=environ or {"PATH": "/usr/bin:/bin"})
    return run(params(*contacts, **more), context), warnings


class Running:
    """A server in a thread, for the time of a test."""

    def __init__(self, server: socketserver.BaseServer) -> None:
        self.server = server
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


# --- webhook


class Hook(BaseHTTPRequestHandler):
    """Keeps what was posted; answers with the statuses that it was given, then 204."""

    def do_POST(self) -> None:
        state: dict[str, Any] = self.server.state  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        state["posts"].append((self.path, dict(self.headers), json.loads(body)))
        status = state["statuses"].pop(0) if state["statuses"] else 204
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://localhost:1/")
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def hook() -> Iterator[tuple[str, dict[str, Any]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.state = {"posts": [], "statuses": []}  # type: ignore[attr-defined]
    running = Running(server)
    yield f"http://127.0.0.1:{server.server_port}", server.state  # type: ignore[attr-defined]
    running.stop()


def test_a_webhook_gets_the_payload_and_its_secret_headers(
    hook: tuple[str, dict[str, Any]],
) -> None:
    address, state = hook
    secret, path = secrets.token_urlsafe(20), secrets.token_urlsafe(20)
    contact = {
        "type": "webhook",
        "url": "ref+envsubst://$HOOK",
        "headers": {"Authorization": "ref+envsubst://$TOKEN", "X-Team": "platform"},
    }
    result, warnings = tell(contact, environ={"HOOK": f"{address}/{path}", "TOKEN": secret})
    assert warnings == []
    assert result["notifications"] == [
        {"type": "webhook", "to": address, "attempts": 1, "sent": True, "error": ""}
    ]
    assert result["changed"] is True
    ((where, headers, body),) = state["posts"]
    assert where == f"/{path}"
    assert (headers["Authorization"], headers["X-Team"]) == (secret, "platform")
    assert headers["Content-Type"] == "application/json"
    assert (body["credential"], body["event"], body["rotation_id"]) == ("db", "success", "r1")
    assert body["text"] == "db: done in phase observe. took 4 s"
    assert not any(value in str(result) for value in (secret, path))


def test_a_webhook_is_tried_again_when_that_may_help(hook: tuple[str, dict[str, Any]]) -> None:
    address, state = hook
    contact = {"type": "webhook", "url": f"{address}/a-secret-path"}
    state["statuses"] = [503, 429]
    assert tell(contact)[0]["notifications"][0]["attempts"] == 3
    for statuses, told, posts in (
        ([500, 500, 500], "status 500 (3 attempts)", 3),
        ([404], "status 404 (1 attempt)", 1),
        ([302], "status 302", 3),
    ):
        state["posts"].clear()
        state["statuses"] = list(statuses) * (3 if statuses == [302] else 1)
        result, warnings = tell(contact)
        assert result["changed"] is False
        assert told in warnings[0]
        assert len(state["posts"]) == posts
        assert "a-secret-path" not in warnings[0] + str(result)


def test_nobody_at_the_other_end_is_a_warning() -> None:
    contacts = (
        {"type": "webhook", "url": "http://127.0.0.1:1/x"},
        {"type": "mail", "to": "a@b", "from": "c@d", "host": "127.0.0.1", "port": 1},
        {"type": "command", "argv": ["/nonexistent/program"]},
    )
    result, warnings = tell(*contacts, retries=0)
    assert len(warnings) == 3
    assert "nothing listens there" in warnings[0]
    assert "the mail server cannot be reached (ConnectionRefusedError)" in warnings[1]
    assert "could not be started: No such file or directory" in warnings[2]
    assert result["changed"] is False


# --- mail


class MailState:
    """What a mail server was told, and how it is to answer."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.logins: list[str] = []
        self.encrypted: list[bool] = []
        self.refuse: dict[str, str] = {}
        self.tls: ssl.SSLContext | None = None


class MailHandler(socketserver.StreamRequestHandler):
    """Enough of SMTP (RFC 5321, 3207, 4954) for one client."""

    def handle(self) -> None:
        self.encrypted, self.recipients = False, list[str]()
        self._say("220 mail ready")
        while line := self.rfile.readline().decode().strip():
            verb = line.split(":")[0].upper().split()[0]
            refusal = self._state.refuse.get(verb)
            if refusal:
                self._say(refusal)
                continue
            getattr(self, f"_on_{verb.lower()}", self._fine)(line)
            if verb == "QUIT":
                return

    @property
    def _state(self) -> MailState:
        state: MailState = self.server.state  # type: ignore[attr-defined]
        return state

    def _fine(self, line: str) -> None:
        self._say("250 fine")

    def _on_ehlo(self, line: str) -> None:
        tls = ["STARTTLS"] if self._state.tls and not self.encrypted else []
        for offer in ("mail", *tls):
            self._say(f"250-{offer}")
        self._say("250 AUTH PLAIN")

    def _on_starttls(self, line: str) -> None:
        assert self._state.tls
        self._say("220 go on")
        secured = self._state.tls.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = secured.makefile("rb"), secured.makefile("wb", 0)
        self.encrypted = True

    def _on_auth(self, line: str) -> None:
        self._state.logins.append(base64.b64decode(line.rsplit(maxsplit=1)[-1]).decode())
        self._say("235 welcome")

    def _on_rcpt(self, line: str) -> None:
        self.recipients.append(line.split("<")[1].split(">", maxsplit=1)[0])
        self._say("250 fine")

    def _on_data(self, line: str) -> None:
        self._say("354 go on")
        self._state.mails.append((self.recipients, self._mail()))
        self._state.encrypted.append(self.encrypted)
        self._say("250 taken")

    def _on_quit(self, line: str) -> None:
        self._say("221 bye")

    def _mail(self) -> EmailMessage:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        return email.message_from_bytes(b"".join(lines), policy=email.policy.default)  # type: ignore[return-value]

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def mail() -> Iterator[tuple[int, MailState]]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), MailHandler)
    server.daemon_threads = True
    server.state = MailState()  # type: ignore[attr-defined]
    running = Running(server)
    yield server.server_address[1], server.state  # type: ignore[attr-defined]
    running.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


def mail_contact(port: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "mail",
        "to": ["ops@example.org", "dba@example.org"],
        "from": "keyturn@example.org",
        "host": "127.0.0.1",
        "port": port,
        **more,
    }


def test_a_mail_arrives(mail: tuple[int, MailState]) -> None:
    port, state = mail
    result, warnings = tell(mail_contact(port), text="took 4 s\n.\nä")
    assert warnings == []
    assert result["notifications"][0]["to"] == "ops@example.org, dba@example.org"
    ((recipients, message),) = state.mails
    assert recipients == ["ops@example.org", "dba@example.org"]
    assert message["Subject"] == "[keyturn] db: done"
    text = message.get_content().replace("\r\n", "\n")
    assert "took 4 s\n.\nä" in text
    assert "rotation_id: r1" in text


def test_a_mail_over_starttls_with_a_login(
    mail: tuple[int, MailState], certificate: Certificate
) -> None:
    port, state = mail
    state.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    state.tls.load_cert_chain(certificate.certificate, certificate.key)
    password = secrets.token_urlsafe(20)
    login = {"username": "keyturn", "password": "ref+envsubst://$PASSWORD", "starttls": True}
    environ = {"PASSWORD": password}
    trusted = mail_contact(port, **login, ca_path=str(certificate.certificate))
    result, warnings = tell(trusted, environ=environ)
    assert warnings == []
    assert state.logins == [f"\0keyturn\0{password}"]
    assert state.encrypted == [True]
    assert password not in str(result)
    result, warnings = tell(mail_contact(port, **login), environ=environ)
    assert "TLS with the mail server failed" in warnings[0]
    assert (len(state.logins), len(state.mails)) == (1, 1)
    state.tls = None
    result, warnings = tell(trusted, environ=environ)
    assert "does not offer what is needed" in warnings[0]
    assert len(state.logins) == 1


@pytest.mark.parametrize(
    ("verb", "answer", "told"),
    [
        ("RCPT", "550 no such user", "refused every recipient (550) (1 attempt)"),
        ("RCPT", "450 later", "refused every recipient (450) (3 attempts)"),
        ("MAIL", "554 go away", "answered 554 (1 attempt)"),
        ("DATA", "451 later", "answered 451 (3 attempts)"),
        ("AUTH", "535 wrong", "answered 535 (1 attempt)"),
    ],
)
def test_a_mail_server_that_refuses(
    mail: tuple[int, MailState], verb: str, answer: str, told: str
) -> None:
    port, state = mail
    state.refuse = {verb: answer}
    contact = mail_contact(port, username="me", password="ref+envsubst://$PASSWORD")
    result, warnings = tell(contact, environ={"PASSWORD": secrets.token_urlsafe(20)})
    assert told in warnings[0]
    assert result["changed"] is False


# --- command


def test_a_program_reads_the_payload(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = f"import sys; open({str(out)!r}, 'w').write(sys.stdin.read())"
    result, warnings = tell({"type": "command", "argv": [sys.executable, "-c", code]})
    assert warnings == []
    assert json.loads(out.read_text()) == result["payload"]
    silent, _warnings = tell({"type": "command", "argv": ["false"], "events": ["failure"]})
    assert silent["notifications"] == []
    assert silent["changed"] is False
