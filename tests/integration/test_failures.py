# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that fail: what they say last, what they leave behind, and whether doing as they say ends it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate.databases import Database
from estate.playbook import Ansible, PlaybookResult
from estate.processes import descendants, wait_until
from rotation import FORCE, PLUGINS, Estate

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Estate]
SOON = {**FORCE, "keyturn_wait": "2s"}


@pytest.fixture
def make(scratch: Path, database: Database, ansible: Ansible) -> Maker:
    """Makes the estate of an adopted credential whose application nobody runs: what is told to it succeeds."""

    def maker(**options: Any) -> Estate:
        first = f"{database.name}_a"
        password = database.create_login(first)
        made = Estate(scratch, database, ansible, **options)
        told = {"name": "app", "type": "command", "argv": ["true"], "reads": ["app"]}
        made.variables.setdefault("keyturn_consumers", [told])
        made.hand_over(first, password)
        made.add_probe({"type": "command", "argv": ["true"]})
        made.adopt()
        return made

    return maker


def redefine(estate: Estate, **variables: Any) -> None:
    """Change the credential's host_vars."""
    estate.variables.update(variables)
    estate.add_probe({"type": "command", "argv": ["true"]})


def contact(estate: Estate) -> Path:
    """Where the owner's mail goes from now on."""
    told = estate.folder / "told"
    writer = {"type": "command", "argv": ["sh", "-c", f"cat >> {told}"]}
    redefine(estate, keyturn_policy={**estate.definition()["keyturn_policy"], "contacts": [writer]})
    return told


def refused_in_use(estate: Estate) -> dict[str, Any]:
    """A check that fails once the new role is in the env file."""
    code = f"import sys; sys.exit({estate.roles[1]!r} in open({str(estate.env_file)!r}).read())"
    return {"type": "command", "argv": [sys.executable, "-c", code]}


def last_message(run: PlaybookResult) -> str:
    """What the last failed task said."""
    return [line for line in run.stdout.splitlines() if line.startswith("fatal: ")][-1]


def test_phases_one_run_each_and_a_failed_one_returns(make: Maker) -> None:
    estate = make()
    told = contact(estate)
    for tags in ("preflight", "stage", "apply,prove", "promote"):
        estate.run("rotate_db", "--tags", tags, extra=FORCE).check()
        assert estate.document().claim is None
    document = estate.document()
    assert document.current and document.current.status == "promoted"
    assert not told.exists(), "success was told before there was any"
    estate.add_probe(refused_in_use(estate))
    failed = estate.run("rotate_db", "--tags", "observe", extra=SOON).check(2)
    assert "The previous value was made current again" in last_message(failed)
    assert "Watch the health of what uses it: command" in last_message(failed)
    document = estate.document()
    assert document.current and document.current.text("username") == estate.roles[0]
    assert document.previous and document.previous.failed and document.claim is None
    assert '"event": "failure"' in told.read_text()


def test_a_cut_over_that_was_killed_half_way_goes_on(make: Maker) -> None:
    estate = make(strategy="same_role")
    told = contact(estate)
    task = "Bring it to its sinks and consumers"
    estate.killed("rotate_db", task, "append ledger.jsonl 1", extra=FORCE)
    estate.run("rotate_db").check()
    document = estate.document()
    assert document.current and document.current.status == "observed"
    assert document.previous and not document.previous.failed
    assert estate.accepts("current") and not estate.accepts("previous")
    assert f"Rotation {document.current.rotation_id} is in use; the previous" in told.read_text()


def test_a_host_that_does_not_answer_is_named(make: Maker) -> None:
    estate = make()
    far = {"ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_connection": "ssh"}
    hosts = {"all": {"hosts": {"app1": far}}}
    (estate.folder / "inventory" / "machines.yml").write_text(yaml.safe_dump(hosts))
    estate.add_consumer({"name": "far", "type": "command", "host": "app1", "argv": ["true"]})
    failed = estate.run("rotate_db", extra=FORCE).check(2)
    assert "consumers: the host of this task cannot be reached: " in last_message(failed)
    assert "See to the connection to app1, then run" in last_message(failed)
    assert "defect" not in failed.output
    assert estate.document().claim is None and estate.accepts("current")


