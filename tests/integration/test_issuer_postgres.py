# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer ``postgres_role`` on real servers: the life of a stage by each strategy."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._postgres_role import (
    PostgresRole,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, reveal
from estate.databases import Database
from estate.pgbouncer import PgBouncer

EMPTY = Document("db_app", bytes(32))


class Bench:
    """One issuer on one database, with a keyring that the test moves by hand."""

    def __init__(self, database: Database, admin: tuple[str, str] | None = None, **definition: Any):
        server = database.server
        user, word = admin or (server.superuser, server.password)
        self.database = database
        self.document = EMPTY
        self.warnings: list[str] = []
        self.guarded = 0
        login = {"host": server.host, "port": server.port, "dbname": database.name}
        login["admin"] = {"username": user, "password": word}
        body = {"type": "postgres_role", "login": login, **definition}
        self.issuer = PostgresRole.from_definition(body, self.context(), "keyturn_issuer")

    def context(self, check: bool = False) -> Context:
        """Surroundings of one task."""
        return Context(check_mode=check, diff=True, warn=self.warnings.append)

    def guard(self) -> None:
        """Counts the writes."""
        self.guarded += 1

    def stage(self, rotation: str) -> Stage:
        """Make a value and put it into the keyring as pending."""
        fields = self.issuer.propose(self.document, {}, self.context())
        stage = self.document.with_fingerprints(Stage(rotation, "issued", fields))
        self.document = replace(self.document, pending=stage)
        return stage

    def adopt(self, name: str, secret: str) -> None:
        """Put what is in use into the keyring as current."""
        fields = {"username": name, "password": Secret(secret)}
        adopted = self.issuer.adopt(fields, self.context())
        self.document = replace(EMPTY, current=Stage("r0", "observed", adopted))

    def promote(self) -> None:
        """Pending becomes current, current becomes previous."""
        self.document = replace(
            self.document,
            current=self.document.pending,
            previous=self.document.current,
            pending=None,
        )

    def apply(self, stage: Stage) -> Any:
        """Check mode first: it must have said what happens."""
        predicted = self.issuer.apply(stage, self.document, self.context(True), self.guard)
        assert self.guarded == 0
        done = self.issuer.apply(stage, self.document, self.context(), self.guard)
        assert predicted == done
        assert (self.guarded > 0) == done.changed
        self.guarded = 0
        return done

    def end(self, operation: str, stage: Stage) -> Any:
        """Revoke or drop, predicted by check mode."""
        act = getattr(self.issuer, operation)
        predicted = act(stage, self.document, self.context(True), self.guard)
        done = act(stage, self.document, self.context(), self.guard)
        assert predicted == done
        self.guarded = 0
        return done

    def works(self, stage: Stage | None) -> bool:
        """Whether the server accepts a stage."""
        assert stage is not None
        return self.database.accepts(stage.text("username"), reveal(stage.fields["password"]))


def login(database: Database, stage: Stage) -> Any:
    """A session of a stage."""
    return database.connect(stage.text("username"), reveal(stage.fields["password"]))


def owned_table(database: Database, role: str) -> None:
    """A table that belongs to a login role."""
    database.execute("CREATE TABLE public.notes (id int)")
    database.execute(f"ALTER TABLE public.notes OWNER TO {role}")


def retire(bench: Bench) -> None:
    """The previous role goes: its session is ended, and nothing of its password is left."""
    old = bench.document.previous
    assert old is not None
    with pytest.raises(Refused, match="retire_due"):
        bench.issuer.propose(bench.document, {}, bench.context())
    session = login(bench.database, old)
    (user,) = bench.issuer.sessions(old, bench.context())
    assert user.pid == session.get_backend_pid() and user.address == "127.0.0.1"
    assert bench.end("revoke", old).facts["terminated"] == 1
    assert not bench.works(old) and bench.works(bench.document.current)
    assert bench.issuer.sessions(old, bench.context()) == []
    bench.end("drop", old)
    assert bench.database.verifier(old.text("username")) is None
    bench.document = replace(bench.document, previous=None)


