# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes against real databases: PostgreSQL, PgBouncer."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    KeyturnError,
    ProbeFailed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes import (
    Evidence,
    Patience,
    ProbeContext,
    run_probe,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._wire import (
    Address,
    try_login,
)
from estate.databases import Database, fresh_database
from estate.pgbouncer import PgBouncer
from estate.postgres import PostgresServer
from estate.tls import make_certificate

QUICK = Patience(timedelta(seconds=1), timedelta(milliseconds=200))
PATIENT = Patience(timedelta(seconds=10), timedelta(milliseconds=100))
ONCE = Patience(timedelta(seconds=10), timedelta(milliseconds=100), 0)


def make_stage(username: str, password: str, status: str = "applied") -> Stage:
    return Stage("r1", status, {"username": username, "password": Secret(password)}, "d")


def make_ctx(
    host: str, port: int, dbname: str, patience: Patience = ONCE, **more: Any
) -> ProbeContext:
    login = {"host": host, "port": port, "dbname": dbname, **more.pop("login", {})}
    context = Context(
        check_mode=more.pop("check_mode", False), progress=more.pop("progress", print)
    )
    issuer = {"type": "postgres_role", "login": login}
    return ProbeContext(context, issuer, patience=patience, **more)


def direct(database: Database, **more: Any) -> ProbeContext:
    server = database.server
    return make_ctx(server.host, server.port, database.name, **more)


def keyring(current: Stage) -> Document:
    return Document("db", secrets.token_bytes(32), current=current)


def no_secret(error: KeyturnError | Evidence, *values: str) -> None:
    text = repr(vars(error)) + str(error)
    assert not any(value in text for value in values)


# --- PostgreSQL itself


def test_a_login_with_its_rights(database: Database) -> None:
    password = database.create_login("alice")
    database.execute("CREATE TABLE orders (id int)")
    database.execute(f'ALTER TABLE orders OWNER TO "{database.owner}"')
    probe = {
        "type": "postgres",
        "check": ["SELECT 1 FROM orders LIMIT 0", "show server_version;"],
        "write": "INSERT INTO orders VALUES (1)",
        "current_user": database.owner,
    }
    evidence = run_probe(probe, make_stage("alice", password), direct(database))
    server = database.server
    assert evidence.against == f"{server.host}:{server.port}/{database.name} as alice"
    assert evidence.detail == (
        f"logged in as alice, acting as {database.owner}, 2 rights check(s) passed, a write worked and was rolled back"
    )
    assert database.execute("SELECT count(*) FROM orders") == [(0,)]
    no_secret(evidence, password)
    assert password not in server.log()


@pytest.mark.pg_versions("16")
def test_what_the_login_may_not_do(database: Database) -> None:
    password = database.create_login("alice", member_of_owner=False)
    database.execute("CREATE TABLE orders (id int)")
    stage = make_stage("alice", password)
    for probe, told in (
        (
            {"check": "SELECT 1 FROM orders"},
            "check 1 of 1 failed: permission denied for table orders (42501)",
        ),
        ({"check": "SELECT 1 FROM nothing"}, 'relation "nothing" does not exist (42P01)'),
        ({"check": f"SELECT '{password}'::int"}, "SQLSTATE 22P02 (invalid text representation)"),
        ({"check": "SELECT nextval('s')", "write": True}, "check 1 of 1 failed"),
        ({"write": "INSERT INTO orders VALUES (1)"}, "the write check failed: permission denied"),
        ({"current_user": "bob"}, "it acts as alice, expected bob"),
        ({"session_user": "bob"}, "takes this login for alice, expected bob"),
    ):
        with pytest.raises(ProbeFailed) as caught:
            run_probe({"type": "postgres", **probe}, stage, direct(database))
        assert told in caught.value.message
        no_secret(caught.value, password)


@pytest.mark.pg_versions("16")
def test_a_write_check_without_a_statement_needs_no_right_and_finds_a_read_only_server(
    database: Database,
) -> None:
    password = database.create_login("alice", member_of_owner=False)
    stage, probe = make_stage("alice", password), {"type": "postgres", "write": True}
    assert "rolled back" in run_probe(probe, stage, direct(database)).detail
    told = run_probe(probe, stage, direct(database, check_mode=True)).detail
    assert told == "logged in as alice, check mode writes nothing"


def test_how_logins_are_refused(database: Database) -> None:
    server = database.server
    good = database.create_login("alice")
    locked = database.create_login("bob")
    database.execute("ALTER ROLE bob NOLOGIN")
    # PostgreSQL answers in the server's language: what is judged must not depend on it.
    here = Address(server.host, server.port, database.name, timeout=5)
    assert try_login(here, "alice", good, os.urandom(18)).outcome == "accepted"
    assert try_login(here, "alice", Secret(good), os.urandom(18)).outcome == "accepted"
    assert try_login(here, "alice", good + "x", os.urandom(18)).outcome == "refused"
    assert try_login(here, "bob", locked, os.urandom(18)).outcome == "refused"
    assert try_login(here, "nobody", good, os.urandom(18)).outcome == "refused"
    elsewhere = replace(here, dbname="nowhere")
    assert try_login(elsewhere, "alice", good, os.urandom(18)).outcome == "accepted"
    assert try_login(elsewhere, "alice", good + "x", os.urandom(18)).outcome == "refused"
    strict = try_login(replace(here, sslmode="require"), "alice", good, os.urandom(18))
    assert (strict.outcome, "speaks no TLS" in strict.reason) == ("unproven", True)
    assert try_login(replace(here, port=1), "alice", good, os.urandom(18)).outcome == "unproven"
    database.execute("ALTER ROLE alice CONNECTION LIMIT 0")
    assert try_login(here, "alice", good, os.urandom(18)).outcome == "unproven"


@pytest.mark.pg_versions("16")
@pytest.mark.parametrize(
    "password",
    ["påsswørd", "IX\u00ad\u2168 \u00aa", "\u0627\u0031\u0628", "a\u2003b", " ", "x" * 300],
)
def test_passwords_that_are_not_plain_ascii(database: Database, password: str) -> None:
    database.execute("CREATE ROLE carol LOGIN PASSWORD %s", (password,))
    server = database.server
    here = Address(server.host, server.port, database.name, timeout=5)
    assert try_login(here, "carol", password, os.urandom(18)).outcome == "accepted"
    assert try_login(here, "carol", password + "y", os.urandom(18)).outcome == "refused"


@pytest.mark.pg_versions("16")
def test_old_md5_and_an_address_that_is_turned_away(
    postgres: PostgresServer, scratch: Path
) -> None:
    with PostgresServer(postgres.version, run_dir=scratch) as server:
        password = secrets.token_urlsafe(20)
        server.execute(
            "SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD %s", (password,)
        )
        server.execute("CREATE ROLE new LOGIN PASSWORD %s", (password,))
        rules = server.datadir / "pg_hba.conf"
        text = rules.read_text()
        rules.write_text("host all old 127.0.0.1/32 md5\nhost all new 127.0.0.1/32 reject\n" + text)
        server.execute("SELECT pg_reload_conf()")
        here = Address(server.host, server.port, "postgres", timeout=5)
        until = time.monotonic() + 5
        while try_login(here, "new", password, os.urandom(18)).outcome == "accepted":
            assert time.monotonic() < until
            time.sleep(0.05)
        away = try_login(here, "new", password, os.urandom(18))
        assert (away.outcome, "pg_hba.conf" in away.reason) == ("unproven", True)
        # Whether the answer is taken is said, but anybody could say so: see the tests of impostors.
        told = try_login(here, "old", password, os.urandom(18))
        assert (told.outcome, "use scram-sha-256" in told.reason) == ("unproven", True)
        assert try_login(here, "old", "x", os.urandom(18)).outcome == "refused"
        rules.write_text("host all old 127.0.0.1/32 password\n" + text)
        server.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)
        clear = try_login(here, "old", password, os.urandom(18))
        assert (clear.outcome, "in clear text" in clear.reason) == ("unproven", True)


