# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Env files in playbooks: on the controller and on a machine with a real systemd, and twenty credentials at once."""

from __future__ import annotations

import base64
import json
import random
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from env_readers import READERS
from estate.playbook import Ansible, PlaybookResult
from machines import SystemdMachine, required

SPECIAL = "'\"\\$`#;&|<>()~ \t\n=!*?[]{}%^,:@/.-_anrtB07é漢"
UNIT = """\
[Service]
Type=oneshot
EnvironmentFile={file}
ExecStart=/usr/bin/python3 -c "import json, os; json.dump(dict(os.environ), open('{out}', 'w'))"
"""


def odd_values(count: int, alphabet: str = SPECIAL) -> list[str]:
    """Values of characters that readers treat specially; each keeps what makes it recognisable in an output."""
    chance = random.SystemRandom()
    return [
        secrets.token_hex(6) + "".join(chance.choices(alphabet, k=12)) for _number in range(count)
    ]


class Plays:
    """Plays with secrets in private files, and what they print."""

    def __init__(self, place: Path, ansible: Ansible) -> None:
        self.place, self.ansible = place, ansible
        self.values: list[str] = []

    def private(self, value: str) -> str:
        """A reference to a value in a file."""
        path = self.place / f"given-{len(self.values)}"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"value": value}))
        self.values.append(value)
        return f"ref+file://{path}?format=json#/value"

    def fields(self, values: list[str]) -> dict[str, str]:
        return {f"K{index}": self.private(value) for index, value in enumerate(values)}

    def run(
        self,
        tasks: list[dict[str, Any]],
        hosts: Mapping[str, Any] | None = None,
        *arguments: str,
        **variables: Any,
    ) -> PlaybookResult:
        inventory = self.place / "hosts.yml"
        here = {"ansible_connection": "local"}
        inventory.write_text(yaml.safe_dump({"all": {"hosts": {**(hosts or {"here": here})}}}))
        play = {"hosts": "all", "gather_facts": False, "vars": variables, "tasks": tasks}
        book = self.place / "play.yml"
        book.write_text(yaml.safe_dump([play]))
        ended = self.ansible.run(
            str(book), "-vvv", "--diff", "--forks=20", *arguments, inventory=inventory
        )
        told = ended.output + self.ansible.log()
        assert not [
            value for value in self.values if value in told or json.dumps(value)[1:-1] in told
        ]
        return ended


@pytest.fixture
def plays(scratch: Path, ansible: Ansible) -> Plays:
    return Plays(scratch, ansible)


def env_file(path: Path | str, register: str = "told", **options: Any) -> dict[str, Any]:
    return {"keyturn.runbooks.env_file": {"path": str(path), **options}, "register": register}


def told(place: Path, name: str = "told") -> dict[str, Any]:
    return {"ansible.builtin.copy": {"content": f"{{{{ {name} | to_json }}}}", "dest": str(place)}}


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "ordinary"])
def test_check_apply_and_again_say_the_same_both_ways(plays: Plays, direct: bool) -> None:
    values = odd_values(4, SPECIAL.replace("\n", ""))
    path = plays.place / "app.env"
    path.write_text("# kept\nK0=old # why\n")
    path.chmod(0o640)
    options = {
        "fields": {**plays.fields(values), "OLD": None},
        "generate": {"MADE": {"type": "hex"}},
        "dialect": "posix",
        "backup": True,
    }
    tasks: list[dict[str, Any]] = []
    for number, check_mode in enumerate((True, False, True, False)):
        tasks.append({**env_file(path, f"r{number}", **options), "check_mode": check_mode})
    said = plays.place / "said.json"
    tasks.append(told(said, "[r0, r1, r2, r3]"))
    plays.run(tasks, keyturn_direct=direct).check()
    check, done, check_again, again = json.loads(said.read_text())
    assert [item["changed"] for item in (check, done, check_again, again)] == [
        True,
        True,
        False,
        False,
    ]
    assert set(check["fields"]) == set(done["fields"]) == {"K0", "K1", "K2", "K3", "OLD", "MADE"}
    assert check["fields"]["MADE"]["after"] == "(new)"
    assert path.read_text().startswith("# kept\n# why\nK0=")
    assert path.stat().st_mode & 0o777 == 0o640
    assert Path(done["backup_file"]).read_text() == "# kept\nK0=old # why\n"
    with required():
        read = READERS["dash"]()
    found = read(path)
    assert [found[f"K{index}"] for index in range(4)] == values and len(found["MADE"]) == 64


