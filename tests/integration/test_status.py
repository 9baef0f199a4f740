# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook ``status``: one table of everything, whatever is broken, and the same for programs."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Claim,
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._process import describe_process
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.databases import Database
from estate.playbook import Ansible, PlaybookResult
from rotation import CREDENTIAL, Estate

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)
POLICY = {"rotate": "age", "max_age": "180d"}
QUIET = {"ANSIBLE_STDOUT_CALLBACK": "keyturn.runbooks.quiet"}


class Credentials:
    """An inventory of credentials with keyrings in files, each in a state of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hosts: dict[str, dict[str, Any]] = {}
        self.values: list[str] = []

    def add(self, name: str, **variables: Any) -> None:
        reference = f"ref+file://{self.folder}/{name}.json"
        self.hosts[name] = {
            "keyturn_keyring": reference,
            "keyturn_policy": POLICY,
            "keyturn_owner": "platform",
            **variables,
        }

    def stage(self, role: str, status: str = "observed", age: timedelta = DAY) -> Stage:
        self.values.append(secrets.token_urlsafe(20))
        fields = {"username": role, "password": Secret(self.values[-1])}
        return Stage(f"r_{role}", status, fields, made=NOW - age)

    def keep(self, name: str, **parts: Any) -> None:
        """Write its keyring."""
        self.add(name)
        document = Document(name, secrets.token_bytes(32), **parts)
        filled: dict[str, Any] = {
            key: document.with_fingerprints(stage)
            for key in ("pending", "current")
            for stage in [document.stage(key)]
            if stage
        }
        path = self.folder / f"{name}.json"
        path.touch(0o600)
        path.write_text(dump_text(replace(document, **filled)))

    def inventory(self, **others: Any) -> Path:
        groups: dict[str, Any] = {"credentials": {"hosts": self.hosts}}
        groups["machines"] = {"hosts": others}
        path = self.folder / "hosts.yml"
        path.write_text(yaml.safe_dump({"all": {"children": groups}}))
        return path


def ended_process() -> dict[str, Any]:
    """How a run signs itself whose process is gone."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = describe_process(process.pid)
        process.kill()
    return found


def add_the_broken(credentials: Credentials) -> dict[str, Any]:
    """One of each kind that cannot be read; what machines there are."""
    credentials.add("db_absent")
    credentials.add("db_nokeyring")
    del credentials.hosts["db_nokeyring"]["keyturn_keyring"]
    credentials.add("db_badref", keyturn_keyring="ref+moon://secret/keyrings/db")
    credentials.add("db_undefined", keyturn_keyring="ref+file://{{ not_set_anywhere }}/k.json")
    credentials.add("db_badpolicy", keyturn_policy="180d")
    credentials.add("db_folder", keyturn_keyring=f"ref+file://{credentials.folder}")
    store = "ref+vault://secret/keyrings/db?address=http://127.0.0.1:9"
    credentials.add("db_nostore", keyturn_keyring=store)
    credentials.add("db_nobastion", keyturn_control_host="bastion")
    return {
        "bastion": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    }


def add_the_old(credentials: Credentials) -> None:
    """One that is overdue, and one whose rotation was killed."""
    old = credentials.stage("old_a", age=300 * DAY)
    credentials.keep("db_overdue", current=old)
    run = Claim(**ended_process(), renewed=NOW - DAY / 24, expires=NOW + DAY)
    pending = credentials.stage("dead_b", "applied")
    credentials.keep("db_dead", current=credentials.stage("dead_a"), pending=pending, claim=run)


def rows(done: PlaybookResult) -> dict[str, str]:
    """The table's rows by credential, in order."""
    lines = iter(done.stdout.splitlines())
    next(line for line in lines if line.startswith("CREDENTIAL "))
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if not line:
            break
        if not line.startswith(" "):
            name = line.split()[0]
        found[name] = f"{found.get(name, '')} {' '.join(line.split())}"
    return found


UNREADABLE = {
    "db_nokeyring": "keyturn_keyring: missing",
    "db_badref": "moon",
    "db_undefined": "not_set_anywhere",
    "db_badpolicy": "policy",
    "db_folder": "is no regular file",
    "db_nostore": "no connection to http://127.0.0.1:9",
    "db_nobastion": "cannot be reached",
}


