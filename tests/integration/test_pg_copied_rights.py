# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role that is like another one, on real servers: every kind of right, strange names, load, and death at each write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._ensure import RoleJob
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._password import Credential
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._wish import Wish
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.databases import Database
from pg_tasks import Params, Tasks, log_since, password, worlds
from pg_world import STRANGE, World, run
from psycopg2 import sql


@pytest.fixture
def pg_role(database: Database) -> Tasks:
    """Tasks as the superuser."""
    return Tasks(database, (database.server.superuser, database.server.password))


@pytest.fixture
def make_world(database: Database) -> Iterator[Callable[[bool], World]]:
    """Makes an estate; ``owned`` when the role in use owns things."""
    with worlds(database) as make:
        yield make


CHANGES = (
    "REVOKE {a} FROM {auditor}; ALTER ROLE {a} NOCREATEDB CONNECTION LIMIT 3; ALTER ROLE {a} RESET app.greeting; "
    "ALTER ROLE {a} IN DATABASE {db} SET work_mem = '8MB'; REVOKE ADMIN OPTION FOR {writers} FROM {a}; "
    "ALTER POLICY {strange} ON plain.rows TO {other}; DROP POLICY only_a ON plain.rows; "
    "ALTER POLICY notes_edit ON plain.notes TO {other}; "
    "DROP USER MAPPING FOR {a} SERVER {strange}; "
    "ALTER DEFAULT PRIVILEGES FOR ROLE {a} GRANT EXECUTE ON ROUTINES TO PUBLIC"
)
TAKEN = (
    "REVOKE SELECT ON {strange}.{strange} FROM {a}; REVOKE {readers} FROM {a}; REVOKE CONNECT ON DATABASE {db} FROM {a}; "
    "REVOKE GRANT OPTION FOR UPDATE ({strange}) ON {strange}.{strange} FROM {a}; "
    "REVOKE EXECUTE ON ROUTINE plain.p(int, int) FROM {a}; REVOKE SELECT ON plain.passed_on FROM {a}; "
    "ALTER DEFAULT PRIVILEGES FOR ROLE {other} REVOKE SELECT ON TABLES FROM {a}"
)
MADE_LATER = (
    "CREATE TABLE plain.made (id serial); CREATE FUNCTION plain.made() RETURNS int LANGUAGE sql AS 'SELECT 1'; "
    "CREATE TYPE plain.made_t AS ENUM ('x'); CREATE TYPE plain.made_c AS (x int); CREATE DOMAIN plain.made_d AS int; "
    "CREATE VIEW plain.made_v AS SELECT 1 AS one; CREATE MATERIALIZED VIEW plain.made_m AS SELECT 1 AS one; "
    "CREATE PROCEDURE plain.made_p() LANGUAGE sql AS 'SELECT 1'; CREATE SCHEMA made_s; SELECT lo_create(0); "
    "CREATE AGGREGATE plain.made_g(int) (sfunc = int4pl, stype = int); CREATE SEQUENCE plain.made_q; "
    "CREATE FOREIGN TABLE plain.made_f (id int) SERVER {strange}; "
)
INSUFFICIENT_PRIVILEGE = "42501"
OPEN_LATER = {
    ("table", "plain.by_other", "SELECT"),
    ("table", "plain.by_other_v", "UPDATE"),
    ("table", "plain.by_other_m", "INSERT WITH GRANT OPTION"),
    ("table", "plain.by_other_f", "SELECT"),
    ("column", "plain.by_other.id", "UPDATE"),
    ("sequence", "plain.by_other_q", "USAGE"),
    ("function", "plain.by_other()", "EXECUTE"),
    ("function", "plain.by_other_p()", "EXECUTE"),
    ("function", "plain.by_other_g(integer)", "EXECUTE"),
    ("type", "plain.by_other_t", "USAGE"),
    ("type", "plain.by_other_d", "USAGE"),
    ("schema", "by_other_s", "USAGE"),
}


