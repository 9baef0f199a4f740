# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole rotations as a person runs them: under load, in check mode, repeated, rolled back, retired."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from estate.databases import Database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible, PlaybookResult
from rotation import FORCE, Estate

NO_FAILURES = {"failed_logins": 0, "failed_transactions": 0, "failed_reloads": 0}
Maker = Callable[..., Estate]


@pytest.fixture
def make(
    scratch: Path,
    database: Database,
    ansible: Ansible,
    pgbouncer_factory: Callable[..., PgBouncer],
) -> Maker:
    """Makes the estate of an adopted credential that an application uses, behind PgBouncer unless told otherwise."""

    def maker(auth: str | None = "userlist", adopted: bool = True, **options: Any) -> Estate:
        first = f"{database.name}_a"
        password = database.create_login(first)
        pooler = None
        if auth:
            users = {first: database.verifier(first) or ""}
            pooler = pgbouncer_factory(
                database.server, auth=auth, database=database.name, users=users
            )
        made = Estate(scratch, database, ansible, pooler, **options)
        made.hand_over(first, password)
        if adopted:
            made.adopt()
        return made

    return maker


def statuses(run: PlaybookResult) -> dict[str, list[str]]:
    """How each task ended, by its name, in order."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in run.stdout.splitlines():
        heading = re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\]", line)
        ended = re.match(r"(ok|changed|failed|fatal|skipping): \[", line)
        if heading:
            name = heading.group(1)
        elif ended:
            found.setdefault(name, []).append(ended.group(1))
    return found


def changes(run: PlaybookResult) -> int:
    """How many tasks the recap says changed something."""
    found = re.search(r"changed=(\d+)", run.stdout)
    assert found
    return int(found.group(1))


def assert_no_leak(estate: Estate, *runs: PlaybookResult) -> None:
    """No value in what a person or a server sees."""
    places = {"output": "".join(run.output for run in runs), "ansible.log": estate.ansible.log()}
    places["postgres.log"] = estate.database.server.log()
    places["ledger"] = estate.ledger_path.read_text()
    if estate.pooler:
        places["pgbouncer.log"] = estate.pooler.log()
    for secret in estate.secrets():
        for name, text in places.items():
            assert secret not in text, f"a value is in {name}"
    assert estate.ansible.leftovers() == []


def predicted(estate: Estate, playbook: str, extra: Any = None) -> PlaybookResult:
    """Dry run, then the real run: nothing was written by the first, and it told what the second did."""
    before = estate.snapshot()
    dry = estate.run(playbook, "--check", "--diff", extra=extra).check()
    assert estate.snapshot() == before, "the dry run wrote something"
    real = estate.run(playbook, "--diff", extra=extra).check()
    assert statuses(dry) == statuses(real)
    unforced = {name: value for name, value in (extra or {}).items() if name not in FORCE}
    again = estate.run(playbook, "--check", extra=unforced).check()
    assert changes(again) == 0, again.stdout
    return real


@pytest.mark.tarball
@pytest.mark.pg_versions("15", "16", "18")
def test_adopt_rotate_retire_under_load(make: Maker) -> None:
    estate = make(adopted=False)
    with estate.client as client:
        runs = [
            predicted(estate, "adopt", estate.adoption),
            predicted(estate, "rotate_db", FORCE),
            predicted(estate, "retire_due"),
        ]
        client.work(50)
        assert client.failures() == NO_FAILURES
        assert client.status()["username"] == estate.roles[1]
    document = estate.document()
    assert document.current and document.current.status == "observed" and document.previous is None
    assert document.claim is None
    assert not estate.database.accepts(*estate.first)
    assert estate.ledger_faults() == []
    assert_no_leak(estate, *runs)
    assert "LOG_LEVEL=info" in estate.env_file.read_text()


@pytest.mark.pg_versions("16")
def test_a_first_rotation_cuts_off_nobody_whose_role_was_not_adopted(make: Maker) -> None:
    """The role that the application uses is in the definition and in no keyring: its line of the userlist is not known to be old."""
    estate = make(adopted=False)
    with estate.client as client:
        assert "unknown: " in estate.run("rotate_db", extra=FORCE).check(2).stdout
        predicted(estate, "rotate_db", {**FORCE, "keyturn_replace": True})
        client.work(50)
        assert client.failures() == NO_FAILURES
        assert client.status()["username"] == estate.roles[1]
    assert estate.pooler and estate.roles[0] in estate.pooler.userlist_path.read_text()
    assert estate.database.accepts(*estate.first)


@pytest.mark.pg_versions("16")
def test_as_ordinary_modules_instead_of_in_ansible_s_process(make: Maker) -> None:
    estate = make(variables={"keyturn_direct": False})
    with estate.client as client:
        done = estate.run("rotate_db", "-vvv", "--diff", extra=FORCE).check()
        client.work(20)
        assert client.failures() == NO_FAILURES
        assert client.status()["username"] == estate.roles[1]
    assert done.stdout.count("EXEC") > 2, "the modules were not run as programs"
    assert_no_leak(estate, done)


@pytest.mark.pg_versions("16")
def test_with_auth_query(make: Maker) -> None:
    estate = make("auth_query")
    with estate.client as client:
        runs = [estate.run("rotate_db", extra=FORCE).check(), estate.run("retire_due").check()]
        client.work(50)
        assert client.failures() == NO_FAILURES
    assert_no_leak(estate, *runs)


@pytest.mark.pg_versions("16")
def test_rollback_and_the_failed_one_is_never_returned_to(make: Maker) -> None:
    estate = make(variables={"keyturn_policy": {"rotate": "age", "max_age": "180d", "grace": "1h"}})
    with estate.client as client:
        estate.run("rotate_db", extra=FORCE).check()
        early = estate.run("retire_due").check()
        assert "grace ends in" in early.output and changes(early) == 0
        predicted_back = estate.run("rollback", "--check").check()
        back = estate.run("rollback").check()
        assert statuses(predicted_back) == statuses(back)
        assert client.status()["username"] == estate.roles[0]
        again = estate.run("rollback").check()
        assert "was rolled back before" in again.output and changes(again) == 0
        estate.run("retire_due").check()
        assert client.failures() == NO_FAILURES
    assert estate.document().previous is None
    assert estate.ledger_faults() == []
    assert_no_leak(estate, back, again)


@pytest.mark.pg_versions("16")
def test_a_value_that_fails_in_use_is_rolled_back_by_itself(make: Maker) -> None:
    estate = make()
    code = f"import sys; sys.exit({estate.roles[1]!r} in open({str(estate.env_file)!r}).read())"
    estate.add_probe({"type": "command", "argv": [sys.executable, "-c", code]})
    with estate.client as client:
        done = estate.run("rotate_db", extra={**FORCE, "keyturn_wait": "2s"})
        assert "The previous value was made current again" in done.check(2).output
        client.work(20)
        assert client.failures() == NO_FAILURES
        assert client.status()["username"] == estate.roles[0]
    document = estate.document()
    assert document.previous and document.previous.failed
    assert document.claim is None


@pytest.mark.pg_versions("16")
def test_a_leftover_of_another_definition_is_abandoned(make: Maker) -> None:
    estate = make()
    with estate.client as client:
        estate.killed(
            "rotate_db", "Log in with the pending value, the way consumers do", extra=FORCE
        )
        other = {"keyturn_generate": {"password": {"type": "password", "length": 50}}, **FORCE}
        refused = estate.run("rotate_db", extra=other).check(2)
        assert "abandon" in refused.output
        predicted(estate, "abandon")
        estate.run("rotate_db", extra=other).check()
        assert client.failures() == NO_FAILURES
    assert estate.ledger_faults() == []


@pytest.mark.pg_versions("16")
def test_a_dated_role_is_made_and_the_old_one_dropped(make: Maker) -> None:
    estate = make(strategy="new_role")
    with estate.client as client:
        predicted(estate, "rotate_db", FORCE)
        predicted(estate, "retire_due")
        assert client.failures() == NO_FAILURES
        assert client.status()["username"].startswith(estate.prefix + "_20")
    assert (
        estate.database.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (estate.first[0],))
        == []
    )