@pytest.mark.pg_versions("16")
def test_one_table_of_everything_whatever_is_broken(
    scratch: Path, database: Database, ansible: Ansible
) -> None:
    estate = Estate(scratch, database, ansible)
    first = f"{database.name}_a"
    estate.hand_over(first, database.create_login(first))
    estate.run("adopt", extra=estate.adoption).check()
    credentials = Credentials(scratch)
    credentials.add(CREDENTIAL, **estate.definition())
    machines = add_the_broken(credentials)
    add_the_old(credentials)
    inventory = credentials.inventory(**machines)
    before = estate.snapshot()
    done = ansible.run(
        "keyturn.runbooks.status",
        inventory=inventory,
        extra_vars={"keyturn_serial": 5},
        env={"VAULT_TOKEN": "none", "VAULT_CLIENT_TIMEOUT": "1", "COLUMNS": "100"},
    ).check(2)
    assert estate.snapshot() == before
    told = done.output.partition("fatal: ")[2]
    assert all(f"{name} is unreadable: " in told for name in UNREADABLE)
    assert "db_overdue is " not in told
    assert done.stdout.count("CREDENTIAL ") == 1 and "changed=1" not in done.stdout
    found = rows(done)
    assert set(found) == set(credentials.hosts)
    order = list(found)
    assert order[0] == "db_overdue" and set(order[1:8]) == set(UNREADABLE)
    assert "overdue 120d 300d current old_a observed" in found["db_overdue"]
    assert "never rotated - no keyring yet: rotate or adopt it" in found["db_absent"]
    assert "is dead: run the same playbook again" in found["db_dead"]
    # An adopted value's age is known to nobody.
    assert f"age unknown - current {first} observed" in found[CREDENTIAL]
    for name, words in UNREADABLE.items():
        assert " unreadable " in found[name] and words in found[name], found[name]
    for value in (*credentials.values, *estate.secrets()):
        assert value not in done.output


def test_programs_get_one_document_and_audits_an_exit_code(scratch: Path, ansible: Ansible) -> None:
    credentials = Credentials(scratch)
    add_the_old(credentials)
    credentials.add("db_absent")
    credentials.keep("db_fresh", current=credentials.stage("app_a"))
    file = scratch / "status.json"
    asked = {"output": "json", "output_file": str(file), "keyturn_fail_on": "overdue"}
    inventory = credentials.inventory()
    done = ansible.run(
        "keyturn.runbooks.status", inventory=inventory, extra_vars=asked, env=QUIET
    ).check(2)
    report = json.loads(done.stdout)
    assert json.loads(file.read_text()) == report and file.stat().st_mode & 0o777 == 0o600
    assert report["summary"] == {
        "credentials": 4,
        "states": {"overdue": 1, "never_rotated": 1, "fresh": 2},
    }
    dead = report["credentials"]["db_dead"]
    assert dead["keyring"]["claim"]["alive"] is False and dead["owner"] == "platform"
    assert {gate["name"] for gate in dead["gates"]["rollback"] if not gate["passed"]} == {"target"}
    # Ansible says the rest on standard error.
    assert "db_overdue is overdue: 300d" in done.stderr
    assert "db_absent is" not in done.stderr
    for value in credentials.values:
        assert value not in done.output + file.read_text()


def test_what_could_not_be_read_fails_unless_that_is_asked_for(
    scratch: Path, ansible: Ansible
) -> None:
    credentials = Credentials(scratch)
    add_the_broken(credentials)
    arguments = ("--limit", "db_badref,db_absent")
    for asked, code in (({}, 2), ({"keyturn_fail_on": "nothing"}, 0)):
        done = ansible.run(
            "keyturn.runbooks.status",
            *arguments,
            inventory=credentials.inventory(),
            extra_vars={"output": "json", **asked},
            env=QUIET,
        ).check(code)
        report = json.loads(done.stdout)
        assert report["summary"]["states"] == {"unreadable": 1, "never_rotated": 1}
        broken = report["credentials"]["db_badref"]
        assert broken["state"] == "unreadable" and broken["due"] is None


def test_a_limit_gives_one_row_and_the_job_its_artifact(scratch: Path, ansible: Ansible) -> None:
    credentials = Credentials(scratch)
    add_the_old(credentials)
    file = scratch / "status.json"
    asked = {"output": "json", "output_file": str(file)}
    arguments = ("--limit", "db_dead", "--check")
    done = ansible.run(
        "keyturn.runbooks.status",
        *arguments,
        inventory=credentials.inventory(),
        extra_vars=asked,
        env={"ANSIBLE_SHOW_CUSTOM_STATS": "true"},
    ).check()
    assert not file.exists()
    printed = re.search(r"^\{$.*?^\}$", done.stdout, re.MULTILINE | re.DOTALL)
    assert printed and list(json.loads(printed.group())["credentials"]) == ["db_dead"]
    stats = re.search(r"RUN: (\{.*\})", done.stdout)
    assert stats
    artifact = json.loads(stats.group(1))["keyturn_report"]["credentials"]
    assert artifact["db_dead"]["state"] == "fresh"
    assert "is dead" in artifact["db_dead"]["attention"][0]
