# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keyring's own modules, inside Ansible's process and as ordinary modules: same arguments, same results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate.playbook import PlaybookResult

RunPlaybook = Callable[..., PlaybookResult]
BOTH = pytest.mark.parametrize("direct", [True, False], ids=["direct", "module"])


def play(folder: Path, *tasks: dict[str, Any]) -> Path:
    """A playbook of these tasks over one keyring in a file, with its audit log."""
    access = {
        "keyring": f"ref+file://{folder}/keyring.json",
        "ledger": f"ref+file://{folder}/ledger.jsonl",
        "credential": "db_app",
    }
    numbered = [{**task, "register": f"result_{number}"} for number, task in enumerate(tasks)]
    shown = {
        "ansible.builtin.debug": {"msg": "{{ lookup('ansible.builtin.vars', item) | to_json }}"}
    }
    names = [task["register"] for task in numbered]
    body = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "module_defaults": {"group/keyturn.runbooks.keyturn": access},
        "tasks": [*numbered, {**shown, "loop": names, "name": "Results"}],
    }
    path = folder / "play.yml"
    path.write_text(yaml.safe_dump([body]))
    return path


def results(done: PlaybookResult) -> list[dict[str, Any]]:
    """What each task returned."""
    lines = [
        line.strip() for line in done.stdout.splitlines() if line.strip().startswith('"msg": ')
    ]
    return [json.loads(json.loads(line.split(": ", 1)[1])) for line in lines]


def step(name: str) -> dict[str, Any]:
    return {"keyturn.runbooks.keyring": {"transition": name}}


@BOTH
def test_claim_look_verify_release(scratch: Path, run_playbook: RunPlaybook, direct: bool) -> None:
    tasks = [
        step("claim"),
        step("claim"),
        {"keyturn.runbooks.keyring_info": {"versions": True}},
        {"keyturn.runbooks.receipts": {}},
        {"keyturn.runbooks.verify_ledger": {}},
        step("release"),
        step("release"),
    ]
    path = play(scratch, *tasks)
    done = run_playbook(str(path), extra_vars={"keyturn_direct": direct}).check()
    found = results(done)
    assert [item["changed"] for item in found] == [True, False, False, False, False, True, False]
    assert found[2]["keyring"]["claim"]["run_id"] and found[2]["due"]["state"] == "never_rotated"
    assert [item["state"] for item in found[2]["versions"]] == ["current"]
    assert found[4]["lines"] == 1 and found[5]["keyring"]["claim"] is None


HARMS: dict[str, Callable[[list[str]], list[str]]] = {
    "the end is cut": lambda lines: lines[:-2],
    "were removed": lambda lines: lines[1:],
    "was changed": lambda lines: [lines[0].replace("root", "eve"), *lines[1:]],
}


@BOTH
def test_a_ledger_that_was_tampered_with_is_refused(
    scratch: Path, run_playbook: RunPlaybook, direct: bool
) -> None:
    who = {"keyturn_who": "root"}
    for _run in range(2):
        run_playbook(str(play(scratch, step("claim"), step("release"))), extra_vars=who).check()
    lines = (scratch / "ledger.jsonl").read_text().splitlines(keepends=True)
    looks: list[dict[str, Any]] = [{"keyturn.runbooks.verify_ledger": {}}]
    for number, harm in enumerate(HARMS.values()):
        harmed = scratch / f"harmed-{number}.jsonl"
        harmed.touch(mode=0o600)
        harmed.write_text("".join(harm(lines)))
        look = {"keyturn.runbooks.verify_ledger": {"ledger": f"ref+file://{harmed}"}}
        looks.append({**look, "ignore_errors": True})
    done = run_playbook(str(play(scratch, *looks)), extra_vars={"keyturn_direct": direct}).check()
    whole, *found = results(done)
    assert whole["lines"] == len(lines)
    assert [item["failed"] for item in found] == [True] * len(HARMS)
    for words, item in zip(HARMS, found, strict=True):
        assert words in item["msg"]


@BOTH
def test_a_wrong_option_is_named(scratch: Path, run_playbook: RunPlaybook, direct: bool) -> None:
    path = play(scratch, {"keyturn.runbooks.keyring": {"transition": "revoke"}})
    told = run_playbook(str(path), extra_vars={"keyturn_direct": direct}).check(2)
    assert "value of transition must be one of" in told.output
    assert not (scratch / "keyring.json").exists()
