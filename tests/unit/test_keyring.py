# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keyring document: what is read is what was written, and nothing else is accepted."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Corrupt
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
    fingerprint,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

NOW = datetime(2026, 1, 31, tzinfo=timezone.utc)


def document(value: str = "") -> Document:
    fresh = Document("db_app", secrets.token_bytes(32), step=3, updated=NOW)
    stage = Stage(
        "r1",
        "observed",
        {"username": "app_a", "password": Secret(value or secrets.token_urlsafe(12))},
        made=NOW,
    )
    return Document(**{**vars(fresh), "current": fresh.with_fingerprints(stage)})


def edited(change: Callable[[dict[str, Any]], None]) -> str:
    body = json.loads(dump_text(document()))
    change(body)
    return json.dumps(body)


def test_what_is_written_is_read_back() -> None:
    original = document()
    assert parse_document(dump_text(original)) == original


def test_what_only_a_newer_collection_understands_is_a_newer_document() -> None:
    """An older one reads what it understands, and of what it does not it says so, and not that the keyring was damaged."""
    plain = document()
    assert plain.current
    ended = replace(plain, current=replace(plain.current, ended=NOW))
    assert json.loads(dump_text(plain))["schema"] == 1
    assert json.loads(dump_text(ended))["schema"] == 2
    assert parse_document(dump_text(ended)) == ended
    before = replace(plain, previous=replace(ended.current, status="grace"))  # type: ignore[type-var]
    assert json.loads(dump_text(before))["schema"] == 2


def test_a_value_that_exists_has_no_fingerprint_before_there_is_a_salt() -> None:
    assert fingerprint(bytes(32), "password", Secret("hunter2")) == "(some value)"
    assert fingerprint(bytes(32), "password", Secret.new()) == "(new)"


def test_a_fingerprint_is_no_oracle_without_the_salt() -> None:
    word = secrets.token_urlsafe(6)
    first, second = document(word), document(word)
    assert first.current and second.current
    assert first.current.fingerprints != second.current.fingerprints
    assert first.current.fingerprints["password"] == fingerprint(
        first.salt, "password", Secret(word)
    )


def test_a_predicted_value_is_never_written() -> None:
    fresh = Document("db_app", bytes(32), pending=Stage("r", "issued", {"password": Secret.new()}))
    with pytest.raises(ValueError, match="predicted"):
        dump_text(fresh)


def test_a_document_shows_no_value_in_its_repr() -> None:
    word = secrets.token_urlsafe(12)
    assert word not in repr(document(word))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON document"),
        ("{", "no JSON document at line 1"),
        ("[]", "this is no keyring"),
        ("{}", "this is no keyring"),
        (
            edited(lambda body: body.update(schema=4)),
            "newer version .*schema 4; this one reads up to 3",
        ),
        (edited(lambda body: body.update(schema=True)), "'schema' is missing or of the wrong type"),
        (edited(lambda body: body.update(salt="AAAA")), "'salt' is damaged"),
        (edited(lambda body: body.update(extra=1)), "unknown key 'extra'"),
        (edited(lambda body: body["stages"].update(next={})), "unknown key 'next'"),
        (
            edited(lambda body: body["stages"]["current"].update(status="grace")),
            "status 'grace' is not one of",
        ),
        (
            edited(lambda body: body["stages"]["current"]["secrets"].update(password="x")),
            "does not match its fingerprint",
        ),
        (
            edited(lambda body: body["stages"]["current"].update(made="2026-01-31T00:00:00")),
            "has no time zone",
        ),
        (
            edited(lambda body: body["stages"]["current"].pop("rotation_id")),
            "'rotation_id' is missing",
        ),
        (edited(lambda body: body.update(stages=[])), "'stages' is missing or of the wrong type"),
        (edited(lambda body: body.update(abandoned=1)), "'abandoned' is missing or of the wrong"),
        (edited(lambda body: body.update(abandoned=[1])), "abandoned: expected a mapping"),
    ],
)
def test_what_is_no_good_document_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises((Corrupt, BadInput), match=words):
        parse_document(text, "keyring db_app")