def test_two_roles_take_turns(database: Database) -> None:
    """A to B, B back to A, the old one retired each time; the application's table goes along."""
    roles = [f"{database.name}_app_a", f"{database.name}_app_b"]
    secret = database.create_login(roles[0], member_of_owner=False)
    owned_table(database, roles[0])
    database.execute(f"GRANT CREATE ON SCHEMA public TO {roles[0]}")
    bench = Bench(database, roles=roles)
    bench.adopt(roles[0], secret)
    for rotation in ("r1", "r2", "r3"):
        assert bench.issuer.check(bench.document, bench.context()) == []
        stage = bench.stage(rotation)
        applied = bench.apply(stage)
        assert applied.changed and applied.facts["password_changed"]
        assert not bench.apply(stage).changed
        assert bench.works(stage) and bench.works(bench.document.current)
        assert database.verifier(stage.text("username")) == reveal(stage.fields["verifier"])
        assert f"password: {stage.fingerprints['password']}" in applied.after
        bench.promote()
        retire(bench)
        with contextlib.closing(login(database, stage)) as connection:
            cursor = connection.cursor()
            cursor.execute("ALTER TABLE public.notes ADD COLUMN IF NOT EXISTS body text")
            cursor.execute(f"CREATE TABLE public.made_in_{rotation} (id int)")
    assert stage.text("username") == roles[1]


def test_a_first_rotation_without_a_keyring_is_careful(database: Database) -> None:
    roles = [f"{database.name}_a", f"{database.name}_b"]
    bench = Bench(database, roles=roles)
    (reason,) = bench.issuer.check(EMPTY, bench.context())
    assert "whose rights" in reason
    with pytest.raises(Refused, match="whose rights"):
        bench.apply(bench.stage("r1"))
    first = database.create_login(roles[0])
    bench.document = EMPTY
    assert bench.stage("r1").text("username") == roles[1]
    assert bench.apply(bench.stage("r1")).changed
    bench.document = EMPTY
    with pytest.raises(Refused, match="adopt"):
        bench.issuer.propose(EMPTY, {}, bench.context())
    assert "adopt" in bench.issuer.check(EMPTY, bench.context())[0]
    database.execute(f"ALTER ROLE {roles[1]} NOLOGIN")
    assert bench.issuer.propose(EMPTY, {}, bench.context())["username"] == roles[1]
    assert database.accepts(roles[0], first)


@pytest.mark.pg_versions("16")
def test_a_role_that_somebody_uses_is_not_taken(database: Database) -> None:
    roles = [f"{database.name}_a", f"{database.name}_b"]
    words = [database.create_login(role) for role in roles]
    bench = Bench(database, roles=roles)
    bench.adopt(roles[0], words[0])
    used = database.connect(roles[1], words[1], application_name="somebody else")
    assert "somebody else" in "; ".join(bench.issuer.check(bench.document, bench.context()))
    used.close()


def test_one_role_gets_a_new_password_and_keeps_its_sessions(database: Database) -> None:
    """And the old one again, for a rollback."""
    name = f"{database.name}_app"
    secret = database.create_login(name)
    bench = Bench(database, strategy="same_role", role=name)
    bench.adopt(name, secret)
    session = database.connect(name, secret)
    assert bench.issuer.check(bench.document, bench.context()) == []
    bench.stage("r1")
    bench.promote()
    old, new = bench.document.previous, bench.document.current
    assert old is not None and new is not None
    with pytest.raises(Refused, match="still accepts"):
        bench.end("revoke", old)
    assert bench.apply(new).changed
    assert bench.works(new) and not bench.works(old)
    with session.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert not bench.end("revoke", old).changed
    assert not bench.end("drop", old).changed
    assert bench.apply(old).changed
    assert bench.works(old) and not bench.works(new)
    stolen = replace(new, compromised=True)
    assert bench.end("revoke", stolen).facts["terminated"] == 1
    with pytest.raises(psycopg2.OperationalError), session.cursor() as cursor:
        cursor.execute("SELECT 1")


@pytest.mark.pg_versions("16")
def test_what_makes_a_new_password_useless_is_said_before(database: Database) -> None:
    name = f"{database.name}_app"
    bench = Bench(database, strategy="same_role", role=name)
    assert "is not there" in bench.issuer.check(EMPTY, bench.context())[0]
    database.create_login(name, options="VALID UNTIL '2101-01-01'")
    assert bench.issuer.check(EMPTY, bench.context()) == []
    assert "2101-01-01" in bench.warnings[0]
    database.execute(f"ALTER ROLE {name} NOLOGIN")
    assert "cannot log in" in bench.issuer.check(EMPTY, bench.context())[0]


