# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers, credentials and the applications that use them; one for each contender, so that neither sees what the other did."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml
from estate.collection import collections_path
from estate.databases import Database
from estate.load import PROGRAM, LoadClient
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible
from estate.postgres import PostgresServer
from estate.users import make_run_dir

from bench.credentials import Credential, adopt, keyturn_variables, peer_variables
from bench.fleet import FleetProcess
from bench.peers import peer_collections

HERE = Path(__file__).resolve().parents[1]
WAITS = HERE / "waits"
SETTINGS = {"ANSIBLE_PIPELINING": "true", "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}


class Side:
    """A contender's own part: a pooler, credentials, applications, an inventory.

    :param kind: ``keyturn`` or ``peer``.
    :param count: how many credentials; a single one has the demo's client for an application, many have small ones.
    """

    def __init__(self, server: PostgresServer, place: Path, kind: str, count: int) -> None:
        self.kind = kind
        self.place = place
        self._stack = ExitStack()
        place.mkdir()
        place.chmod(0o711)
        self.database = Database(server, f"bench_{kind}", "postgres")
        server.execute(f"CREATE DATABASE {self.database.name}")
        self.pooler = PgBouncer(server, database=self.database.name, run_dir=place)
        self._stack.callback(self.pooler.close)
        self.credentials = [self._credential(number, count) for number in range(count)]
        passwords = [one.prepare() for one in self.credentials]
        users = {one.roles[0]: one.verifier() for one in self.credentials}
        self.pooler.write_userlist(users)
        self.pooler.start()
        self._start_applications()
        self._write_inventory(passwords)
        self.ansible = self._ansible()

    def _credential(self, number: int, count: int) -> Credential:
        name = f"{self.kind}_{number:02d}"
        folder = self.place / name
        if count == 1:
            status = folder / "client-status.json"
            act = [sys.executable, "-I", str(PROGRAM), "reload", "--status-file", str(status)]
        else:
            act = [str(WAITS / "tell"), str(self.place / "fleet"), str(number)]
        timed = (str(WAITS / "timed"), str(self.place / "reloads"), *act)
        return Credential(name, folder, self.database, self.pooler, timed)

    def _start_applications(self) -> None:
        first = self.credentials[0]
        if len(self.credentials) == 1:
            self.client: LoadClient | None = LoadClient(first.env_file, first.folder)
            self._stack.enter_context(self.client)
            return
        self.client = None
        folder = self.place / "fleet"
        folder.mkdir(mode=0o700)
        self.fleet = FleetProcess(folder, [one.env_file for one in self.credentials])
        self._stack.callback(self.fleet.close)
        self.fleet.start()

    def failures(self) -> int:
        """How many logins, transactions and reloads of the applications failed so far."""
        return sum(self.client.failures().values()) if self.client else self.fleet.failures()

    def _secret(self, name: str, user: str, password: str) -> Path:
        path = self.place / f"{name}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"username": user, "password": password}))
        return path

    def _write_inventory(self, passwords: Sequence[str]) -> None:
        server = self.database.server
        group = "postgres_roles" if self.kind == "keyturn" else "credentials"
        hosts = {group: {"hosts": {one.name: None for one in self.credentials}}}
        folder = self.place / "inventory" / "host_vars"
        folder.mkdir(parents=True)
        (folder.parent / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
        admin = self._secret("pg-admin", server.superuser, server.password)
        console = self._secret("pooler-admin", self.pooler.admin_user, self.pooler.admin_password)
        for one, password in zip(self.credentials, passwords, strict=True):
            if self.kind == "keyturn":
                variables: dict[str, Any] = keyturn_variables(one, admin, console)
                adopt(one, variables, password)
            else:
                variables = peer_variables(one, server.bindir / "psql")
            (folder / f"{one.name}.yml").write_text(yaml.safe_dump(variables))

    def _ansible(self) -> Ansible:
        work = self.place / "ansible"
        work.mkdir(mode=0o700)
        own = {**SETTINGS, "PYTHONPATH": str(WAITS), "BENCHMARK_PAUSES": str(self.place / "pauses")}
        if self.kind == "keyturn":
            return Ansible(work, collections_path(self.place), self.place / "inventory", own)
        own["POSTGRES_PASSWORD"] = self.database.server.password
        own["PGBOUNCER_PASSWORD"] = self.pooler.admin_password
        return Ansible(work, peer_collections(), self.place / "inventory", own)

    def close(self) -> None:
        """Stop the applications and the pooler."""
        self._stack.close()


class Scene:
    """One PostgreSQL, and both sides; a context manager."""

    def __init__(self, count: int) -> None:
        self._stack = ExitStack()
        self.run_dir = make_run_dir("keyturn-benchmark-")
        try:
            self.server = self._stack.enter_context(
                PostgresServer("16", run_dir=self.run_dir, max_connections=400, fsync=True)
            )
            self.sides = {kind: self._side(kind, count) for kind in ("keyturn", "peer")}
        except BaseException:
            self.close()
            raise

    def _side(self, kind: str, count: int) -> Side:
        side = Side(self.server, self.run_dir / kind, kind, count)
        self._stack.callback(side.close)
        return side

    def close(self) -> None:
        """Stop everything and remove its files."""
        self._stack.close()
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
