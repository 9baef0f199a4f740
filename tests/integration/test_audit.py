# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook ``audit``: each kind of finding once, in one look at an estate that is kept in Parameter Store and in files."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._ssm import pack
from aws_world import AwsWorld
from estate.moto import MotoServer
from estate.playbook import Ansible, PlaybookResult

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)
MAX = 180


class Team:
    """Credentials of a team, each in a state of its own."""

    def __init__(self, folder: Path, aws: AwsWorld, ansible: Ansible) -> None:
        self.folder, self.aws, self.ansible = folder, aws, ansible
        self.values: list[str] = []
        self.hosts: dict[str, dict[str, Any]] = {}

    def stage(self, status: str, age: float = 10) -> Stage:
        self.values.append(secrets.token_urlsafe(24))
        made = NOW - age * DAY
        return Stage(f"r{len(self.values)}", status, {"value": Secret(self.values[-1])}, made=made)

    def define(self, name: str, **variables: Any) -> None:
        where = f"ref+awsssm:/{self.aws.name('production')}/{name.upper()}"
        self.hosts[name] = {
            "keyturn_keyring": f"ref+awsssm:/{self.aws.name('keyrings')}/{{{{ inventory_hostname }}}}",
            "keyturn_issuer": {"type": "generated", "overlap": True},
            "keyturn_policy": {"rotate": "age", "max_age": f"{MAX}d"},
            "keyturn_sinks": [{"name": "app", "ref": where, "template": "{current.value}"}],
            **variables,
        }

    def add(self, name: str, age: float = 10, **stages: Stage) -> str:
        """One with a keyring and its value in place; returns the value."""
        self.define(name)
        current = self.stage("observed", age)
        document = Document(name, secrets.token_bytes(32), current=current, **stages)
        given: dict[str, Any] = {
            name: document.with_fingerprints(stage) for name, stage in document.stages.items()
        }
        text = dump_text(replace(document, **given))
        packed = pack(text, secrets.token_hex(8))
        self.aws.put(f"keyrings/{name}/0000000007", packed)
        held = current.fields["value"]
        assert isinstance(held, Secret)
        self.aws.put(f"production/{name.upper()}", held.reveal())
        return held.reveal()

    def run(self, *arguments: str, **extra: Any) -> PlaybookResult:
        groups = {"all": {"children": {"credentials": {"hosts": self.hosts}}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(groups))
        prefix = f"ref+awsssm:/{self.aws.name('production')}/"
        given = {"keyturn_audit_prefixes": [prefix], "output_file": str(self.report_file), **extra}
        return self.ansible.run(
            "keyturn.runbooks.audit",
            *arguments,
            inventory=self.folder / "hosts.yml",
            extra_vars=given,
            env=self.aws.environ,
        )

    @property
    def report_file(self) -> Path:
        return self.folder / "audit.json"

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.report_file.read_text())
        return found

    def everything(self) -> dict[str, Any]:
        pages = self.aws.api.get_paginator("get_parameters_by_path").paginate(
            Path=f"/{self.aws.prefix}", Recursive=True, WithDecryption=True
        )
        return {i["Name"]: (i["Value"], i["Version"]) for page in pages for i in page["Parameters"]}


@pytest.fixture
def team(scratch: Path, moto: MotoServer, ansible: Ansible) -> Team:
    return Team(scratch, AwsWorld(moto), ansible)


