# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fernet keys in playbooks: those of a folder on a machine, a list in a parameter of AWS, and one that two services share."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Any

import boto3
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_key import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from cryptography.fernet import Fernet, MultiFernet
from estate.moto import MotoServer
from estate.playbook import Ansible
from machines import SystemdMachine

REGION = "eu-west-1"
SERVICE = """
import pathlib, sys
from cryptography.fernet import Fernet, MultiFernet
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
(folder / (name + ".loaded")).write_text((folder / "keys").read_text())
services = [
    MultiFernet([Fernet(key) for key in path.read_text().split(",")]) for path in folder.glob("*.loaded")
]
with open(folder / "rows", "a") as rows:
    for service in services:
        rows.write(service.encrypt(b"row").decode() + "\\n")
for row in (folder / "rows").read_text().split():
    for service in services:
        service.decrypt(row)
with open(folder / "told", "a") as told:
    told.write(name + "\\n")
"""
"""A service that loads the list: each then writes a row with what it has loaded, and each must read every row there is."""
PROOF = """
import os, pathlib, sys
loaded = [path.read_text().split(",") for path in pathlib.Path(sys.argv[1]).glob("*.loaded")]
sys.exit(0 if all(os.environ["KEY"] in keys for keys in loaded) else 3)
"""


class Keys:
    """A folder of keys on the machine, tasks about it, and everything that was printed."""

    def __init__(self, place: Path, ansible: Ansible, machine: SystemdMachine) -> None:
        self.place, self.ansible, self.machine = place, ansible, machine
        self.folder = f"/srv/fernet-{secrets.token_hex(4)}"
        self.seen: set[str] = set()

    def play(self, *tasks: dict[str, Any], **environment: str) -> list[dict[str, Any]]:
        """What each task said."""
        inventory, book = self.place / "hosts.yml", self.place / "play.yml"
        hosts = {"app1": self.machine.variables("app1")}
        inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
        named = [
            {
                "keyturn.runbooks.fernet_key": {
                    key: value for key, value in task.items() if key != "check_mode"
                },
                "register": f"r{number}",
                "check_mode": task.get("check_mode", False),
                "ignore_errors": True,
            }
            for number, task in enumerate(tasks)
        ]
        said = self.place / "said.json"
        names = ", ".join(f"r{number}" for number in range(len(tasks)))
        keep = {"content": f"{{{{ [{names}] | to_json }}}}", "dest": str(said)}
        told = {
            "ansible.builtin.copy": keep,
            "delegate_to": "localhost",
            "vars": {"ansible_connection": "local"},
        }
        play = {
            "hosts": "all",
            "gather_facts": False,
            "environment": environment,
            "tasks": [*named, told],
        }
        book.write_text(yaml.safe_dump([play]))
        ended = self.ansible.run(str(book), "-vvv", "--diff", inventory=inventory).check()
        self.seen |= set(self.values().values())
        printed = ended.output + self.ansible.log() + said.read_text()
        assert not [key for key in self.seen if key in printed]
        found: list[dict[str, Any]] = json.loads(said.read_text())
        return found

    def values(self) -> dict[int, str]:
        """The keys, as the user who owns them reads them."""
        script = f"cd {self.folder} && grep -H . [0-9]*"
        lines = self.machine.shell(f"su -s /bin/sh nobody -c '{script}'").split()
        return {int(name): key for name, _colon, key in (line.partition(":") for line in lines)}

    def reader(self) -> MultiFernet:
        keys = sorted(self.values().items(), reverse=True)
        return MultiFernet([Fernet(key) for _number, key in keys])


