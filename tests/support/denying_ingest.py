# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small RTMP server that takes every connection and denies every key, in words of the test's choice."""

from __future__ import annotations

import contextlib
import socketserver
import struct
import threading
from collections.abc import Iterator

_HANDSHAKE = 1536


def _text(value: str) -> bytes:
    return b"\x02" + _bare(value)


def _bare(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def _number(value: float) -> bytes:
    return b"\x00" + struct.pack(">d", value)


def _object(**fields: str) -> bytes:
    pairs = b"".join(_bare(name) + _text(value) for name, value in fields.items())
    return b"\x03" + pairs + b"\x00\x00\x09"


def _command(body: bytes, stream: int = 0) -> bytes:
    """A command in chunks of 128 bytes."""
    head = b"\x03\x00\x00\x00" + struct.pack(">I", len(body))[1:] + b"\x14"
    pieces = [body[begin : begin + 128] for begin in range(0, len(body), 128)]
    return head + struct.pack("<I", stream) + b"\xc3".join(pieces)


class _Answers(socketserver.StreamRequestHandler):
    words = ""

    def handle(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._greet()
            self._until("connect")
            self.request.sendall(
                _command(_text("_result") + _number(1) + b"\x05" + _object(level="status"))
            )
            asked = self._until("createStream")
            made = _text("_result") + asked[:9] + b"\x05" + _number(1)
            self.request.sendall(_command(made))
            self._until("publish")
            said = _object(
                level="error", code="NetStream.Publish.Denied", description=type(self).words
            )
            self.request.sendall(_command(_text("onStatus") + _number(0) + b"\x05" + said, 1))
            while self.request.recv(4096):
                pass

    def _greet(self) -> None:
        theirs = self.rfile.read(1 + _HANDSHAKE)
        self.request.sendall(b"\x03" + bytes(_HANDSHAKE) + theirs[1:])
        self.rfile.read(_HANDSHAKE)

    def _until(self, name: str) -> bytes:
        """Read to a command's name, and return the number behind it."""
        heard, sign = b"", _text(name)
        while sign not in heard:
            one = self.rfile.read(1)
            if not one:
                raise EOFError
            heard = heard[-64:] + one
        return self.rfile.read(9)


@contextlib.contextmanager
def denying(words: str) -> Iterator[str]:
    """Serve on a port of its own.

    :param words: what it says of each key.
    :return: the address of its application ``live``.
    """
    answers = type("Answers", (_Answers,), {"words": words})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), answers) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"rtmp://127.0.0.1:{server.server_address[1]}/live"
        server.shutdown()
