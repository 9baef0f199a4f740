# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The estate itself: what the tests and the demo stand on does what it says."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from estate.databases import Database
from estate.errors import EstateError
from estate.load import LoadClient, database_url, write_env_file
from estate.pgbouncer import AUTH_USER, PgBouncer
from estate.playbook import Ansible
from estate.postgres import PostgresServer
from estate.processes import wait_until
from estate.users import server_user
from estate.vault import VaultServer


def test_postgres_is_the_wanted_version_and_speaks_scram(
    postgres: PostgresServer, database: Database
) -> None:
    assert (
        str(postgres.execute("SHOW server_version")[0][0]).split(".", maxsplit=1)[0]
        == postgres.version
    )
    password = database.create_login("alice")
    assert str(database.verifier("alice")).startswith("SCRAM-SHA-256$")
    assert database.accepts("alice", password)
    assert not database.accepts("alice", password + "x")
    assert password not in postgres.log()


def test_a_statement_and_a_failing_statement_are_in_the_log(
    postgres: PostgresServer, database: Database
) -> None:
    marks = [secrets.token_hex(8) for _number in range(2)]
    database.execute(f"SELECT '{marks[0]}'")
    with pytest.raises(psycopg2.Error):
        database.execute(f"SELECT nothing_{marks[1]}")
    assert all(mark in postgres.log() for mark in marks)


def test_a_login_acts_as_the_owner(database: Database) -> None:
    password = database.create_login("alice")
    connection = database.connect("alice", password)
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user, current_user")
        assert cursor.fetchone() == ("alice", database.owner)
    connection.close()


@pytest.mark.pg_versions("16")
def test_a_killed_postgres_recovers(scratch: Path) -> None:
    with PostgresServer("16", run_dir=scratch) as server:
        server.execute("CREATE TABLE kept (n int)")
        server.execute("CHECKPOINT")
        server.kill()
        assert not server.running
        with pytest.raises(psycopg2.OperationalError):
            server.connect(connect_timeout=2)
        assert server.start().execute("SELECT count(*) FROM kept") == [(0,)]


@pytest.mark.pg_versions("16")
@pytest.mark.parametrize("auth", ["userlist", "auth_query"])
def test_pgbouncer_lets_the_right_password_through(
    auth: str,
    postgres: PostgresServer,
    database: Database,
    pgbouncer_factory: Callable[..., PgBouncer],
) -> None:
    password = database.create_login("alice")
    users = {"alice": database.verifier("alice")} if auth == "userlist" else {}
    pooler = pgbouncer_factory(postgres, auth=auth, database=database.name, users=users, verbose=1)
    connection = pooler.connect("alice", password)
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user, current_user")
        assert cursor.fetchone() == ("alice", database.owner)
    assert "alice" in {row["user"] for row in pooler.show("CLIENTS")}
    connection.close()
    with pytest.raises(psycopg2.OperationalError):
        pooler.connect("alice", password + "x")
    assert password not in pooler.log() + postgres.log()
    assert (AUTH_USER in pooler.userlist_path.read_text()) is (auth == "auth_query")


@pytest.mark.pg_versions("16")
def test_pgbouncer_takes_a_new_userlist_on_reload(
    postgres: PostgresServer, database: Database, pgbouncer_factory: Callable[..., PgBouncer]
) -> None:
    pooler = pgbouncer_factory(postgres, database=database.name)
    password = database.create_login("alice")
    with pytest.raises(psycopg2.OperationalError):
        pooler.connect("alice", password)
    pooler.write_userlist({"alice": str(database.verifier("alice"))}, keep=["; a comment"])
    pooler.reload()
    pooler.connect("alice", password).close()
    status = pooler.userlist_path.stat()
    user = server_user()
    assert status.st_mode & 0o777 == 0o600
    assert status.st_uid == (user.uid if user else os.geteuid())


@pytest.mark.pg_versions("16")
def test_a_pooler_that_cannot_start_says_why(
    postgres: PostgresServer, pgbouncer_factory: Callable[..., PgBouncer]
) -> None:
    with pytest.raises(EstateError, match="pool_mode"):
        pgbouncer_factory(postgres, pool_mode="nonsense")


