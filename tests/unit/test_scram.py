# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCRAM verifiers: the published vectors, the preparation of passwords, and what is no verifier."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import string

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _scram
from ansible_collections.keyturn.runbooks.plugins.module_utils._scram_client import (
    Exchange,
    Malformed,
)
from hypothesis import given
from hypothesis import strategies as st


def test_the_keys_are_those_of_rfc_7677() -> None:
    """Section 3 of the RFC: with these keys the client's proof and the server's signature come out as printed there."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    text = _scram.verifier("pencil", salt)
    stored, server = (base64.b64decode(part) for part in text.rpartition("$")[2].split(":"))
    exchange = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = hmac.new(server, exchange, hashlib.sha256).digest()
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    mask = hmac.new(stored, exchange, hashlib.sha256).digest()
    client_key = bytes(one ^ other for one, other in zip(proof, mask, strict=True))
    assert hashlib.sha256(client_key).digest() == stored


def exchange() -> tuple[Exchange, bytes]:
    """The client of RFC 7677, section 3, and the server's challenge."""
    client = Exchange("pencil", base64.b64decode("rOprNGfwEbeRWgbNEkqO"), "user")
    nonce = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    return client, nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def test_both_sides_prove_what_they_know_as_in_rfc_7677() -> None:
    client, challenge = exchange()
    assert client.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert not client.server_knows(b"v=")
    final = client.final(challenge)
    assert final.endswith(b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert client.server_knows(b"v=" + signature)
    for wrong in (b"", b"v=", b"v=x", b"e=other-error", b"v=" + signature[:-4] + b"AAA="):
        assert not client.server_knows(wrong)


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (b"r=rOpr", b"r=other"),
        (b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", b""),
        (b"s=W22ZaJ0SNY7soEsUEjb6gQ==", b"s="),
        (b"s=W22Z", b"s=W2!Z"),
        (b"i=4096", b"i=0"),
        (b"i=4096", b"i=-1"),
        (b"i=4096", b"i=99999999"),
        (b"i=4096", b"i=" + "٣".encode()),
    ],
)
def test_what_is_no_challenge_is_not_answered(part: bytes, instead: bytes) -> None:
    client, challenge = exchange()
    with pytest.raises(Malformed):
        client.final(challenge.replace(part, instead))


def test_the_text_is_the_one_that_postgresql_keeps() -> None:
    text = _scram.verifier("x", b"0123456789abcdef", 5000)
    assert text.startswith("SCRAM-SHA-256$5000:MDEyMzQ1Njc4OWFiY2RlZg==$")
    assert len(_scram.verifier("x", b"0123456789abcdef")) == 133


@pytest.mark.parametrize(
    ("given_text", "prepared"),
    [
        ("plain ASCII \x07 stays", "plain ASCII \x07 stays"),
        ("I\u00adX", "IX"),
        ("\u2168", "IX"),
        ("\u00aa", "a"),
        ("a\u00a0b", "a b"),
        ("\u200bx", " x"),
        ("e\u0301", "é"),
        ("\u0627\u0031", "\u0627\u0031"),
        ("\u0627\u0628", "\u0627\u0628"),
        ("é\x07", "é\x07"),
        ("\u00ad", "\u00ad"),
        ("\u0221x", "\u0221x"),
        ("", ""),
    ],
    ids=[
        "ascii is never touched",
        "soft hyphen goes",
        "roman nine is two letters",
        "ordinal is a letter",
        "wide space is a space",
        "zero width space is a space",
        "accent is composed",
        "two directions are refused, so unchanged",
        "one direction",
        "control is refused, so unchanged",
        "nothing left, so unchanged",
        "unassigned is refused, so unchanged",
        "empty",
    ],
)
def test_passwords_are_prepared_as_libpq_does(given_text: str, prepared: str) -> None:
    assert _scram.saslprep(given_text) == prepared


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_a_verifier_matches_its_password_and_no_other(password: str, other: str) -> None:
    text = _scram.verifier(password, secrets.token_bytes(16), iterations=2)
    assert _scram.is_verifier(text)
    assert _scram.matches(password, text)
    assert _scram.matches(other, text) == (_scram.saslprep(other) == _scram.saslprep(password))


def test_two_verifiers_of_one_password_differ_by_their_salt() -> None:
    one, other = (_scram.verifier("same", secrets.token_bytes(16), 2) for _time in range(2))
    assert one != other
    assert _scram.matches("same", one)
    assert _scram.matches("same", other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter",
        "md5" + "0" * 32,
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$4096:c2FsdA==",
        "SCRAM-SHA-256$x:c2FsdA==$c2FsdA==:c2FsdA==",
        "SCRAM-SHA-1$4096:c2FsdA==$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$0:c2FsdA==$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$4096:$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$4096:c2FsdA==$" + "A" * 43 + "=:" + "A" * 40,
        "SCRAM-SHA-256$4096:c2FsdA==$" + "A" * 43 + "=:" + "é" * 43 + "=",
    ],
)
def test_what_is_no_verifier_matches_nothing(text: str) -> None:
    assert not _scram.is_verifier(text)
    assert not _scram.matches("x", text)


def test_one_changed_character_is_noticed() -> None:
    text = _scram.verifier("right", secrets.token_bytes(16), 2)
    for position in (len(text) - 3, text.rindex(":") - 3):
        letters = string.ascii_letters.replace(text[position], "")
        changed = text[:position] + letters[0] + text[position + 1 :]
        assert not _scram.matches("right", changed)
