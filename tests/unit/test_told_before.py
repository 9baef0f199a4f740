# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person is told before a rotation begins: where a user name is missing, and what a value that stands alone costs."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import parse_consumers
from ansible_collections.keyturn.runbooks.plugins.module_utils._interruption import interruption
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._user_name import (
    example,
    no_user_name,
)

TOKEN = {"type": "generated", "overlap": False}
ROLE = {"type": "postgres_role", "strategy": "same_role"}


@pytest.mark.parametrize(
    ("ref", "place"),
    [
        ("ref+awsssm://musehub/production/DB_PASSWORD", "ref+awsssm://musehub/production/DB_USER"),
        ("ref+awsssm://a/DB_PW?region=eu-west-1", "ref+awsssm://a/DB_USER?region=eu-west-1"),
        ("ref+file:///opt/app/.env?format=env#/PGPASSWORD", "ref+file:///opt/app/.env?format=env#/PGUSER"),
        ("ref+vault://secret/db#/password", "ref+vault://secret/db#/user"),
        ("ref+k8s://v1/Secret/shop/db/db-pass", "ref+k8s://v1/Secret/shop/db#/db-user"),
        ("ref+awsssm://musehub/production/DATABASE", "ref+awsssm://musehub/production/DATABASE_USER"),
    ],
)  # fmt: skip
def test_a_place_for_the_user_name_is_named(ref: str, place: str) -> None:
    sinks = parse_sinks(
        [
            {"ref": "ref+awsssm://musehub/production/HOST", "template": "db1"},
            {"ref": ref, "template": "{current.password}"},
        ]
    )
    assert example(sinks) == place
    assert f"renders {{current.username}}, such as {place}, and have" in no_user_name(sinks)
    parse_reference(place, "the example")


def test_fields_of_one_place_get_one_more() -> None:
    given = {
        "ref": "ref+vault://secret/db",
        "fields": {"host": "db1", "pass": "{current.password}"},
    }
    assert example(parse_sinks([given])) == "ref+vault://secret/db#/user"
    nothing = parse_sinks([{"ref": "ref+vault://secret/db#/x", "template": "{current.verifier}"}])
    assert "renders {current.username}, and have" in no_user_name(nothing)


def one(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "command", "argv": ["true"], **more}


@pytest.mark.parametrize(
    ("consumers", "told"),
    [
        ([], ""),
        ([{"type": "none", "name": "reads"}], ""),
        ([one("deploy")], "deploy alone is told, and what it restarts takes that long"),
        ([one("b", after=["a"]), one("a")], "one after the other is told: a; b"),
        (
            [one("a", barrier="x"), one("b", barrier="x")],
            "a and b are told at once, behind the barrier x",
        ),
        (
            [one("c", after=["a"]), *(one(name, barrier="x") for name in "ab")],
            "one after the other is told: a and b are told at once, behind the barrier x; c",
        ),
        # What is on two hosts is reached by two tasks.
        (
            [one("a", barrier="x"), one("b", barrier="x", host="app1")],
            "one after the other is told: a; b",
        ),
    ],
)
def test_who_is_told_when_is_said_before(consumers: list[dict[str, Any]], told: str) -> None:
    text = interruption(TOKEN, parse_consumers(consumers), None)
    assert "calls with the other one fail" in text and "the last time" not in text
    assert f"{'. ' * bool(told)}{told}. Where whoever checks it can take a list" in text
    assert "new logins with the old one fail" in interruption(
        ROLE, parse_consumers(consumers), None
    )
    for issuer in (TOKEN, ROLE):
        assert "; the last time that took 1.2 s at most" in interruption(issuer, (), 1.234)
