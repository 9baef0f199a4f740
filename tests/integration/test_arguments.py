# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible itself does with a module's arguments when they go to another process: print, log, keep."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any

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


def play(ansible: Ansible, *tasks: dict[str, Any], **env: str) -> PlaybookResult:
    """Run tasks as modules of their own, which fail after they got their arguments."""
    playbook = Path(ansible.work_dir) / "play.yml"
    # Each in a play of its own: a failure is shown with the lines of the playbook above it.
    plays = [
        {"hosts": "localhost", "gather_facts": False, "tasks": [{**task, "ignore_errors": True}]}
        for task in tasks
    ]
    playbook.write_text(yaml.safe_dump(plays))
    direct = {"keyturn_direct": False}
    ended = ansible.run(str(playbook), "-vvvvv", "--diff", extra_vars=direct, env=env).check()
    assert f"ignored={len(tasks)} " in ended.stdout
    return ended


def each(ended: PlaybookResult) -> list[str]:
    """What was printed of each task."""
    return ended.stdout.split("\nTASK [")[1:]


def test_what_ansible_prints_when_it_debugs_holds_no_value(ansible_command: Ansible) -> None:
    ended = play(ansible_command, POOL, PROBE, ANSIBLE_DEBUG="1")
    # The tasks themselves were written into the playbook; their arguments are what is looked for.
    for part in each(ended):
        assert "done with _execute_module" in part
    told = ended.output + ansible_command.log()
    for form in (VALUE, VALUE.replace("\\", 2 * "\\"), base64.b64encode(VALUE.encode()).decode()):
        assert form not in told
    assert ansible_command.leftovers() == []


def test_values_are_not_put_into_a_file_that_stays(ansible_command: Ansible) -> None:
    ended = play(ansible_command, POOL, PROBE, ANSIBLE_KEEP_REMOTE_FILES="1")
    for part in each(ended):
        assert "would put this task's secret values into a temporary file" in part
    assert [
        path for path in ansible_command.leftovers() if VALUE in path.read_text(errors="replace")
    ] == []


def test_a_token_in_a_tasks_environment_does_not_get_into_a_command_line(ansible: Ansible) -> None:
    environment = {"VAULT_TOKEN": TOKEN, "PURPOSE": "a-test"}
    info = {"keyturn.runbooks.keyring_info": {"keyring": "ref+file:///nowhere/keyring.json"}}
    asked = [{**task, "environment": environment} for task in (POOL, info)]
    seen, refused = each(play(ansible, *asked))
    assert "EXEC" in seen
    assert "PURPOSE=a-test" in seen
    assert TOKEN not in seen.replace(f"VAULT_TOKEN: {TOKEN}", "")
    assert "put VAULT_TOKEN from this task's 'environment' into the command line" in refused
    assert f"VAULT_TOKEN={TOKEN}" not in refused


def test_a_password_in_a_url_does_not_get_there_either(ansible: Ansible) -> None:
    asked = [
        {**POOL, "environment": {name: f"http://user:{TOKEN}@127.0.0.1:1"}}
        for name in ("https_proxy", "ANSIBLE_HASHI_VAULT_PROXIES")
    ]
    for name, refused in zip(
        ("https_proxy", "ANSIBLE_HASHI_VAULT_PROXIES"), each(play(ansible, *asked)), strict=True
    ):
        assert f"put {name} from this task's 'environment' into the command line" in refused
        assert "EXEC" not in refused


def test_an_answer_that_is_not_the_modules_opens_no_gate(ansible: Ansible, scratch: Path) -> None:
    """Such as that of a wrapper which is set as interpreter and prints something of its own."""
    wrapper = scratch / "python"
    wrapper.write_text("#!/bin/sh\ncat >/dev/null\necho '{}'\n")
    wrapper.chmod(0o755)
    gates = [{"type": "not_connected", "host": "localhost", "ports": [1]}]
    task = {
        "keyturn.runbooks.gate": {"gates": gates, "host": "localhost"},
        "vars": {"ansible_python_interpreter": str(wrapper)},
    }
    assert "gave no answer that can be read" in play(ansible, task).stdout


def test_a_host_that_sends_back_what_it_is_sent_is_not_shown(
    ansible_command: Ansible, scratch: Path
) -> None:
    """Such as one whose interpreter is another program, or whose login prints its standard input."""
    value = secrets.token_urlsafe(24)
    kept, echo = scratch / "value", scratch / "python"
    kept.touch(mode=0o600)
    kept.write_text(value)
    echo.write_text("#!/bin/sh\nexec cat\n")
    echo.chmod(0o755)
    task = {
        "keyturn.runbooks.env_file": {
            "path": str(scratch / "app.env"),
            "fields": {"KEY": f"ref+file://{kept}"},
        },
        "vars": {"ansible_python_interpreter": str(echo)},
    }
    ended = play(ansible_command, task)
    assert "gave no answer that can be read" in ended.stdout
    sent = base64.b64encode(value.encode()).decode()
    body = json.dumps([value, True])
    inside = [base64.b64encode(f"{' ' * pad}{body}".encode()).decode() for pad in range(3)]
    middles = [text[6:-6] for text in (sent, *inside)]
    told = ended.output + ansible_command.log()
    assert value not in told
    assert not [text for text in middles if text in told]
    assert '"sealed"' not in told
