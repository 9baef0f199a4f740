# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A place that takes no write in the middle of a rotation: both values stay accepted, and the same command ends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate.databases import Database
from estate.playbook import Ansible
from rotation import FORCE, Estate

pytestmark = pytest.mark.pg_versions("16")
GOES_ON = "Mend the place and run the same playbook again: it goes on from here"


def _spoils(folder: Path, harm: str) -> dict[str, Any]:
    """The check of the alert, which is asked before a rotation, and once more right before the value is promoted."""
    asked = folder / "asked"
    second = f'echo x >>{asked}; [ "$(wc -l <{asked})" != 2 ] || {harm}'
    return {"command": ["sh", "-c", second]}


@pytest.fixture(params=["here", "on another host"])
def estate(
    scratch: Path, database: Database, ansible: Ansible, request: pytest.FixtureRequest
) -> Estate:
    """A credential whose second sink is a JSON file."""
    name = f"{database.name}_a"
    password = database.create_login(name)
    made = Estate(scratch, database, ansible)
    config = scratch / "config.json"
    config.touch(0o600)
    config.write_text(json.dumps({"user": name, "other": "kept"}))
    there = {} if request.param == "here" else {"host": "app1"}
    ref = f"ref+file://{config}?format=json#/user"
    told = {"type": "command", "argv": ["sh", "-c", f"echo x >>{scratch}/told"]}
    made.variables["keyturn_consumers"] = [{"name": "app", **told, "reads": ["app", "config"]}]
    policy = {
        **made.definition()["keyturn_policy"],
        "alert": _spoils(scratch, f"echo '{{' >>{config}"),
    }
    made.variables["keyturn_policy"] = policy
    made.add_sink({"name": "config", "ref": ref, "template": "{current.username}", **there})
    machine = {"all": {"hosts": {"app1": {"ansible_connection": "local"}}}}
    (made.folder / "inventory" / "machines.yml").write_text(yaml.safe_dump(machine))
    made.hand_over(name, password)
    made.adopt()
    return made


def user_of(estate: Estate) -> Any:
    return json.loads((estate.folder / "config.json").read_text())["user"]


def where(estate: Estate) -> str:
    """How a message says on which host the place is."""
    [sink] = [one for one in estate.definition()["keyturn_sinks"] if one["name"] == "config"]
    return f" on {sink['host']}" if "host" in sink else ""


def test_it_is_held_and_the_same_command_ends_it(estate: Estate) -> None:
    config, told = estate.folder / "config.json", estate.folder / "told"
    was = config.read_text()
    failed = estate.run("rotate_db", extra=FORCE).check(2)
    told.unlink()
    assert GOES_ON in failed.stdout and f"sink 'config'{where(estate)} (" in failed.stdout
    document = estate.document()
    current, previous = document.current, document.previous
    assert current and previous and not previous.failed and document.claim is None
    assert current.text("username") == estate.roles[1] != previous.text("username")
    assert estate.accepts("current") and estate.accepts("previous")
    assert estate.roles[1] in estate.env_file.read_text()
    # While the place is as it is, nothing more is written, and the old value is not ended.
    before = estate.snapshot()
    refused = estate.run("rotate_db").check(2)
    assert "sinks: " in refused.stdout and str(config) in refused.stdout
    waiting = estate.run("retire_due").check()
    assert "its grace has not begun: run the rotation playbook to its end first" in waiting.output
    after = estate.snapshot()
    kept = [str(estate.env_file), "roles"]
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert estate.accepts("previous")
    config.write_text(was)
    estate.run("rotate_db", "--check").check()
    estate.run("rotate_db").check()
    assert user_of(estate) == estate.roles[1] and told.read_text() == "x\n"
    observed = estate.document().current
    assert observed and observed.status == "observed" and not estate.ledger_faults()
    estate.run("retire_due").check()
    assert estate.document().previous is None


def test_from_there_a_rollback_leads_back(estate: Estate) -> None:
    config = estate.folder / "config.json"
    was = config.read_text()
    estate.run("rotate_db", extra=FORCE).check(2)
    config.write_text(was)
    estate.run("rollback").check()
    document = estate.document()
    assert document.current and document.current.text("username") == estate.roles[0]
    assert user_of(estate) == estate.roles[0] and estate.roles[0] in estate.env_file.read_text()
