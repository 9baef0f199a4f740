# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One credential whose every run is watched, from its servers' logs to the programs that are started."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2.extensions
from estate.databases import Database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible, PlaybookResult
from psycopg2 import sql
from rotation import Estate
from show.leaks import SHORTEST

from leaks.detectors import VERIFIER, Detector, Log
from leaks.trace import Tracer
from leaks.watch import Watch, keyrings_written, of_ansible, secrets_in

TOLD = {"name": "app", "type": "command", "argv": ["true"], "reads": ["app"]}
POOLERS = "password of the pooler"
# A statement that sets a verifier, and what PgBouncer's debug messages say of its own userlist or auth_query.
SENT_VERIFIERS = rb"PASSWORD 'SCRAM-SHA-256\$[^']*'"
STORED = rb'stored secret = "[^"]*"'
# What any quoting has to change.
AWKWARD = "/+ \"'%é\\<&>x"


def awkward_password(database: Database, role: str) -> str:
    """Give a role a password that every form writes differently; its clear text is in no log."""
    password = secrets.token_urlsafe(SHORTEST * 2) + AWKWARD
    connection = database.connect()
    try:
        verifier = psycopg2.extensions.encrypt_password(password, role, connection, "scram-sha-256")
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
        with connection.cursor() as cursor:
            cursor.execute(statement.format(sql.Identifier(role), sql.Literal(verifier)))
    finally:
        connection.close()
    return password


@dataclass
class Course:
    """A credential and what watches its runs.

    :param name: what the table calls its flows.
    :ivar known: further secrets, by name; ``learn`` gives those that are kept elsewhere.
    """

    estate: Estate
    watch: Watch
    name: str = ""
    env: dict[str, str] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    learn: Callable[[], Mapping[str, str]] = dict
    _begun: int = 0

    @classmethod
    def begin(
        cls,
        folder: Path,
        database: Database,
        ansible: Ansible,
        pooler: PgBouncer,
        tracer: Tracer,
        first: tuple[str, str],
        **options: Any,
    ) -> Course:
        """An estate that is not adopted yet; what its application is told succeeds.

        :param first: the user and the password in use.
        :param options: of the estate.
        """
        estate = Estate(folder, database, ansible, pooler, **options)
        consumers = [
            item for item in estate.definition()["keyturn_consumers"] if item["type"] == "pgbouncer"
        ]
        redefine(estate, keyturn_consumers=[*consumers, TOLD])
        estate.hand_over(*first)
        made = cls(estate, Watch([], dict))
        made._begun = tracer.mark()
        made.watch.learn = lambda: made.secrets(tracer)
        made.watch.detectors = made.detectors(tracer)
        return made

    def detectors(self, tracer: Tracer) -> list[Detector]:
        """All of them."""
        estate = self.estate
        made_for = [estate.keyring_path, estate.env_file]
        server = estate.database.server.log_path
        found = [
            Log("PostgreSQL's log", [server], SENT_VERIFIERS, may_hold=(VERIFIER,)),
            Log("ledger", [estate.ledger_path]),
        ]
        if estate.pooler:
            made_for.append(estate.pooler.userlist_path)
            log = estate.pooler.log_path
            found.append(Log("PgBouncer's log", [log], STORED, may_hold=(VERIFIER, POOLERS)))
        return [*of_ansible(estate.ansible, tracer, estate.folder, made_for), *found]

    def secrets(self, tracer: Tracer) -> dict[str, str]:
        """What was given, and every value that any version of the keyring held."""
        estate = self.estate
        user, password = estate.first
        given = {
            f"password of {user} before": password,
            "password of the server's administrator": estate.database.server.password,
        }
        verifier = estate.database.verifier(user)
        if verifier:
            given[f"{VERIFIER}{user} before"] = verifier
        if estate.pooler:
            given[f"{POOLERS}'s administrator"] = estate.pooler.admin_password
            given[f"{POOLERS} itself"] = estate.pooler.auth_user_password
        held = estate.keyring_path.read_bytes() if estate.keyring_path.exists() else b""
        made = keyrings_written(tracer, self._begun, estate.keyring_path)
        return {**given, **self.known, **self.learn(), **made, **secrets_in(held)}

    def run(
        self,
        flow: str,
        playbook: str,
        *arguments: str,
        extra: Mapping[str, Any] | None = None,
        code: int = 0,
        **env: str,
    ) -> PlaybookResult:
        """Run a playbook as loudly as it can be, under watch."""
        with self.watch.over(f"{self.name}: {flow}"):
            done = self.estate.run(
                playbook, "-vvvv", "--diff", *arguments, extra=extra, **{**self.env, **env}
            )
        return done.check(code)

    def killed(
        self, flow: str, playbook: str, task: str, moment: str = "before", **options: Any
    ) -> None:
        """The same, killed with SIGKILL at a point; see the plugin ``kill_at``."""
        self.run(flow, playbook, code=-9, KEYTURN_KILL=json.dumps([task, None, moment]), **options)


def redefine(estate: Estate, **variables: Any) -> None:
    """Change the credential's host_vars."""
    estate.variables.update(variables)
    probes = estate.definition()["keyturn_probes"]
    estate.variables["keyturn_probes"] = probes[:-1]
    estate.add_probe(probes[-1])