@pytest.mark.pg_versions("15")
def test_tls_is_checked_as_libpq_does(postgres: PostgresServer, scratch: Path) -> None:
    own, other = make_certificate(scratch), make_certificate(scratch, "other")
    settings = {"ssl": "on", "ssl_cert_file": str(own.certificate), "ssl_key_file": str(own.key)}
    with PostgresServer(postgres.version, run_dir=scratch, settings=settings) as server:
        here = Address(server.host, server.port, "postgres", timeout=5)
        for mode, root, outcome in (
            ("prefer", None, "accepted"),
            ("require", None, "accepted"),
            ("verify-full", own, "accepted"),
            ("verify-ca", own, "accepted"),
            ("verify-full", other, "unproven"),
            ("require", other, "unproven"),
        ):
            where = replace(here, sslmode=mode, sslrootcert=str(root.certificate) if root else "")
            verdict = try_login(where, "postgres", server.password, os.urandom(18))
            assert verdict.outcome == outcome, (mode, verdict)
            login = {"sslmode": mode, "sslrootcert": where.sslrootcert}
            ctx = make_ctx(server.host, server.port, "postgres", login=login)
            if outcome == "accepted":
                run_probe({"type": "postgres"}, make_stage("postgres", server.password), ctx)
            else:
                with pytest.raises(Unreachable, match="TLS failed"):
                    run_probe({"type": "postgres"}, make_stage("postgres", server.password), ctx)