def test_a_dated_role_is_made_and_in_the_end_dropped(database: Database) -> None:
    name = f"{database.name}_app"
    secret = database.create_login(name, member_of_owner=False)
    owned_table(database, name)
    bench = Bench(database, strategy="new_role", role_template=f"{name}_{{date}}", like=name)
    assert bench.issuer.check(EMPTY, bench.context()) == []
    first = bench.stage("r1")
    assert bench.apply(first).facts["created"]
    bench.promote()
    second = bench.stage("r2")
    assert second.text("username") == first.text("username") + "_2"
    assert bench.apply(second).changed
    bench.promote()
    assert bench.works(first) and bench.works(second)
    with contextlib.closing(login(database, second)) as connection:
        connection.cursor().execute("ALTER TABLE public.notes ADD COLUMN body text")
    holder = login(database, first)
    with pytest.raises(Refused, match="in use by 1 session"):
        bench.issuer.drop(first, bench.document, bench.context(), bench.guard)
    assert bench.end("revoke", first).facts["terminated"] == 1
    holder.close()
    assert bench.end("drop", first).facts["dropped"]
    assert not bench.end("drop", first).changed
    assert (
        database.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (first.text("username"),))
        == []
    )
    assert bench.works(second) and database.accepts(name, secret)


@pytest.mark.pg_versions("18")
def test_an_undone_role_is_dropped_even_where_old_ones_are_kept(database: Database) -> None:
    name = f"{database.name}_app"
    database.create_login(name)
    bench = Bench(
        database,
        strategy="new_role",
        role_template=f"{name}_{{rotation}}",
        like=name,
        retire="lock",
    )
    undone = bench.stage("r1")
    bench.apply(undone)
    bench.end("revoke", undone)
    assert bench.end("drop", undone).facts["dropped"]
    kept = bench.stage("r2")
    bench.apply(kept)
    bench.promote()
    bench.document = replace(bench.document, previous=kept, current=Stage("r3", "observed", {}))
    bench.end("revoke", kept)
    bench.end("drop", kept)
    rows = database.execute(
        "SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = %s",
        (kept.text("username"),),
    )
    assert rows == [(False, None)]


@pytest.mark.pg_versions("16")
def test_the_role_in_use_is_never_locked(database: Database) -> None:
    roles = [f"{database.name}_a", f"{database.name}_b"]
    bench = Bench(database, roles=roles)
    bench.adopt(roles[0], database.create_login(roles[0]))
    current = bench.document.current
    assert current is not None
    twin = replace(current, rotation_id="r9", status="retiring")
    bench.document = replace(bench.document, previous=twin)
    for operation in ("revoke", "drop"):
        with pytest.raises(Refused, match="the current stage"):
            getattr(bench.issuer, operation)(twin, bench.document, bench.context(), bench.guard)
    assert bench.works(current)


def test_a_clerk_without_superuser_rotates_and_is_told_what_it_lacks(database: Database) -> None:
    """Its runs are as honest as a superuser's: what is accepted already is not called changed."""
    roles = [f"{database.name}_a", f"{database.name}_b"]
    clerk = f"{database.name}_clerk"
    secret = database.create_login(roles[0])
    word = database.create_login(clerk, member_of_owner=False)
    bench = Bench(database, admin=(clerk, word), roles=roles)
    bench.adopt(roles[0], secret)
    asked = 0
    while reasons := bench.issuer.check(bench.document, bench.context()):
        for reason in reasons:
            database.execute(reason.partition("; needed: ")[2])
        asked += len(reasons)
        assert asked < 9
    assert asked >= 2
    stage = bench.stage("r1")
    assert bench.apply(stage).changed
    assert not bench.apply(stage).changed
    bench.promote()
    old = bench.document.previous
    assert old is not None and "verifier" not in old.fields
    assert bench.end("revoke", old).changed
    assert not bench.end("revoke", old).changed
    bench.end("drop", old)
    assert bench.works(stage) and not bench.works(old)
    assert any("pg_read_all_stats" in warning for warning in bench.warnings)


@pytest.mark.pg_versions("16")
def test_the_verifier_is_the_one_that_pgbouncer_needs(
    database: Database, pgbouncer_factory: Any
) -> None:
    """With the kept verifier in its userlist, PgBouncer logs clients in and logs in at the server in their name."""
    roles = [f"{database.name}_a", f"{database.name}_b"]
    bench = Bench(database, roles=roles)
    bench.adopt(roles[0], database.create_login(roles[0]))
    stage = bench.stage("r1")
    bench.apply(stage)
    users = {roles[1]: reveal(stage.fields["verifier"])}
    pooler: PgBouncer = pgbouncer_factory(
        database.server, auth="userlist", database=database.name, users=users
    )
    connection = psycopg2.connect(
        host=pooler.host,
        port=pooler.port,
        dbname=database.name,
        user=roles[1],
        password=reveal(stage.fields["password"]),
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user")
        assert cursor.fetchone() == (roles[1],)
    connection.close()


def test_a_wrong_password_is_not_adopted(database: Database) -> None:
    name = f"{database.name}_app"
    database.create_login(name)
    bench = Bench(database, strategy="same_role", role=name)
    with pytest.raises(Refused, match="does not accept"):
        bench.adopt(name, "not the one")
