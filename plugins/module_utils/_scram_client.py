# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's side of SCRAM-SHA-256, in which the server proves that it knows the password, too."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Dict

from ansible_collections.keyturn.runbooks.plugins.module_utils._scram import saslprep

MECHANISM = "SCRAM-SHA-256"
_MOST_ROUNDS = 10_000_000


class Malformed(Exception):
    """What the server said is no SCRAM message; the text is safe to show."""


def _fields(message: str) -> Dict[str, str]:
    return dict(part.split("=", 1) for part in message.split(",") if "=" in part)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


class Exchange:
    """One login by SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding.

    :param nonce: random bytes, fresh for each login.
    :param username: PostgreSQL takes the one of its startup message instead, so that libpq leaves it empty here.
    """

    def __init__(self, password: str, nonce: bytes, username: str = "") -> None:
        self._password = saslprep(password).encode("utf-8", "surrogatepass")
        self._nonce = base64.b64encode(nonce).decode()
        self._bare = f"n={username},r={self._nonce}"
        self._expected = b""

    def first(self) -> bytes:
        """The first message."""
        return f"n,,{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        """The answer to the server's challenge: the proof that this side knows the password.

        :raises Malformed: it is no challenge, or one to another first message.
        """
        server_first = challenge.decode("ascii", "replace")
        parts = _fields(server_first)
        nonce, salt, rounds = parts.get("r", ""), _decoded(parts.get("s", "")), parts.get("i", "")
        usable = rounds.isascii() and rounds.isdigit() and 0 < int(rounds) < _MOST_ROUNDS
        # A server that adds nothing of its own to the nonce could have recorded an earlier login.
        if not nonce.startswith(self._nonce) or nonce == self._nonce or not salt or not usable:
            raise Malformed("the server's SCRAM challenge is malformed")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, int(rounds))
        without_proof = f"c=biws,r={nonce}"
        signed = f"{self._bare},{server_first},{without_proof}".encode()
        self._expected = _mac(_mac(salted, b"Server Key"), signed)
        client_key = _mac(salted, b"Client Key")
        signature = _mac(hashlib.sha256(client_key).digest(), signed)
        proof = bytes(left ^ right for left, right in zip(client_key, signature))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def server_knows(self, message: bytes) -> bool:
        """Whether the server's last message holds its signature: only who keeps the password's verifier can make it."""
        parts = _fields(message.decode("ascii", "replace"))
        signature = _decoded(parts.get("v", ""))
        return bool(self._expected) and hmac.compare_digest(signature, self._expected)


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()
