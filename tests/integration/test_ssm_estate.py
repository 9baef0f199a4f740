# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DB_PASSWORD of production and of staging: parameters of AWS, roles of PostgreSQL, both in one run and each alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_step import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from aws_world import AwsWorld
from estate.databases import Database, fresh_database
from estate.moto import MotoServer
from estate.playbook import Ansible, PlaybookResult

pytestmark = pytest.mark.pg_versions("16")
DEPLOY = Path(__file__).parents[1] / "support" / "programs" / "two_services_deploy.py"
FORCE = {"keyturn_force": True}
PAIR = {"DB_USER": "{current.username}", "DB_PASSWORD": "{current.password}"}


class Environment:
    """Production, or staging: a database, two parameters, and an application that is deployed with what they say."""

    def __init__(self, name: str, folder: Path, database: Database, aws: AwsWorld) -> None:
        self.name, self.database, self.aws = name, database, aws
        self.host = f"musehub_{name}_db_password"
        self.folder = folder / name
        self.folder.mkdir()
        self.keyring = self.folder / "keyring.json"
        self.env_file = self.folder / "env"
        self.admin = self.folder / "pg-admin.json"
        self.roles = [f"{database.name}_{letter}" for letter in "ab"]
        self.first = (self.roles[0], database.create_login(self.roles[0]))
        for key, value in zip(PAIR, self.first, strict=True):
            aws.put(f"{name}/{key}", value)
        self.admin.touch(mode=0o600)
        self.admin.write_text(
            json.dumps({"username": "postgres", "password": database.server.password})
        )

    def place(self, key: str) -> str:
        return f"ref+awsssm:/{self.aws.name(f'{self.name}/{key}')}"

    def definition(self) -> dict[str, Any]:
        """The credential's host_vars."""
        port, dbname = self.database.server.port, self.database.name
        admin = f"ref+file://{self.admin}"
        login = {"host": "127.0.0.1", "port": port, "dbname": dbname, "admin": admin}
        prefix = self.aws.name(self.name)
        argv = [sys.executable, str(DEPLOY), self.aws.server.address, prefix, str(self.env_file)]
        group = [{"name": key, "ref": self.place(key), "template": it} for key, it in PAIR.items()]
        return {
            "keyturn_keyring": f"ref+file://{self.keyring}",
            "keyturn_policy": {"rotate": "age", "max_age": "180d", "grace": "0s"},
            "keyturn_issuer": {
                "type": "postgres_role",
                "strategy": "alternate_roles",
                "login": login,
                "roles": self.roles,
                "owner_role": self.database.owner,
            },
            "keyturn_sinks": [{"name": "parameters", "group": group}],
            "keyturn_consumers": [
                {"name": "deploy", "type": "command", "argv": [*argv, str(port), dbname]}
            ],
            "keyturn_probes": [{"type": "postgres", "port": port}],
            "keyturn_wait": "5s",
            "keyturn_interval": "1s",
        }

    def adopt(self) -> None:
        """What the adopt playbook leaves, without running it."""
        given = {"keyring": f"ref+file://{self.keyring}", "credential": self.host}
        value = {"username": self.first[0], "password": self.place("DB_PASSWORD")}
        proof = {"type": "postgres", "against": "a test", "at": "now", "detail": "handed over"}
        adoption = {
            "transition": "adopt",
            "value": value,
            "evidence": [proof],
            "issuer": self.definition()["keyturn_issuer"],
        }
        for step in (adoption, {"transition": "release"}):
            asked = ArgumentSpecValidator(dict(MODULE.argument_spec)).validate({**given, **step})
            assert not asked.error_messages
            context = Context(environ={**os.environ, **self.aws.environ})
            execute(MODULE, dict(asked.validated_parameters), context)

    def told(self) -> tuple[str, str]:
        """What the parameters say."""
        user, password = (self.aws.held(f"{self.name}/{key}")[0] for key in PAIR)
        return user, password

    def deployed(self) -> tuple[str, ...]:
        """What the application was deployed with."""
        lines = self.env_file.read_text().splitlines()
        return tuple(line.partition("=")[2] for line in lines)

    def document(self) -> Document:
        return parse_document(self.keyring.read_text())

    def snapshot(self) -> tuple[Any, ...]:
        """All that a run could change."""
        held = [self.aws.held(f"{self.name}/{key}") for key in PAIR]
        roles = self.database.execute(
            "SELECT rolname, rolcanlogin, rolpassword FROM pg_authid ORDER BY 1"
        )
        return self.keyring.read_text(), held, roles, self.env_file.exists()


