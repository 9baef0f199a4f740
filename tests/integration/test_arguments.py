# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible itself does with a module's arguments when they go to another process: print, log, keep."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate.playbook import Ansible, PlaybookResult

VALUE = "s3cr3t-\\-of-arguments"
TOKEN = "hvs.of-the-environment"
POOL = {
    "keyturn.runbooks.pgbouncer": {
        "userlist": "/nowhere/userlist.txt",
        "entries": [{"name": "app", "secret": VALUE}],
        "admin_login": {"username": "admin", "password": VALUE, "port": 1},
    }
}
PROBE = {
    "keyturn.runbooks.probe": {
        "value": {"username": "app", "password": VALUE},
        "probes": [{"type": "postgres", "host": "127.0.0.1", "port": 1, "dbname": "app"}],
        "timeout": "0s",
        "retries": 0,
    }
}


def play(ansible: Ansible, task: dict[str, Any], **env: str) -> PlaybookResult:
    """Run one task as a module of its own, which fails after it got its arguments."""
    playbook = Path(ansible.work_dir) / "play.yml"
    plays = [{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]
    playbook.write_text(yaml.safe_dump(plays))
    direct = {"keyturn_direct": False}
    return ansible.run(str(playbook), "-vvvvv", "--diff", extra_vars=direct, env=env).check(2)


@pytest.mark.parametrize("task", [POOL, PROBE], ids=["host", "controller"])
def test_what_ansible_prints_when_it_debugs_holds_no_value(
    ansible_command: Ansible, task: dict[str, Any]
) -> None:
    ended = play(ansible_command, task, ANSIBLE_DEBUG="1")
    # The task itself was written into the playbook; its arguments are what is looked for.
    assert "done with _execute_module" in ended.output
    told = ended.output + ansible_command.log()
    for form in (VALUE, VALUE.replace("\\", 2 * "\\"), base64.b64encode(VALUE.encode()).decode()):
        assert form not in told
    assert ansible_command.leftovers() == []


@pytest.mark.parametrize("task", [POOL, PROBE], ids=["host", "controller"])
def test_values_are_not_put_into_a_file_that_stays(
    ansible_command: Ansible, task: dict[str, Any]
) -> None:
    ended = play(ansible_command, task, ANSIBLE_KEEP_REMOTE_FILES="1")
    assert "would put this task's secret values into a temporary file" in ended.output
    assert [
        path for path in ansible_command.leftovers() if VALUE in path.read_text(errors="replace")
    ] == []


def test_a_token_in_a_tasks_environment_does_not_get_into_a_command_line(
    ansible_command: Ansible,
) -> None:
    environment = {"VAULT_TOKEN": TOKEN, "PURPOSE": "a-test"}
    seen = play(ansible_command, {**POOL, "environment": environment}).output
    assert "EXEC" in seen
    assert "PURPOSE=a-test" in seen
    assert TOKEN not in seen.replace(f"VAULT_TOKEN: {TOKEN}", "")
    info = {"keyturn.runbooks.keyring_info": {"keyring": "ref+file:///nowhere/keyring.json"}}
    refused = play(ansible_command, {**info, "environment": environment}).output
    assert "put VAULT_TOKEN from this task's 'environment' into the command line" in refused
    assert f"VAULT_TOKEN={TOKEN}" not in refused