@pytest.mark.pg_versions("16")
def test_a_refusal_is_a_proof_only_while_the_current_value_is_accepted(database: Database) -> None:
    old, new = database.create_login("app_a"), database.create_login("app_b")
    current, previous = make_stage("app_b", new, "observed"), make_stage("app_a", old, "retiring")
    ctx = direct(database, expect="refused", document=keyring(current))
    probe = {"type": "postgres"}
    with pytest.raises(ProbeFailed, match="it is still accepted"):
        run_probe(probe, previous, ctx)
    database.execute("ALTER ROLE app_a NOLOGIN")
    evidence = run_probe(probe, previous, ctx)
    assert (
        evidence.detail
        == "refused: the role may not log in (28000); the current value is accepted there"
    )
    database.execute("ALTER ROLE app_b NOLOGIN")
    with pytest.raises(Unreachable, match="the current value is not accepted there either"):
        run_probe(probe, previous, ctx)


@pytest.mark.pg_versions("16")
def test_a_server_that_is_not_there_proves_nothing(database: Database) -> None:
    password = secrets.token_urlsafe(20)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for port in (1, silent.getsockname()[1]):
            for expect in ("accepted", "refused"):
                brief = Patience(timedelta(milliseconds=400), timedelta(milliseconds=200))
                ctx = make_ctx("127.0.0.1", port, "x", brief, expect=expect)
                start = time.monotonic()
                with pytest.raises(Unreachable) as caught:
                    run_probe({"type": "postgres"}, make_stage("alice", password), ctx)
                assert "proves nothing" in caught.value.message
                assert time.monotonic() - start < 3
                no_secret(caught.value, password)


@pytest.mark.pg_versions("16")
def test_it_waits_until_the_login_works(database: Database) -> None:
    password = database.create_login("alice")
    database.execute("ALTER ROLE alice NOLOGIN")
    timer = threading.Timer(0.6, database.execute, ["ALTER ROLE alice LOGIN"])
    timer.start()
    lines: list[str] = []
    patience = Patience(timedelta(seconds=15), timedelta(milliseconds=200))
    evidence = run_probe(
        {"type": "postgres"},
        make_stage("alice", password),
        direct(database, patience=patience, progress=lines.append),
    )
    timer.join()
    assert evidence.detail.startswith("logged in as alice")
    assert lines[0].startswith("waiting for postgres (")
    assert "of 15 s (the role may not log in (28000))" in lines[0]
    assert password not in "".join(lines)


# --- through PgBouncer

Factory = Callable[..., PgBouncer]