def estate(team: Team) -> str:
    """Each kind of finding once; returns the value that somebody wrote by hand."""
    team.add("fresh")
    for number in range(10):
        # Many in one folder: it is read as a whole.
        team.add(f"more{number}")
    team.add("soon", MAX - 15)
    team.add("noticed", MAX - 25)
    team.add("due", MAX + 1)
    team.add("overdue", 2 * MAX)
    team.define("never")
    team.add("left", pending=team.stage("applied", 1))
    team.add("waits", pending=replace(team.stage("intended", 1), fields={}))
    handed = {"value": f"ref+file://{team.folder}/handed"}
    by_hand = {"type": "operator", "overlap": True, "make": "there", "end": "there"}
    team.hosts["waits"]["keyturn_issuer"] = {**by_hand, "values": handed}
    team.define("broken", keyturn_keyring="ref+moon://keyrings/broken")
    team.define("undefined", keyturn_owner="{{ not_set_anywhere }}")
    team.add("gone")
    team.aws.api.delete_parameter(Name=team.aws.name("production/GONE"))
    team.add("changed")
    by_somebody = secrets.token_urlsafe(24)
    team.aws.put("production/CHANGED", by_somebody)
    team.aws.put("production/OLD_TOKEN", by_somebody)
    team.aws.put("production/POOLER", by_somebody)
    admin = f"ref+awsssm:/{team.aws.name('production/POOLER')}"
    team.hosts["fresh"]["keyturn_consumers"] = [{"type": "pgbouncer", "host": "x", "admin": admin}]
    team.aws.put("production/FEATURE_X", "on", Type="String")
    return by_somebody


CLASSES = {
    "overdue": ["overdue"],
    "broken": ["unreadable"],
    "undefined": ["unreadable"],
    "due": ["due"],
    "never": ["never_rotated"],
    "soon": ["soon"],
    "noticed": ["soon"],
    "left": ["left"],
    "waits": ["left", "waiting"],
    "changed": ["changed"],
    "gone": ["gone"],
}


def test_each_finding_once_and_an_end_for_a_scheduler(team: Team) -> None:
    by_somebody = estate(team)
    before = team.everything()
    expected = {"keyturn_audit_expected": [team.aws.name("production/FEATURE_*")]}
    notice = {"keyturn_audit_notice": "30d"}
    told = team.run(**expected, **notice).check(2)
    report = team.report()
    found = {name: entry["classes"] for name, entry in report["credentials"].items()}
    assert {name: kinds for name, kinds in found.items() if kinds} == CLASSES
    assert next(iter(found)) == "overdue"
    assert [item["name"] for item in report["unknown"]] == [team.aws.name("production/OLD_TOKEN")]
    changed = report["credentials"]["changed"]["places"][0]
    assert changed["state"] == "changed" and changed["by"] and changed["modified"]
    assert report["summary"]["credentials"] == 22
    for sentence in (
        "changed is changed",
        "gone is gone",
        "OLD_TOKEN is unknown",
        "overdue is overdue",
    ):
        assert sentence in told.stdout
    assert "due is due" not in told.stdout and "11 more: nothing to do" in told.stdout
    _ends_as_it_is_told(team, expected)
    # Only the report was written, and no value is told anywhere.
    assert team.everything() == before
    for value in (*team.values, by_somebody, team.aws.environ["AWS_SECRET_ACCESS_KEY"]):
        assert value not in told.output + team.report_file.read_text()


def _ends_as_it_is_told(team: Team, expected: dict[str, Any]) -> None:
    """The exit status by what is to be failed for; check mode; a part of the estate."""
    team.report_file.unlink()
    limited = team.run(
        "--check", "--limit", "fresh,soon", **expected, keyturn_audit_fail_on="overdue"
    )
    limited.check()
    assert not team.report_file.exists()
    # Who is left out claims what is theirs.
    assert "2 credentials: 1 soon, 1 fresh, 1 unknown" in limited.stdout
    team.run("--limit", "fresh", keyturn_audit_fail_on="unknown").check(2)
    assert [item["name"].rpartition("/")[2] for item in team.report()["unknown"]] == [
        "FEATURE_X",
        "OLD_TOKEN",
    ]
    (team.folder / "none.yml").write_text("all: {}")
    nobody = team.ansible.run("keyturn.runbooks.audit", inventory=team.folder / "none.yml")
    assert "nothing was audited" in nobody.check(2).stdout
    refused = team.run(keyturn_audit_fail_on="due,odd").check(2)
    assert "'odd' is unknown; expected nothing alone" in refused.output
