# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sink on another machine: looked at before anything is begun, and before the old value is ended."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate.databases import Database
from estate.playbook import Ansible
from rotation import FORCE, Estate

pytestmark = pytest.mark.pg_versions("16")


@pytest.fixture
def estate(scratch: Path, database: Database, ansible: Ansible) -> Estate:
    """A credential whose env file is on the machine app1, where nobody has to be told of it."""
    name = f"{database.name}_a"
    password = database.create_login(name)
    made = Estate(scratch, database, ansible)
    sinks: list[dict[str, Any]] = made.definition()["keyturn_sinks"]
    there = {"host": "app1", "dialect": "systemd"}
    made.variables["keyturn_sinks"] = [{**sink, **there} for sink in sinks]
    made.variables["keyturn_consumers"] = [
        {"name": "app", "type": "none", "host": "app1", "reads": ["app"]}
    ]
    # Writes the inventory anew, too.
    made.add_probe({"type": "command", "argv": ["true"]})
    machine = {"all": {"hosts": {"app1": {"ansible_connection": "local"}}}}
    (made.folder / "inventory" / "machines.yml").write_text(yaml.safe_dump(machine))
    made.hand_over(name, password)
    return made


def test_the_first_rotation_finds_what_cannot_be_written(estate: Estate) -> None:
    text = estate.env_file.read_text()
    estate.env_file.unlink()
    estate.env_file.mkdir()
    estate.database.execute(f'DROP ROLE "{estate.roles[0]}"')
    for arguments in (["--check"], []):
        refused = estate.run("rotate_db", *arguments, extra=FORCE).check(2)
        assert "1 gate is closed. (1) sinks: " in refused.stdout
        assert str(estate.env_file) in refused.stdout
        assert not estate.keyring_path.exists()
    estate.env_file.rmdir()
    estate.env_file.write_text(text)
    for arguments in (["--check"], []):
        refused = estate.run("rotate_db", *arguments, extra=FORCE).check(2)
        assert "1 gate is closed. (1) unknown: " in refused.stdout
        assert f"sink 'app' on app1 (ref+file://{estate.env_file}" in refused.stdout
        assert estate.env_file.read_text() == text
    wanted = {**FORCE, "keyturn_replace": True}
    for arguments in (["--check", "--diff"], []):
        assert estate.env_file.read_text() == text
        done = estate.run("rotate_db", *arguments, extra=wanted).check()
        assert "as the user said, in these places: sink 'app' on app1 (ref+file://" in done.output
    assert estate.env_file.read_text() != text


def test_a_machine_that_cannot_be_reached_stops_before_anything_is_begun(estate: Estate) -> None:
    estate.adopt()
    before = estate.snapshot()
    far = {"ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_connection": "ssh"}
    machine = {"all": {"hosts": {"app1": far}}}
    (estate.folder / "inventory" / "machines.yml").write_text(yaml.safe_dump(machine))
    refused = estate.run("rotate_db", extra=FORCE).check(2)
    assert "sinks: the host of this task cannot be reached" in refused.stdout
    after = estate.snapshot()
    keys = [str(estate.env_file), "roles"]
    assert [after[key] for key in keys] == [before[key] for key in keys]
    assert estate.document().pending is None


def test_drift_there_keeps_the_old_value_until_it_is_mended(estate: Estate) -> None:
    told = estate.folder / "told"
    argv = ["sh", "-c", f"echo x >>{told}"]
    [reader] = estate.variables.pop("keyturn_consumers")
    estate.variables["keyturn_consumers"] = []
    estate.add_consumer({**reader, "type": "command", "argv": argv})
    estate.adopt()
    estate.run("rotate_db", extra=FORCE).check()
    right = estate.env_file.read_text()
    estate.env_file.write_text(right.replace("DATABASE_URL=", "DATABASE_URL=other"))
    refused = estate.run("retire_due").check(2)
    assert "behind: these sinks are behind: app. " in refused.stdout
    assert "--tags promote" in refused.stdout
    previous = estate.document().previous
    assert previous and previous.status == "grace"
    # Whoever reads it may have picked up what somebody had put there.
    told.unlink()
    looked = estate.run("rotate_db", "--tags", "promote", "--check").check()
    assert not told.exists()
    done = estate.run("rotate_db", "--tags", "promote").check()
    assert [re.findall(r"changed=(\d+)", result.stdout) for result in (looked, done)] == [["4"]] * 2
    assert estate.env_file.read_text() == right and told.read_text() == "x\n"
    estate.run("retire_due").check()
    assert estate.document().previous is None


