# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``pg_role`` over many roles in one task, against the loop that one writes with psycopg2 alone."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import psycopg2.extensions
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._pg_role import MODULE
from estate.postgres import PostgresServer
from estate.users import make_run_dir
from psycopg2 import sql

from bench.contest import Wrong, say

Passwords = dict[str, str]


def raw(server: PostgresServer, passwords: Passwords, together: bool = False) -> None:
    """One connection, one statement for each role, its verifier made by libpq.

    :param together: in one transaction, else each in its own.
    """
    connection = server.connect()
    connection.autocommit = not together
    try:
        with connection.cursor() as cursor:
            for name, password in passwords.items():
                verifier = psycopg2.extensions.encrypt_password(
                    password, name, connection, "scram-sha-256"
                )
                statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
                cursor.execute(statement.format(sql.Identifier(name), sql.Literal(verifier)))
        if together:
            connection.commit()
    finally:
        connection.close()


def core(server: PostgresServer, passwords: Passwords, admin: Path) -> None:
    """The module's arguments checked, and its core run, as its action does in Ansible's process."""
    login = {"host": server.host, "port": server.port, "admin": f"ref+file://{admin}"}
    given = [{"name": name, "password": password} for name, password in passwords.items()]
    asked = ArgumentSpecValidator(dict(MODULE.argument_spec)).validate(
        {"login": login, "roles": given, "state": "active"}
    )
    if asked.error_messages:
        raise Wrong("; ".join(asked.error_messages))
    done = execute(MODULE, dict(asked.validated_parameters), Context.system())
    changed = sum(role["password_changed"] for role in done["roles"])
    if changed != len(passwords):
        raise Wrong(f"pg_role changed {changed} of {len(passwords)} passwords")


ACTS: dict[str, Callable[[PostgresServer, Passwords, Path], None]] = {
    "keyturn": core,
    "raw": lambda server, passwords, _admin: raw(server, passwords),
    "raw together": lambda server, passwords, _admin: raw(server, passwords, together=True),
}
KINDS = tuple(ACTS)


def _timed(kind: str, server: PostgresServer, passwords: Passwords, admin: Path) -> float:
    started = time.monotonic()
    ACTS[kind](server, passwords, admin)
    return time.monotonic() - started


def _fresh(names: list[str]) -> Passwords:
    return {name: secrets.token_urlsafe(24) for name in names}


def _log_in(server: PostgresServer, passwords: Passwords) -> None:
    name = secrets.choice(list(passwords))
    server.connect(user=name, password=passwords[name]).close()


def roles_by_turns(count: int, repeat: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds that each took for all roles, by turns.

    :param warm_up: so many turns are taken before those that are counted.
    """
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    place = make_run_dir("keyturn-benchmark-")
    names = [f"bench_{number:04d}" for number in range(count)]
    with PostgresServer("16", fsync=True) as server:
        for name in names:
            server.execute(f"CREATE ROLE {name} LOGIN")
        admin = place / "admin.json"
        admin.touch(mode=0o600)
        admin.write_text(json.dumps({"username": server.superuser, "password": server.password}))
        for number in range(repeat + warm_up):
            for kind in KINDS if number % 2 else reversed(KINDS):
                passwords = _fresh(names)
                seconds = _timed(kind, server, passwords, admin)
                _log_in(server, passwords)
                say(f"  {kind}: {seconds:.2f} s")
                if number >= warm_up:
                    found[kind].append(seconds)
        admin.unlink()
    place.rmdir()
    return found
