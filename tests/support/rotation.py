# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One credential with everything around it: an inventory, a database, a pooler, an application under load."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_step import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    chain_faults,
    tail_faults,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from estate.databases import Database
from estate.load import LoadClient, database_url, write_env_file
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible, PlaybookResult, RunningPlaybook
from keeping import CREDENTIAL, InFiles, Keeping

FORCE = {"keyturn_force": True}
PLUGINS = Path(__file__).with_name("plugins")
TELL_CLIENT = Path(__file__).parent / "programs" / "tell_client.py"
WATCHED = {"ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS), "ANSIBLE_CALLBACKS_ENABLED": "kill_at"}


@dataclass(frozen=True)
class Point:
    """A point of a run, as the plugin ``kill_at`` tells of it.

    :param number: how often a task of this name had been started; none for the first time that it gets there.
    :param changed: whether the task said so, at the moment after it.
    """

    task: str
    number: int | None
    moment: str
    changed: bool = False

    def __str__(self) -> str:
        return f"{self.moment} '{self.task}' ({self.number})"


@dataclass
class Estate:
    """A credential's estate.

    :param folder: keyring, ledger, env file and inventory go there.
    :param variables: more of the credential's variables.
    :param environ: more of the environment of each run.
    :param keeping: where keyring and ledger are kept, if not in files of the folder.
    :param logins: how many a second each worker of the application does that logs in anew.
    """

    folder: Path
    database: Database
    ansible: Ansible
    pooler: PgBouncer | None = None
    strategy: str = "alternate_roles"
    variables: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    keeping: Keeping | None = None
    logins: float = 5.0

    def __post_init__(self) -> None:
        self.prefix = self.database.name
        self.roles = [f"{self.prefix}_a", f"{self.prefix}_b"]
        self.env_file = self.folder / "app.env"
        self.first = ("", "")
        self.adoption: dict[str, Any] = {}
        self.keyring_path = self.folder / "keyring.json"
        self.ledger_path = self.folder / "ledger.jsonl"
        self.client = LoadClient(self.env_file, self.folder, held=4, new=2, login_rate=self.logins)
        self.database.execute("CREATE TABLE songs (id int)")
        self.database.execute(f'ALTER TABLE songs OWNER TO "{self.database.owner}"')
        self._secret_file("pg-admin", "postgres", self.database.server.password)
        if self.pooler:
            self._secret_file("pooler-admin", self.pooler.admin_user, self.pooler.admin_password)
        self._write_inventory()

    def _secret_file(self, name: str, user: str, password: str) -> None:
        path = self.folder / f"{name}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"username": user, "password": password}))

    @property
    def kept(self) -> Keeping:
        """Where keyring and ledger are."""
        return self.keeping or InFiles(self.keyring_path, self.ledger_path)

    @property
    def port(self) -> int:
        """Where the application connects."""
        return self.pooler.port if self.pooler else self.database.server.port

    def definition(self) -> dict[str, Any]:
        """The credential's host_vars."""
        issuer: dict[str, Any] = {"type": "postgres_role", "strategy": self.strategy}
        issuer["login"] = {
            "host": "127.0.0.1",
            "port": self.database.server.port,
            "dbname": self.database.name,
            "admin": f"ref+file://{self.folder}/pg-admin.json",
        }
        if self.strategy != "same_role":
            issuer["owner_role"] = self.database.owner
        if self.strategy == "alternate_roles":
            issuer["roles"] = self.roles
        elif self.strategy == "same_role":
            issuer["role"] = self.roles[0]
        else:
            issuer["role_template"] = self.prefix + "_{date}"
        url = "postgresql://{current.username}:{current.password|urlencode}"
        sink = {
            "name": "app",
            "ref": f"ref+file://{self.env_file}?format=env#/DATABASE_URL",
            "template": f"{url}@127.0.0.1:{self.port}/{self.database.name}",
        }
        reload = [sys.executable, "-I", "-S", str(TELL_CLIENT), str(self.client.status_path)]
        consumers: list[dict[str, Any]] = [
            {"name": "app", "type": "command", "argv": reload, "reads": ["app"]}
        ]
        if self.pooler:
            admin = f"ref+file://{self.folder}/pooler-admin.json"
            pooler = {
                "name": "pooler",
                "type": "pgbouncer",
                "admin": admin,
                "login": {"host": "127.0.0.1", "port": self.pooler.port},
            }
            if self.pooler.auth == "userlist":
                pooler["userlist"] = str(self.pooler.userlist_path)
            else:
                pooler["auth"] = "auth_query"
            consumers.insert(0, pooler)
        return {
            **{f"keyturn_{name}": place for name, place in self.kept.options().items()},
            "keyturn_policy": {"rotate": "age", "max_age": "180d", "grace": "0s"},
            "keyturn_issuer": issuer,
            "keyturn_sinks": [sink],
            "keyturn_consumers": consumers,
            "keyturn_probes": [
                {"type": "postgres", "port": self.port, "check": ["SELECT 1 FROM songs LIMIT 0"]}
            ],
            "keyturn_wait": "10s",
            "keyturn_interval": "1s",
            **self.variables,
        }

    def _write_inventory(self) -> None:
        hosts = {"postgres_roles": {"hosts": {CREDENTIAL: None}}}
        inventory = self.folder / "inventory"
        (inventory / "host_vars").mkdir(parents=True, exist_ok=True)
        (inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
        (inventory / "host_vars" / f"{CREDENTIAL}.yml").write_text(
            yaml.safe_dump(self.definition())
        )

    def hand_over(self, user: str, password: str) -> None:
        """Give the application what it uses today, and the operator a way to adopt it."""
        url = database_url(user, password, "127.0.0.1", self.port, self.database.name)
        write_env_file(self.env_file, url, "# the application", "LOG_LEVEL=info")
        path = self.folder / "in-use.password"
        path.touch(mode=0o600)
        path.write_text(password)
        self.first = (user, password)
        self.adoption = {"keyturn_adopt": {"username": user, "password": f"ref+file://{path}"}}

    def add_probe(self, probe: dict[str, Any]) -> None:
        """One more proof."""
        self.variables["keyturn_probes"] = [*self.definition()["keyturn_probes"], probe]
        self._write_inventory()

    def add_consumer(self, consumer: dict[str, Any]) -> None:
        """One more consumer."""
        self.variables["keyturn_consumers"] = [*self.definition()["keyturn_consumers"], consumer]
        self._write_inventory()

    def add_sink(self, sink: dict[str, Any]) -> None:
        """One more sink."""
        self.variables["keyturn_sinks"] = [*self.definition()["keyturn_sinks"], sink]
        self._write_inventory()

    def start(self, playbook: str, extra: Mapping[str, Any] | None = None) -> RunningPlaybook:
        """Start one of the collection's playbooks."""
        inventory = self.folder / "inventory"
        return self.ansible.start(
            f"keyturn.runbooks.{playbook}", inventory=inventory, extra_vars=extra
        )

    def run(
        self, playbook: str, *arguments: str, extra: Mapping[str, Any] | None = None, **env: str
    ) -> PlaybookResult:
        """Run one of the collection's playbooks over this credential."""
        return self.ansible.run(
            f"keyturn.runbooks.{playbook}",
            *arguments,
            inventory=self.folder / "inventory",
            extra_vars=extra,
            env={**self.kept.environ, **self.environ, **env},
        )

    def traced(
        self, playbook: str, extra: Mapping[str, Any] | None = None, returncode: int = 0
    ) -> list[Point]:
        """Run a playbook undisturbed; returns every point where it could have been killed, in order."""
        trace = self.folder / "trace"
        trace.unlink(missing_ok=True)
        self.run(playbook, extra=extra, **WATCHED, KEYTURN_TRACE=str(trace)).check(returncode)
        return [Point(*json.loads(line)) for line in trace.read_text().splitlines()]

    def killed(
        self,
        playbook: str,
        task: str,
        moment: str = "before",
        number: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> PlaybookResult:
        """The same, killed with SIGKILL at a point; see the plugin ``kill_at``."""
        return self.cut(playbook, Point(task, number, moment), extra).check(-9)

    def cut(
        self, playbook: str, point: Point, extra: Mapping[str, Any] | None = None, **env: str
    ) -> PlaybookResult:
        """The same; a run that does not pass the point comes to its end."""
        wanted = json.dumps([point.task, point.number, point.moment])
        return self.run(playbook, extra=extra, **WATCHED, **env, KEYTURN_KILL=wanted)

    def adopt(self, made: str | None = None) -> None:
        """What the adopt playbook leaves, without running it: the value in use is in the keyring.

        :param made: when it was made, where that is to be known (RFC 3339).
        """
        given = {**self.kept.options(), "credential": CREDENTIAL}
        proof = {"type": "postgres", "against": "a test", "at": "now", "detail": "handed over"}
        definition = self.definition()
        adoption = {
            "transition": "adopt",
            "issuer": definition["keyturn_issuer"],
            "generate": definition.get("keyturn_generate", {}),
            "value": self.adoption["keyturn_adopt"],
            "evidence": [proof],
            "made": made,
        }
        for step in (adoption, {"transition": "release"}):
            asked = ArgumentSpecValidator(dict(MODULE.argument_spec)).validate({**given, **step})
            assert not asked.error_messages
            context = Context(environ={**os.environ, **self.kept.environ})
            execute(MODULE, dict(asked.validated_parameters), context)

    def document(self) -> Document:
        """The keyring as it is kept now."""
        found = self.known()
        assert found, "there is no keyring"
        return found

    def known(self) -> Document | None:
        """The keyring, if there is one."""
        text = self.kept.text()
        return parse_document(text) if text is not None else None

    def accepts(self, stage: str) -> bool:
        """Whether a fresh login with a stage's value succeeds on the application's road."""
        found = self.document().stage(stage)
        assert found is not None
        password = found.secret("password")
        assert password is not None
        try:
            psycopg2.connect(
                host="127.0.0.1",
                port=self.port,
                dbname=self.database.name,
                user=found.text("username"),
                password=password.reveal(),
                connect_timeout=5,
            ).close()
        except psycopg2.OperationalError:
            return False
        return True

    def ledger_faults(self) -> list[str]:
        """What is wrong with the audit log."""
        lines = self.kept.lines(CREDENTIAL)
        return chain_faults(lines) + tail_faults(lines, self.document().ledger)

    def phases(self) -> list[str]:
        """The steps that the audit log tells of."""
        return [line["phase"] for line in self.kept.lines(CREDENTIAL)]

    def secrets_by_stage(self) -> list[tuple[str, str]]:
        """User and password of the value in use, and of the one before it."""
        found = [self.document().previous, self.document().current]
        return [
            (stage.text("username"), secret.reveal())
            for stage in found
            for secret in [stage.secret("password") if stage else None]
            if stage and secret
        ]

    def secrets(self) -> list[str]:
        """Every secret value of the keyring."""
        document = self.document()
        stages = [
            stage for stage in (document.pending, document.current, document.previous) if stage
        ]
        return [
            secret.reveal()
            for stage in stages
            for name in ("password",)
            for secret in [stage.secret(name)]
            if secret
        ]

    def snapshot(self) -> dict[str, str]:
        """All that a run could change: keyring, ledger, env file, userlist, roles."""
        files = [self.keyring_path, self.ledger_path, self.env_file]
        # Files are among the others.
        kept = {"versions": repr(self.kept.versions())} if self.kept.counts else {}
        if self.pooler and self.pooler.auth == "userlist":
            files.append(self.pooler.userlist_path)
        state = {str(path): path.read_text() if path.exists() else "absent" for path in files}
        rows = self.database.execute(
            "SELECT rolname, rolcanlogin, rolpassword FROM pg_authid ORDER BY 1"
        )
        settings = self.database.execute(
            "SELECT setrole::regrole::text, setconfig FROM pg_db_role_setting ORDER BY 1"
        )
        return {**state, **kept, "roles": repr(rows), "settings": repr(settings)}
