# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As an Ansible user expects: many credentials in one inventory, chosen, split, numbered, one failing, and from AWX."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    parse_document,
)
from estate.client import read_credential
from estate.databases import Database
from estate.load import write_env_file
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible, PlaybookResult
from estate.processes import wait_until
from estate.vault import VaultServer
from rotation import FORCE

pytestmark = pytest.mark.pg_versions("16")
NAMES = ("billing", "search", "shop", "wiki")
SHARING = ("shop", "wiki")
PLAYBOOKS = ("adopt", "rotate_db", "rollback", "retire_due", "abandon", "status")
AWX = {"AWX_HOST": "https://awx.example", "JOB_ID": "42"}
RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=\d+ +failed=(\d+)", re.MULTILINE)


@dataclass
class Team:
    """Several credentials on one server; two of them behind one pooler, with one env file.

    :param keyrings: reference to where the keyrings are, without the name.
    """

    folder: Path
    database: Database
    pooler: PgBouncer
    ansible: Ansible
    keyrings: str = ""

    def __post_init__(self) -> None:
        self.inventory = self.folder / "inventory"
        (self.inventory / "host_vars").mkdir(parents=True)
        self._admin("pg-admin", "postgres", self.database.server.password)
        self._admin("pooler-admin", self.pooler.admin_user, self.pooler.admin_password)
        self.database.execute("CREATE TABLE songs (id int)")
        self.database.execute(f'ALTER TABLE songs OWNER TO "{self.database.owner}"')
        write_env_file(self.env_file("shop"), "postgresql://nobody@nowhere/none")
        self.write()

    def _admin(self, name: str, user: str, password: str) -> None:
        path = self.folder / f"{name}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"username": user, "password": password}))

    def env_file(self, name: str) -> Path:
        """Where an application reads its URL."""
        return self.folder / ("both.env" if name in SHARING else f"{name}.env")

    def roles(self, name: str) -> list[str]:
        """The two roles that take turns."""
        return [f"{self.database.name}_{name}_{letter}" for letter in "ab"]

    def write(self, **reloads: list[str]) -> None:
        """Write the inventory.

        :param reloads: by name, the command that has an application read its env file again.
        """
        hosts = {"postgres_roles": {"hosts": {f"db_{name}": None for name in NAMES}}}
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
        for name in NAMES:
            variables = self._definition(name, reloads.get(name, ["true"]))
            path = self.inventory / "host_vars" / f"db_{name}.yml"
            path.write_text(yaml.safe_dump(variables))

    def _definition(self, name: str, reload: list[str]) -> dict[str, Any]:
        server, port = self.database.server, self.port(name)
        login = {"host": server.host, "port": server.port, "dbname": self.database.name}
        url = "postgresql://{current.username}:{current.password|urlencode}"
        key = "DATABASE_URL" if name not in SHARING else f"{name.upper()}_URL"
        sink = {
            "name": "app",
            "ref": f"ref+file://{self.env_file(name)}?format=env#/{key}",
            "template": f"{url}@127.0.0.1:{port}/{self.database.name}",
        }
        consumers: list[dict[str, Any]] = [
            {"name": "app", "type": "command", "argv": reload, "reads": ["app"]}
        ]
        if name in SHARING:
            pooler = {"name": "pooler", "type": "pgbouncer"}
            pooler["userlist"] = str(self.pooler.userlist_path)
            admin = f"ref+file://{self.folder}/pooler-admin.json"
            where = {"host": "127.0.0.1", "port": self.pooler.port}
            consumers.insert(0, {**pooler, "admin": admin, "login": where})
        found: dict[str, Any] = {
            "keyturn_keyring": f"{self.keyrings or f'ref+file://{self.folder}'}/{name}",
            "keyturn_policy": {"rotate": "age", "max_age": "180d", "grace": "0s"},
            "keyturn_issuer": {
                "type": "postgres_role",
                "strategy": "alternate_roles",
                "roles": self.roles(name),
                "owner_role": self.database.owner,
                "login": {**login, "admin": f"ref+file://{self.folder}/pg-admin.json"},
            },
            "keyturn_sinks": [sink],
            "keyturn_consumers": consumers,
            "keyturn_probes": [{"type": "postgres", "port": port}],
            "keyturn_wait": "10s",
        }
        if not self.keyrings:
            found["keyturn_ledger"] = f"ref+file://{self.folder}/ledger.jsonl"
        return found

    def port(self, name: str) -> int:
        """Where an application connects."""
        return self.pooler.port if name in SHARING else self.database.server.port

    def run(self, playbook: str, *arguments: str, **extra: Any) -> PlaybookResult:
        """Run one of the collection's playbooks over all credentials."""
        return self.ansible.run(
            f"keyturn.runbooks.{playbook}",
            *arguments,
            inventory=self.inventory,
            extra_vars=extra,
        )

    def document(self, name: str) -> Document | None:
        """A keyring, if there is one."""
        path = self.folder / name
        return parse_document(path.read_text()) if path.exists() else None

    def in_use(self) -> dict[str, str]:
        """For each credential that is in use and settled, its rotation."""
        found = {name: self.document(name) for name in NAMES}
        return {
            name: document.current.rotation_id
            for name, document in found.items()
            if document
            and document.current
            and document.current.status == "observed"
            and document.claim is None
        }

    def assert_applications_work(self, *names: str) -> None:
        """Each one's line is there and is accepted where it connects."""
        for name in names:
            text = self.env_file(name).read_text()
            line = text.partition(f"{name.upper()}_URL=" if name in SHARING else "DATABASE_URL=")[2]
            alone = self.folder / f"{name}.seen"
            alone.write_text("DATABASE_URL=" + line.splitlines()[0])
            url = read_credential(alone, 1)
            assert url.port == self.port(name) and url.username in self.roles(name)
            psycopg2.connect(
                host="127.0.0.1",
                port=url.port,
                dbname=self.database.name,
                user=url.username,
                password=url.password,
            ).close()


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


