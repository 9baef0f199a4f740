# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer ``postgres_role`` without a server: definitions, and what is proposed when the keyring says enough."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _scram
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import Session, open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._postgres_definition import (
    fill,
    parse_definition,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, reveal

LOGIN = {"host": "db.example", "admin": "ref+vault://secret/postgres/admin"}
ALTERNATE = {"type": "postgres_role", "roles": ["app_a", "app_b"], "login": LOGIN}
SAME = {"type": "postgres_role", "strategy": "same_role", "role": "app", "login": LOGIN}
NEW = {
    "type": "postgres_role",
    "strategy": "new_role",
    "role_template": "app_{date}",
    "login": LOGIN,
}


def context(**options: Any) -> Context:
    """Surroundings that do not change."""
    return Context(now=lambda: datetime(2026, 1, 2, tzinfo=timezone.utc), **options)


def document(current: str, previous: str = "") -> Document:
    """A keyring with these roles."""
    made = Stage("r1", "observed", {"username": current})
    old = Stage("r0", "grace", {"username": previous}) if previous else None
    return Document("db_app", bytes(32), current=made, previous=old)


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        (
            {},
            r"keyturn_issuer\.type: missing; expected one of cloudflare_r2, generated, ",
        ),
        ({"type": "postgress"}, "there is no issuer 'postgress'"),
        ({**ALTERNATE, "strategy": "both"}, r"strategy: there is no strategy 'both'"),
        ({**ALTERNATE, "roles": ["app_a"]}, "list of two roles"),
        ({**ALTERNATE, "roles": ["app_a", "app_a"]}, "named twice"),
        ({**ALTERNATE, "roles": ["app_a", "x" * 64]}, r"roles\[1\].*64 bytes"),
        ({**ALTERNATE, "roles": ["app_a", "a\0b"]}, "NUL"),
        ({**ALTERNATE, "role": "app"}, "'role' means nothing for strategy alternate_roles"),
        ({**ALTERNATE, "owner_role": "app_a"}, "is a login role"),
        ({**ALTERNATE, "ownership": "mine"}, "ownership: expected group or refuse"),
        ({**ALTERNATE, "databases": "app"}, "databases: expected 'all' or a list"),
        ({**ALTERNATE, "name_policies": "x"}, "refuse or allow"),
        ({**ALTERNATE, "login": None}, "login: expected a mapping"),
        ({**ALTERNATE, "login": {"host": "x"}}, r"login\.admin: missing"),
        ({**ALTERNATE, "login": {**LOGIN, "hots": "x"}}, "no key 'hots'"),
        ({**ALTERNATE, "login": {**LOGIN, "sslmode": "yes"}}, "sslmode: expected one of"),
        ({**SAME, "role": ""}, r"role: expected the name"),
        ({**SAME, "roles": ["app"]}, "name that one alone"),
        ({**SAME, "role": None, "roles": ["a", "b"]}, "name that one alone"),
        ({**SAME, "owner_role": "x"}, "means nothing for strategy same_role"),
        ({**NEW, "role_template": ""}, "role_template: missing"),
        ({**NEW, "role_template": "app"}, "role of its own"),
        ({**NEW, "role_template": "app_{day}"}, "no placeholder '{day}'"),
        ({**NEW, "role_template": "x" * 60 + "{date}"}, "68 bytes"),
        ({**NEW, "retire": "keep"}, "retire: expected drop or lock"),
    ],
)
def test_a_wrong_definition_names_the_key(definition: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        open_issuer(definition, context())
    assert caught.value.message.startswith("keyturn_issuer")


@pytest.mark.parametrize(
    ("definition", "group"),
    [
        (ALTERNATE, "app_owner"),
        ({**ALTERNATE, "roles": ["blue", "green"]}, "blue_owner"),
        (SAME, "app_owner"),
        (NEW, "app_owner"),
        ({**NEW, "role_template": "{date}"}, "app_owner"),
        ({**ALTERNATE, "roles": ["x" * 62 + "a", "x" * 62 + "b"]}, "x" * 57 + "_owner"),
    ],
)
def test_the_name_of_a_group_that_is_made_when_none_is_named(
    definition: dict[str, Any], group: str
) -> None:
    assert parse_definition(definition, "keyturn_issuer").default_group == group


def test_what_overlaps() -> None:
    issuers = [open_issuer(definition, context()) for definition in (ALTERNATE, SAME, NEW)]
    assert [issuer.overlap for issuer in issuers] == [True, False, True]
    assert all(issuer.secret_fields == {"password", "verifier"} for issuer in issuers)


def test_the_other_role_gets_a_password_and_the_verifier_that_belongs_to_it() -> None:
    issuer = open_issuer(ALTERNATE, context())
    fields = issuer.propose(document("app_a"), {}, context())
    assert fields["username"] == "app_b"
    assert len(reveal(fields["password"])) == 40
    assert _scram.matches(reveal(fields["password"]), reveal(fields["verifier"]))
    assert issuer.propose(document("app_b"), {}, context())["username"] == "app_a"


def test_two_proposals_share_nothing() -> None:
    issuer = open_issuer(ALTERNATE, context())
    one, other = (issuer.propose(document("app_a"), {}, context()) for _time in range(2))
    assert one["password"] != other["password"]
    assert one["verifier"] != other["verifier"]


def test_a_role_that_is_still_kept_is_not_taken() -> None:
    with pytest.raises(Refused, match="retire_due"):
        open_issuer(ALTERNATE, context()).propose(document("app_a", "app_b"), {}, context())


def test_check_mode_predicts_the_role_and_makes_no_value() -> None:
    fields = open_issuer(ALTERNATE, context()).propose(
        document("app_a"), {}, context(check_mode=True)
    )
    assert fields["username"] == "app_b"
    for name in ("password", "verifier"):
        value = fields[name]
        assert isinstance(value, Secret) and not value.known


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"token": {}}, "no field 'token'"),
        ({"password": {"type": "password", "length": 3}}, "bits of entropy"),
        ({"password": {"type": "poem"}}, "no type 'poem'"),
    ],
)
def test_a_wrong_recipe_is_refused_in_check_mode_as_well(
    spec: dict[str, Any], words: str, check_mode: bool
) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        open_issuer(SAME, context()).propose(None, spec, context(check_mode=check_mode))
    assert caught.value.message.startswith("keyturn_generate")


def test_a_recipe_is_followed() -> None:
    fields = open_issuer(SAME, context()).propose(
        None, {"password": {"type": "hex", "bytes": 20}}, context()
    )
    assert fields["username"] == "app"
    assert len(bytes.fromhex(reveal(fields["password"]))) == 20


def test_the_name_of_a_new_role() -> None:
    assert fill("app_{date}_{rotation}", "20260102", "ab12cd") == "app_20260102_ab12cd"


def test_a_session_tells_who_where_and_what() -> None:
    assert str(Session("app_a", 7, "app", "worker", "10.0.0.5")) == (
        "app_a pid 7 in app from 10.0.0.5 (worker)"
    )
    assert "address not visible (no application name)" in str(Session("app_a", 7, "app"))