@pytest.mark.parametrize("owned", [False, True], ids=["granted", "owned"])
class TestCopiedRights:
    """The stand-in may do exactly what the role in use may do, now and with what is made later."""

    def test_from_the_first_copy_to_the_last_change(
        self, make_world: Callable[[bool], World], pg_role: Tasks, database: Database, owned: bool
    ) -> None:
        world, secret, start = make_world(owned), password(), len(database.server.log())
        ask = {"name": world.b, "like": world.a, "password": secret}
        old = world.server.connect(world.name, world.a, world.password)
        self.copied(world, pg_role, ask)
        self.made_later(world, pg_role, ask, old if owned else None)
        self.taken(world, pg_role, ask, f'{{a}}, "{world.a}_owner"' if owned else "{a}")
        with old.cursor() as cursor:
            cursor.execute("CREATE TABLE at_last (id serial)")
        assert world.differences() != []
        assert pg_role(**ask)["roles"][0]["owner_role"]
        assert world.differences() == []
        old.close()
        log = log_since(database, start)
        assert secret not in log and "far away" not in log and "it''s; " not in log

    @staticmethod
    def copied(world: World, pg_role: Tasks, ask: Params) -> None:
        """Nothing differs, nothing is lost, check mode said so before, and a second time changes nothing."""
        before = {dbname: world.rights(world.a, dbname) for dbname in world.databases}
        results = world.results(world.a, world.password)
        predicted = pg_role(check=True, **ask)
        assert world.attributes(world.b) == []
        assert predicted == pg_role(**ask)
        assert world.differences() == []
        for dbname in world.databases:
            assert before[dbname] <= world.rights(world.a, dbname)
        for user, word in ((world.a, world.password), (world.b, ask["password"])):
            assert world.results(user, word) == results
        assert {"1", "2", INSUFFICIENT_PRIVILEGE} <= set(map(str, results.values()))
        again = pg_role(**ask)
        assert not again["changed"] and again["diff"]["after"] == ""
        assert not pg_role(name=world.a, like=world.b, password=world.password)["changed"]

    @staticmethod
    def made_later(world: World, pg_role: Tasks, ask: Params, old: Any) -> None:
        """What others make is open to both; what either makes, and what an old session still makes, is as well."""
        world.run("SET ROLE {other}; " + MADE_LATER.replace("made", "by_other"))
        assert world.differences() == []
        rights = world.rights(world.b, world.name)
        assert rights >= OPEN_LATER
        large = {name for kind, name, _right in rights if kind == "largeobject"} - {"4711", "4712"}
        assert len(large) == (1 if world.known.version >= 18 else 0)
        if old is None:
            return
        secret = ask["password"]
        world.run(MADE_LATER.replace("made", "by_a"), None, world.a, world.password)
        world.run(MADE_LATER.replace("made", "by_b"), None, world.b, secret)
        world.run("CREATE SCHEMA by_b; CREATE TABLE by_b.t (id int)", None, world.b, secret)
        assert world.differences() == []
        with old.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE plain.by_old (id int); INSERT INTO plain.by_old VALUES (1)"
            )
        assert world.run("SELECT * FROM plain.by_old", None, world.b, secret) == [(1,)]
        assert pg_role(**ask)["changed"]
        assert world.differences() == []

    @staticmethod
    def taken(world: World, pg_role: Tasks, ask: Params, holders: str) -> None:
        """What is taken from the one is taken from the other."""
        world.run(CHANGES)
        world.run(TAKEN.replace("{a}", holders))
        world.run("SET ROLE {grantor}; REVOKE SELECT ON plain.passed_on FROM {a}")
        assert len(world.differences()) > 20
        results = world.results(world.a, world.password)
        assert results != world.results(world.b, ask["password"])
        predicted = pg_role(check=True, **ask)
        assert predicted == pg_role(**ask)
        assert predicted["roles"][0]["rights_removed"] > 8
        assert world.differences() == []
        assert results == world.results(world.a, world.password)
        assert results == world.results(world.b, ask["password"])
        assert not pg_role(**ask)["changed"]


class TestStrangeNames:
    """Names that would break out of badly quoted statements."""

    def test_a_role_of_that_name_works_and_harms_nothing(
        self, make_world: Callable[[bool], World], pg_role: Tasks
    ) -> None:
        world, secret = make_world(True), password()
        name = f'a"b; drop table plain.rows; -- $keyturn$ %s {world.name}'
        pg_role(name=name, like=world.a, password=secret, owner_role=f"o{STRANGE}")
        assert run(world.server, "SELECT * FROM plain.rows", world.name, name, secret)
        assert not pg_role(name=name, like=world.a, password=secret, owner_role=f"o{STRANGE}")[
            "changed"
        ]
        pg_role(name=name, state="locked")
        before = {dbname: world.rights(world.a, dbname) for dbname in world.databases}
        assert pg_role(name=name, state="absent")["roles"][0]["dropped"]
        after = {dbname: world.rights(world.a, dbname) for dbname in world.databases}
        assert {row for row in before[world.name] ^ after[world.name] if name not in row} == set()
        assert world.run("SELECT count(*) FROM plain.rows") == [(30,)]


