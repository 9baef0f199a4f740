# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``pg_role`` on real servers: passwords, states, and administrators with few rights."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _scram
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._password import Credential
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._wish import Wish
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.databases import Database
from estate.playbook import Ansible
from estate.postgres import PostgresServer
from pg_tasks import Params, Tasks, log_since, password, worlds
from pg_world import World, run


@pytest.fixture
def pg_role(database: Database) -> Tasks:
    """Tasks as the superuser."""
    return Tasks(database, (database.server.superuser, database.server.password))


@pytest.fixture
def make_world(database: Database) -> Iterator[Callable[[bool], World]]:
    """Makes an estate; ``owned`` when the role in use owns things."""
    with worlds(database) as make:
        yield make


class TestPassword:
    """The server only ever hears the verifier."""

    def test_it_works_and_is_in_no_log_and_is_not_set_twice(
        self, database: Database, pg_role: Tasks
    ) -> None:
        start, secret, name = len(database.server.log()), password(), f"{database.name}_u"
        database.execute("ALTER ROLE postgres SET password_encryption = 'md5'")
        try:
            predicted = pg_role(check=True, name=name, password=secret)
            first = pg_role(name=name, password=secret)
            again = pg_role(name=name, password=secret)
        finally:
            database.execute("ALTER ROLE postgres RESET password_encryption")
        assert predicted == first
        assert (
            first["changed"]
            and first["roles"][0]["created"]
            and first["roles"][0]["password_changed"]
        )
        assert not again["changed"] and again["roles"][0]["login"]
        assert database.accepts(name, secret)
        assert _scram.matches(secret, database.verifier(name) or "")
        log = log_since(database, start)
        assert "SCRAM-SHA-256$4096:" in log
        assert (
            secret not in log and quote(secret) not in log and secret.replace("'", "''") not in log
        )
        assert secret not in str(first)

    @pytest.mark.pg_versions("18")
    def test_a_given_verifier_is_kept_to_the_letter(
        self, database: Database, pg_role: Tasks
    ) -> None:
        secret, name = password(), f"{database.name}_u"
        verifier = _scram.verifier(secret, secrets.token_bytes(16))
        pg_role(name=name, password=secret)
        assert pg_role(name=name, state="active", verifier=verifier)["changed"]
        assert database.verifier(name) == verifier
        assert not pg_role(name=name, state="active", password=secret, verifier=verifier)["changed"]
        assert database.accepts(name, secret)

    @pytest.mark.pg_versions("16")
    def test_an_ended_password_gets_no_end(self, database: Database, pg_role: Tasks) -> None:
        secret, name = password(), f"{database.name}_u"
        pg_role(name=name, password=secret)
        run(database.server, "ALTER ROLE {name} VALID UNTIL '2001-01-01'", name=name)
        assert not database.accepts(name, secret)
        assert pg_role(name=name, password=secret)["changed"]
        assert database.accepts(name, secret)
        run(database.server, "ALTER ROLE {name} VALID UNTIL '2101-01-01'", name=name)
        assert not pg_role(name=name, password=secret)["changed"]

    @pytest.mark.pg_versions("16")
    def test_many_roles_at_once(self, database: Database, pg_role: Tasks) -> None:
        roles = [
            {"name": f"{database.name}_{number}", "password": password()} for number in range(20)
        ]
        assert all(role["created"] for role in pg_role(roles=roles)["roles"])
        roles[7]["password"] = password()
        second = pg_role(roles=roles)
        assert [role["changed"] for role in second["roles"]].count(True) == 1
        assert second["diff"]["after"].splitlines() == [
            f"role {database.name}_7: LOGIN",
            "password: (changed)",
        ]
        assert database.accepts(roles[7]["name"], roles[7]["password"])

    @pytest.mark.pg_versions("16")
    @pytest.mark.parametrize(
        ("params", "kind", "words"),
        [
            ({"name": "a\0b", "password": "x"}, BadInput, "NUL"),
            ({"name": "x" * 64, "password": "x"}, BadInput, "64 bytes"),
            ({"name": "x"}, BadInput, "password: missing"),
            ({"name": "x", "verifier": "x"}, BadInput, "expected SCRAM-SHA-256"),
            (
                {"name": "x", "password": _scram.verifier("x", b"salt")},
                BadInput,
                "give it as verifier",
            ),
            (
                {"name": "x", "password": "y", "verifier": _scram.verifier("x", b"salt")},
                BadInput,
                "does not belong",
            ),
            ({"name": "nobody_here", "password": "x", "state": "active"}, Refused, "is not there"),
            ({"name": "x", "password": "x", "like": "nobody_here"}, Refused, "is not there"),
            ({"name": "x", "password": "ref+file:///nowhere"}, Absent, "nowhere"),
            ({"name": "postgres", "state": "locked"}, Refused, "the administrator"),
            ({"roles": [{"name": "x", "password": "x"}] * 2}, BadInput, "twice"),
            ({"name": "x", "roles": [{"name": "y", "password": "x"}]}, BadInput, "not both"),
            ({"password": "x"}, BadInput, "give one role"),
            ({"password": "x", "roles": [{"name": "y"}]}, BadInput, "inside of roles"),
        ],
    )
    def test_bad_input(
        self, postgres: PostgresServer, params: Params, kind: type[KeyturnError], words: str
    ) -> None:
        tasks = Tasks(
            Database(postgres, "postgres", "postgres"), (postgres.superuser, postgres.password)
        )
        with pytest.raises(kind, match=words) as caught:
            tasks(**params)
        assert "SCRAM-SHA-256$4096" not in caught.value.message


