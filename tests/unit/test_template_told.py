# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a template's text."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from ansible_collections.keyturn.runbooks.plugins.module_utils._template import Template
from ansible_collections.keyturn.runbooks.plugins.module_utils._template_told import (
    is_public,
    shows_facts,
    told_facts,
)

WHEN = datetime(2026, 11, 22, 23, 30, 5, 7, timezone.utc)
OWN = secrets.token_urlsafe(12)


def document(fields: dict[str, Value] | None = None, **said: Any) -> Document:
    about = {"made": WHEN, "promoted": WHEN, "reason": "leak", "operator": "mira", **said}
    held = {"key": Secret(secrets.token_urlsafe(12)), **(fields or {})}
    name = about.pop("rotation_id", "r2")
    older = Stage("r1", "grace", {"key": Secret("k")}, promoted=WHEN, operator="ann")
    current = Stage(name, "observed", held, **about)
    return Document("restream", bytes(range(32)), current=current, previous=older)


def parse(text: str) -> Template:
    return Template.parse(text, "sink 'x'")


@pytest.mark.parametrize(
    ("text", "shown", "public"),
    [
        ("{current.promoted|date}", "2026-11-22", True),
        ("{current.promoted|date}\n", "2026-11-22", True),
        ("{current.promoted|date|b64}", "MjAyNi0xMS0yMg==", True),
        ("{current.rotation_id}, {current.operator}; {current.reason}", "r2, mira; leak", True),
        ("{current,previous.operator|join}", "mira,ann", True),
        ("{current,previous.operator|join:; |json}", '"mira; ann"', True),
        ("{current.promoted|date} OWN by={current.operator}", "2026-11-22 … mira", False),
        ("OWN{current.operator}OWN\n", "… mira …", False),
        ("OWN\n{current.operator}\n\n", "… mira …", False),
        ("{current,previous.operator|join:OWN|b64}", "", False),
        ("OWN", "", False),
        ("{current.key}", "", False),
        ("{current.operator} {current.key|sha256}", "", False),
        ("", "", False),
    ],
)
def test_facts_alone_are_told(text: str, shown: str, public: bool) -> None:
    template = parse(text.replace("OWN", OWN))
    found = told_facts(template, document())
    assert found == shown and OWN not in found
    assert is_public(template, document()) is public


@pytest.mark.parametrize("value", [Secret(OWN), OWN], ids=["secret", "plain"])
@pytest.mark.parametrize("stages", ["current", "previous,current"])
def test_a_field_that_is_called_like_a_fact_is_none(value: Value, stages: str) -> None:
    template = parse(f"{{{stages}.operator|join|b64}}")
    assert told_facts(template, document()) and shows_facts(template, document())
    held = document({"operator": value})
    assert not told_facts(template, held) and not shows_facts(template, held)
    assert not is_public(template, held)


@pytest.mark.parametrize("reason", ["two\nlines", "x" * 201, "\x1b[2J"])
def test_more_than_a_line_is_not_told(reason: str) -> None:
    assert told_facts(parse("{current.reason}"), document(reason=reason)) == ""


def test_what_is_only_predicted_is_not_told_and_as_public_as_later() -> None:
    new = document(rotation_id="(new)")
    for text in ("{current.promoted}", "{current.operator} {current.rotation_id}"):
        assert told_facts(parse(text), new) == "" and is_public(parse(text), new)
    assert told_facts(parse("{current.promoted|date}"), new) == "2026-11-22"