class Estate:
    """Both, in one inventory."""

    def __init__(self, folder: Path, ansible: Ansible, both: list[Environment]) -> None:
        self.folder, self.ansible = folder, ansible
        self.production, self.staging = both
        hosts = {one.host: one.definition() for one in both}
        (folder / "inventory" / "host_vars").mkdir(parents=True)
        self.write(hosts)

    def write(self, hosts: Mapping[str, dict[str, Any]]) -> None:
        place = self.folder / "inventory"
        for host, variables in hosts.items():
            (place / "host_vars" / f"{host}.yml").write_text(yaml.safe_dump(variables))
        groups = {"postgres_roles": {"hosts": dict.fromkeys(hosts)}}
        (place / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))

    def add_one_that_tells_no_name(self) -> None:
        """A credential whose application is told a password and nothing else."""
        given = self.production.definition()
        alone = {"ref": self.production.place("DB_PASSWORD"), "template": "{current.password}"}
        given["keyturn_sinks"] = [{"name": "password", **alone}]
        given["keyturn_keyring"] = f"ref+file://{self.folder}/alone.json"
        hosts = {one.host: one.definition() for one in (self.production, self.staging)}
        self.write({**hosts, "password_alone": given})

    def run(self, playbook: str, *arguments: str) -> PlaybookResult:
        return self.ansible.run(
            f"keyturn.runbooks.{playbook}",
            *arguments,
            inventory=self.folder / "inventory",
            extra_vars=FORCE,
            env=self.production.aws.environ,
        )


@pytest.fixture
def estate(
    scratch: Path, ansible: Ansible, database: Database, moto: MotoServer
) -> Iterator[Estate]:
    aws = AwsWorld(moto)
    with ExitStack() as stack:
        other = stack.enter_context(fresh_database(database.server))
        names = {"production": database, "staging": other}
        both = [Environment(name, scratch, one, aws) for name, one in names.items()]
        for one in both:
            one.adopt()
        yield Estate(scratch, ansible, both)


def test_both_in_one_run_and_each_alone(estate: Estate) -> None:
    """One that fails leaves the other whole, and goes on alone once it is mended. One that tells no user name is refused before."""
    production, staging = estate.production, estate.staging
    before = production.snapshot(), staging.snapshot()
    dry = estate.run("rotate_db", "--check", "--diff").check()
    assert (production.snapshot(), staging.snapshot()) == before
    assert "(new)" in dry.stdout
    broken = staging.folder / "broken"
    broken.touch()
    estate.add_one_that_tells_no_name()
    first = estate.run("rotate_db", "--diff").check(2)
    assert f"such as {production.place('DB_USER')}, and have the application" in first.output
    assert "consumer deploy: " in first.output and "exit code 3" in first.output
    # Production has the other role, and nothing of it waits for staging.
    assert production.told()[0] == production.roles[1]
    assert production.told() == production.deployed()
    assert production.database.accepts(*production.told())
    current, previous = production.document().current, production.document().previous
    assert current and current.status == "observed" and previous and not previous.failed
    # Staging has the value from before, everywhere.
    assert staging.told() == staging.first
    assert staging.database.accepts(*staging.first)
    assert not staging.env_file.exists()
    whole = production.snapshot()
    broken.unlink()
    only = ("--limit", staging.host)
    estate.run("retire_due", *only).check()
    second = estate.run("rotate_db", *only).check()
    assert production.snapshot() == whole
    assert staging.told() == staging.deployed() != staging.first
    assert staging.database.accepts(*staging.told())
    results = (dry, first, second)
    for password in (it[1] for one in (production, staging) for it in (one.first, one.told())):
        assert all(password not in result.output for result in results)