class TestServer:
    """What the server does not allow is told in words, without a value."""

    @pytest.mark.pg_versions("16")
    def test_unreachable_refused_and_absent_are_different(
        self, database: Database, pg_role: Tasks
    ) -> None:
        login = pg_role.login()
        wrong: list[tuple[Params, type[KeyturnError], str]] = [
            ({"port": 1}, Unreachable, "nothing listens"),
            ({"host": "no.such.host.invalid"}, Unreachable, "not known"),
            ({"admin": {"username": "postgres", "password": "wrong"}}, Denied, "password"),
            ({"dbname": "nowhere"}, KeyturnError, "database"),
            ({"sslmode": "require"}, Unreachable, "TLS"),
        ]
        for change, kind, words in wrong:
            with pytest.raises(kind, match=words) as caught:
                pg_role(login={**login, **change}, name="x", password="secret-value")
            assert (
                "wrong" not in caught.value.message and "secret-value" not in caught.value.message
            )

    @pytest.mark.pg_versions("16")
    def test_a_read_only_server_is_named(self, database: Database, pg_role: Tasks) -> None:
        run(
            database.server,
            "ALTER DATABASE {db} SET default_transaction_read_only = on",
            db=database.name,
        )
        with pytest.raises(Refused, match="read-only"):
            pg_role(name="x", password=password())

    @pytest.mark.pg_versions("16")
    def test_a_failing_statement_shows_nothing_of_itself(
        self, database: Database, pg_role: Tasks
    ) -> None:
        name, secret = f"{database.name}_u", password()
        job = pg_role.job(Wish(name))
        job.present(Credential(Secret(secret)))
        with job.server as server, pytest.raises(KeyturnError) as caught:
            server.write([f"ALTER ROLE {name} PASSWORD 'hunter2' NONSENSE"], "giving a password")
        assert "hunter2" not in caught.value.message
        assert caught.value.message.startswith("giving a password: ")


