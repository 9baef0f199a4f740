# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people hear without having asked: each notice once, in a later run where it could not be told, and of nobody's silence a trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from estate.databases import Database
from estate.playbook import Ansible
from rotation import Estate

pytestmark = pytest.mark.pg_versions("16")
OLD = {"rotate": "age", "max_age": "100d", "min_age": "100d"}


class People:
    """A contact: a program that writes down what it is told, as long as it works."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self._broken = folder / "inbox", folder / "broken"

    def contact(self, **more: Any) -> dict[str, Any]:
        """Its definition."""
        code = f"test ! -e {self._broken} && cat >> {self.inbox}"
        return {"type": "command", "argv": ["sh", "-c", code], **more}

    def broken(self, now: bool) -> None:
        """Let it fail from now on, or work again."""
        if now:
            self._broken.touch()
        else:
            self._broken.unlink()

    @property
    def heard(self) -> list[dict[str, Any]]:
        """Everything that it was told."""
        lines = self.inbox.read_text().splitlines() if self.inbox.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def events(self) -> list[str]:
        """The events of it."""
        return [message["event"] for message in self.heard]


@pytest.fixture
def people(scratch: Path) -> People:
    """Somebody to tell."""
    return People(scratch)


@pytest.fixture
def make(scratch: Path, database: Database, ansible: Ansible) -> Callable[..., Estate]:
    """Makes the estate of an adopted credential, so many days old, that no application picks up."""

    def maker(days: int, **policy: Any) -> Estate:
        first = f"{database.name}_a"
        password = database.create_login(first)
        variables = {"keyturn_policy": policy, "keyturn_consumers": []}
        made = Estate(scratch, database, ansible, variables=variables)
        made.hand_over(first, password)
        made.adopt((datetime.now(timezone.utc) - timedelta(days=days)).isoformat())
        return made

    return maker


def kept(estate: Estate) -> tuple[str, str]:
    """The keyring and the ledger, as they are."""
    return estate.keyring_path.read_text(), estate.ledger_path.read_text()


def soon() -> dict[str, Any]:
    """A window that opens in two hours."""
    opens = datetime.now(timezone.utc) + timedelta(hours=2)
    closes = opens + timedelta(hours=1)
    return {"start": f"{opens:%H:%M}", "end": f"{closes:%H:%M}", "timezone": "UTC"}


def test_an_old_value_is_told_of_once_by_the_first_run_that_can(
    make: Callable[..., Estate], people: People
) -> None:
    estate = make(95, **OLD, contacts=[people.contact()])
    before = kept(estate)
    estate.run("rotate_db", "--check").check()
    assert people.events == [] and kept(estate) == before
    people.broken(True)
    failed = estate.run("rotate_db").check()
    assert "was not sent" in failed.output
    assert people.events == [] and kept(estate) == before
    people.broken(False)
    told = estate.run("rotate_db").check()
    assert people.events == ["age_90"], told.output
    assert "95d" in people.heard[0]["message"] and "100d" in people.heard[0]["message"]
    after = kept(estate)
    again = estate.run("rotate_db").check()
    assert people.events == ["age_90"]
    assert kept(estate) == after and "changed=0" in again.stdout
    document = estate.document()
    assert document.current and document.noticed == {"age_90": document.current.rotation_id}
    assert document.claim is None
    assert estate.ledger_faults() == []


def test_where_nobody_is_told_nothing_is_written(
    make: Callable[..., Estate], people: People
) -> None:
    estate = make(95, **OLD)
    before = kept(estate)
    others = people.contact(events=["success", "failure"])
    for policy in (OLD, {**OLD, "contacts": []}, {**OLD, "contacts": [others]}):
        done = estate.run("rotate_db", extra={"keyturn_policy": policy}).check()
        assert "changed=0" in done.stdout
        assert people.events == [] and kept(estate) == before


def test_a_window_that_is_to_open_is_told_of_once_although_the_run_is_refused(
    make: Callable[..., Estate], people: People
) -> None:
    policy = {"rotate": "age", "max_age": "100d", "window": soon()}
    estate = make(105, **policy, contacts=[people.contact(events=["window_opens"])])
    for _run in range(2):
        refused = estate.run("rotate_db").check(2)
        assert "the maintenance window opens at" in refused.stdout
        assert people.events == ["window_opens"]
    assert list(estate.document().noticed) == ["window_opens"]


def test_of_an_old_value_that_was_replaced_only_its_use_is_told(
    make: Callable[..., Estate], people: People
) -> None:
    estate = make(95, rotate="age", max_age="100d", grace="12h", contacts=[people.contact()])
    estate.run("rotate_db").check()
    assert people.events == ["success"]
    server, (user, password) = estate.database.server, estate.first
    login = {"host": server.host, "port": server.port, "dbname": estate.database.name}
    lingering = psycopg2.connect(**login, user=user, password=password)
    for _run in range(2):
        estate.run("retire_due").check()
        assert people.events == ["success", "grace_24h_in_use"]
    lingering.close()
    assert "used by 1 client" in people.heard[1]["message"]
