# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Fernet key that its consumer holds one at a time: who is affected is listed before, and told once afterwards by mail."""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_list import (
    Kept,
    Place,
    Waiting,
    beside,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_ways import open_way
from ansible_collections.keyturn.runbooks.plugins.module_utils._channels import Failed
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Conflict
from cryptography.fernet import Fernet
from estate.databases import Database
from estate.playbook import Ansible, PlaybookResult
from estate.processes import wait_until
from estate.vault import VaultServer
from mail_server import Mailbox, mail_server

USERS = 9
TABLES = """
CREATE TABLE public.users (id int PRIMARY KEY, email text, name text);
CREATE TABLE public.hooks (owner int, secret text, active bool DEFAULT true);
GRANT SELECT ON public.users TO hooks_reader;
GRANT SELECT ON public.hooks TO hooks_reader
"""
CONSUMER = """
import hashlib, json, pathlib, sys
import psycopg2
from cryptography.fernet import Fernet, InvalidToken
folder = pathlib.Path(sys.argv[1])
key = (folder / "key").read_text()
connection = psycopg2.connect(**json.loads((folder / "app.json").read_text()))
with connection, connection.cursor() as cursor:
    cursor.execute("SELECT owner, secret FROM public.hooks")
    for owner, secret in cursor.fetchall():
        try:
            Fernet(key).decrypt(secret)
        except InvalidToken:
            cursor.execute("UPDATE public.hooks SET active = false WHERE owner = %s", (owner,))
(folder / "used").write_text(hashlib.sha256(key.encode()).hexdigest())
"""
"""An application with one key: it switches off each webhook whose secret that key does not open."""
BREAKS = "Webhooks fail until their owners register them anew."


class Hook(BaseHTTPRequestHandler):
    """Keeps what was posted."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Keep the test's output clean."""


@contextmanager
def hook_server() -> Iterator[tuple[int, list[dict[str, str]]]]:
    server = HTTPServer(("127.0.0.1", 0), Hook)
    posts: list[dict[str, str]] = []
    server.posts = posts  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_port, posts
    server.shutdown()
    server.server_close()
    thread.join()


class Hooks:
    """The application, its users, the mail server, and the credential."""

    def __init__(
        self, folder: Path, ansible: Ansible, database: Database, port: int, box: Mailbox
    ) -> None:
        self.folder, self.ansible, self.database, self.box = folder, ansible, database, box
        self.keyring, self.kept = folder / "keyring.json", folder / "keyring.json.affected"
        self.first = Fernet.generate_key().decode()
        self.output = ""
        for name in ("key", "in-use"):
            self._write(name, self.first)
        self._write("used", hashlib.sha256(self.first.encode()).hexdigest())
        self._write("consumer.py", CONSUMER)
        self.server = {
            "host": database.server.host,
            "port": database.server.port,
            "dbname": database.name,
        }
        login = {"user": "postgres", "password": database.server.password}
        self._write("app.json", json.dumps({**self.server, **login}))
        password = database.create_login("hooks_reader", member_of_owner=False)
        self._write("reader.json", json.dumps({"username": "hooks_reader", "password": password}))
        self.addresses = {
            number: f"u{number}-{secrets.token_hex(4)}@example.org" for number in range(USERS)
        }
        self.names = {number: f"Name {secrets.token_hex(6)}" for number in range(USERS)}
        self.names[7] += "\nBcc: all@example.org"
        self.addresses[8] = f"u8-{secrets.token_hex(4)}@example.org,all@example.org"
        self._store(database)
        self._inventory(port)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)

    def _store(self, database: Database) -> None:
        database.execute(TABLES)
        key = Fernet(self.first.encode())
        for number in range(USERS):
            user = (number, self.addresses[number], self.names[number])
            database.execute("INSERT INTO public.users VALUES (%s, %s, %s)", user)
            sealed = key.encrypt(secrets.token_bytes(16)).decode()
            database.execute("INSERT INTO public.hooks VALUES (%s, %s)", (number, sealed))

    def _inventory(self, port: int) -> None:
        used = f'grep -qF "$(printf %s "$KEY" | sha256sum | cut -d" " -f1)" {self.folder}/used'
        login = {**self.server, "admin": f"ref+file://{self.folder}/reader.json"}
        query = """
            SELECT u.id, u.email, u.name FROM public.users u
             WHERE EXISTS (SELECT FROM public.hooks h WHERE h.owner = u.id AND h.active) -- those that work"""
        variables: dict[str, Any] = {
            "keyturn_keyring": f"ref+file://{self.keyring}",
            "keyturn_policy": {"rotate": "on_compromise", "grace": "0s"},
            "keyturn_generate": {"value": {"type": "fernet"}},
            "keyturn_issuer": {"type": "generated", "overlap": False},
            "keyturn_sinks": [
                {
                    "name": "key",
                    "ref": f"ref+file://{self.folder}/key",
                    "template": "{current.value}",
                }
            ],
            "keyturn_consumers": [
                {
                    "name": "app",
                    "type": "command",
                    "argv": [sys.executable, f"{self.folder}/consumer.py", str(self.folder)],
                }
            ],
            "keyturn_probes": [
                {
                    "type": "command",
                    "argv": ["sh", "-c", used],
                    "environment": {"KEY": "{stage.value}"},
                    "refused_rc": 1,
                }
            ],
            "keyturn_affected": {
                "breaks": BREAKS,
                "of": {"type": "postgres", "login": login, "query": query},
                "id": "id",
                "to": "email",
                "message": {
                    "subject": "Webhooks of {name}",
                    "body": "Hello {name},\nplease register your webhooks again.\n",
                },
                "by": {
                    "type": "mail",
                    "host": "127.0.0.1",
                    "port": port,
                    "from": "hub@example.org",
                },
                "per_second": 200,
                "expect_at_most": "{{ most | default(20) }}",
            },
            "keyturn_wait": "10s",
            "keyturn_interval": "1s",
        }
        place = self.folder / "inventory"
        (place / "host_vars").mkdir(parents=True)
        hosts = {"all": {"children": {"credentials": {"hosts": {"webhook_key": None}}}}}
        (place / "hosts.yml").write_text(yaml.safe_dump(hosts))
        (place / "host_vars" / "webhook_key.yml").write_text(yaml.safe_dump(variables))

    def run(self, playbook: str, *arguments: str, **extra: Any) -> PlaybookResult:
        ended = self.ansible.run(
            f"keyturn.runbooks.{playbook}",
            *arguments,
            inventory=self.folder / "inventory",
            extra_vars=extra,
        )
        self.output += ended.output
        return ended

    def state(self) -> dict[str, bytes]:
        """What a run may change."""
        found = [self.keyring, self.kept, self.folder / "key", self.folder / "used"]
        return {path.name: path.read_bytes() for path in found if path.exists()}