class TestStates:
    """From present to absent, and what is in the way."""

    def test_locking_ends_sessions_and_dropping_waits_for_them(
        self, make_world: Callable[[bool], World], pg_role: Tasks
    ) -> None:
        world, secret = make_world(False), password()
        pg_role(name=world.b, like=world.a, password=secret)
        session = world.server.connect(world.name, world.b, secret, application_name="night job")
        with pytest.raises(Refused, match=r"night job") as caught:
            pg_role(name=world.b, state="absent")
        assert (
            f"{world.b} pid {session.get_backend_pid()} in {world.name} from 127.0.0.1"
            in caught.value.message
        )
        predicted = pg_role(check=True, name=world.b, state="locked")
        assert session.closed == 0
        done = pg_role(name=world.b, state="locked")
        assert predicted == done and done["roles"][0]["terminated"] == 1
        with pytest.raises(psycopg2.OperationalError), session.cursor() as cursor:
            cursor.execute("SELECT 1")
        with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
            world.server.connect(world.name, world.b, secret)
        assert not pg_role(name=world.b, state="locked")["changed"]
        predicted = pg_role(check=True, name=world.b, state="absent")
        assert predicted == pg_role(name=world.b, state="absent")
        assert not pg_role(name=world.b, state="absent")["changed"]
        assert world.attributes(world.b) == []

    @pytest.mark.pg_versions("18")
    def test_dropping_names_what_belongs_to_the_role_and_what_it_gave(
        self, make_world: Callable[[bool], World], pg_role: Tasks
    ) -> None:
        world = make_world(False)
        pg_role(name=world.b, like=world.a, password=password(), ownership="refuse")
        world.run("CREATE TABLE plain.hers (id int); ALTER TABLE plain.hers OWNER TO {b}")
        world.run(
            "CREATE TABLE {strange}.hers (id int); ALTER TABLE {strange}.hers OWNER TO {b}",
            world.second,
        )
        world.run(
            "CREATE POLICY hers ON plain.rows TO {b}; SET ROLE {b}; GRANT UPDATE ({strange}) ON {strange}.{strange} TO {auditor}"
        )
        with pytest.raises(Refused) as caught:
            pg_role(name=world.b, state="absent")
        for words in (
            f"table plain.hers in {world.name}",
            f'table "we""ird; $keyturn$ name".hers in {world.second}',
            f"to {world.names['auditor']} in {world.name}",
            f'"hers" on plain.rows in {world.name}',
        ):
            assert words in caught.value.message
        with pytest.raises(Refused, match="set ownership: group"):
            pg_role(name=world.b, like=world.a, password=password(), ownership="refuse")
        world.run(
            "REVOKE UPDATE ({strange}) ON {strange}.{strange} FROM {b} CASCADE; DROP POLICY hers ON plain.rows"
        )
        world.run(
            "DROP TABLE plain.hers; SET ROLE {grantor}; GRANT DELETE ON plain.passed_on TO {b}"
        )
        world.run("DROP TABLE {strange}.hers", world.second)
        assert pg_role(name=world.b, state="absent")["changed"]


