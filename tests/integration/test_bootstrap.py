# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook ``bootstrap`` makes what a new environment lacks, and changes nothing that is there."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml
from aws_world import AwsWorld
from estate.databases import Database
from estate.moto import MotoServer
from estate.playbook import Ansible, PlaybookResult
from rotation import WATCHED

FILE_MODE = 0o600
STAGE = "Stage the new value"


class Environment:
    """A new environment: nothing has a keyring, and somebody was faster with two of the credentials."""

    def __init__(self, folder: Path, database: Database, aws: AwsWorld, ansible: Ansible) -> None:
        self.folder, self.database, self.aws, self.ansible = folder, database, aws, ansible
        self.prefix = database.name
        self._file("admin.json", json.dumps({"username": "postgres", "password": self._admin()}))
        self.used = database.create_login(f"{self.prefix}_used")
        self.found = secrets.token_urlsafe(20)
        aws.put("FOUND", self.found)
        database.execute("CREATE TABLE songs (id int)")
        database.execute(f'ALTER TABLE songs OWNER TO "{database.owner}"')
        hosts = {
            name: self._common(name) for name in ("db", "token", "found", "used", "both", "person")
        }
        hosts["db"].update(self._of_a_role({"strategy": "alternate_roles", **self._roles()}))
        hosts["used"].update(
            self._of_a_role({"strategy": "same_role", "role": f"{self.prefix}_used"})
        )
        # One of two that take turns is in use, and nobody knows which.
        both = [f"{self.prefix}_used", f"{self.prefix}_other"]
        database.create_login(both[1])
        turns = {"strategy": "alternate_roles", "roles": both, "owner_role": database.owner}
        hosts["both"].update(self._of_a_role(turns))
        hosts["both"]["keyturn_sinks"] = []
        given = {"key": f"ref+file://{folder}/handed.key"}
        by_hand = {"type": "operator", "overlap": True, "make": "in its dashboard", "end": "there"}
        hosts["person"]["keyturn_issuer"] = {**by_hand, "values": given}
        hosts["person"]["keyturn_sinks"][0]["template"] = "{current.key}"
        hosts["person"]["keyturn_probes"] = [self._shown_to_true("key")]
        # What its policy says is of a value that is there.
        hosts["token"]["keyturn_policy"] = {"rotate": "on_compromise"}
        groups = {"all": {"children": {"credentials": {"hosts": hosts}}}}
        (folder / "hosts.yml").write_text(yaml.safe_dump(groups))

    def _admin(self) -> str:
        return self.database.server.password

    def _file(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(FILE_MODE)
        path.write_text(text)

    def _roles(self) -> dict[str, Any]:
        names = [f"{self.prefix}_a", f"{self.prefix}_b"]
        return {"roles": names, "owner_role": self.database.owner}

    def _common(self, name: str) -> dict[str, Any]:
        where = f"ref+awsssm:/{self.aws.name(name.upper())}"
        return {
            "keyturn_keyring": f"ref+awsssm:/{self.aws.name('keyrings')}/{name}",
            "keyturn_ledger": f"ref+file://{self.folder}/{name}.jsonl",
            "keyturn_policy": {"rotate": "age", "max_age": "180d"},
            "keyturn_issuer": {"type": "generated", "overlap": True},
            "keyturn_sinks": [{"name": name, "ref": where, "template": "{current.value}"}],
            "keyturn_probes": [self._shown_to_true("value")],
            "keyturn_wait": "10s",
        }

    def _shown_to_true(self, field: str) -> dict[str, Any]:
        shown = {"SHOWN": f"{{stage.{field}}}"}
        return {"type": "command", "argv": ["true"], "environment": shown}

    def _of_a_role(self, issuer: dict[str, Any]) -> dict[str, Any]:
        server = self.database.server
        login = {"host": "127.0.0.1", "port": server.port, "dbname": self.database.name}
        login["admin"] = f"ref+file://{self.folder}/admin.json"
        # A role that nobody wrote down is used all the same: its place is empty.
        where = f"ref+awsssm:/{self.aws.name('URL')}/{issuer['strategy']}"
        template = "postgresql://{current.username}:{current.password|urlencode}@db/app"
        return {
            "keyturn_issuer": {"type": "postgres_role", **issuer, "login": login},
            "keyturn_sinks": [{"name": "url", "ref": where, "template": template}],
            "keyturn_probes": [{"type": "postgres", "port": server.port}],
        }

    def run(self, *arguments: str, **env: str) -> PlaybookResult:
        return self.ansible.run(
            "keyturn.runbooks.bootstrap",
            *arguments,
            inventory=self.folder / "hosts.yml",
            env={**self.aws.environ, **env},
        )

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "first.json").read_text())
        return found

    def states(self) -> dict[str, str]:
        return {name: entry["state"] for name, entry in self.report()["credentials"].items()}

    def everything(self) -> dict[str, Any]:
        """All that a run could write to: every version of every parameter, roles, files."""
        pages = self.aws.api.get_paginator("get_parameters_by_path").paginate(
            Path=f"/{self.aws.prefix}", Recursive=True, WithDecryption=True
        )
        found: dict[str, Any] = {
            item["Name"]: (item["Value"], item["Version"], item["LastModifiedDate"])
            for page in pages
            for item in page["Parameters"]
        }
        rows = "SELECT rolname, rolcanlogin, rolpassword FROM pg_authid WHERE rolname LIKE %s ORDER BY 1"
        found["roles"] = self.database.execute(rows, (f"{self.prefix}%",))
        ours = [path for path in self.folder.iterdir() if path.suffix in (".jsonl", ".key")]
        found.update({path.name: path.read_text() for path in ours})
        return found

    def values(self) -> list[str]:
        """Every value that may be shown nowhere."""
        shown = [value[0] for name, value in self.everything().items() if name.startswith("/")]
        passwords = [url.partition("://")[2].partition(":")[2].partition("@")[0] for url in shown]
        return [value for value in (*shown, *passwords, self.found, self.used) if value]


