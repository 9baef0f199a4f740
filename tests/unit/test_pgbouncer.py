# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer: room for a second pool, what its answers mean, and options that contradict each other."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer import (
    SPEC,
    from_keyring,
    resolve_values,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_headroom import (
    Pools,
    Server,
    lacks,
    pools_of,
    server_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_job import job_of
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_server import (
    _translated,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._wire import judge_error

CONFIG = {"default_pool_size": "20", "reserve_pool_size": "5", "max_db_connections": "0"}


def config(**changes: str) -> list[dict[str, Any]]:
    settings = {**CONFIG, "max_user_connections": "0", **changes}
    return [{"key": key, "value": value} for key, value in settings.items()]


ROW = {"name": "app", "pool_size": 10, "max_connections": 0, "current_connections": 4}


@pytest.mark.parametrize(
    ("row", "changes", "size", "limit", "used"),
    [
        ({**ROW, "reserve_pool": 2}, {}, 12, 0, 4),
        ({**ROW, "reserve_pool_size": 3, "max_connections": 30}, {}, 13, 30, 4),
        ({**ROW, "reserve_pool": 2}, {"max_user_connections": "8"}, 8, 0, 4),
        ({**ROW, "name": "other"}, {"max_db_connections": "40"}, 25, 40, 0),
        ({**ROW, "name": "other"}, {"max_user_connections": "50"}, 25, 0, 0),
    ],
)
def test_a_pool_is_as_large_as_its_limits_let_it_be(
    row: dict[str, Any], changes: dict[str, str], size: int, limit: int, used: int
) -> None:
    assert pools_of("app", [row], config(**changes)) == Pools("app", size, limit, used)


@pytest.mark.parametrize(
    ("pools", "server", "told"),
    [
        (Pools("app", 20, 0, 15), Server(97, 60), []),
        (Pools("app", 20, 0, 15), Server(97, 72), []),
        (Pools("app", 20, 0, 15), Server(97, 73), ["others use 58 now", "need 40: 1 too many"]),
        (Pools("app", 20, 30, 15), Server(97, 83), ["allows 30", "need 30: 1 too many"]),
        (Pools("app", 20, 40, 0), None, []),
        (Pools("app", 20, 39, 0), None, ["allows 39 connections", "need 40"]),
    ],
)
def test_two_pools_beside_what_others_use_must_fit(
    pools: Pools, server: Server | None, told: list[str]
) -> None:
    found = " ".join(lacks(pools, server))
    assert bool(found) == bool(told)
    assert all(part in found for part in told)


def test_reserved_connections_are_not_for_ordinary_roles() -> None:
    row = {"max_connections": 100, "reserved": 5, "used": 12}
    assert server_of(row) == Server(95, 12)


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("SASL authentication failed", Denied, "SASL authentication failed"),
        ('role "hunter2" is not permitted to log in', Denied, "not permitted to log in"),
        ('password authentication failed for user "hunter2"', Denied, "authentication failed"),
        ("not allowed", Denied, "not allowed"),
        ("admin access needed", Denied, "admin access needed"),
        ("no such database: hunter2", Unreachable, "no such database"),
        ("no more connections allowed (max_client_conn)", Unreachable, "no more connections"),
        ("server login has been failing, try again later", Unreachable, "been failing"),
        ("invalid command 'hunter2', use SHOW HELP;", Unreachable, "another error (08P01)"),
    ],
)
def test_a_refusal_is_told_from_no_answer(text: str, kind: type[Exception], told: str) -> None:
    verdict = judge_error({"C": "08P01", "M": text}, authenticated=True)
    error = _translated(verdict, "login of a")
    assert error.__class__ is kind
    assert told in error.message and error.message.startswith("login of a: ")
    assert "hunter2" not in error.message


def params(**changes: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in SPEC.items()}
    return {**defaults, "userlist": "/u", **changes}


def ready(**changes: Any) -> dict[str, Any]:
    return resolve_values(params(**changes), Context())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"userlist": None}, "userlist: missing"),
        ({"entries": [{"name": "a"}]}, "'a' has no secret"),
        ({"entries": [{"name": "a", "secret": "x"}] * 2}, "'a' is there twice"),
        ({"verify": [{"username": "a", "dbname": "d", "expect": "kept"}]}, "'a' has no password"),
        ({"timeout": "soon"}, "timeout"),
        ({"auth": "auth_query", "absent": ["a"]}, "leave entries and absent out"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        job_of(ready(**changes), Context())


def test_the_console_is_where_the_logins_are_unless_it_is_said() -> None:
    login = {"port": 7000, "dbname": "d"}
    assert ready(login=login)["admin_login"]["port"] == 7000
    assert ready(login=login, admin_login={"port": 7001})["admin_login"]["port"] == 7001
    assert ready()["admin_login"] == {"host": "127.0.0.1", "port": 6432, "sslmode": "prefer"}


def test_a_keyring_without_a_database_to_try_is_refused() -> None:
    fields = {"username": "a", "password": Secret("x"), "verifier": Secret("y")}
    document = Document("c", secrets.token_bytes(32), current=Stage("r", "observed", fields))
    with pytest.raises(BadInput, match=r"login\.dbname: missing"):
        from_keyring(document, params())
    found = from_keyring(document, params(issuer={"login": {"dbname": "d"}}))
    assert [item["dbname"] for item in found["verify"]] == ["d"]
    assert "entries" not in from_keyring(document, params(auth="auth_query", login={"dbname": "d"}))