@pytest.fixture
def client(
    postgres: PostgresServer,
    database: Database,
    pgbouncer_factory: Callable[..., PgBouncer],
    scratch: Path,
) -> Any:
    """A client under load as ``alice``; ``bob`` is ready with another password."""
    database.execute(
        f'CREATE TABLE entries (n int); ALTER TABLE entries OWNER TO "{database.owner}"'
    )
    passwords = {name: database.create_login(name) for name in ("alice", "bob")}
    users = {name: str(database.verifier(name)) for name in passwords}
    pooler = pgbouncer_factory(postgres, database=database.name, users=users)
    urls = {
        name: database_url(name, password, pooler.host, pooler.port, database.name)
        for name, password in passwords.items()
    }
    env_file = scratch / "app.env"
    write_env_file(env_file, urls["alice"])
    program = LoadClient(
        env_file, scratch, held=3, new=2, held_rate=20, statement="INSERT INTO entries VALUES (1)"
    )
    with program:
        yield program, urls, pooler


@pytest.mark.pg_versions("16")
def test_the_client_follows_its_env_file_without_a_failure(client: Any, database: Database) -> None:
    program, urls, _pooler = client
    program.work(10)
    write_env_file(program.env_file, urls["bob"])
    assert program.reload() == "bob"
    seen = program.status()
    program.work(10)
    last = program.stop()
    assert last["users"]["alice"] > 0 and last["users"]["bob"] > 0
    assert seen["generation"] == seen["settled"] == 2
    assert program.failures() == {"failed_logins": 0, "failed_transactions": 0, "failed_reloads": 0}
    assert database.execute("SELECT count(*) FROM entries") == [(last["transactions"],)]


@pytest.mark.pg_versions("16")
def test_the_client_counts_what_fails(client: Any, database: Database) -> None:
    program, urls, pooler = client
    password = urls["alice"].split(":")[2].split("@")[0]
    write_env_file(program.env_file, urls["alice"].replace(password, "wrong"))
    with pytest.raises(RuntimeError, match="not all of its connections"):
        program.reload(seconds=1)
    pooler.stop()
    wait_until(
        lambda: program.failures()["failed_transactions"] >= 3, 10, "the held connections to fail"
    )
    program.env_file.unlink()
    with pytest.raises(RuntimeError, match="could not read its env file"):
        program.reload(seconds=5)
    last = program.stop()
    assert last["failed_logins"] > 0 and last["failed_reloads"] == 1
    assert any("authentication" in name for name in last["errors"])
    assert password not in program.log_path.read_text() + program.status_path.read_text()


def test_vault_is_open_and_keeps_what_it_is_given(vault: VaultServer, vault_mount: str) -> None:
    value = secrets.token_urlsafe(12)
    vault.request(
        "POST", f"{vault_mount}/data/one", {"data": {"value": value}, "options": {"cas": 0}}
    )
    assert vault.request("GET", f"{vault_mount}/data/one")["data"]["data"] == {"value": value}
    token = vault.token(f'path "{vault_mount}/data/one" {{ capabilities = ["read"] }}')
    assert (
        vault.request("GET", f"{vault_mount}/data/one", token=token)["data"]["metadata"]["version"]
        == 1
    )


PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "{{ word }}"
    - ansible.builtin.command: sleep {{ pause }}
"""


@pytest.fixture(params=["ansible", "ansible_command"])
def runner(request: pytest.FixtureRequest) -> Ansible:
    """Runs playbooks in each of the two ways that the tests have."""
    found: Ansible = request.getfixturevalue(request.param)
    return found


def test_a_playbook_runs_in_its_own_surroundings(runner: Ansible, scratch: Path) -> None:
    book = scratch / "play.yml"
    book.write_text(PLAY)
    result = runner.run(str(book), extra_vars={"word": "hello", "pause": 0}).check()
    assert "hello" in result.stdout
    assert "hello" in runner.log()
    assert runner.leftovers() == []


def test_a_killed_playbook_leaves_no_process(runner: Ansible, scratch: Path) -> None:
    book = scratch / "play.yml"
    book.write_text(PLAY)
    pause = f"60.{secrets.randbelow(10**6):06d}"
    running = runner.start(str(book), extra_vars={"word": "hello", "pause": pause})
    wait_until(lambda: _processes(f"sleep {pause}") > 0, 20, "the task to start")
    assert running.kill().returncode == -signal.SIGKILL
    deadline = time.monotonic() + 2
    while _processes(f"sleep {pause}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _processes(f"sleep {pause}") == 0


def _processes(command: str) -> int:
    """How many live processes have this command line."""
    wanted = command.replace(" ", "\0") + "\0"
    return sum(_command_line(path) == wanted for path in Path("/proc").glob("[0-9]*/cmdline"))


def _command_line(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
