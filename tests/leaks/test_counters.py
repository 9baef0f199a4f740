# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The counters that show whether an application suffered are proved by failures made on purpose."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from estate.databases import Database
from estate.load import LoadClient, database_url, write_env_file
from estate.processes import wait_until

pytestmark = pytest.mark.pg_versions("16")


@pytest.fixture
def client(database: Database, scratch: Path) -> LoadClient:
    """An application that holds two connections and logs in anew on two more."""
    made = LoadClient(scratch / "app.env", scratch, held=2, new=2, held_rate=20)
    write_env_file(made.env_file, url(database, database.create_login("alice")))
    return made


def url(database: Database, password: str) -> str:
    return database_url("alice", password, "127.0.0.1", database.server.port, database.name)


def test_a_wrong_password_is_a_failed_login(client: LoadClient, database: Database) -> None:
    with client:
        client.work(5)
        assert not any(client.failures().values())
        write_env_file(client.env_file, url(database, secrets.token_urlsafe(12)))
        client.send_hup()
        wait_until(lambda: client.failures()["failed_logins"] >= 2, 10, "failed logins")
        assert client.failures()["failed_transactions"] == 0, "connections that are held go on"
    assert {name.split(": ", 1)[0] for name in client.status()["errors"]} == {"failed_logins"}
    assert "failed_logins: OperationalError: authentication" in client.status()["errors"]


def test_a_session_that_is_ended_is_a_failed_transaction(
    client: LoadClient, database: Database
) -> None:
    with client:
        client.work(5)
        oldest = "SELECT pid FROM pg_stat_activity WHERE usename = 'alice' ORDER BY backend_start LIMIT 1"
        assert database.execute(f"SELECT pg_terminate_backend(({oldest}))") == [(True,)]
        wait_until(lambda: client.failures()["failed_transactions"] > 0, 10, "a failed transaction")
        client.work(5)
        assert client.failures()["failed_logins"] == 0
    assert {name.split(": ", 1)[0] for name in client.status()["errors"]} == {"failed_transactions"}
