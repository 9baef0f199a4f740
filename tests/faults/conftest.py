# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A credential that is disturbed, and the credentials of a team."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import told
from course import Course
from estate.databases import Database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible
from everywhere import Everywhere, everywhere, publish_everywhere
from fault_page import summary
from keeping import InVault, Keeping
from rotation import Estate
from team import Team

Maker = Callable[..., Course]
ROW = "faults"


@pytest.fixture
def course(
    scratch: Path,
    database: Database,
    ansible: Ansible,
    pgbouncer_factory: Callable[..., PgBouncer],
    record_property: Callable[[str, object], None],
    request: pytest.FixtureRequest,
) -> Iterator[Maker]:
    """Makes an adopted credential whose application runs, behind PgBouncer and with a keyring in a file unless told otherwise."""
    ending = ExitStack()

    def tell(row: dict[str, Any]) -> None:
        record_property(ROW, json.dumps(row))

    def in_vault() -> InVault:
        mount: str = request.getfixturevalue("vault_mount")
        return InVault(request.getfixturevalue("vault"), mount)

    def with_all_sinks() -> Everywhere:
        servers = [request.getfixturevalue(name) for name in ("moto", "kubernetes_server")]
        opened = everywhere(in_vault(), *servers, scratch / "everywhere")
        return ending.enter_context(opened)

    kinds: dict[str, Callable[[], Keeping | None]] = {
        "files": lambda: None,
        "Vault": in_vault,
        "all sinks": with_all_sinks,
    }

    def maker(strategy: str, auth: str | None = "userlist", keeping: str = "files") -> Course:
        first = f"{database.name}_a"
        password = database.create_login(first)
        # A line in the file would be asked before the query.
        users = {first: database.verifier(first) or ""} if auth == "userlist" else {}
        pooler = (
            pgbouncer_factory(
                database.server,
                auth=auth,
                database=database.name,
                users=users,
                # By default it turns everybody away for 15 s after a server could not be reached once.
                server_login_retry=1,
            )
            if auth
            else None
        )
        kept = kinds[keeping]()
        # A login is what costs most of all that the application does; what a fault leaves behind stays longer than half a second.
        estate = Estate(
            scratch, database, ansible, pooler, strategy=strategy, keeping=kept, logins=2.0
        )
        estate.hand_over(first, password)
        estate.adopt()
        if isinstance(kept, Everywhere):
            publish_everywhere(estate, kept)
        estate.client.start()
        ending.callback(estate.client.stop)
        return Course(estate, estate.client, tell=tell)

    with ending:
        yield maker


@pytest.fixture
def team(
    scratch: Path,
    database: Database,
    ansible: Ansible,
    pgbouncer_factory: Callable[..., PgBouncer],
) -> Team:
    """The credentials of a team; none was ever rotated, and no role is there."""
    pooler = pgbouncer_factory(database.server, auth="userlist", database=database.name, users={})
    return Team(scratch, database, pooler, ansible)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the matrix, and what tests told."""
    told.pytest_terminal_summary(terminalreporter)
    rows = [
        json.loads(text)
        for report in terminalreporter.getreports("passed")
        for name, text in report.user_properties
        if name == ROW
    ]
    if rows:
        terminalreporter.write_sep("-", "faults: power cuts and lost answers")
        terminalreporter.write_line("\n".join(summary(rows)))
