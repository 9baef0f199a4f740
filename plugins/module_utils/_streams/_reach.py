# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the ingest there, and does it take connections to the application? Asked before a program is given the key.

The programs that publish give one answer for a name that does not resolve, an application that is not there and a key that is refused.
So a connection of its own is made first, up to RTMP's command ``connect``, which names the application and no key (Adobe's RTMP
specification, 5.2 handshake, 7.2.1.1 connect).
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from typing import Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._ended import (
    NO_ANSWER,
    UNREACHABLE,
    WRONG_APPLICATION,
    Ended,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._pattern import Target

_HANDSHAKE = 1536
_CHUNK = 128
_MOST = 1 << 16
_VERSION = b"\x03"
AGENT = "FMLE/3.0 (compatible; keyturn.runbooks)"


class _NotSo(Exception):
    """What was found instead of an ingest.

    :param outcome: as in ``_ended``.
    """

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.ended = Ended(outcome, detail)


class _Silent(Exception):
    """The other side ended the connection."""


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack(">H", len(raw)) + raw


def _connect_command(target: Target) -> bytes:
    """The command as one message in chunks; AMF0: 2 is a text, 0 a number, 3 an object."""
    fields = {
        "app": target.application,
        "type": "nonprivate",
        "flashVer": AGENT,
        "tcUrl": target.url,
    }
    body = b"\x02" + _text("connect") + b"\x00" + struct.pack(">d", 1.0) + b"\x03"
    body += b"".join(_text(name) + b"\x02" + _text(value) for name, value in fields.items())
    body += b"\x00\x00\x09"
    head = b"\x03\x00\x00\x00" + struct.pack(">I", len(body))[1:] + b"\x14\x00\x00\x00\x00"
    pieces = [body[begin : begin + _CHUNK] for begin in range(0, len(body), _CHUNK)]
    return head + b"\xc3".join(pieces)


class _Line:
    """A connection whose every word has to be there by a moment."""

    def __init__(self, line: socket.socket, until: float) -> None:
        self._line, self._until = line, until

    def _limit(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._line.settimeout(left)

    def send(self, data: bytes) -> None:
        self._limit()
        self._line.sendall(data)

    def some(self) -> bytes:
        self._limit()
        found = self._line.recv(4096)
        if not found:
            raise _Silent
        return found

    def exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            self._limit()
            piece = self._line.recv(count - len(found))
            if not piece:
                raise _Silent
            found += piece
        return found


def _opened(target: Target, until: float) -> socket.socket:
    where = f"{target.host}:{target.port}"
    try:
        left = max(until - time.monotonic(), 0.1)
        line = socket.create_connection((target.host, target.port), left)
    except socket.gaierror:
        raise _NotSo(UNREACHABLE, f"the name {target.host} is not known") from None
    except ConnectionRefusedError:
        raise _NotSo(UNREACHABLE, f"nothing listens at {where}") from None
    except (TimeoutError, socket.timeout):
        raise _NotSo(UNREACHABLE, f"no connection to {where} in time") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else "no way there"
        raise _NotSo(UNREACHABLE, f"no connection to {where}: {why}") from None
    return _encrypted(line, target) if target.scheme == "rtmps" else line


def _encrypted(line: socket.socket, target: Target) -> socket.socket:
    """The same connection with TLS, and the certificate verified: not every program that publishes does that."""
    try:
        return ssl.create_default_context().wrap_socket(line, server_hostname=target.host)
    except ssl.SSLCertVerificationError as error:
        line.close()
        why = error.verify_message
        raise _NotSo(UNREACHABLE, f"its certificate is not trusted ({why})") from None
    except OSError:
        line.close()
        raise _NotSo(UNREACHABLE, "TLS failed; expected an ingest for rtmps") from None


def _greet(line: _Line) -> bytes:
    """The handshake but for its last word, which is returned: it goes out with what follows."""
    line.send(_VERSION + b"\0" * 8 + os.urandom(_HANDSHAKE - 8))
    if line.exactly(1) != _VERSION:
        raise _NotSo(UNREACHABLE, "what answers there does not speak RTMP")
    theirs = line.exactly(_HANDSHAKE)
    line.exactly(_HANDSHAKE)
    return theirs


def _answer(line: _Line) -> Optional[bool]:
    """Whether the application takes the connection; none when the answer says neither."""
    heard = b""
    while len(heard) < _MOST:
        heard += line.some()
        # The name of the answer begins a message, so no chunk's end is in it.
        if b"_result" in heard:
            return True
        if b"_error" in heard or b"NetConnection.Connect." in heard:
            return False
    return None


def _asked(target: Target, until: float) -> Tuple[bool, Optional[bool]]:
    """Whether it greeted, and what it said of the application."""
    greeted = False
    with _opened(target, until) as connection:
        line = _Line(connection, until)
        try:
            last = _greet(line)
            greeted = True
            line.send(last + _connect_command(target))
            return greeted, _answer(line)
        except (TimeoutError, socket.timeout):
            return greeted, None
        except (_Silent, OSError):
            if not greeted:
                raise _NotSo(UNREACHABLE, "what listens there does not speak RTMP") from None
            return greeted, False


def look(target: Target, seconds: float) -> Tuple[Optional[Ended], bool]:
    """Connect to the application and leave again.

    :param seconds: at most so many, for all of it.
    :return: why nothing can be published there, if that is so; and whether the application is known to take connections.
    """
    try:
        greeted, taken = _asked(target, time.monotonic() + seconds)
    except _NotSo as found:
        return found.ended, False
    if not greeted:
        told = "something takes connections there and says nothing, not even a greeting"
        return Ended(NO_ANSWER, told), False
    if taken is False:
        told = (
            f"the ingest is there and takes no connection to an application '{target.application}'"
        )
        return Ended(WRONG_APPLICATION, told), False
    return None, bool(taken)