def test_a_sink_that_is_behind_is_written_as_the_gate_says(make: Maker) -> None:
    estate = make()
    estate.run("rotate_db", extra=FORCE).check()
    right = estate.env_file.read_text()
    estate.env_file.write_text(right.replace("DATABASE_URL=", "DATABASE_URL=other"))
    refused = estate.run("retire_due").check(2)
    assert "with --tags promote" in last_message(refused)
    estate.run("rotate_db", "--tags", "promote").check()
    assert estate.env_file.read_text() == right
    estate.run("retire_due").check()
    assert estate.document().previous is None


def test_a_return_that_fails_too_tells_both_causes(make: Maker) -> None:
    estate = make()
    broken = estate.folder / "broken"
    argv = ["sh", "-c", f"echo . >> {estate.folder}/reloads; test ! -e {broken}"]
    consumer = {"name": "app", "type": "command", "argv": argv, "reads": ["app"]}
    gone = {"type": "command", "argv": ["test", "!", "-e", str(broken)]}
    redefine(estate, keyturn_consumers=[consumer])
    estate.killed("rotate_db", "Look once more, and promote the proved value", "after", extra=FORCE)
    broken.touch()
    estate.add_probe(gone)
    failed = estate.run("rotate_db", extra=SOON).check(2)
    message = last_message(failed)
    assert "consumer app: 'sh' ended with exit code 1" in message
    assert "The return to the previous value was begun and failed too" in message
    broken.unlink()
    reloads = (estate.folder / "reloads").read_text()
    ended = estate.run("rotate_db").check()
    assert "is in use again: the one that failed" in ended.output
    document = estate.document()
    assert document.current and document.current.status == "observed" and document.claim is None
    assert document.current.text("username") == estate.roles[0]
    assert (estate.folder / "reloads").read_text() != reloads, "it may use the value that failed"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_no_process_goes_on_after_the_run_was_ended(make: Maker, number: signal.Signals) -> None:
    """Whoever runs it next must not meet one that is still at work, and nobody hears of a failure that is none."""
    estate = make()
    told = contact(estate)
    asked, hangs = estate.folder / "asked", estate.folder / "hangs"
    hangs.touch()
    program = f"echo x >> {asked}; test ! -e {hangs} || sleep 600"
    estate.add_consumer(
        {"name": "slow", "type": "command", "argv": ["sh", "-c", program], "timeout": "300s"}
    )
    running = estate.start("rotate_db", extra=FORCE)
    wait_until(asked.exists, 60, "the consumer's program")
    started = descendants(running.pid)
    assert len(started) >= 2
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, number)
    wait_until(lambda: not any(map(alive, started)), 10, "the end of every process")
    running.wait()
    before = estate.ledger_path.read_text()
    assert not told.exists() and estate.document().claim is not None
    hangs.unlink()
    estate.run("rotate_db", extra=None if in_use(estate) else FORCE).check()
    assert estate.document().claim is None and estate.ledger_faults() == []
    assert estate.ledger_path.read_text().startswith(before)
    assert estate.phases().count("stage") == 1 and '"failed"' not in estate.ledger_path.read_text()


def in_use(estate: Estate) -> bool:
    """Whether the new value is the current one."""
    current = estate.document().current
    return bool(current and current.text("username") == estate.roles[1])


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_what_was_done_before_a_failure_is_shown(make: Maker) -> None:
    estate = make()
    estate.add_consumer({"name": "no", "type": "command", "argv": ["false"], "reads": ["app"]})
    failed = estate.run("rotate_db", "--diff", extra=FORCE).check(2)
    assert "FAILED: Show it to whoever checks credentials: " in failed.stderr
    assert f"+role {estate.roles[1]}" in failed.stderr.replace(" ", " ")