def answered(item: dict[str, Any], host: str = "app1", **failed_task: str) -> dict[str, Any]:
    """What a rescue knows of one host's answer."""
    failure = {"keyturn_each_sink_host": host, "failed": True, "msg": "it failed", **item}
    task = {"action": "keyturn.runbooks.publish", **failed_task}
    return {"ansible_failed_task": task, "ansible_failed_result": {"results": [failure]}}


UNWRITTEN: list[tuple[dict[str, Any], list[str]]] = [
    (answered({"kind": "Denied", "unwritten": ["second"]}), ["second"]),
    (answered({"kind": "BadInput", "unwritten": ["first", "second"]}), ["first", "second"]),
    # No answer at all, which means each of its sinks and no other host's.
    (answered({"kind": "Unreachable"}), ["first", "part", "ref+file:///opt/part"]),
    (answered({"kind": "Host"}, host="app2"), ["ref+file:///opt/second"]),
    # The keyring, another run, an option: no place speaks against the write.
    (answered({"kind": "Unreachable", "place": "keyring"}), []),
    (answered({"kind": "Refused"}), []),
    (answered({"kind": "Host"}, action="keyturn.runbooks.consumer"), []),
]


def test_only_what_a_host_did_not_write_is_taken_for_unwritten(
    ansible: Ansible, scratch: Path
) -> None:
    group = [{"name": "part", "ref": "ref+file:///opt/a"}, {"ref": "ref+file:///opt/part"}]
    sinks = [
        {"name": "here", "ref": "ref+file:///opt/here"},
        {"name": "first", "ref": "ref+file:///opt/first", "host": "app1"},
        {"ref": "ref+file:///opt/second", "host": "app2"},
        {"group": group, "host": "app1"},
    ]
    tasks = [
        {
            "name": str(expected),
            "ansible.builtin.assert": {"that": "keyturn_unwritten == expected"},
            "vars": {**failed, "keyturn_sinks": sinks, "expected": expected},
        }
        for failed, expected in UNWRITTEN
    ]
    variables = Path(__file__).parents[2] / "roles" / "keyturn" / "vars" / "main.yml"
    play = {"hosts": "localhost", "gather_facts": False, "vars_files": [str(variables)]}
    (scratch / "play.yml").write_text(yaml.safe_dump([{**play, "tasks": tasks}]))
    ansible.run(str(scratch / "play.yml")).check()


THREE = ("takes", "refuses", "silent")


@pytest.fixture
def on_three(scratch: Path, database: Database, ansible: Ansible) -> Estate:
    """A credential whose sinks are on three hosts. Right before it is promoted, one begins to refuse, and one to be silent."""
    name = f"{database.name}_a"
    password = database.create_login(name)
    made = Estate(scratch, database, ansible)
    sinks = []
    for number, sink in enumerate(THREE, 1):
        place = scratch / f"{sink}.json"
        place.touch(0o600)
        place.write_text(json.dumps({"user": name}))
        about = {"template": "{current.username}", "host": f"app{number}"}
        sinks.append({"name": sink, "ref": f"ref+file://{place}?format=json#/user", **about})
    # The alert is asked before a rotation, and once more then.
    count = f'echo x >>{scratch}/asked; [ "$(wc -l <{scratch}/asked)" != 2 ]'
    harm = f"{count} || {{ echo '{{' >>{scratch}/refuses.json; rm {scratch}/python; }}"
    policy = {**made.definition()["keyturn_policy"], "alert": {"command": ["sh", "-c", harm]}}
    made.variables |= {"keyturn_sinks": sinks, "keyturn_consumers": [], "keyturn_policy": policy}
    made.add_probe({"type": "command", "argv": ["true"]})
    (scratch / "python").symlink_to(Path(sys.executable).resolve())
    own = {"ansible_connection": "local"}
    silent = {**own, "ansible_python_interpreter": f"{scratch}/python"}
    machines = {"all": {"hosts": {"app1": own, "app2": own, "app3": silent}}}
    (scratch / "inventory" / "machines.yml").write_text(yaml.safe_dump(machines))
    made.hand_over(name, password)
    made.adopt()
    return made


def test_a_run_that_hosts_held_up_names_the_sinks_there(on_three: Estate) -> None:
    failed = on_three.run("rotate_db", extra=FORCE).check(2)
    assert "Mend the place and run the same playbook again: it goes on from here" in failed.stdout
    [unwritten] = re.findall(r'"unwritten": (\[[^]]*\])', failed.stdout)[-1:]
    assert json.loads(unwritten) == ["refuses", "silent"]
    users = [(on_three.folder / f"{sink}.json").read_text() for sink in THREE]
    assert [on_three.roles[1] in user for user in users] == [True, False, False]
    previous = on_three.document().previous
    assert previous and not previous.failed