def pooled(
    pooler: PgBouncer, database: Database, **more: Any
) -> tuple[dict[str, Any], ProbeContext]:
    admin = {"username": "postgres", "password": database.server.password}
    console = {"username": pooler.admin_user, "password": pooler.admin_password}
    consumer = {
        "type": "pgbouncer",
        "host": "db1",
        "admin_login": {**console, "host": pooler.host, "port": pooler.port},
    }
    ctx = direct(database, consumers=[{"type": "none"}, consumer], login={"admin": admin}, **more)
    return {"type": "postgres", "port": pooler.port}, ctx


@pytest.mark.pg_versions("16")
def test_refusals_behind_a_userlist(database: Database, pgbouncer_factory: Factory) -> None:
    old, new = database.create_login("app_a"), database.create_login("app_b")
    users = {name: str(database.verifier(name)) for name in ("app_a", "app_b")}
    pooler = pgbouncer_factory(database.server, database=database.name, users=users)
    previous, current = make_stage("app_a", old, "retiring"), make_stage("app_b", new, "observed")
    probe, ctx = pooled(pooler, database, document=keyring(current), patience=QUICK)
    assert "logged in as app_a" in run_probe(probe, previous, ctx).detail
    refused = replace(ctx, expect="refused")
    with pytest.raises(ProbeFailed, match="still accepted"):
        run_probe(probe, previous, refused)
    pooler.write_userlist({"app_b": users["app_b"]})
    pooler.reload()
    server = f"the server itself ({database.server.host}:{database.server.port})"
    with pytest.raises(ProbeFailed) as caught:
        run_probe(probe, previous, refused)
    assert (
        f"refused: PgBouncer refuses the login: SASL authentication failed; but {server} still accepts it"
        in str(caught.value)
    )
    database.execute("ALTER ROLE app_a NOLOGIN")
    told = run_probe(probe, previous, refused).detail
    pooler_said = "refused: PgBouncer refuses the login: SASL authentication failed"
    assert told == f"{pooler_said}; {server} refuses it, too; the current value is accepted there"
    wrong_database = {**probe, "dbname": "nowhere"}
    with pytest.raises(Unreachable):
        run_probe(wrong_database, previous, refused)


@pytest.mark.pg_versions("16")
def test_what_a_pooler_leaves_unanswered_is_foretold_by_the_server(
    database: Database, pgbouncer_factory: Factory
) -> None:
    """PgBouncer lets a client wait when the server refuses its login: before a password is set back that is no failure."""
    old = database.create_login("app")
    users = {"app": str(database.verifier("app"))}
    pooler = pgbouncer_factory(database.server, database=database.name, users=users)
    probe, ctx = pooled(pooler, database, patience=QUICK, check_mode=True)
    stage = make_stage("app", old, "grace")
    database.execute("ALTER ROLE app PASSWORD 'set-by-a-rotation'")
    with pytest.raises(Unreachable, match="no answer in time"):
        run_probe(probe, stage, ctx)
    evidence = run_probe(probe, stage, replace(ctx, predicting=True))
    assert evidence.predicted and evidence.detail.startswith("not so yet, as expected")


@pytest.mark.pg_versions("16")
def test_a_wrong_database_behind_auth_query_is_no_proof(
    database: Database, pgbouncer_factory: Factory
) -> None:
    old, new = database.create_login("app_a"), database.create_login("app_b")
    pooler = pgbouncer_factory(database.server, auth="auth_query", database=database.name)
    previous, current = make_stage("app_a", old, "retiring"), make_stage("app_b", new, "observed")
    probe, ctx = pooled(
        pooler, database, document=keyring(current), expect="refused", patience=QUICK
    )
    with pytest.raises(ProbeFailed, match="still accepted"):
        run_probe(probe, previous, ctx)
    database.execute("ALTER ROLE app_a NOLOGIN")
    assert "PgBouncer refuses the login" in run_probe(probe, previous, ctx).detail
    # PgBouncer says "SASL authentication failed" to everybody who names a database that it does not have.
    with pytest.raises(Unreachable, match="not accepted there either"):
        run_probe({**probe, "dbname": "nowhere"}, previous, ctx)