@pytest.mark.parametrize("dialect", ["systemd", "common"])
def test_a_unit_of_a_real_systemd_gets_the_values(
    plays: Plays, machine: SystemdMachine, dialect: str
) -> None:
    alphabet = SPECIAL if dialect == "systemd" else SPECIAL.translate({10: None, 96: None})
    values = odd_values(25, alphabet)
    name = f"env-{secrets.token_hex(4)}"
    folder = f"/srv/{name}"
    machine.write(f"{folder}/app.env", "# of the unit\nOTHER=stays\n")
    machine.shell(f"chown nobody:nogroup {folder}/app.env && chmod 0640 {folder}/app.env")
    unit = UNIT.format(file=f"{folder}/app.env", out=f"{folder}/out")
    machine.write(f"/etc/systemd/system/{name}.service", unit)
    task = env_file(f"{folder}/app.env", fields=plays.fields(values), dialect=dialect)
    again = {**task, "register": "again", "failed_when": "again is changed"}
    plays.run([task, again], {"app1": machine.variables("app1")}).check()
    status = machine.shell(f"stat -c '%U %G %a' {folder}/app.env").split()
    assert status == ["nobody", "nogroup", "640"]
    machine.shell(f"systemctl daemon-reload; systemctl start {name}.service")
    found = json.loads(machine.read(f"{folder}/out"))
    assert [found.get(f"K{index}") for index in range(len(values))] == values
    assert found["OTHER"] == "stays"
    encoded = machine.shell(f"cd {folder}; set -a; base64 -w0 app.env")
    assert base64.b64decode(encoded).decode().startswith("# of the unit\nOTHER=stays\n")


def test_twenty_credentials_write_one_file_at_once(plays: Plays) -> None:
    path = plays.place / "shared.env"
    path.write_text("# shared by all\n")
    values = {f"db_{index}": secrets.token_urlsafe(12) for index in range(20)}
    hosts = {
        name: {"ansible_connection": "local", "wanted": {f"PASSWORD_{name}": plays.private(value)}}
        for name, value in values.items()
    }
    plays.run([env_file(path, fields="{{ wanted }}")], hosts).check()
    lines = path.read_text().splitlines()
    assert lines[0] == "# shared by all"
    assert sorted(lines[1:]) == sorted(f"PASSWORD_{name}={value}" for name, value in values.items())


def test_a_command_and_a_file_get_a_path_s_keys_on_the_machine(
    plays: Plays, machine: SystemdMachine
) -> None:
    values = {"A": odd_values(1)[0], "B": odd_values(1)[0]}
    source = plays.place / "source.json"
    source.touch(mode=0o600)
    source.write_text(json.dumps(values))
    plays.values += values.values()
    folder = f"/srv/export-{secrets.token_hex(4)}"
    machine.shell(f"mkdir {folder}")
    dump = f"import json, os; json.dump(dict(os.environ), open('{folder}/out', 'w')); print(os.environ['A'])"
    common = {"sources": [f"ref+file://{source}"]}
    named = {**common, "only": list(values)}
    run = {**named, "argv": ["python3", "-c", dump], "return_output": True}
    write = {**common, "dest": f"{folder}/env", "dialect": "posix", "owner": "nobody"}
    tasks = [
        {"keyturn.runbooks.vault_export": run, "check_mode": True},
        {"keyturn.runbooks.vault_export": run, "register": "told"},
        told(plays.place / "said.json") | {"delegate_to": "localhost"},
        {"keyturn.runbooks.vault_export": {**named, "argv": ["false"], "rc": [1]}},
        {
            "keyturn.runbooks.vault_export": {**named, "argv": ["false"], "rc": [1]},
            "delegate_to": "localhost",
            "vars": {"ansible_connection": "local"},
        },
        {"keyturn.runbooks.vault_export": write},
        {
            "keyturn.runbooks.vault_export": write,
            "register": "again",
            "failed_when": "again is changed",
        },
    ]
    plays.run(tasks, {"app1": machine.variables("app1")}).check()
    found = json.loads(machine.read(f"{folder}/out"))
    assert {name: found[name] for name in values} == values
    said = json.loads((plays.place / "said.json").read_text())
    assert said["stdout"].strip() == "********" and said["rc"] == 0
    assert machine.shell(f"stat -c '%U %a' {folder}/env").split() == ["nobody", "600"]
    script = (
        f"set -a; . {folder}/env; python3 -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    )
    sourced = json.loads(machine.shell(script))
    assert {name: sourced[name] for name in values} == values
    left = machine.shell("find /root/.ansible /tmp -name 'AnsiballZ*' 2>/dev/null || true")
    assert left == ""
    assert not [path for path in plays.ansible.temp_dir.rglob("*") if path.is_file()]


def test_a_killed_writer_s_leftover_goes_and_the_lock_is_no_obstacle(plays: Plays) -> None:
    path = plays.place / "app.env"
    path.write_text("A=1\n")
    leftover = plays.place / ".app.env.keyturn-1-abc"
    leftover.write_text("A=secret\n")
    plays.run([env_file(path, fields={"A": "1"})]).check()
    assert not leftover.exists() and path.read_text() == "A=1\n"
