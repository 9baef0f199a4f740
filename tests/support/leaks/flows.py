# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One credential whose every run is watched, from its servers' logs to the programs that are started."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2.extensions
import yaml
from estate.databases import Database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible, PlaybookResult
from psycopg2 import sql
from rotation import Estate
from show.leaks import SHORTEST

from leaks.detectors import VERIFIER, Detector, Log, Printed
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


def made_for(estate: Estate) -> list[Path]:
    """The files that are there to hold secrets."""
    userlist = [estate.pooler.userlist_path] if estate.pooler else []
    return [estate.keyring_path, estate.env_file, *userlist, *estate.kept.holders()]


def of_servers(estate: Estate) -> list[Log]:
    """The detectors of what servers write down, and of the ledger."""
    server = estate.database.server.log_path
    found = [
        Log("PostgreSQL's log", [server], SENT_VERIFIERS, may_hold=(VERIFIER,)),
        Log("ledger", [estate.ledger_path]),
    ]
    if estate.kept.logs():
        found.append(Log("logs of the stores", estate.kept.logs()))
    if estate.pooler:
        log = estate.pooler.log_path
        found.append(Log("PgBouncer's log", [log], STORED, may_hold=(VERIFIER, POOLERS)))
    return found


def logs(detectors: Iterable[Log]) -> list[Path]:
    """The files that these look at."""
    return [path for detector in detectors for path in detector.paths]


def given(estate: Estate) -> dict[str, str]:
    """The secrets that were there before any run."""
    user, password = estate.first
    found = {
        f"password of {user} before": password,
        "password of the server's administrator": estate.database.server.password,
    }
    if verifier := estate.database.verifier(user):
        found[f"{VERIFIER}{user} before"] = verifier
    if estate.pooler:
        found[f"{POOLERS}'s administrator"] = estate.pooler.admin_password
        found[f"{POOLERS} itself"] = estate.pooler.auth_user_password
    return found


def held(estate: Estate) -> dict[str, str]:
    """The secrets that the keyring holds now."""
    return secrets_in((estate.kept.text() or "").encode())


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
    _learnt_to: int = 0
    _made: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        folder: Path,
        database: Database,
        ansible: Ansible,
        pooler: PgBouncer,
        tracer: Tracer,
        first: tuple[str, str],
        kind: type[Estate] = Estate,
        **options: Any,
    ) -> Course:
        """An estate that is not adopted yet; what its application is told succeeds.

        :param first: the user and the password in use.
        :param kind: what the estate is to be.
        :param options: of the estate.
        """
        estate = kind(folder, database, ansible, pooler, **options)
        consumers = [
            item for item in estate.definition()["keyturn_consumers"] if item["type"] == "pgbouncer"
        ]
        redefine(estate, keyturn_consumers=[*consumers, TOLD])
        estate.hand_over(*first)
        made = cls(estate, Watch([], dict))
        made._learnt_to = tracer.mark()
        made.watch.learn = lambda: made.secrets(tracer)
        made.watch.detectors = made.detectors(tracer)
        return made

    def detectors(self, tracer: Tracer) -> list[Detector]:
        """All of them."""
        estate = self.estate
        found = of_servers(estate)
        places: list[Detector] = [*found]
        if estate.kept.counts:
            places = [place for place in found if place.name != "ledger"]
            places.append(Printed("ledger", lambda: estate.kept.ledger_text().encode()))
        return [
            *of_ansible(estate.ansible, tracer, estate.folder, made_for(estate), logs(found)),
            *places,
        ]

    def secrets(self, tracer: Tracer) -> dict[str, str]:
        """What was given, and every value that any version of the keyring held."""
        begun, self._learnt_to = self._learnt_to, tracer.mark()
        self._made.update(keyrings_written(tracer, begun, self.estate.keyring_path))
        return {
            **given(self.estate),
            **self.known,
            **self.learn(),
            **self._made,
            **held(self.estate),
        }

    def run(
        self,
        flow: str,
        playbook: str,
        *arguments: str,
        extra: Mapping[str, Any] | None = None,
        code: int | None = 0,
        **env: str,
    ) -> PlaybookResult:
        """Run a playbook as loudly as it can be, under watch.

        :param code: how it has to end; none where a process of it was killed, and any failure will do.
        """
        with self.watch.over(f"{self.name}: {flow}"):
            done = self.estate.run(
                playbook, "-vvvv", "--diff", *arguments, extra=extra, **{**self.env, **env}
            )
            self.watch.killed(code in (-9, None))
        if code is None and done.returncode:
            return done
        return done.check(-9 if code is None else code)

    def killed(
        self, flow: str, playbook: str, task: str, moment: str = "before", **options: Any
    ) -> None:
        """The same, killed with SIGKILL at a point; see the plugin ``kill_at``."""
        self.run(flow, playbook, code=-9, KEYTURN_KILL=json.dumps([task, None, moment]), **options)


def another_host(estate: Estate) -> str:
    """A host beside the controller, whose Python is its own: modules are programs there. Returns its name."""
    python = estate.folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    host = {"ansible_connection": "local", "ansible_python_interpreter": str(python)}
    there = {"all": {"hosts": {"there": host}}}
    (estate.folder / "inventory" / "there.yml").write_text(yaml.safe_dump(there))
    return "there"


def move(estate: Estate) -> None:
    """Have the application, and the file that it reads, on another host."""
    host, definition = another_host(estate), estate.definition()
    *poolers, app = definition["keyturn_consumers"]
    sinks = [{**sink, "host": host} for sink in definition["keyturn_sinks"]]
    consumers = [*poolers, {**app, "host": host}]
    redefine(estate, keyturn_sinks=sinks, keyturn_consumers=consumers)


def redefine(estate: Estate, **variables: Any) -> None:
    """Change the credential's host_vars."""
    estate.variables.update(variables)
    probes = estate.definition()["keyturn_probes"]
    estate.variables["keyturn_probes"] = probes[:-1]
    estate.add_probe(probes[-1])