@pytest.mark.pg_versions("16")
class TestValues:
    """Values that are copied on the server are in no statement, no message and no log, also when that fails."""

    def test_a_setting_that_cannot_be_copied(self, database: Database, pg_role: Tasks) -> None:
        first, start = f"{database.name}_a", len(database.server.log())
        database.create_login(first, member_of_owner=False)
        # A placeholder of a language that reserves its prefix as soon as it is loaded.
        database.execute(f"ALTER ROLE {first} SET plpgsql.token = 'tokenized'")
        with pytest.raises(KeyturnError, match=r"setting plpgsql\.token") as caught:
            pg_role(name=f"{database.name}_b", like=first, password=password())
        assert "tokenized" not in caught.value.message
        set_once = log_since(database, start).count("tokenized")
        assert set_once == 1

    def test_a_superuser_is_copied_as_such(self, database: Database, pg_role: Tasks) -> None:
        first, second = f"{database.name}_a", f"{database.name}_b"
        database.create_login(first, False, "SUPERUSER REPLICATION BYPASSRLS CREATEROLE NOINHERIT")
        pg_role(name=second, like=first, password=password())
        rows = database.execute(
            "SELECT rolsuper, rolreplication, rolbypassrls, rolcreaterole, rolinherit, rolcanlogin FROM pg_roles "
            "WHERE rolname IN (%s, %s)",
            (first, second),
        )
        assert rows == [(True, True, True, True, False, True)] * 2


class TestNameDependence:
    """What hangs on a role's name and not on its rights."""

    @pytest.mark.pg_versions("15")
    def test_a_schema_of_the_users_name_is_found_by_the_stand_in(
        self, make_world: Callable[[bool], World], pg_role: Tasks
    ) -> None:
        world, secret = make_world(False), password()
        world.run(
            "CREATE SCHEMA {a}; CREATE TABLE {a}.here (id int); GRANT USAGE ON SCHEMA {a} TO {a}"
        )
        world.run("GRANT SELECT ON {a}.here TO {a}")
        pg_role(name=world.b, like=world.a, password=secret)
        assert world.run("SELECT * FROM here", None, world.b, secret) == []
        assert not pg_role(name=world.b, like=world.a, password=secret)["changed"]

    @pytest.mark.pg_versions("18")
    def test_policies_that_compare_the_name_are_refused(
        self, make_world: Callable[[bool], World], pg_role: Tasks
    ) -> None:
        world, secret = make_world(False), password()
        world.run("CREATE POLICY mine ON plain.rows USING (tenant = current_user)")
        ask = {"name": world.b, "like": world.a, "password": secret}
        with pytest.raises(Refused, match=r"\"mine\" on plain\.rows in"):
            pg_role(**ask)
        assert pg_role(**ask, name_policies="allow")["changed"]