@pytest.fixture
def environment(
    scratch: Path, database: Database, moto: MotoServer, ansible: Ansible
) -> Environment:
    return Environment(scratch, database, AwsWorld(moto), ansible)


@pytest.mark.pg_versions("16")
def test_it_makes_what_is_missing_and_nothing_twice(environment: Environment) -> None:
    world, kept = environment, f"output_file={environment.folder}/first.json"
    before = world.everything()
    predicted = world.run("--check", "--diff").check()
    assert world.everything() == before
    listed = " ".join(predicted.stdout.partition("CREDENTIAL ")[2].split())
    for line in (
        f"db postgres_role would be made keyring (ref+awsssm:/{world.aws.name('keyrings/db')}) sink 'url'",
        f"token generated would be made keyring (ref+awsssm:/{world.aws.name('keyrings/token')}) sink 'token'",
        "6 credentials: 1 waits for a person, 3 left alone, 2 would be made",
    ):
        assert line in listed
    # Killed in the middle: whoever runs it again has it all.
    wanted = json.dumps([STAGE, None, "after"])
    world.run(*("-e", kept), **WATCHED, KEYTURN_KILL=wanted).check(-9)
    done = world.run("--diff", "-e", kept).check()
    told = world.report()
    assert set(world.states().values()) >= {"go_on"}
    states = {
        "person": "waiting",
        "found": "left_alone",
        "used": "left_alone",
        "both": "left_alone",
    }
    assert {name: world.states()[name] for name in states} == states
    messages = {name: told["credentials"][name]["message"] for name in states}
    assert "in its dashboard" in messages["person"] and "handed.key" in messages["person"]
    for name in ("found", "used", "both"):
        assert f"keyturn.runbooks.adopt --limit {name}" in messages[name]
    _made_at_the_issuer_and_in_places(world)
    after = world.everything()
    again = world.run("--check").check()
    assert world.everything() == after
    assert "1 waits for a person, 3 left alone, 2 there" in again.stdout
    once_more = world.run().check()
    assert world.everything() == after
    assert once_more.stdout.count("changed=0") == 6
    for run in (predicted, done, again, once_more):
        assert not [value for value in world.values() if value in run.output]
    _goes_on_when_the_person_was_there_and_past_what_fails(world, kept)


def _made_at_the_issuer_and_in_places(world: Environment) -> None:
    """And what was there is as it was."""
    url = world.aws.held("URL/alternate_roles")[0]
    user, _colon, password = url.partition("://")[2].partition("@")[0].partition(":")
    assert world.database.accepts(user, password)
    assert world.aws.held("TOKEN")[1] == 1
    assert world.aws.held("FOUND") == (world.found, 1)
    assert world.database.accepts(f"{world.prefix}_used", world.used)


def _goes_on_when_the_person_was_there_and_past_what_fails(world: Environment, kept: str) -> None:
    key = secrets.token_urlsafe(24)
    world._file("handed.key", key)
    hosts = yaml.safe_load((world.folder / "hosts.yml").read_text())
    variables = hosts["all"]["children"]["credentials"]["hosts"]
    variables["db"]["keyturn_sinkz"] = []
    (world.folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
    failed = world.run("-e", kept).check(2)
    assert world.aws.held("PERSON")[0] == key
    assert world.states()["db"] == "failed" and world.states()["person"] == "make"
    assert "did you mean keyturn_sinks?" in failed.stdout
    assert key not in failed.output
