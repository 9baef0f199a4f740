# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One role with one password: what a person is told before, how long it takes, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from estate.databases import Database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible, PlaybookResult
from rotation import FORCE, Estate

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Estate]


@pytest.fixture
def make(
    scratch: Path,
    database: Database,
    ansible: Ansible,
    pgbouncer_factory: Callable[..., PgBouncer],
) -> Maker:
    """Makes the estate of one role behind PgBouncer, adopted."""

    def maker(**options: Any) -> Estate:
        name = f"{database.name}_a"
        password = database.create_login(name)
        users = {name: database.verifier(name) or ""}
        pooler = pgbouncer_factory(
            database.server, auth="userlist", database=database.name, users=users
        )
        made = Estate(scratch, database, ansible, pooler, strategy="same_role", **options)
        made.hand_over(name, password)
        return made

    return maker


def steps_of(real: PlaybookResult) -> list[str]:
    """The steps that a dry run announces, too: that a consumer was seen using the value, and for how long, it cannot."""
    return [line for line in real.steps if not line.startswith(("consumer ", "Rotation "))]


def test_the_gap_is_said_before_and_measured_after(make: Maker) -> None:
    estate = make()
    with estate.client as client:
        estate.adopt()
        before = estate.snapshot()
        dry = estate.run("rotate_db", "--check", "--diff", extra=FORCE).check()
        assert estate.snapshot() == before
        assert "new logins with the old one fail, while open sessions live on" in dry.output
        assert "the last time" not in dry.output
        real = estate.run("rotate_db", "--diff", extra=FORCE).check()
        assert steps_of(dry) == steps_of(real)
        client.work(50)
        assert client.failures()["failed_transactions"] == 0
        current = estate.document().current
        assert current and current.outage is not None and 0 < current.outage < 10
        assert f'"outage_seconds": {current.outage}' in estate.ledger_path.read_text()
        estate.run("retire_due").check()
        again = estate.run("rotate_db", "--check", extra=FORCE).check()
        assert f"the last time that took {current.outage:.1f} s at most" in again.output
    assert estate.ledger_faults() == []
    for secret in estate.secrets():
        assert secret not in dry.output + real.output + again.output


def test_an_adopted_password_is_returned_to_behind_the_pooler(make: Maker) -> None:
    estate = make()
    with estate.client as client:
        estate.adopt()
        estate.run("rotate_db", extra=FORCE).check()
        assert not estate.database.accepts(*estate.first)
        dry = estate.run("rollback", "--check", "--diff").check()
        back = estate.run("rollback", "--diff").check()
        assert steps_of(dry) == steps_of(back)
        client.work(50)
        assert client.failures()["failed_transactions"] == 0
    assert estate.database.accepts(*estate.first)
    assert estate.accepts("current") and not estate.accepts("previous")
    document = estate.document()
    assert document.current and document.current.outage is not None
    assert document.previous and document.previous.failed
    again = estate.run("rollback").check()
    assert "was rolled back before" in again.output