class TestUnderLoad:
    """Locks are asked for briefly, and others may work on the same things."""

    @pytest.mark.pg_versions("16")
    def test_a_held_table_is_waited_for_without_holding_up_readers(
        self, make_world: Callable[[bool], World], pg_role: Tasks
    ) -> None:
        world, secret = make_world(True), password()
        holder = world.server.connect(world.name)
        holder.autocommit = False
        holder.cursor().execute("SELECT 1 FROM plain.own")
        done = threading.Thread(
            target=pg_role, kwargs={"name": world.b, "like": world.a, "password": secret}
        )
        done.start()
        worst = 0.0
        reader = world.server.connect(world.name)
        for _time in range(12):
            began = time.monotonic()
            reader.cursor().execute("SELECT count(*) FROM plain.own")
            worst = max(worst, time.monotonic() - began)
            time.sleep(0.05)
        assert done.is_alive()
        holder.commit()
        done.join(20)
        assert not done.is_alive()
        assert worst < 0.5
        assert world.differences() == []

    @pytest.mark.pg_versions("16")
    def test_a_table_that_stays_held_names_who_holds_it(
        self, make_world: Callable[[bool], World], pg_role: Tasks
    ) -> None:
        world = make_world(True)
        holder = world.server.connect(world.name, application_name="long report")
        holder.autocommit = False
        holder.cursor().execute("SELECT 1 FROM plain.own")
        job = pg_role.job(Wish(world.b, world.a, default_group=world.names["group"]), lock_wait=0.3)
        with pytest.raises(Refused, match="long report"):
            job.present(Credential(Secret(password())))
        holder.close()
        assert pg_role(name=world.b, like=world.a, password=password())["changed"]
        assert world.differences() == []

    @pytest.mark.pg_versions("16")
    @pytest.mark.parametrize(
        ("change", "kept"),
        [
            (
                "GRANT UPDATE ON plain.v TO {other}",
                "SELECT has_table_privilege({other}, 'plain.v', 'UPDATE')",
            ),
            (
                "ALTER POLICY not_a ON plain.rows TO {a}, {other}",
                "SELECT {other}::regrole = ANY (polroles) FROM pg_policy WHERE polname = 'not_a'",
            ),
        ],
        ids=["access list", "policy"],
    )
    def test_what_somebody_else_changes_meanwhile_is_kept(
        self, make_world: Callable[[bool], World], pg_role: Tasks, change: str, kept: str
    ) -> None:
        """After the plan is made, another transaction changes the same access list or policy, and commits late."""
        world = make_world(False)
        other = world.server.connect(world.name)
        other.autocommit = False
        names = {key: sql.Identifier(name) for key, name in world.names.items()}

        begun: list[bool] = []

        def guard() -> None:
            if not begun:
                other.cursor().execute(sql.SQL(change).format(**names))
                begun.append(True)

        job = pg_role.job(Wish(world.b, world.a), guard=guard)
        done = threading.Thread(target=job.present, args=(Credential(Secret(password())),))
        done.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'keyturn' AND wait_event_type = 'Lock'"
        while done.is_alive() and not world.run(waits):
            time.sleep(0.005)
        other.commit()
        done.join(20)
        assert world.differences() == []
        assert world.run(kept.replace("{other}", f"'{world.names['other']}'")) == [(True,)]

    @pytest.mark.pg_versions("16")
    def test_two_stand_ins_on_the_same_things_at_once(
        self, make_world: Callable[[bool], World], pg_role: Tasks
    ) -> None:
        world = make_world(False)
        names = [f"{world.name}_twin{number}" for number in range(4)]
        failed: list[str] = []

        def one(name: str) -> None:
            try:
                pg_role(name=name, like=world.a, password=password())
            except KeyturnError as error:
                failed.append(error.message)

        threads = [threading.Thread(target=one, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert failed == []
        rows = world.run(
            "SELECT polroles::regrole[]::text[] FROM pg_policy WHERE polname = 'only_a'"
        )
        assert set(rows[0][0]) == {world.a, *names}
        everybody = (world.a, *names)
        first, *others = (world.rights(name, world.name, everybody) for name in everybody)
        assert all(one == first for one in others)


class _Died(Exception):
    """The run ended here."""


def _dies_after(writes: int) -> Callable[[], None]:
    left = iter(range(writes))

    def guard() -> None:
        if next(left, None) is None:
            raise _Died

    return guard


@pytest.mark.pg_versions("16")
class TestDeath:
    """Killed before any write, a rerun comes to the same end, and nobody has lost or won anything meanwhile."""

    def test_before_each_write(self, make_world: Callable[[bool], World], pg_role: Tasks) -> None:
        world, secret = make_world(True), Credential(Secret(password()))
        wish = Wish(world.b, world.a, default_group=world.names["group"])
        start = world.rights(world.a, world.name)
        server = pg_role.job(wish).server
        for lives in range(200):
            job = RoleJob(server, wish, Context(), _dies_after(min(lives, 1)))
            try:
                job.present(secret)
                break
            except _Died:
                if lives % 12 == 0:
                    assert start <= world.rights(world.a, world.name)
                assert not any(login for (login,) in world.attributes(world.b))
        server.close()
        assert lives > 20
        assert world.differences() == []
        assert start <= world.rights(world.a, world.name)