def test_keys_of_a_machine_are_made_and_rotated_and_a_list_is_looked_at(
    scratch: Path, ansible: Ansible, machine: SystemdMachine, moto: MotoServer
) -> None:
    name = f"/keyturn-{secrets.token_hex(4)}/WEBHOOK_SECRET_KEY"
    listed = [Fernet.generate_key().decode() for _number in range(2)]
    aws = {
        "AWS_ENDPOINT_URL": moto.address,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": secrets.token_hex(10),
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
    }
    ssm = boto3.client(
        "ssm",
        region_name=REGION,
        endpoint_url=moto.address,
        aws_access_key_id=aws["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws["AWS_SECRET_ACCESS_KEY"],
    )
    ssm.put_parameter(Name=name, Value=",".join(listed), Type="SecureString")
    ssm.put_parameter(
        Name=f"{name}_BAD", Value=f"{listed[0]},{listed[1][:40]}", Type="SecureString"
    )
    keys = Keys(scratch, ansible, machine)
    keys.seen |= {*listed, listed[1][:40]}
    make = {"path": keys.folder, "owner": "nobody", "group": "nogroup"}
    look = {"path": keys.folder, "state": "checked", "value": f"ref+awsssm:/{name}"}
    bad = {**look, "value": f"ref+awsssm:/{name}_BAD"}
    check, done, again, told, refused = keys.play(
        {**make, "check_mode": True}, make, make, look, bad, **aws
    )
    assert [item["changed"] for item in (check, done, again, told)] == [True, True, False, False]
    assert check["made"] == done["made"] == [0, 1] and check["primary"] == done["primary"] == 1
    assert check["diff"]["after"] == "0: staged, (new)\n1: primary, (new)\n"
    assert told["key_list"]["count"] == 2 and told["key_list"]["members"][0]["encrypts"]
    assert refused["kind"] == "BadInput" and "position 2 of 2: it is too short" in refused["msg"]
    assert machine.shell(f"stat -c '%U %G %a' {keys.folder}").split() == [
        "nobody",
        "nogroup",
        "700",
    ]

    token, staged = keys.reader().encrypt(b"row"), keys.values()[0]
    # What a killed run leaves.
    machine.shell(
        f"mkdir -m 0700 {keys.folder}/.keyturn-1-ab; echo x > {keys.folder}/.keyturn-1-ab/0"
    )
    once = {"path": keys.folder, "state": "rotated", "from_primary": 1}
    each = {"path": keys.folder, "state": "rotated", "max_age": "0s", "keep_for": "0s"}
    foreseen, done, again, kept = keys.play(
        {**once, "check_mode": True}, once, once, {**each, "max_active_keys": 4}
    )
    assert [item["rotated"] for item in (foreseen, done, again, kept)] == [True, True, False, True]
    assert foreseen["primary"] == done["primary"] == again["primary"] == 2
    assert keys.values()[2] == staged and keys.reader().decrypt(token) == b"row"
    (pruned,) = keys.play(each)
    assert pruned["pruned"] == [1, 2] and sorted(keys.values()) == [0, 3, 4]
    assert machine.shell(f"ls -A {keys.folder}").split() == ["0", "3", "4"]
    assert set(machine.shell(f"stat -c '%U %G %a' {keys.folder}/*").splitlines()) == {
        "nobody nogroup 600"
    }


def listed(folder: Path) -> dict[str, Any]:
    """What the module says of the list."""
    defaults = {name: spec.get("default") for name, spec in MODULE.argument_spec.items()}
    given = {**defaults, "state": "checked", "value": f"ref+file://{folder}/keys"}
    found: dict[str, Any] = execute(MODULE, given, Context(environ={}))["key_list"]
    return found


def test_a_list_that_two_services_read_is_rotated_without_a_lost_row(
    scratch: Path, ansible: Ansible
) -> None:
    first = Fernet.generate_key().decode()
    for name in ("keys", "in-use", "web.loaded", "jobs.loaded"):
        (scratch / name).touch(0o600)
        (scratch / name).write_text(first)
    (scratch / "rows").write_text(Fernet(first).encrypt_at_time(b"row", 1).decode() + "\n")
    proof = [sys.executable, "-c", PROOF, str(scratch)]
    services = [
        {
            "name": name,
            "type": "command",
            "argv": [sys.executable, "-c", SERVICE, str(scratch), name],
            "reads": ["keys"],
        }
        for name in ("web", "jobs")
    ]
    probe = {"type": "command", "argv": proof, "environment": {"KEY": "{pending.value}"}}
    definition = {
        "keyturn_keyring": f"ref+file://{scratch}/keyring.json",
        "keyturn_policy": {"rotate": "age", "max_age": "90d", "grace": "0s"},
        "keyturn_issuer": {"type": "generated", "overlap": True},
        "keyturn_generate": {"value": {"type": "fernet"}},
        "keyturn_sinks": [
            {
                "name": "keys",
                "ref": f"ref+file://{scratch}/keys",
                "template": "{current,pending,previous.value|join:,}",
            }
        ],
        "keyturn_consumers": services,
        "keyturn_probes": [{**probe, "refused_rc": [3]}],
        "keyturn_wait": "3s",
        "keyturn_interval": "1s",
    }
    (scratch / "inventory" / "host_vars").mkdir(parents=True)
    (scratch / "inventory" / "hosts").write_text("[credentials]\nwebhook_key\n")
    variables = scratch / "inventory" / "host_vars" / "webhook_key.yml"
    variables.write_text(yaml.safe_dump(definition))

    def run(book: str, **extra: Any) -> None:
        place = scratch / "inventory"
        ansible.run(f"keyturn.runbooks.{book}", inventory=place, extra_vars=extra).check()

    run("adopt", keyturn_adopt={"value": f"ref+file://{scratch}/in-use"})
    run("rotate", keyturn_force=True)
    second, old = (scratch / "keys").read_text().split(",")
    assert old == first and listed(scratch)["count"] == 2
    # Each was told of the list when the new key stood behind the old one, and when it stood before it.
    assert sorted((scratch / "told").read_text().split()) == ["jobs", "jobs", "web", "web"]
    rows = (scratch / "rows").read_text().split()
    both = MultiFernet([Fernet(second), Fernet(first)])
    anew = [both.rotate(row.encode()) for row in rows]
    assert Fernet(second).extract_timestamp(anew[0]) == 1
    (scratch / "rows").write_text("".join(f"{row.decode()}\n" for row in anew))
    run("retire_due")
    assert (scratch / "keys").read_text() == second and listed(scratch)["count"] == 1
    assert sorted((scratch / "told").read_text().split()[4:]) == ["jobs", "web"]
