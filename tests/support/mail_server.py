# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mail server for one test: it keeps what it takes, and refuses or stands still as it is told."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from estate.ports import reserve


class Mailbox:
    """What was taken.

    :ivar mails: the recipient and the mail, in order.
    :ivar refuse: by recipient, the answer that it gets instead of being taken.
    :ivar hold_after: with so many mails taken, whoever greets the server is kept waiting.
    :ivar hang_up: the connection ends when a mail was taken, before that is said.
    """

    def __init__(self) -> None:
        self.mails: list[tuple[str, EmailMessage]] = []
        self.refuse: dict[str, str] = {}
        self.hold_after: int | None = None
        self.waiting = 0
        self.hang_up = False

    def recipients(self) -> list[str]:
        return [recipient for recipient, _mail in self.mails]

    async def handle_EHLO(  # noqa: N802
        self, _server: Any, session: Any, _envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.waiting += 1
        while self.hold_after is not None and len(self.mails) >= self.hold_after:
            await asyncio.sleep(0.02)
        self.waiting -= 1
        return responses

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(  # noqa: N802
        self, server: Any, _session: Any, envelope: Any
    ) -> str:
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails += [(recipient, mail) for recipient in envelope.rcpt_tos]
        if self.hang_up:
            server.transport.abort()
        return "250 taken"


@contextmanager
def mail_server() -> Iterator[tuple[int, Mailbox]]:
    """A server on this machine; its port, and what it takes."""
    box, port = Mailbox(), reserve()
    controller = Controller(box, hostname="127.0.0.1", port=port.number)
    controller.start()
    try:
        yield port.number, box
    finally:
        box.hold_after = None
        controller.stop()
        port.release()
