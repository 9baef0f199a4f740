# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What proves that two roles may do the same: it leaves nothing out, and finds whatever one of them lacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._changes import Change
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._ensure import RoleJob
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._plan import plan_present
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._wish import Wish
from estate.databases import Database
from pg_rights import KINDS, Ask, Known, left_out
from pg_tasks import Tasks, worlds
from pg_world import World


@pytest.fixture
def known_to_server(database: Database) -> tuple[Ask, Known]:
    """A way to ask a server, and what rights it knows."""
    ask = database.execute
    return ask, Known.of(ask)


@pytest.fixture
def pg_role(database: Database) -> Tasks:
    """Tasks as the superuser."""
    return Tasks(database, (database.server.superuser, database.server.password))


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    """An estate in which the role in use owns nothing."""
    with worlds(database) as make:
        yield make(False)


def test_the_server_knows_of_nothing_else(known_to_server: tuple[Ask, Known]) -> None:
    assert left_out(*known_to_server) == []


@pytest.mark.pg_versions("18")
def test_what_is_left_out_is_named(known_to_server: tuple[Ask, Known]) -> None:
    ask, known = known_to_server
    functions = {"any_column": 1, "sequence": 1, "table": 1}
    for kind in KINDS:
        missed = left_out(ask, known, [other for other in KINDS if other is not kind])
        assert f"has_{kind.function}_privilege" in missed
        assert len(missed) == functions.get(kind.function, 2)


@pytest.mark.pg_versions("18")
def test_each_change_that_is_left_out_is_found(world: World, pg_role: Tasks) -> None:
    with pg_role.job(wish := Wish(world.b, world.a)).server as server:
        changes = plan_present(RoleJob(server, wish, Context()).facts(), wish).changes
    here = [change for change in changes if change.database in ("", world.name)]
    login = Change(world.b, f'ALTER ROLE "{world.b}" LOGIN', "login")
    assert found(world, [*here, login]) == ""
    lines = {change.line: found(world, [*here, login], change) for change in here[1:]}
    assert [line for line, difference in lines.items() if not difference] == []
    assert len(lines) > 50


def found(world: World, changes: list[Change], but: Change | None = None) -> str:
    """A difference that is left when all changes are made but one; they are all undone."""
    world.ask("BEGIN")
    try:
        for change in changes:
            if change is but:
                continue
            for name, value in change.settings:
                world.ask("SELECT set_config(%s, %s, true)", (name, value))
            world.ask(change.statement)
        return next(world.each_difference([world.name]), "")
    finally:
        world.ask("ROLLBACK")
