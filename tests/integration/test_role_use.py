# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role beside others in one play, and steered from another machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from estate.databases import Database
from estate.playbook import Ansible
from rotation import FORCE, Estate

pytestmark = pytest.mark.pg_versions("16")
HANDLER = "Reload consumers"


@pytest.mark.parametrize("place", ["play", "role"])
def test_a_handler_of_the_same_name_takes_nothing_away(
    scratch: Path, database: Database, ansible: Ansible, place: str
) -> None:
    name = f"{database.name}_a"
    password = database.create_login(name)
    estate = Estate(scratch, database, ansible)
    told = scratch / "told"
    writer = {"name": "app", "type": "command", "argv": ["touch", str(told)], "reads": ["app"]}
    # Consumers on other hosts are told by a handler.
    estate.variables["keyturn_consumers"] = [{**writer, "host": "app1"}]
    machine = {"all": {"hosts": {"app1": {"ansible_connection": "local"}}}}
    (scratch / "inventory" / "machines.yml").write_text(yaml.safe_dump(machine))
    estate.add_probe({"type": "command", "argv": ["true"]})
    estate.hand_over(name, password)
    estate.adopt()
    other = [{"name": HANDLER, "ansible.builtin.debug": {"msg": "another handler"}}]
    play: dict[str, object] = {
        "hosts": "postgres_roles",
        "gather_facts": False,
        "roles": ["keyturn.runbooks.keyturn"],
    }
    if place == "play":
        play["handlers"] = other
    else:
        handlers = scratch / "roles" / "other" / "handlers"
        handlers.mkdir(parents=True)
        (handlers / "main.yml").write_text(yaml.safe_dump(other))
        play["roles"] = ["keyturn.runbooks.keyturn", "other"]
    path = scratch / "play.yml"
    path.write_text(yaml.safe_dump([play]))
    ansible.run(str(path), inventory=scratch / "inventory", extra_vars=FORCE).check()
    assert told.exists()
    assert estate.document().receipts["app"].seen


def test_a_bastion_and_a_keyring_in_a_file_are_refused(
    scratch: Path, database: Database, ansible: Ansible
) -> None:
    name = f"{database.name}_a"
    password = database.create_login(name)
    estate = Estate(scratch, database, ansible)
    estate.hand_over(name, password)
    estate.adopt()
    machines = {"all": {"hosts": {"bastion": {"ansible_host": "127.0.0.1", "ansible_port": 9}}}}
    (scratch / "inventory" / "machines.yml").write_text(yaml.safe_dump(machines))
    before = estate.snapshot()
    refused = estate.run("rotate_db", extra={**FORCE, "keyturn_control_host": "bastion"}).check(2)
    assert "keyturn_control_host: bastion is another machine" in refused.stdout
    assert estate.snapshot() == before


def test_a_variable_that_nobody_reads_is_refused_with_the_one_that_was_meant(
    scratch: Path, database: Database, ansible: Ansible
) -> None:
    name = f"{database.name}_a"
    password = database.create_login(name)
    estate = Estate(scratch, database, ansible)
    estate.variables["keyturn_sink"] = estate.definition()["keyturn_sinks"]
    estate.add_probe({"type": "command", "argv": ["true"]})
    estate.hand_over(name, password)
    estate.adopt()
    before = estate.snapshot()
    for arguments in (["--check"], []):
        refused = estate.run("rotate_db", *arguments, extra={"keyturn_forced": True}).check(2)
        assert "there is no variable keyturn_sink; did you mean keyturn_sinks?" in refused.stdout
        assert "there is no variable keyturn_forced; did you mean keyturn_force?" in refused.stdout
    after = estate.snapshot()
    assert {**after, str(estate.keyring_path): "", str(estate.ledger_path): ""} == {
        **before,
        str(estate.keyring_path): "",
        str(estate.ledger_path): "",
    }