@pytest.mark.pg_versions("16")
def test_drained_names_who_is_left_and_not_pgbouncers_own(
    database: Database, pgbouncer_factory: Factory
) -> None:
    old, new = database.create_login("app_a"), database.create_login("app_b")
    users = {name: str(database.verifier(name)) for name in ("app_a", "app_b")}
    pooler = pgbouncer_factory(database.server, database=database.name, users=users)
    previous, current = make_stage("app_a", old, "grace"), make_stage("app_b", new, "observed")
    _probe, ctx = pooled(pooler, database, document=keyring(current), patience=ONCE)
    drained = {"type": "drained"}
    through = pooler.connect("app_a", old, application_name="musehub web")
    through.cursor().execute("SELECT 1")
    other = pooler.connect("app_b", new)
    other.cursor().execute("SELECT 1")
    straight = database.connect("app_a", old, application_name="nightly report")
    with pytest.raises(ProbeFailed) as caught:
        run_probe(drained, previous, ctx)
    told = caught.value.message
    assert "2 still in use: client 'musehub web' from 127.0.0.1:" in told
    assert f"at PgBouncer {pooler.host}:{pooler.port} in {database.name}" in told
    assert "session 'nightly report' from 127.0.0.1:" in told
    assert "(idle, " in told
    no_secret(caught.value, old, new, pooler.admin_password, database.server.password)
    through.close()
    straight.close()
    evidence = run_probe(
        drained,
        previous,
        replace(ctx, patience=Patience(timedelta(seconds=10), timedelta(milliseconds=100))),
    )
    assert evidence.detail == "no session is left; PgBouncer keeps 1 idle connection(s) of it"
    assert evidence.against.startswith("sessions of app_a at ")
    other.close()


@pytest.mark.pg_versions("16")
def test_drained_sees_sessions_of_a_dropped_role_and_leaves_a_shared_one(
    database: Database,
) -> None:
    old, new = database.create_login("app_a", False), database.create_login("app_b", False)
    previous, current = make_stage("app_a", old, "grace"), make_stage("app_b", new, "observed")
    admin = {"admin": {"username": "postgres", "password": database.server.password}}
    ctx = direct(database, login=admin, document=keyring(current))
    held = database.connect("app_a", old)
    database.execute("DROP ROLE app_a")
    with pytest.raises(ProbeFailed, match="its role is dropped"):
        run_probe({"type": "drained"}, previous, ctx)
    held.close()
    shared = run_probe({"type": "drained"}, make_stage("app_b", old), ctx)
    assert "the same role" in shared.detail
    wrong = direct(
        database,
        login={"admin": {"username": "postgres", "password": "x"}},
        document=keyring(current),
    )
    with pytest.raises(Unreachable, match="proves nothing"):
        run_probe({"type": "drained"}, previous, wrong)


@pytest.mark.pg_versions("16")
def test_a_server_that_takes_no_login_from_here_leaves_the_road_as_the_proof(
    postgres: PostgresServer, scratch: Path, pgbouncer_factory: Factory
) -> None:
    with PostgresServer(postgres.version, run_dir=scratch) as server, fresh_database(server) as own:
        old, new = own.create_login("app_a"), own.create_login("app_b")
        users = {"app_b": str(own.verifier("app_b"))}
        pooler = pgbouncer_factory(server, database=own.name, users=users)
        previous, current = (
            make_stage("app_a", old, "retiring"),
            make_stage("app_b", new, "observed"),
        )
        probe, ctx = pooled(
            pooler, own, document=keyring(current), expect="refused", patience=QUICK
        )
        rules = server.datadir / "pg_hba.conf"
        rules.write_text("host all app_a 127.0.0.1/32 reject\n" + rules.read_text())
        server.execute("SELECT pg_reload_conf()")
        told = run_probe(probe, previous, replace(ctx, patience=PATIENT)).detail
        assert "takes no login of it from here; the current value is accepted there" in told