def recap(run: PlaybookResult) -> dict[str, tuple[int, int]]:
    """For each host, how many tasks changed something and how many failed."""
    return {
        host.removeprefix("db_"): (int(changed), int(failed))
        for host, changed, failed in RECAP.findall(run.stdout)
    }


def test_limit_and_forks_with_one_that_fails(team: Team) -> None:
    limited = team.run("rotate_db", "--limit", "db_shop").check()
    assert list(recap(limited)) == ["shop"]
    first = team.in_use()
    assert list(first) == ["shop"]
    team.write(search=["false"])
    failed = team.run("rotate_db", "--forks", "4").check(2)
    told = recap(failed)
    assert {name: told[name][1] for name in NAMES} == {
        "billing": 0,
        "search": 1,
        "shop": 0,
        "wiki": 0,
    }
    assert told["shop"][0] == 0, "it was rotated a second time"
    assert list(team.in_use()) == ["billing", "shop", "wiki"]
    assert team.in_use()["shop"] == first["shop"]
    assert len(re.findall(r"^fatal: \[db_search", failed.stdout, re.MULTILINE)) >= 1
    assert "fatal: [db_wiki" not in failed.stdout
    team.assert_applications_work("billing", "shop", "wiki")
    before = team.in_use()
    team.write()
    mended = team.run("rotate_db", "--forks", "4").check()
    assert {name: changed > 0 for name, (changed, _failed) in recap(mended).items()} == {
        "billing": False,
        "search": True,
        "shop": False,
        "wiki": False,
    }
    assert {name: team.in_use()[name] for name in before} == before
    both = team.run("rotate_db", "--forks", "4", **FORCE).check()
    assert all(changed for changed, _failed in recap(both).values())
    team.assert_applications_work(*NAMES)
    team.run("retire_due", "--forks", "4").check()
    team.assert_applications_work(*NAMES)


