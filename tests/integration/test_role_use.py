# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role beside others in one play, and steered from another machine."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate.databases import Database
from estate.playbook import Ansible, PlaybookResult
from rotation import FORCE, Estate

pytestmark = pytest.mark.pg_versions("16")
CHECK = {"type": "command", "argv": ["true"]}


@pytest.fixture
def far(scratch: Path, database: Database, ansible: Ansible) -> Callable[..., Estate]:
    """Makes an adopted credential whose application is on another host."""

    def maker(*argv: str, adopted: bool = True, host: str = "app1") -> Estate:
        name = f"{database.name}_a"
        password = database.create_login(name)
        estate = Estate(scratch, database, ansible)
        app = {"name": "app", "type": "command", "argv": list(argv), "reads": ["app"], "host": host}
        estate.variables["keyturn_consumers"] = [app]
        machine = {"all": {"hosts": {host: {"ansible_connection": "local"}}}}
        (scratch / "inventory" / "machines.yml").write_text(yaml.safe_dump(machine))
        estate.add_probe(CHECK)
        estate.hand_over(name, password)
        if adopted:
            estate.adopt()
        return estate

    return maker


def play(estate: Estate, *arguments: str, **keys: Any) -> PlaybookResult:
    """A play of a user's own, with the role and these keywords."""
    path = estate.folder / "play.yml"
    own = {"hosts": "postgres_roles", "gather_facts": False, "roles": ["keyturn.runbooks.keyturn"]}
    path.write_text(yaml.safe_dump([{**own, **keys}]))
    inventory = estate.folder / "inventory"
    return estate.ansible.run(str(path), *arguments, inventory=inventory, extra_vars=FORCE)


def fails_once(folder: Path, at: int) -> list[str]:
    """A program that fails when it is run for that time."""
    count = f"echo x >> {folder}/runs; test $(wc -l < {folder}/runs) -ne {at}"
    return ["sh", "-c", count]


def test_the_way_back_reaches_a_host_where_the_way_there_failed(
    far: Callable[..., Estate], scratch: Path
) -> None:
    # It is told when the value is shown, because nobody was seen using the one before, and again when it is brought into use.
    estate = far(*fails_once(scratch, 2))
    failed = play(estate).check(2)
    assert "The previous value was made current again and proved" in failed.stdout
    assert (scratch / "runs").read_text().count("x") == 3
    document = estate.document()
    assert document.current and document.current.text("username") == estate.roles[0]
    assert document.previous and document.previous.failed and document.claim is None


def test_handlers_of_the_play_wait_for_its_end(far: Callable[..., Estate]) -> None:
    estate = far("true")
    notifies = {"ansible.builtin.debug": {}, "changed_when": True, "notify": "Of the play"}
    role = {"ansible.builtin.import_role": {"name": "keyturn.runbooks.keyturn"}}
    handler = {"name": "Of the play", "ansible.builtin.fail": {"msg": "it has failed"}}
    ended = play(estate, roles=[], tasks=[notifies, role], handlers=[handler]).check(2)
    assert "it has failed" in ended.output
    document = estate.document()
    assert document.current and document.current.text("username") == estate.roles[1]
    assert document.current.status == "observed" and document.claim is None


def test_errors_that_a_play_ignores_stop_a_rotation(
    far: Callable[..., Estate], scratch: Path
) -> None:
    estate = far(*fails_once(scratch, 2))
    play(estate, ignore_errors=True).check()
    document = estate.document()
    assert document.current and document.current.text("username") == estate.roles[0]


def test_a_play_that_is_always_dry_is_as_dry_as_a_run(far: Callable[..., Estate]) -> None:
    estate = far("true")
    before = estate.snapshot()
    dry = play(estate, check_mode=True).check()
    assert "Watch the health of what uses it" in dry.steps
    assert estate.snapshot() == before
    play(estate, "--check", "--diff").check()
    assert estate.snapshot() == before