@pytest.fixture
def hooks(scratch: Path, ansible: Ansible, database: Database) -> Iterator[Hooks]:
    with mail_server() as (port, box):
        yield Hooks(scratch, ansible, database, port, box)


FORCED = {"keyturn_force": True, "keyturn_reason": "leaked"}


@pytest.mark.pg_versions("16")
def test_everybody_who_is_affected_is_told_once(hooks: Hooks) -> None:
    hooks.run("adopt", keyturn_adopt={"value": f"ref+file://{hooks.folder}/in-use"}).check()
    before = hooks.state()

    planned = hooks.run("rotate", "--check", "--diff", **FORCED).check()
    assert f"{BREAKS} {USERS} users are affected, and will be told" in planned.output
    assert "2 of 9 users cannot be told" in planned.output
    assert all(f"\n+{number}\n" in planned.output for number in range(USERS))
    refused = hooks.run("rotate", most=USERS - 1, **FORCED).check(2)
    assert f"keyturn_affected.expect_at_most: {USERS} users would be told" in refused.output
    assert (hooks.state(), hooks.box.mails) == (before, [])

    _killed_between_two_messages(hooks)
    _gone_on_with(hooks)
    assert hooks.kept.stat().st_mode & 0o777 == 0o600
    quiet = hooks.run("rotate").check()
    assert "failed=0" in quiet.output and len(hooks.box.mails) == USERS - 2
    _nothing_was_shown(hooks)


def _killed_between_two_messages(hooks: Hooks) -> None:
    """The key is in use by then, and nobody would be found any more."""
    hooks.box.hold_after = 3
    running = hooks.ansible.start(
        "keyturn.runbooks.rotate", inventory=hooks.folder / "inventory", extra_vars=FORCED
    )
    wait_until(lambda: len(hooks.box.mails) == 3 and hooks.box.waiting > 0, 60, "three mails")
    hooks.output += running.kill().output
    assert hooks.database.execute("SELECT count(*) FROM public.hooks WHERE active") == [(0,)]
    hooks.box.hold_after = None


