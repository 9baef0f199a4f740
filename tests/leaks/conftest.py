# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the search for leaks, and its table at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from estate.databases import Database
from estate.kubernetes import KubernetesServer
from estate.moto import MotoServer
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible
from estate.vault import VaultServer
from everywhere import Everywhere, everywhere
from keeping import InVault
from leaks.flows import Course, awkward_password
from leaks.page import page, planted, searched
from leaks.trace import Tracer, strace
from leaks.traced import TracedCommand, TracedServers
from leaks.watch import Watch, prepare
from machines import required
from warm import WarmAnsible

ROWS, DEFECT = "leaks", "planted"


@pytest.fixture(scope="session")
def tracer(run_dir: Path) -> Tracer:
    """strace; its files are the session's."""
    with required():
        program = strace()
    folder = run_dir / "traced"
    folder.mkdir(mode=0o700)
    return Tracer(folder, program)


@pytest.fixture(scope="session")
def traced_servers(run_dir: Path, collections: Path, tracer: Tracer) -> Iterator[TracedServers]:
    """What traced runs are forked from."""
    place = run_dir / "traced-warm"
    place.mkdir(mode=0o700)
    made = TracedServers(place, collections, tracer=tracer)
    yield made
    made.close()


@pytest.fixture
def traced(scratch: Path, collections: Path, traced_servers: TracedServers) -> Ansible:
    """Runs playbooks that strace follows, with every callback that writes something."""
    place = scratch / "ansible"
    place.mkdir(mode=0o700)
    made = WarmAnsible(place, collections, servers=traced_servers)
    prepare(made)
    return made


@pytest.fixture
def traced_command(scratch: Path, collections: Path, tracer: Tracer) -> Ansible:
    """The same with the command that a person types."""
    place = scratch / "ansible-command"
    place.mkdir(mode=0o700)
    made = TracedCommand(place, collections, tracer=tracer)
    prepare(made)
    return made


Maker = Callable[..., Course]


@pytest.fixture
def course(
    request: pytest.FixtureRequest,
    scratch: Path,
    database: Database,
    tracer: Tracer,
    pgbouncer_factory: Callable[..., PgBouncer],
) -> Maker:
    """Makes a credential behind PgBouncer whose every run is watched."""

    def maker(auth: str = "userlist", how: str = "traced", **options: Any) -> Course:
        first = f"{database.name}_a"
        database.create_login(first)
        password = awkward_password(database, first)
        users = {first: database.verifier(first) or ""} if auth == "userlist" else {}
        pooler = pgbouncer_factory(
            database.server, auth=auth, database=database.name, users=users, verbose=2
        )
        ansible = request.getfixturevalue(how)
        return Course.begin(
            scratch, database, ansible, pooler, tracer, (first, password), **options
        )

    return maker


@pytest.fixture
def kept(
    vault: VaultServer,
    vault_mount: str,
    moto: MotoServer,
    kubernetes_server: KubernetesServer,
    scratch: Path,
) -> Iterator[Everywhere]:
    """Where a keyring and the sinks of every kind are; Vault writes down who asked for what."""
    audited = InVault(vault, vault_mount)
    # All that a test writes is kept, so that nothing of it goes unsearched.
    vault.request("POST", f"{vault_mount}/config", {"max_versions": 200})
    log = vault.run_dir / f"audit-{vault_mount}.log"
    device = {"type": "file", "options": {"file_path": str(log)}}
    vault.request("PUT", f"sys/audit/{vault_mount}", device)
    with everywhere(audited, moto, kubernetes_server, scratch / "everywhere") as made:
        made.audit = log
        yield made
    vault.request("DELETE", f"sys/audit/{vault_mount}")


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Callable[[Watch], None]:
    """Puts what was searched into the table; fails on the first hit."""

    def told(watch: Watch) -> None:
        record_property(ROWS, json.dumps(watch.told()))
        assert watch.hits() == []

    return told


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the tables; write them as the page that KEYTURN_PAGE names."""
    properties = [
        item
        for outcome in ("passed", "failed")
        for told in terminalreporter.getreports(outcome)
        for item in told.user_properties
    ]
    rows = [row for name, text in properties if name == ROWS for row in json.loads(text)]
    defects = [json.loads(text) for name, text in properties if name == DEFECT]
    for title, lines in (("searched, kB", searched(rows)), ("planted", planted(defects))):
        if rows or defects:
            terminalreporter.write_sep("-", title)
            terminalreporter.write_line("\n".join(lines))
    wanted = os.environ.get("KEYTURN_PAGE")
    if wanted and rows:
        Path(wanted).write_text(page(rows, defects), encoding="utf-8")
