# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A compromise is answered: what was exposed ends at once, before there is another value or after."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from estate.databases import Database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible, PlaybookResult
from rotation import FORCE, Estate

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Estate]
NO_FAILURES = {"failed_logins": 0, "failed_transactions": 0, "failed_reloads": 0}
REASON = {"keyturn_reason": "a laptop was stolen"}
ROTATE_FIRST = {**REASON, "keyturn_response": "rotate_first"}
REVOKE_FIRST = {**REASON, "keyturn_response": "revoke_first"}
# What would stop any other rotation: it is young, and nothing is to be done outside of a window that is closed.
STRICT = {"rotate": "age", "max_age": "180d", "grace": "48h", "min_age": "90d", "windows": []}


@pytest.fixture
def make(
    scratch: Path,
    database: Database,
    ansible: Ansible,
    pgbouncer_factory: Callable[..., PgBouncer],
) -> Maker:
    """Makes the estate of an adopted credential."""

    def maker(strategy: str, pooled: bool = False) -> Estate:
        first = f"{database.name}_a"
        password = database.create_login(first)
        pooler = None
        if pooled:
            users = {first: database.verifier(first) or ""}
            pooler = pgbouncer_factory(
                database.server, auth="userlist", database=database.name, users=users
            )
        policy = {key: value for key, value in STRICT.items() if value}
        made = Estate(
            scratch, database, ansible, pooler, strategy, variables={"keyturn_policy": policy}
        )
        made.hand_over(first, password)
        made.adopt()
        return made

    return maker


def answer(estate: Estate, *arguments: str, extra: dict[str, Any]) -> PlaybookResult:
    return estate.run("respond_compromise", "--limit", "all", *arguments, extra=extra)


def foretold(estate: Estate, extra: dict[str, Any]) -> PlaybookResult:
    """A dry run that writes nothing and takes the steps of the run after it."""
    before = estate.snapshot()
    dry = answer(estate, "--check", "--diff", extra=extra).check()
    assert estate.snapshot() == before, "the dry run wrote something"
    real = answer(estate, "--diff", extra=extra).check()
    assert shown(dry) == shown(real)
    return real


def shown(run: PlaybookResult) -> list[str]:
    """The steps that a dry run announces, too: that a consumer was seen using a value it cannot."""
    return [line for line in run.steps if not line.startswith(("consumer ", "Rotation "))]


def test_nobody_is_locked_out_where_the_new_value_comes_first(make: Maker) -> None:
    estate = make("alternate_roles", pooled=True)
    copied = estate.folder / "copied"
    ref = {"ref": f"ref+file://{copied}", "backup": {"keep": "7d"}}
    estate.add_sink({"name": "copied", "template": "{current.password}", **ref})
    with estate.client as client:
        estate.run("rotate_db", extra=FORCE).check()
        older, exposed = estate.secrets_by_stage()
        done = foretold(estate, ROTATE_FIRST)
        client.work(50)
        assert client.failures() == NO_FAILURES
    document = estate.document()
    assert document.current and document.current.status == "observed"
    assert document.previous is None and not document.current.compromised
    for user, password in (older, exposed):
        if user != document.current.text("username"):
            assert not estate.database.accepts(user, password)
    assert not {older[1], exposed[1]} & set(estate.secrets())
    nothing_is_kept(estate, copied, exposed[1])
    assert "changed=0" in estate.run("destroy_old_versions").check().stdout
    assert estate.ledger_faults() == []
    assert "a laptop was stolen" in estate.ledger_path.read_text()
    again = answer(
        estate, "--check", extra={**ROTATE_FIRST, "keyturn_made_before": "2020-01-01T00:00:00Z"}
    )
    assert "changed=0" in again.check().stdout
    assert not any(secret in done.output for secret in (older[1], exposed[1], *estate.secrets()))


def nothing_is_kept(estate: Estate, copied: Path, value: str) -> None:
    """Neither in the keyring, which has the fingerprint, nor in a copy of a file; the ledger says so."""
    kept = estate.document()
    assert len(kept.retained) == 2 and all(stage.destroyed for stage in kept.retained)
    assert value not in estate.keyring_path.read_text() and kept.claim is None
    assert copied.exists() and not list(copied.parent.glob("copied.bak.*"))
    assert f"copies of files on the controller: 1 old version ended ({copied}.bak." in (
        estate.ledger_path.read_text()
    )
    assert estate.phases()[-3:] == ["forget", "destroyed", "release"]


@pytest.mark.parametrize("strategy", ["alternate_roles", "same_role"])
def test_it_is_refused_before_there_is_another(make: Maker, strategy: str) -> None:
    estate = make(strategy)
    user, password = estate.first
    at = "Log in with the pending value, the way consumers do"
    at = at if strategy == "alternate_roles" else "Watch the health of what uses it"
    with estate.client, closing(estate.database.connect(user, password)) as thief:
        dry = answer(estate, "--check", extra=REVOKE_FIRST).check()
        thief.cursor().execute("SELECT 1")
        assert "nobody can log in" in dry.output or strategy == "same_role"
        killed = estate.killed(
            "respond_compromise",
            at,
            extra={**REVOKE_FIRST, "keyturn_hosts": "all"},
        )
        assert not estate.database.accepts(user, password)
        if strategy == "alternate_roles":
            is_ended(thief)
        done = answer(estate, extra=REVOKE_FIRST).check()
        is_ended(thief)
        document = estate.document()
        assert document.current and document.current.status == "observed" and not document.previous
        assert document.current.outage and document.current.outage > 0
        told = "could fail for at most"
        assert told in done.output or strategy == "same_role"
    assert estate.accepts("current")
    assert not estate.database.accepts(user, password)
    assert estate.ledger_faults() == []
    assert not any(
        secret in killed.output + done.output for secret in (password, *estate.secrets())
    )


def is_ended(session: Any) -> None:
    with pytest.raises(psycopg2.Error):
        session.cursor().execute("SELECT 1")


def test_nothing_is_ended_by_mistake(make: Maker) -> None:
    estate = make("alternate_roles")
    before = estate.document()
    for said, words in (
        ({}, "keyturn_response"),
        ({"keyturn_response": "first"}, "keyturn_response"),
        ({"keyturn_response": "rotate_first"}, "demands a reason"),
        ({**ROTATE_FIRST, "keyturn_made_before": "yesterday"}, "made_before"),
        ({**ROTATE_FIRST, "keyturn_history": "delete"}, "expected leave"),
    ):
        assert words in answer(estate, extra=said).check(2).output
    for arguments, extra, status, words in (
        (("--tags", "observe"), ROTATE_FIRST, 2, "--limit"),
        (("--limit", "all,db_mispelt"), ROTATE_FIRST, 4, "--limit: the inventory has no host"),
        ((), {**ROTATE_FIRST, "keyturn_hosts": "db_mispelt"}, 4, "no host or group db_mispelt"),
    ):
        stopped = estate.run("respond_compromise", *arguments, extra=extra).check(status)
        assert words in " ".join(stopped.output.split())
    assert estate.document().stages == before.stages
    assert estate.database.accepts(*estate.first)
