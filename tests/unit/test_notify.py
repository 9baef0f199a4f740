# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notifications without a network: what is refused, what is said, and when it is tried again."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _notify
from ansible_collections.keyturn.runbooks.plugins.module_utils._channels import (
    Failed,
    MailChannel,
    open_channel,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._notify import (
    EVENTS,
    contact_problems,
    events_of,
    payload_of,
)

MAIL = {"type": "mail", "to": "ops@example.org", "from": "keyturn@example.org"}
HOOK = {"type": "webhook", "url": "https://chat.example/hook"}
NOW = datetime(2026, 1, 9, 12, tzinfo=timezone.utc)


def params(contacts: list[Any], **more: Any) -> dict[str, Any]:
    fixed = {
        "credential": "db",
        "event": "failure",
        "rotation_id": "r1",
        "phase": "prove",
        "owner": "platform",
    }
    timing = {"timeout": "5s", "interval": "0s", "retries": 2}
    return {**fixed, **timing, "text": "the login was refused", "contacts": contacts, **more}


@pytest.mark.parametrize(
    ("contact", "named"),
    [
        ({"type": "pager"}, "c[0].type: expected one of command, mail, webhook"),
        ("ops", "c[0].type: expected one of"),
        (
            {**MAIL, "events": ["sucess"]},
            "c[0].events: 'sucess' is unknown; expected some of window_opens, success",
        ),
        ({**MAIL, "too": "x"}, "c[0]: unknown key too"),
        ({**MAIL, "to": []}, "c[0].to: expected a mail address"),
        (
            {**MAIL, "to": "ops@example.org\nBcc: all@example.org"},
            "c[0].to: expected a mail address",
        ),
        ({"type": "mail", "to": "ops@example.org"}, "c[0].from: expected a mail address"),
        ({**MAIL, "port": "smtp"}, "c[0].port: 'smtp' is no port"),
        ({**MAIL, "username": "me"}, "username and password belong together"),
        ({**MAIL, "username": "me", "password": "plain"}, "c[0].password: expected a reference"),
        (
            {**MAIL, "host": "m", "username": "me", "password": "ref+envsubst://$P"},
            "a password over an unencrypted connection",
        ),
        ({**MAIL, "starttls": True, "tls": True}, "exclude each other"),
        ({"type": "webhook"}, "c[0].url: this is no address"),
        ({"type": "webhook", "url": "https://me:pw@h/"}, "c[0].url: the address holds a user name"),
        (
            {**HOOK, "headers": {"Authorization": "Bearer abc"}},
            "c[0].headers.Authorization: looks like a secret",
        ),
        ({**HOOK, "headers": {"X-Api-Key": "abc"}}, "c[0].headers.X-Api-Key: looks like a secret"),
        ({**HOOK, "headers": ["X"]}, "c[0].headers: expected a mapping"),
        ({**HOOK, "url": "ref+nothing://x"}, "c[0].url"),
        ({"type": "command", "argv": "logger x"}, "c[0].argv: expected a list of words"),
        (
            {"type": "command", "argv": ["logger", "ref+envsubst://$P"]},
            "references are not resolved there",
        ),
    ],
)
def test_definitions_that_cannot_be_meant(contact: Any, named: str) -> None:
    problems = contact_problems([contact], "c")
    assert len(problems) == 1
    assert named in problems[0]


def test_good_definitions_and_all_problems_at_once() -> None:
    good = [
        MAIL,
        {
            **MAIL,
            "host": "m",
            "port": 587,
            "starttls": True,
            "username": "me",
            "password": "ref+envsubst://$P",
        },
        {**HOOK, "headers": {"Authorization": "ref+envsubst://$P", "X-Team": "platform"}},
        {"type": "webhook", "url": "ref+envsubst://$HOOK"},
        {"type": "command", "argv": ["logger"], "events": "failure", "name": "log"},
    ]
    assert contact_problems(good, "c") == []
    assert len(contact_problems([*good, {}, {"type": "mail"}], "c")) == 2
    assert events_of({}, "c") == EVENTS
    assert events_of({"events": "failure"}, "c") == ("failure",)


def test_what_is_said() -> None:
    payload = payload_of(params([]), Context(now=lambda: NOW))
    assert payload["text"] == "db: FAILED in phase prove. the login was refused"
    assert payload["time"] == "2026-01-09T12:00:00.000000Z"
    assert set(payload) == {
        "credential", "event", "rotation_id", "phase", "owner", "message", "time", "subject", "text",
    }  # fmt: skip


def test_a_mail_cannot_be_given_further_headers_by_what_it_says() -> None:
    channel = open_channel(MAIL, Context(), "c")
    assert isinstance(channel, MailChannel)
    odd = payload_of(
        params([], credential="db\r\nBcc: all@example.org", text="ä\n.\nb"),
        Context(now=lambda: NOW),
    )
    mail = channel.message(odd)
    assert mail["Bcc"] is None
    assert mail["Subject"] == "[keyturn] db Bcc: all@example.org: FAILED"
    assert mail["To"] == "ops@example.org"
    assert "ä\n.\nb" in mail.get_content()


def test_check_mode_sends_nothing_and_says_what_it_would() -> None:
    warnings: list[str] = []
    contacts = [
        {"type": "command", "argv": ["/nonexistent"]},
        {**HOOK, "events": ["success"]},
        {**HOOK, "url": "https://127.0.0.1:1/secret-path"},
    ]
    result = _notify.run(params(contacts), Context(check_mode=True, warn=warnings.append))
    assert result["changed"] is True
    assert [item["to"] for item in result["notifications"]] == [
        "/nonexistent",
        "https://127.0.0.1:1",
    ]
    assert not any(item["sent"] for item in result["notifications"])
    assert warnings == []


class Shaky:
    """A channel that fails as often as told."""

    to = "somewhere"

    def __init__(self, *failures: Failed) -> None:
        self.failures = list(failures)
        self.sent = 0

    def send(self, payload: Mapping[str, str], seconds: float) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent += 1


def test_it_tries_again_but_not_for_ever() -> None:
    pauses: list[float] = []
    shaky = Shaky(Failed("busy"), Failed("busy"))
    assert _notify._deliver(shaky, {}, params([], interval="2s"), pauses.append) == 3
    assert (shaky.sent, pauses) == (1, [2, 2])
    with pytest.raises(Failed, match=r"busy \(3 attempts\)"):
        _notify._deliver(Shaky(*[Failed("busy")] * 9), {}, params([]), pauses.append)
    with pytest.raises(Failed, match=r"no such user \(1 attempt\)"):
        _notify._deliver(Shaky(Failed("no such user", True)), {}, params([]), pauses.append)


def test_a_failing_notification_is_a_warning() -> None:
    warnings: list[str] = []
    value = secrets.token_urlsafe(12)
    contacts = [
        {"type": "command", "argv": ["false"]},
        {"type": "pager"},
        {**HOOK, "url": "ref+envsubst://$HOOK"},
    ]
    context = Context(
        warn=warnings.append, environ={"HOOK": f"nothing/{value}", "PATH": "/usr/bin:/bin"}
    )
    result = _notify.run(params(contacts), context)
    assert result["changed"] is False
    assert [item["sent"] for item in result["notifications"]] == [False] * 3
    assert "was not sent: exit code 1, 0 lines of output (3 attempts)" in warnings[0]
    assert "contacts[1].type: expected one of" in warnings[1]
    assert "contacts[2].url: this is no address" in warnings[2]
    assert value not in "".join(warnings) + str(result)
