# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a notification reaches somebody: a command, a webhook, a mail."""

from __future__ import annotations

import json
import smtplib
import ssl
from copy import copy
from dataclasses import replace
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from types import MappingProxyType
from typing import Any, List, Mapping, Optional, Protocol, Sequence, Tuple, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._alert import (
    checked_environment,
    resolved_environment,
    resolved_headers,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import (
    Call,
    NotSent,
    checked_url,
    origin,
    send,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import (
    as_flag,
    refuse_unknown,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._program import (
    Program,
    read_argv,
    run_program,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    parse_reference,
    resolve,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_time

Payload = Mapping[str, str]

_COMMON = ("type", "name", "events")
_TELLING_HEADERS = ("authorization", "cookie", "token", "secret", "key", "password")
_LOCAL = ("localhost", "127.0.0.1", "::1")


class Failed(Exception):
    """A notification did not arrive.

    :ivar reason: in words that may be shown.
    :ivar final: another attempt would fail in the same way.
    :ivar uncertain: it may have arrived all the same.
    """

    def __init__(self, reason: str, final: bool = False, uncertain: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.uncertain = uncertain


class Channel(Protocol):
    """One contact, ready to be told something.

    :ivar to: how results and warnings name it.
    """

    to: str

    def send(self, payload: Payload, seconds: float) -> None:
        """Tell it once.

        :raises Failed: when it could not be told.
        """


class ChannelType(Protocol):
    """A kind of contact."""

    def check(self, contact: Mapping[str, Any], option: str) -> None:
        """Read the definition without resolving anything.

        :raises BadInput: naming the key.
        """

    def open(self, contact: Mapping[str, Any], context: Context, option: str) -> Channel:
        """The contact itself.

        :raises KeyturnError: as :meth:`check` and the references give cause.
        """


def as_json(payload: Payload) -> str:
    """The payload as one line of JSON."""
    return json.dumps(dict(payload), sort_keys=True) + "\n"


class CommandChannel:
    """A program that gets the payload on its standard input."""

    def __init__(self, program: Program) -> None:
        self.to = program.argv[0]
        self._program = program

    def send(self, payload: Payload, seconds: float) -> None:
        """Run it once; another exit code than 0 is a failure."""
        try:
            ran = run_program(replace(self._program, stdin=Secret(as_json(payload))), seconds)
        except Unreachable as error:
            begun = bool(error.details.get("uncertain"))
            raise Failed(error.message, uncertain=begun) from None
        if ran.rc != 0:
            raise Failed(str(ran))


class CommandType:
    """``type: command``: ``argv``, ``environment`` (plain texts or references)."""

    def check(self, contact: Mapping[str, Any], option: str) -> None:
        """Read the definition."""
        refuse_unknown(contact, (*_COMMON, "argv", "environment"), option)
        read_argv(contact.get("argv"), f"{option}.argv")
        checked_environment(contact.get("environment") or {}, f"{option}.environment")

    def open(self, contact: Mapping[str, Any], context: Context, option: str) -> CommandChannel:
        """The program."""
        self.check(contact, option)
        argv = read_argv(contact["argv"], f"{option}.argv")
        given = contact.get("environment") or {}
        own = resolved_environment(given, context, f"{option}.environment")
        return CommandChannel(Program(argv, dict(context.environ), own))


class WebhookChannel:
    """An address that gets the payload as JSON. The path of such an address is often its password: only the host is shown."""

    def __init__(self, call: Call) -> None:
        scheme, host, port = origin(call.url)
        self.to = f"{scheme}://{host}:{port}"
        self._call = call

    def send(self, payload: Payload, seconds: float) -> None:
        """Post it once; another status than 2xx is a failure, and one of 4xx (but 408 and 429) a final one."""
        body = Secret(as_json(payload))
        call = replace(self._call, method="POST", body=body, timeout=seconds)
        try:
            status = send(call).status
        except Unreachable as error:
            raise Failed(error.message, uncertain=not isinstance(error, NotSent)) from None
        if not 200 <= status < 300:
            raise Failed(f"status {status}", final=400 <= status < 500 and status not in (408, 429))


class WebhookType:
    """``type: webhook``: ``url`` (plain or a reference), ``headers``, ``validate_certs``, ``ca_path``."""

    def check(self, contact: Mapping[str, Any], option: str) -> None:
        """Read the definition."""
        refuse_unknown(contact, (*_COMMON, "url", "headers", "validate_certs", "ca_path"), option)
        url = str(contact.get("url") or "")
        if looks_like_reference(url):
            parse_reference(url, f"{option}.url")
        else:
            checked_url(url, f"{option}.url")
        headers = contact.get("headers") or {}
        if not isinstance(headers, Mapping):
            raise BadInput(f"{option}.headers: expected a mapping of names and values")
        for name, value in headers.items():
            if any(
                word in str(name).lower() for word in _TELLING_HEADERS
            ) and not looks_like_reference(str(value)):
                raise BadInput(
                    f"{option}.headers.{name}: looks like a secret in clear text; put a reference there"
                )
        as_flag(contact.get("validate_certs", True), f"{option}.validate_certs")

    def open(self, contact: Mapping[str, Any], context: Context, option: str) -> WebhookChannel:
        """The address."""
        self.check(contact, option)
        given = str(contact["url"])
        url = (
            resolve(given, context, f"{option}.url").reveal().strip()
            if looks_like_reference(given)
            else given
        )
        headers = resolved_headers(contact.get("headers") or {}, context, f"{option}.headers")
        call = Call(
            checked_url(url, f"{option}.url"),
            headers={"Content-Type": "application/json", **headers},
            validate_certs=as_flag(contact.get("validate_certs", True), f"{option}.validate_certs"),
            ca_path=str(contact["ca_path"]) if contact.get("ca_path") else None,
        )
        return WebhookChannel(call)


def _addresses(value: Any, option: str) -> List[str]:
    items: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
    found = [str(item).strip() for item in items if item]
    if not found or any(
        "@" not in item or any(sign in item for sign in "\r\n,;") for item in found
    ):
        raise BadInput(f"{option}: expected a mail address, or a list of them")
    return found


class MailChannel:
    """Recipients at one mail server."""

    def __init__(
        self, contact: Mapping[str, Any], login: Optional[Tuple[str, Secret]], option: str
    ) -> None:
        self._to = _addresses(contact.get("to"), f"{option}.to")
        self.to = ", ".join(self._to)
        self._from = _addresses(contact.get("from"), f"{option}.from")[0]
        self._host, self._port = (
            str(contact.get("host") or "localhost"),
            int(contact.get("port") or 25),
        )
        self._starttls = as_flag(contact.get("starttls", False), f"{option}.starttls")
        self._tls = as_flag(contact.get("tls", False), f"{option}.tls")
        self._check_certs = as_flag(contact.get("validate_certs", True), f"{option}.validate_certs")
        self._ca_path = str(contact["ca_path"]) if contact.get("ca_path") else None
        self._login = login

    def for_one(self, to: str) -> MailChannel:
        """The same server, for one recipient whose payload is all of the mail; see :meth:`message`."""
        one = copy(self)
        one.to, one._to = to, [to]
        return one

    def message(self, payload: Payload) -> EmailMessage:
        """The mail: ``body`` and ``id`` of the payload where it has them, else what a person wants to read first, and the rest of it."""
        mail = EmailMessage()
        # What looks like an encoded word would be decoded, and may hold a line break (CVE-2024-6923).
        mail["Subject"] = " ".join(payload["subject"].split()).replace("=?", "= ?")[:200]
        mail["From"], mail["To"] = self._from, self.to
        mail["Date"] = format_datetime(parse_time(payload["time"], "time"))
        if "body" in payload:
            # Who sends a mail twice gives it the same id: many servers then deliver one.
            mail["Message-ID"] = f"<{payload['id']}@keyturn.invalid>"
            mail["Auto-Submitted"] = "auto-generated"
            text = payload["body"]
        else:
            mail["Message-ID"] = make_msgid(domain="keyturn.invalid")
            names = ("credential", "event", "phase", "rotation_id", "owner", "time")
            lines = [f"{name}: {payload[name]}" for name in names if payload[name]]
            text = f"{payload['text']}\n\n" + "\n".join(lines) + "\n"
        # A server need not take 8-bit text (RFC 6152).
        mail.set_content(text, cte="quoted-printable")
        return mail

    def send(self, payload: Payload, seconds: float) -> None:
        """Hand it to the server once."""
        try:
            mail = self.message(payload)
        except (LookupError, TypeError, ValueError):
            raise Failed("no mail can be made of its subject and address", final=True) from None
        try:
            server = self._server(seconds)
        except (OSError, smtplib.SMTPException) as error:
            raise _mail_failed(error) from None
        try:
            refused = server.send_message(mail, self._from, self._to)
        except (OSError, smtplib.SMTPException) as error:
            raise _mail_failed(error, begun=True) from None
        finally:
            _leave(server)
        if refused:
            raise Failed(
                f"the mail server refused {len(refused)} of {len(self._to)} recipients", final=True
            )

    def _server(self, seconds: float) -> Union[smtplib.SMTP, smtplib.SMTP_SSL]:
        context = ssl.create_default_context(cafile=self._ca_path)
        if not self._check_certs:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self._tls:
            server: Union[smtplib.SMTP, smtplib.SMTP_SSL] = smtplib.SMTP_SSL(
                self._host, self._port, timeout=seconds, context=context
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=seconds)
        try:
            if self._starttls:
                server.starttls(context=context)
            if self._login:
                server.login(self._login[0], self._login[1].reveal())
        except BaseException:
            server.close()
            raise
        return server


def _leave(server: smtplib.SMTP) -> None:
    """Say goodbye; whether that is heard changes nothing."""
    try:
        server.quit()
    except (OSError, smtplib.SMTPException):
        server.close()


def _mail_failed(error: Exception, begun: bool = False) -> Failed:
    """What a mail server said, or that it said nothing.

    :param begun: the mail may have been on its way.
    """
    if isinstance(error, smtplib.SMTPResponseException):
        code = error.smtp_code
        return Failed(f"the mail server answered {code}", final=code >= 500)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = {code for code, _text in error.recipients.values()}
        return Failed(
            f"the mail server refused every recipient ({_listed(codes)})", final=min(codes) >= 500
        )
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Failed(
            "the mail server does not offer what is needed (starttls or a login)", final=True
        )
    if isinstance(error, ssl.SSLError) and not begun:
        return Failed("TLS with the mail server failed; check its certificate", final=True)
    kind = type(error).__name__
    if begun:
        return Failed(f"the connection to the mail server was lost ({kind})", uncertain=True)
    return Failed(f"the mail server cannot be reached ({kind})")


def _listed(codes: set[int]) -> str:
    return ", ".join(str(code) for code in sorted(codes))


class MailType:
    """``type: mail``: ``to``, ``from``, ``host``, ``port``, ``starttls`` or ``tls``, ``username``, ``password`` (a reference)."""

    keys = (
        "to",
        "from",
        "host",
        "port",
        "starttls",
        "tls",
        "username",
        "password",
        "validate_certs",
        "ca_path",
    )

    def check(self, contact: Mapping[str, Any], option: str) -> None:
        """Read the definition."""
        refuse_unknown(contact, (*_COMMON, *self.keys), option)
        for name in ("to", "from"):
            _addresses(contact.get(name), f"{option}.{name}")
        port = str(contact.get("port") or 25)
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise BadInput(f"{option}.port: '{port}' is no port")
        starttls = as_flag(contact.get("starttls", False), f"{option}.starttls")
        tls = as_flag(contact.get("tls", False), f"{option}.tls")
        if starttls and tls:
            raise BadInput(
                f"{option}: starttls and tls exclude each other; port 465 is tls, 587 is starttls"
            )
        if bool(contact.get("username")) != bool(contact.get("password")):
            raise BadInput(f"{option}: username and password belong together")
        if contact.get("password") and not looks_like_reference(str(contact["password"])):
            raise BadInput(
                f"{option}.password: expected a reference, such as ref+vault://secret/mail#/password"
            )
        if (
            contact.get("password")
            and not (starttls or tls)
            and contact.get("host", "localhost") not in _LOCAL
        ):
            raise BadInput(
                f"{option}: a password over an unencrypted connection; set starttls or tls to true"
            )

    def open(self, contact: Mapping[str, Any], context: Context, option: str) -> MailChannel:
        """The recipients."""
        self.check(contact, option)
        login = None
        if contact.get("username"):
            given = str(contact["username"])
            name = (
                resolve(given, context, f"{option}.username").reveal()
                if looks_like_reference(given)
                else given
            )
            login = (name, resolve(str(contact["password"]), context, f"{option}.password"))
        return MailChannel(contact, login, option)


CHANNELS: Mapping[str, ChannelType] = MappingProxyType(
    {"command": CommandType(), "webhook": WebhookType(), "mail": MailType()}
)
"""Every kind of contact, by its ``type``."""


def open_channel(contact: Mapping[str, Any], context: Context, option: str) -> Channel:
    """The contact that a definition describes.

    :raises KeyturnError: naming the key, or as its references give cause.
    """
    kind = contact.get("type")
    if kind not in CHANNELS:
        raise BadInput(f"{option}.type: expected one of {', '.join(sorted(CHANNELS))}")
    return CHANNELS[str(kind)].open(contact, context, option)
