# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As an Ansible user expects: many credentials in one inventory, chosen, split, numbered, one failing, and from AWX."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate.databases import Database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible, PlaybookResult
from estate.processes import wait_until
from estate.vault import VaultServer
from rotation import FORCE
from team import NAMES, Team

pytestmark = pytest.mark.pg_versions("16")
PLAYBOOKS = ("adopt", "rotate_db", "rollback", "retire_due", "abandon", "status")
AWX = {"AWX_HOST": "https://awx.example", "JOB_ID": "42"}
RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=\d+ +failed=(\d+)", re.MULTILINE)


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
    assert in_use("rotate_db", "--skip-tags", "prove,promote,reload,observe", **FORCE) == pending
    assert in_use("rotate_db", "--tags", "stage,apply", **FORCE) == pending
    assert in_use("abandon") == {"current": first}
    team.assert_applications_work("billing")
    told = awx.run("status", "--limit", "db_billing", output="json")
    assert '"db_billing"' in told.stdout and '"fresh"' in told.stdout
    assert handed["password"] not in "".join(run.output for run in awx.runs)
    awx.assert_nothing_is_left()
