# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCRAM-SHA-256 verifiers, made where the password is, so that the server only ever hears what it stores.

The format is PostgreSQL's (``pg_authid.rolpassword``): ``SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY``, with the keys
of RFC 5802 and RFC 7677. PgBouncer's userlist wants the identical string, so a verifier is made once and kept.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import stringprep
import unicodedata
from typing import Callable, NamedTuple, Optional, Tuple

ITERATIONS = 4096
"""PostgreSQL's own default, and the least that RFC 7677 allows."""

SALT_BYTES = 16
_KEY_BYTES = 32
_MECHANISM = "SCRAM-SHA-256"

_PROHIBITED: Tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


class _Parts(NamedTuple):
    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes


def saslprep(text: str) -> str:
    """The password as RFC 4013 prepares it; unchanged where that profile refuses it, as PostgreSQL and libpq do.

    Like those two, a space of table C.1.2 becomes a space even where table B.1 would drop it, and what is prohibited is
    looked for before the normalisation: a password must come out the same on both sides.
    """
    if text.isascii():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if stringprep.in_table_c12(character) or not stringprep.in_table_b1(character)
    )
    refused = any(check(character) for character in mapped for check in _PROHIBITED)
    if not mapped or refused or not _has_one_direction(mapped):
        return text
    return unicodedata.normalize("NFKC", mapped)


def _has_one_direction(text: str) -> bool:
    """The rule of RFC 3454, section 6, for text that is written from right to left."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends and not any(map(stringprep.in_table_d2, text))


def _keys(password: str, salt: bytes, iterations: int) -> Tuple[bytes, bytes]:
    prepared = saslprep(password).encode("utf-8", "surrogatepass")
    salted = hashlib.pbkdf2_hmac("sha256", prepared, salt, iterations)
    client_key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    server_key = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    return hashlib.sha256(client_key).digest(), server_key


def verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """What the server stores of a password.

    :param salt: random bytes, fresh for each verifier; :data:`SALT_BYTES` is the usual number.
    :param iterations: rounds of PBKDF2.
    """
    stored_key, server_key = _keys(password, salt, iterations)
    salt64, stored64, server64 = (
        base64.b64encode(part).decode("ascii") for part in (salt, stored_key, server_key)
    )
    return f"{_MECHANISM}${iterations}:{salt64}${stored64}:{server64}"


def _decoded(text: str) -> Optional[bytes]:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _parse(text: str) -> Optional[_Parts]:
    mechanism, _dollar, rest = text.partition("$")
    cost, _dollar, keys = rest.partition("$")
    iterations, _colon, salt64 = cost.partition(":")
    stored64, _colon, server64 = keys.partition(":")
    if mechanism != _MECHANISM or not (iterations.isascii() and iterations.isdigit()):
        return None
    salt, stored, server = _decoded(salt64), _decoded(stored64), _decoded(server64)
    if not salt or not stored or not server or {len(stored), len(server)} != {_KEY_BYTES}:
        return None
    return _Parts(int(iterations), salt, stored, server) if int(iterations) > 0 else None


def is_verifier(text: str) -> bool:
    """Whether a text is a verifier, and so must never be taken for a password."""
    return _parse(text) is not None


def matches(password: str, text: str) -> bool:
    """Whether a verifier belongs to a password; false for what is no verifier."""
    parts = _parse(text)
    if parts is None:
        return False
    stored_key, server_key = _keys(password, parts.salt, parts.iterations)
    same = hmac.compare_digest(stored_key, parts.stored_key)
    return hmac.compare_digest(server_key, parts.server_key) and same
