# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One login at a PostgreSQL server or a PgBouncer, and why it was refused.

libpq keeps the SQLSTATE of a failed login to itself, and the server's words depend on its language. To take a refusal for a
proof, its code and the server's routine that gave it must be known, so the few messages of a login are spoken here
(PostgreSQL documentation, "Message Flow", "Message Formats", "SASL Authentication"; protocol 3.0). Used for nothing else.

A yes is a proof only of a server that is known: one that showed by its SCRAM signature that it keeps this password, or whose
certificate was checked, or that is reached through a Unix socket. Anybody else who listens on the port can say yes, too.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Tuple, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._clear_text import (
    CLEAR_TEXT,
    may_ask_for_clear_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._scram_client import (
    MECHANISM,
    Exchange,
    Malformed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

ACCEPTED, REFUSED, UNPROVEN = "accepted", "refused", "unproven"

NOT_ADMIN = ("not allowed", "admin access needed")
"""What PgBouncer says to a user who may not (or not fully) use its console."""

_PROTOCOL = 196608
_SSL_REQUEST = 80877103
_LONGEST = 1 << 20
_AUTH_OK, _AUTH_CLEAR, _AUTH_MD5, _AUTH_SASL, _AUTH_SASL_GO_ON, _AUTH_SASL_END = 0, 3, 5, 10, 11, 12
# Behind AuthenticationOk: the database is undefined, or the role has no CONNECT right on it.
_AFTER_AUTHENTICATION = ("3D000", "42501")
# PgBouncer has one code (08P01) for everything and no routines; these are its words for a refused login, the last ones
# those of the server behind it.
_POOLER_REFUSALS = (
    "SASL authentication failed",
    "password authentication failed",
    "no such user",
    "auth failed",
    "is not permitted to log in",
)
# What else it says that helps: none of these quotes a value.
_POOLER_TROUBLES = (
    *NOT_ADMIN,
    "no such database",
    "no more connections allowed",
    "server login has been failing",
    "cannot connect to server",
    "query_wait_timeout",
    "client_login_timeout",
)
# pg_hba.conf turned the address away, whoever it was: ClientAuthentication in src/backend/libpq/auth.c.
_HBA_ROUTINE = "ClientAuthentication"


NO_ANSWER = "no answer in time"
_NOT_ASKED = (
    "the server lets this login in without asking for the password, so that its yes proves nothing"
)
_NOT_SIGNED = (
    "the server did not prove that it knows the password (its SCRAM signature is missing or wrong)"
)
_NOT_KNOWN = (
    "the server asks for no SCRAM proof and is not known by a certificate, so that anybody could say yes in its place; "
    "use scram-sha-256 there, or sslmode verify-full"
)


@dataclass(frozen=True)
class Address:
    """Where to log in.

    :param host: a name, an address, or a folder with a Unix socket.
    :param sslmode: as libpq's; ``allow`` counts as ``prefer``.
    :param timeout: seconds for the whole login.
    """

    host: str
    port: int
    dbname: str
    sslmode: str = "prefer"
    sslrootcert: str = ""
    sslcert: str = ""
    sslkey: str = ""
    timeout: float = 10.0


@dataclass(frozen=True)
class Verdict:
    """How a login ended.

    :param outcome: ``accepted``, ``refused`` (for what the user or the password is) or ``unproven`` (for another reason).
    :param reason: in words, without any text that could quote a value.
    :param turned_away: the server takes no login of this user from this machine, whatever the password.
    :param entered: the session answered a query.
    """

    outcome: str
    reason: str
    turned_away: bool = False
    entered: bool = False


class _NoAnswer(Exception):
    """The server closed the connection, was too slow or spoke something else; the text is safe to show."""


class _Wire:
    """Messages over one socket, with a deadline for all of them together."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection = connection
        self._deadline = deadline

    def _wait(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise _NoAnswer(NO_ANSWER)
        self.connection.settimeout(left)

    def send(self, kind: bytes, body: bytes) -> None:
        self._wait()
        self.connection.sendall(kind + struct.pack("!I", len(body) + 4) + body)

    def read(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            self._wait()
            piece = self.connection.recv(count - len(found))
            if not piece:
                raise _NoAnswer("the server closed the connection without a word")
            found += piece
        return found

    def receive(self) -> Tuple[bytes, bytes]:
        kind, length = self.read(1), struct.unpack("!I", self.read(4))[0]
        if not 4 <= length <= _LONGEST:
            raise _NoAnswer("the answer is not PostgreSQL's protocol")
        return kind, self.read(length - 4)


def _checks(address: Address) -> bool:
    """Whether the server's certificate is checked. As libpq: a root certificate that is named is, in the mode require, too."""
    named = address.sslmode == "require" and bool(address.sslrootcert)
    return address.sslmode in ("verify-ca", "verify-full") or named


def _tls(wire: _Wire, address: Address) -> None:
    """Encrypt the connection, if it is to be.

    :raises _NoAnswer: it is to be, and the server does not.
    """
    if address.sslmode == "disable" or address.host.startswith("/"):
        return
    wire.send(b"", struct.pack("!I", _SSL_REQUEST))
    if wire.read(1) != b"S":
        if address.sslmode in ("prefer", "allow"):
            return
        raise _NoAnswer(f"the server speaks no TLS, but sslmode is {address.sslmode}")
    context = ssl.create_default_context(
        cafile=None if address.sslrootcert in ("", "system") else address.sslrootcert
    )
    context.check_hostname = address.sslmode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if _checks(address) else ssl.CERT_NONE
    if address.sslcert:
        context.load_cert_chain(address.sslcert, address.sslkey or None)
    wire.connection = context.wrap_socket(wire.connection, server_hostname=address.host)


def _connect(address: Address) -> socket.socket:
    if not address.host.startswith("/"):
        return socket.create_connection((address.host, address.port), address.timeout)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(address.timeout)
    try:
        connection.connect(f"{address.host}/.s.PGSQL.{address.port}")
    except OSError:
        connection.close()
        raise
    return connection


def _error_fields(body: bytes) -> Dict[str, str]:
    parts = [part for part in body.split(b"\0") if part]
    return {part[:1].decode("latin-1"): part[1:].decode("utf-8", "replace") for part in parts}


def judge_error(fields: Mapping[str, str], authenticated: bool) -> Verdict:
    """What a server's error says about the user and the password.

    :param fields: of the message ErrorResponse: ``C`` is the SQLSTATE, ``M`` the text, ``R`` the routine.
    :param authenticated: the server (or the pooler before it) had taken the password already.
    """
    code, routine = fields.get("C", ""), fields.get("R", "")
    if code == "28P01":
        return Verdict(REFUSED, "the password is not accepted (28P01)")
    if code == "28000" and routine == _HBA_ROUTINE:
        away = "pg_hba.conf turns this machine away (28000), whatever the password"
        return Verdict(UNPROVEN, away, turned_away=True)
    if code == "28000" and routine:
        return Verdict(REFUSED, "the role may not log in (28000)")
    if code in _AFTER_AUTHENTICATION and authenticated:
        return Verdict(ACCEPTED, f"the password was accepted, the database was not ({code})")
    return _judge_pooler("" if routine else fields.get("M", ""), code)


def _judge_pooler(told: str, code: str) -> Verdict:
    words = next((words for words in _POOLER_REFUSALS if words in told), "")
    if words:
        return Verdict(REFUSED, f"PgBouncer refuses the login: {words}")
    trouble = next((words for words in _POOLER_TROUBLES if words in told), "")
    if trouble:
        return Verdict(UNPROVEN, trouble)
    return Verdict(UNPROVEN, f"the server gave another error ({code or 'no code'})")


def _md5(user: str, password: str, salt: bytes) -> bytes:
    inner = hashlib.md5((password + user).encode()).hexdigest()  # noqa: S324 (the server's protocol asks for it)
    return b"md5" + hashlib.md5(inner.encode() + salt).hexdigest().encode() + b"\0"  # noqa: S324 (as above)


class _Login:
    """One login: answers the server's questions until it says yes, no or something else.

    :param private: the password itself may be told.
    :param known: the server is known before it has said anything.
    """

    def __init__(
        self, wire: _Wire, user: str, password: str, nonce: bytes, private: bool, known: bool
    ) -> None:
        self._wire, self._user, self._password = wire, user, password
        self._private, self._known = private, known
        self._scram = Exchange(password, nonce)
        self._authenticated = False
        self._asked = False
        self._doubt = _NOT_ASKED

    def start(self, dbname: str) -> None:
        pairs = ("user", self._user, "database", dbname, "application_name", "keyturn probe", "")
        body = struct.pack("!I", _PROTOCOL) + b"".join(text.encode() + b"\0" for text in pairs)
        self._wire.send(b"", body)

    def run(self) -> Verdict:
        verdict = self._ended()
        if verdict.outcome == ACCEPTED and self._doubt:
            return Verdict(UNPROVEN, self._doubt)
        return verdict

    def _ended(self) -> Verdict:
        while True:
            kind, body = self._wire.receive()
            if kind == b"E":
                return judge_error(_error_fields(body), self._authenticated)
            if kind == b"R":
                self._answer(struct.unpack("!I", body[:4])[0], body[4:])
            if kind == b"Z" and self._asked:
                return Verdict(ACCEPTED, "the login works", entered=True)
            if kind == b"Z":
                # A pooler says yes before its own login at the server: only a query shows that.
                self._asked = True
                self._wire.send(b"Q", b"SELECT 1\0")

    def _answer(self, method: int, body: bytes) -> None:
        if method == _AUTH_OK:
            self._authenticated = True
        elif method == _AUTH_CLEAR:
            if not self._private:
                raise _NoAnswer(CLEAR_TEXT)
            self._tell(self._password.encode() + b"\0")
        elif method == _AUTH_MD5:
            self._tell(_md5(self._user, self._password, body[:4]))
        elif method in (_AUTH_SASL, _AUTH_SASL_GO_ON, _AUTH_SASL_END):
            self._answer_scram(method, body)
        else:
            raise _NoAnswer(
                f"the server asks for an authentication (number {method}) that no password answers"
            )

    def _tell(self, answer: bytes) -> None:
        """Answer in a way in which the server proves nothing in its turn."""
        self._doubt = "" if self._known else _NOT_KNOWN
        self._wire.send(b"p", answer)

    def _answer_scram(self, method: int, body: bytes) -> None:
        if method == _AUTH_SASL:
            if MECHANISM.encode() not in body.split(b"\0"):
                raise _NoAnswer("the server offers no SCRAM-SHA-256")
            self._doubt, message = _NOT_SIGNED, self._scram.first()
            head = MECHANISM.encode() + b"\0" + struct.pack("!I", len(message))
            self._wire.send(b"p", head + message)
        elif method == _AUTH_SASL_GO_ON:
            self._wire.send(b"p", self._scram.final(body))
        elif self._scram.server_knows(body):
            self._doubt = ""
        else:
            raise _NoAnswer(_NOT_SIGNED)


def _unanswered(error: Exception) -> str:
    """Why there was no answer, without the error's own words."""
    if isinstance(error, socket.timeout):
        return NO_ANSWER
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'certificate or protocol'})"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    return f"no usable answer ({type(error).__name__})"


def try_login(address: Address, user: str, password: Union[str, Secret], nonce: bytes) -> Verdict:
    """Log in once, ask for ``SELECT 1`` and go away.

    :param nonce: 18 random bytes, fresh for each call.
    :return: ``unproven`` with the reason when the server could not be reached, gave an error of another kind, or said yes
        without being known.
    """
    text = password.reveal() if isinstance(password, Secret) else password
    connection: Optional[socket.socket] = None
    try:
        connection = _connect(address)
        wire = _Wire(connection, time.monotonic() + address.timeout)
        _tls(wire, address)
        private = may_ask_for_clear_text(address.host, address.sslmode)
        connection = wire.connection
        known = address.host.startswith("/") or _checks(address)
        login = _Login(wire, user, text, nonce, private, known)
        login.start(address.dbname)
        return login.run()
    except (_NoAnswer, Malformed) as error:
        return Verdict(UNPROVEN, str(error))
    except (OSError, ValueError, struct.error) as error:
        return Verdict(UNPROVEN, _unanswered(error))
    finally:
        if connection is not None:
            connection.close()