def _gone_on_with(hooks: Hooks) -> None:
    """Those left are told, one of them a run later."""
    left = [number for number in range(7) if hooks.addresses[number] not in hooks.box.recipients()]
    later = hooks.addresses[left[-1]]
    hooks.box.refuse = {later: "450 later"}
    gone_on = hooks.run("rotate", "--diff").check(2)
    assert f"told {left[0]}: whether that message went is not known, and it is sent again" in (
        gone_on.output
    )
    assert f"the mail server refused every recipient (450) (ids {left[-1]})" in gone_on.output
    assert "its column 'name' has a line break or another control character (ids 7)" in (
        gone_on.output
    )
    assert "its address is no mail address (ids 8)" in gone_on.output
    assert later not in hooks.box.recipients()
    hooks.box.refuse = {}
    again = hooks.run("notify_affected", "-vvv", "--diff", keyturn_direct=False).check(2)
    assert "1 user told" in again.output and "2 users cannot be told" in again.output
    told = sorted(hooks.box.recipients())
    assert told == sorted(hooks.addresses[number] for number in range(7))
    recipient, mail = hooks.box.mails[0]
    assert isinstance(mail, EmailMessage)
    number = next(key for key, address in hooks.addresses.items() if address == recipient)
    assert mail["Subject"] == f"Webhooks of {hooks.names[number]}"
    assert f"Hello {hooks.names[number]},\nplease" in mail.get_content().replace("\r\n", "\n")


def _nothing_was_shown(hooks: Hooks) -> None:
    """No address, no name and no key, and none of those who were told in what is kept."""
    shown = hooks.output + hooks.ansible.log()
    ledger = "".join(path.read_text() for path in hooks.folder.glob("*.ledger.jsonl"))
    assert "affected users: 3 were told, 3 are left" in ledger
    personal = [*hooks.addresses.values(), *hooks.names.values()]
    private = [text.split("\n")[0] for text in personal] + [
        hooks.first,
        hooks.folder.joinpath("key").read_text(),
    ]
    assert [text for text in private if text in shown + ledger] == []
    kept = hooks.kept.read_text()
    assert [hooks.addresses[number] for number in range(7) if hooks.addresses[number] in kept] == []


PAYLOAD = {
    "id": "r1.abc",
    "event": "affected",
    "credential": "webhook_key",
    "rotation_id": "r1",
    "time": "2026-01-09T12:00:00Z",
    "user": "7",
    "to": "u7@example.org",
    "subject": "Webhooks",
    "body": "Hello Zoë\n.\n",
}


def test_a_mail_that_may_have_gone_is_told_from_one_that_did_not() -> None:
    with mail_server() as (port, box):
        by = {"type": "mail", "host": "127.0.0.1", "port": port, "from": "hub@example.org"}
        way = open_way(by, Context(), "by")
        way.send(PAYLOAD)
        ((recipient, mail),) = box.mails
        assert (recipient, mail["To"]) == ("u7@example.org", "u7@example.org")
        assert mail["Message-ID"] == "<r1.abc@keyturn.invalid>"
        assert mail.get_content().replace("\r\n", "\n") == "Hello Zoë\n.\n"
        box.hang_up = True
        with pytest.raises(Failed) as lost:
            way.send(PAYLOAD)
        box.refuse = {"u7@example.org": "550 no such user"}
        with pytest.raises(Failed) as refused:
            way.send(PAYLOAD)
        assert len(box.mails) == 2
    with pytest.raises(Failed) as away:
        way.send(PAYLOAD)
    found = [(error.value.uncertain, error.value.final) for error in (lost, refused, away)]
    assert found == [(True, False), (False, True), (False, False)]


def test_a_list_is_kept_in_vault(vault: VaultServer, vault_mount: str) -> None:
    environ = {"VAULT_ADDR": vault.address, "VAULT_TOKEN": vault.root_token}
    context, place = Context(environ=environ), beside(f"ref+vault://{vault_mount}/webhook_key")
    users = {name: Waiting({"email": f"{name}@example.org", "name": "Zoë"}) for name in "ab"}
    first, other = Place(place, context), Place(place, context)
    assert first.read("webhook_key") is None
    listed = Kept("webhook_key", "r1", "2026-01-09T12:00:00Z", users)
    first.write(listed)
    assert other.read("webhook_key") == listed
    told = listed.with_mark("a", "sending").with_told("a", "abc")
    first.write(told)
    with pytest.raises(Conflict):
        other.write(listed)
    assert Place(place, context).read("webhook_key") == told
    with pytest.raises(BadInput, match="belongs to 'webhook_key', not to 'another'"):
        first.read("another")


def test_a_webhook_gets_each_user() -> None:
    with hook_server() as (port, posts):
        way = open_way({"type": "webhook", "url": f"http://127.0.0.1:{port}/x"}, Context(), "by")
        way.send(PAYLOAD)
    assert posts == [PAYLOAD]
    with pytest.raises(Failed) as away:
        way.send(PAYLOAD)
    assert not away.value.uncertain