def test_serial_as_canary_and_in_batches(team: Team) -> None:
    team.write(billing=["false"])
    canary = team.run("rotate_db", keyturn_serial=[1, "100%"]).check(2)
    assert list(recap(canary)) == ["billing"]
    assert [name for name in NAMES if team.document(name)] == ["billing"]
    batches = team.run("rotate_db", keyturn_serial=2).check(2)
    assert batches.stdout.count("PLAY [Rotate database credentials]") == 2
    assert list(team.in_use()) == ["search", "shop", "wiki"]
    team.write()
    team.run("rotate_db", keyturn_serial="50%").check()
    assert list(team.in_use()) == list(NAMES)
    team.assert_applications_work(*NAMES)


def test_a_rotation_is_rolled_back_by_its_id(team: Team) -> None:
    team.run("rotate_db", "--forks", "4", "--limit", "db_shop,db_wiki").check()
    first = team.in_use()
    team.run("rotate_db", "--forks", "4", "--limit", "db_shop,db_wiki", **FORCE).check()
    second = team.in_use()
    wrong = team.run("rollback", "--limit", "db_shop", keyturn_rotation_id=first["wiki"])
    assert wrong.check(2).stdout.count(second["shop"]) > 0
    assert team.in_use() == second
    right = team.run("rollback", "--limit", "db_shop,db_wiki", keyturn_rotation_id=second["shop"])
    assert {name: failed for name, (_changed, failed) in recap(right).items()}["shop"] == 0
    assert team.in_use() == {"shop": first["shop"], "wiki": second["wiki"]}
    team.assert_applications_work("shop", "wiki")


def test_two_runs_at_once_one_wins_and_the_other_names_it(team: Team) -> None:
    gate, inside = team.folder / "gate", team.folder / "inside"
    os.mkfifo(gate)
    team.write(billing=["sh", "-c", f"echo $$ >> {inside}; read go < {gate}"])
    playbook, limit = "keyturn.runbooks.rotate_db", ("--limit", "db_billing")
    both = [team.ansible.start(playbook, *limit, inventory=team.inventory) for _run in range(2)]
    try:
        wait_until(inside.exists, 120, "one run to get to the application")
        wait_until(lambda: not all(run.running for run in both), 120, "the end of the other run")
        winner, loser = sorted(both, key=lambda run: not run.running)
        lost = loser.wait().check(2)
        assert winner.running
        claim = team.document("billing")
        assert claim and claim.claim and claim.claim.pid == winner.pid
        assert f"(process {winner.pid})" in lost.stdout
        assert f"run {claim.claim.run_id}" in lost.stdout
        assert "is working on it" in lost.stdout and "keyturn_take_over=true" in lost.stdout
    finally:
        gate.write_text("go\n")
    winner.wait().check()
    assert len(inside.read_text().splitlines()) == 1
    assert list(team.in_use()) == ["billing"]


@pytest.fixture
def project(scratch: Path) -> Iterator[Path]:
    """A checkout that nothing can be written to."""
    path = scratch / "runner" / "project"
    path.mkdir(parents=True)
    for name in PLAYBOOKS:
        imported = [{"import_playbook": f"keyturn.runbooks.{name}"}]
        (path / f"{name}.yml").write_text(yaml.safe_dump(imported))
    path.chmod(0o555)
    yield path
    path.chmod(0o755)