class TestFewRights:
    """An administrator that is no superuser."""

    @pytest.fixture
    def clerk(self, database: Database) -> Tasks:
        """CREATEROLE and nothing else."""
        name = f"{database.name}_clerk"
        return Tasks(database, (name, database.create_login(name, False, "CREATEROLE")))

    @pytest.fixture
    def app(self, database: Database) -> dict[str, str]:
        """An application's role that owns a schema and has a right on a table of somebody else."""
        names = {
            key: f"{database.name}_{key}" for key in ("a", "b", "clerk", "stranger", "readers")
        }
        names["db"] = database.name
        secret = database.create_login(names["a"], False, "CONNECTION LIMIT 5")
        run(
            database.server,
            "CREATE ROLE {stranger}; CREATE ROLE {readers}; GRANT {readers} TO {a}; CREATE SCHEMA app AUTHORIZATION {a}; SET ROLE {a}; "
            "CREATE TABLE app.t (i int); ALTER TABLE app.t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON app.t TO {a} USING (true); "
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {readers}; RESET ROLE; CREATE TABLE public.x (i int); "
            "ALTER TABLE public.x OWNER TO {stranger}; GRANT SELECT ON public.x TO {a}; ALTER ROLE {a} SET work_mem = '5MB'",
            database.name,
            **names,
        )
        return {**names, "password": secret}

    def test_what_is_missing_is_said_and_enough_once_it_is_given(
        self, database: Database, clerk: Tasks, app: dict[str, str]
    ) -> None:
        ask = {"name": app["b"], "like": app["a"], "password": password()}
        remedies = 0
        while True:
            try:
                done = clerk(**ask)
                break
            except Refused as error:
                statements = {
                    reason.partition("; needed: ")[2] for reason in error.details["reasons"]
                }
                remedies += len(statements)
                assert remedies < 9 and all(statements)
                for statement in statements:
                    database.execute(statement)
        assert remedies >= 2
        assert done["roles"][0]["created"]
        assert database.accepts(app["b"], ask["password"])
        assert not clerk(**ask)["changed"]
        assert not clerk(name=app["a"], like=app["b"], password=app["password"])["changed"]
        own = "SELECT 1 FROM pg_auth_members WHERE member = '{0}'::regrole AND grantor = '{0}'::regrole"
        assert database.execute(own.format(app["clerk"])) == []
        rights = "SELECT has_table_privilege(%s, 'app.t', 'TRUNCATE'), has_table_privilege(%s, 'public.x', 'SELECT')"
        assert database.execute(rights, (app["b"], app["b"])) == [(True, True)]

    def test_ending_sessions_takes_a_right_of_its_own(
        self, database: Database, clerk: Tasks, app: dict[str, str]
    ) -> None:
        secret = password()
        clerk(name=app["b"], password=secret)
        session = database.connect(app["b"], secret)
        with pytest.raises(Denied, match="GRANT pg_signal_backend TO"):
            clerk(name=app["b"], state="locked")
        run(database.server, "GRANT pg_signal_backend TO {clerk}", clerk=app["clerk"])
        assert clerk(name=app["b"], state="locked")["roles"][0]["terminated"] == 1
        session.close()
        assert clerk(name=app["b"], state="absent")["roles"][0]["dropped"]

    @pytest.mark.pg_versions("15")
    def test_a_superusers_password_is_out_of_reach(self, database: Database, clerk: Tasks) -> None:
        with pytest.raises(Refused, match="a superuser as administrator"):
            clerk(name="postgres", state="active", password=password())


PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: stand-in
      keyturn.runbooks.pg_role: &ask
        login:
          host: {host}
          port: {port}
          dbname: {db}
          admin: {{username: postgres, password: "ref+envsubst://$ADMIN_WORD"}}
        name: {b}
        like: {a}
        password: ref+envsubst://$NEW_WORD
      check_mode: true
      diff: true
      register: predicted
    - name: stand-in
      keyturn.runbooks.pg_role: *ask
      diff: true
      register: done
    - name: stand-in
      keyturn.runbooks.pg_role: *ask
      check_mode: true
      register: unchanged
    - name: stand-in
      keyturn.runbooks.pg_role: *ask
      register: again
    - name: compare
      ansible.builtin.assert:
        that:
          - predicted.changed and done.changed and not unchanged.changed and not again.changed
          - predicted.roles == done.roles
          - predicted.diff == done.diff
          - done.roles[0].created
"""


@pytest.mark.pg_versions("16")
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "module"])
def test_as_tasks(database: Database, ansible: Ansible, scratch: Path, direct: bool) -> None:
    """Check, apply, check again, apply again; inside of Ansible's process and as an ordinary module."""
    server, secret = database.server, secrets.token_urlsafe(24)
    first, second = f"{database.name}_a", f"{database.name}_b"
    database.create_login(first, member_of_owner=False)
    run(
        server,
        "CREATE TABLE public.t (i int); ALTER TABLE public.t OWNER TO {a}",
        database.name,
        a=first,
    )
    book = scratch / "play.yml"
    book.write_text(
        PLAY.format(host=server.host, port=server.port, db=database.name, a=first, b=second)
    )
    ended = ansible.run(
        str(book),
        "-vvv",
        extra_vars={"keyturn_direct": direct},
        env={"ADMIN_WORD": server.password, "NEW_WORD": secret},
    )
    ended.check()
    assert secret not in ended.output and server.password not in ended.output
    assert database.accepts(second, secret)
