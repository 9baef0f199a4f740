# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The credentials that dry runs are tried on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from dry_estate import DryEstate
from dry_run import Walk
from dry_token import TokenEstate
from estate.databases import Database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible

SOAK = bool(os.environ.get("KEYTURN_SOAK"))
Maker = Callable[..., Walk]


@pytest.fixture
def walk(
    scratch: Path,
    database: Database,
    ansible: Ansible,
    pgbouncer_factory: Callable[..., PgBouncer],
) -> Maker:
    """Makes an application's credential behind PgBouncer; adopted is one state, unknown to keyturn another."""

    def maker(strategy: str, most: int | None) -> Walk:
        first = f"{database.name}_a"
        password = database.create_login(first)
        users = {first: database.verifier(first) or ""}
        pooler = pgbouncer_factory(
            database.server, auth="userlist", database=database.name, users=users
        )
        folder = scratch / "estate"
        folder.mkdir(mode=0o711)
        estate = DryEstate(folder, database, ansible, pooler, strategy=strategy)
        estate.hand_over(first, password)
        made = Walk(estate, None if SOAK else most)
        unknown = made.world()
        estate.adopt()
        made.ends = {made.found(world, "the start").key for world in (made.world(), unknown)}
        return made

    return maker


@pytest.fixture
def token_walk(scratch: Path, ansible: Ansible) -> Maker:
    """Makes a token that two services share, in use and unknown to keyturn."""

    def maker(overlap: bool, most: int | None) -> Walk:
        folder = scratch / "estate"
        folder.mkdir(mode=0o711)
        made = Walk(TokenEstate(folder, ansible, overlap), None if SOAK else most)
        made.ends = {made.found(made.world(), "the start").key}
        return made

    return maker