@dataclass
class Runner:
    """What starts the jobs of AWX: an execution environment, a token for Vault, a person's name.

    :ivar runs: all that was run.
    """

    team: Team
    ansible: Ansible
    project: Path
    vault: VaultServer
    mount: str

    def __post_init__(self) -> None:
        rights = '{ capabilities = ["create", "read", "update", "list"] }'
        self.token = self.vault.token(f'path "{self.mount}/*" {rights}')
        self.runs: list[PlaybookResult] = []

    def run(self, name: str, *arguments: str, **extra: Any) -> PlaybookResult:
        """Start a job of a template and wait for its end."""
        runner = self.project.parent
        done = self.ansible.run(
            str(self.project / f"{name}.yml"),
            *arguments,
            inventory=self.team.inventory,
            extra_vars={
                "awx_user_name": "kim",
                "awx_job_id": 42,
                "tower_user_name": "kim",
                **extra,
            },
            env={
                **AWX,
                "AWX_ISOLATED_DATA_DIR": "/runner/artifacts/42",
                "AWX_PRIVATE_DATA_DIR": str(runner),
                "HOME": str(runner),
                "VAULT_ADDR": self.vault.address,
                "VAULT_TOKEN": self.token,
            },
        )
        self.runs.append(done)
        return done.check()

    def keyring(self, name: str) -> dict[str, Any]:
        """A keyring as Vault keeps it."""
        path = f"{self.mount}/data/keyrings/{name}"
        found: dict[str, Any] = self.vault.request("GET", path)["data"]["data"]
        return found

    def assert_nothing_is_left(self) -> None:
        """Nothing was written beside Vault and the sinks, and the token is in no output."""
        assert self.token not in "".join(run.output for run in self.runs) + self.ansible.log()
        runner = self.project.parent
        left = [path.name for path in runner.iterdir() if path.name not in ("project", ".ansible")]
        assert left == []
        assert sorted(path.stem for path in self.project.iterdir()) == sorted(PLAYBOOKS)


def test_from_an_awx_job_template(
    team: Team, ansible_command: Ansible, project: Path, vault: VaultServer, vault_mount: str
) -> None:
    refused = ansible_command.run(
        str(project / "rotate_db.yml"),
        inventory=team.inventory,
        env=AWX,
    ).check(2)
    assert "would be lost" in refused.stdout
    team.keyrings = f"ref+vault://{vault_mount}/keyrings"
    team.write()
    awx = Runner(team, ansible_command, project, vault, vault_mount)
    done = awx.run("rotate_db", "--forks", "5")
    assert {name: failed for name, (_changed, failed) in recap(done).items()} == dict.fromkeys(
        NAMES, 0
    )
    team.assert_applications_work(*NAMES)
    assert awx.keyring("shop")["ledger"]["line"]["who"] == "kim"
    awx.assert_nothing_is_left()


def test_every_procedure_from_an_awx_job_template(
    team: Team, ansible: Ansible, project: Path, vault: VaultServer, vault_mount: str
) -> None:
    team.keyrings = f"ref+vault://{vault_mount}/keyrings"
    team.write()
    first, second = team.roles("billing")
    handed = {"username": first, "password": team.database.create_login(first)}
    vault.request("POST", f"{vault_mount}/data/handed", {"data": handed})
    awx = Runner(team, ansible, project, vault, vault_mount)

    def in_use(name: str, *arguments: str, **extra: Any) -> dict[str, str]:
        """Run it; who is in which stage afterwards."""
        awx.run(name, "--limit", "db_billing", *arguments, **extra)
        kept = awx.keyring("billing")
        assert kept["ledger"]["line"]["who"] == "kim" and not kept.get("claim")
        stages = {stage: kept["stages"].get(stage) for stage in ("pending", "current", "previous")}
        return {stage: body["fields"]["username"] for stage, body in stages.items() if body}

    password = f"ref+vault://{vault_mount}/handed#/password"
    given: dict[str, Any] = {"keyturn_adopt": {"username": first, "password": password}}
    given["keyturn_adopt_made"] = datetime.now(timezone.utc).isoformat()
    assert in_use("adopt", **given) == {"current": first}
    assert in_use("rotate_db", **FORCE) == {"current": second, "previous": first}
    assert in_use("rollback") == {"current": first, "previous": second}
    assert in_use("retire_due") == {"current": first}
    pending = {"current": first, "pending": second}
    assert in_use("rotate_db", "--tags", "stage,apply", **FORCE) == pending
    assert in_use("abandon") == {"current": first}
    team.assert_applications_work("billing")
    told = awx.run("status", "--limit", "db_billing", output="json")
    assert '"db_billing"' in told.stdout and '"fresh"' in told.stdout
    assert handed["password"] not in "".join(run.output for run in awx.runs)
    awx.assert_nothing_is_left()