def test_a_limit_for_tasks_does_not_cut_off_the_way_back(
    scratch: Path, database: Database, ansible: Ansible
) -> None:
    name = f"{database.name}_a"
    password = database.create_login(name)
    estate = Estate(scratch, database, ansible)
    slow = "sleep 2; " + fails_once(scratch, 2)[2]
    app = {"name": "app", "type": "command", "argv": ["sh", "-c", slow], "reads": ["app"]}
    estate.variables["keyturn_consumers"] = [app]
    estate.add_probe(CHECK)
    estate.hand_over(name, password)
    estate.adopt()
    failed = estate.run("rotate_db", extra=FORCE, ANSIBLE_TASK_TIMEOUT="3").check(2)
    assert "The previous value was made current again and proved" in failed.stdout
    assert estate.document().claim is None


def test_a_host_that_bears_the_users_name_is_reached(far: Callable[..., Estate]) -> None:
    """As a module of its own: Ansible masks what is part of a secret option in whatever the module returns."""
    estate = far("true", adopted=False)
    other = f"{estate.first[0]}.example"
    estate.variables["keyturn_consumers"][0]["host"] = other
    machine = {"all": {"hosts": {other: {"ansible_connection": "local"}}}}
    (estate.folder / "inventory" / "machines.yml").write_text(yaml.safe_dump(machine))
    sink = {**estate.definition()["keyturn_sinks"][0], "host": other}
    estate.variables.update(keyturn_direct=False, keyturn_sinks=[sink])
    estate.add_probe(CHECK)
    adopted = estate.run("adopt", extra=estate.adoption).check()
    assert f"-> {other}]" in adopted.stdout
    assert estate.document().current


@pytest.mark.parametrize("text", ["{{ '%s' | to_datetime }}", "%s{{", "{{ %s }}"])
def test_a_template_that_fails_does_not_quote_the_value(
    far: Callable[..., Estate], text: str
) -> None:
    estate = far("true", adopted=False)
    value = f"v{secrets.token_hex(8)}"
    given = {"username": estate.first[0], "password": text % value}
    estate.variables["keyturn_adopt"] = given
    estate.add_probe(CHECK)
    refused = estate.run("adopt").check(2)
    assert "keyturn_adopt: its template cannot be filled" in refused.output
    assert value not in refused.output + estate.ansible.log()


def test_a_variable_that_is_not_there_is_named(far: Callable[..., Estate]) -> None:
    estate = far("true", adopted=False)
    estate.variables["keyturn_owner"] = "{{ nobody_knows }}"
    estate.add_probe(CHECK)
    refused = estate.run("rotate_db").check(2)
    assert (
        "keyturn_owner: its template cannot be filled: 'nobody_knows' is undefined"
        in refused.output
    )


def test_what_is_omitted_is_left_out_and_defaults_of_a_play_do_not_count(
    far: Callable[..., Estate],
) -> None:
    estate = far("true")
    estate.variables["keyturn_owner"] = "{{ nobody_knows | default(omit) }}"
    estate.variables["keyturn_issuer"] = {
        **estate.definition()["keyturn_issuer"],
        "like": "{{ nobody_knows | default(omit) }}",
    }
    estate.add_probe(CHECK)
    play = {
        "hosts": "postgres_roles",
        "gather_facts": False,
        "module_defaults": {"group/keyturn.runbooks.keyturn": {"keyring": "ref+file:///nowhere"}},
        "roles": ["keyturn.runbooks.keyturn"],
    }
    book = estate.folder / "own.yml"
    book.write_text(yaml.safe_dump([play]))
    inventory = estate.folder / "inventory"
    estate.ansible.run(str(book), inventory=inventory, extra_vars=FORCE).check()
    current = estate.document().current
    assert current and current.text("username") == estate.roles[1]


def test_only_a_rotation_is_done_in_parts(far: Callable[..., Estate]) -> None:
    estate = far("true")
    estate.run("rotate_db", extra=FORCE).check()
    looked = estate.run("rollback", "--tags", "promote").check()
    assert "only the gates were checked, because the tags that were chosen" in looked.output
    current = estate.document().current
    assert current and current.text("username") == estate.roles[1]
    estate.run("rollback", "--skip-tags", "observe").check()
    current = estate.document().current
    assert current and current.text("username") == estate.roles[0]
    estate.run("retire_due", "--skip-tags", "reload").check()
    assert estate.document().previous is None


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