def test_contacts_hear_of_the_rotation_that_failed_and_what_to_do(make: Maker) -> None:
    estate = make()
    told = contact(estate)
    estate.add_probe(refused_in_use(estate))
    estate.run("rotate_db", extra=SOON).check(2)
    (mail,) = map(json.loads, told.read_text().splitlines())
    document = estate.document()
    assert document.previous and mail["rotation_id"] == document.previous.rotation_id
    assert mail["phase"] == "observe"
    assert "The previous value was made current again and proved" in mail["text"]
    estate.run("retire_due").check()
    redefine(estate, keyturn_probes=[{"type": "postgres", "check": ["SELECT nothing"]}])
    told.unlink()
    estate.run("rotate_db", extra=SOON).check(2)
    (mail,) = map(json.loads, told.read_text().splitlines())
    pending = estate.document().pending
    assert pending and mail["rotation_id"] == pending.rotation_id and mail["phase"] == "prove"
    assert "undo the new value with the abandon playbook" in mail["text"]


def test_later_phases_of_a_value_that_the_issuer_does_not_know(make: Maker) -> None:
    estate = make()
    first = estate.run("rotate_db", "--tags", "stage", extra=FORCE).check()
    assert "not finished: only some phases were asked for" in first.output
    refused = estate.run("rotate_db", "--tags", "reload").check(2)
    assert "tags: the pending value is 'issued' yet" in last_message(refused)
    estate.run("rotate_db").check()
    assert in_use(estate)


def test_a_module_of_its_own_takes_no_step_after_the_run_was_ended(make: Maker) -> None:
    estate = make(variables={"keyturn_direct": False})
    asked = estate.folder / "asked"
    slow = ["sh", "-c", f"touch {asked}; sleep 2"]
    estate.add_consumer({"name": "slow", "type": "command", "argv": slow})
    running = estate.start("rotate_db", extra=FORCE)
    wait_until(asked.exists, 60, "the consumer's program")
    before, started = estate.ledger_path.read_text(), descendants(running.pid)
    os.kill(running.pid, signal.SIGTERM)
    wait_until(lambda: not any(map(alive, started)), 30, "the end of every process")
    assert estate.ledger_path.read_text() == before
    pending = estate.document().pending
    assert pending and pending.status == "applied"


def test_a_copy_that_a_killed_run_left_goes_although_nothing_is_written(make: Maker) -> None:
    estate = make()
    estate.run("rotate_db", extra=FORCE).check()
    left = estate.env_file.with_name(f".{estate.env_file.name}.keyturn-1-0123abcd")
    left.touch()
    looked = estate.run("rotate_db", "--check", "--tags", "reload").check()
    assert left.exists() and "changed=0" in looked.stdout
    again = estate.run("rotate_db", "--tags", "reload").check()
    assert not left.exists() and "changed=0" in again.stdout


@pytest.mark.parametrize("direct", [True, False])
def test_callbacks_are_not_handed_a_value_that_is_written_in_the_clear(
    make: Maker, direct: bool
) -> None:
    estate = make(variables={"keyturn_direct": direct})
    (value,) = estate.secrets()
    estate.keyring_path.unlink()
    estate.ledger_path.unlink()
    kept = estate.folder / "fields"
    env = {"ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS), "ANSIBLE_CALLBACKS_ENABLED": "fields"}
    given = {"keyturn_adopt": {"username": estate.first[0], "password": value}}
    estate.run("adopt", extra=given, KEYTURN_FIELDS=str(kept), **env).check()
    assert '"purpose": "adopt"' in kept.read_text() and value not in kept.read_text()


def test_a_task_that_is_not_to_be_logged_prints_nothing(make: Maker) -> None:
    estate = make()
    redefine(estate, keyturn_probes=[refused_in_use(estate)], keyturn_wait="1s")
    role = {"ansible.builtin.import_role": {"name": "keyturn.runbooks.keyturn"}, "no_log": True}
    path = estate.folder / "play.yml"
    path.write_text(
        yaml.safe_dump([{"hosts": "postgres_roles", "gather_facts": False, "tasks": [role]}])
    )
    inventory = estate.folder / "inventory"
    silent = estate.ansible.run(str(path), "--diff", inventory=inventory, extra_vars=FORCE).check(2)
    assert "the output has been hidden" in silent.output
    assert silent.steps == [] and estate.roles[1] not in silent.output
