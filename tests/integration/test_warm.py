# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that was forked is like one that was started: its settings, its environment, its files, its end."""

from __future__ import annotations

import json
import os
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate.errors import EstateError
from estate.playbook import Ansible, PlaybookResult
from warm import WarmServers

SEEN = {
    "config": "{{ ansible_config_file }}",
    "local": "{{ lookup('ansible.builtin.config', 'DEFAULT_LOCAL_TMP') | dirname }}",
    "log": "{{ lookup('ansible.builtin.config', 'DEFAULT_LOG_PATH') }}",
    "home": "{{ lookup('ansible.builtin.config', 'ANSIBLE_HOME') }}",
    "forks": "{{ lookup('ansible.builtin.config', 'DEFAULT_FORKS') }}",
    "mark": "{{ lookup('ansible.builtin.env', 'MARK', default='none') }}",
    "program": "{{ told.stdout }}",
}


def look(ansible: Ansible, **env: str) -> tuple[dict[str, Any], PlaybookResult]:
    """What a task of a run sees; the place of its files is left out."""
    command = {"ansible.builtin.command": "env", "register": "told"}
    debug = {"ansible.builtin.debug": {"msg": "{{ seen | to_json }}"}, "vars": {"seen": SEEN}}
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [command, debug]}
    book = ansible.work_dir / "look.yml"
    book.write_text(yaml.safe_dump([play]))
    done = ansible.run(str(book), env=env).check()
    (line,) = [line for line in done.stdout.splitlines() if '"msg": ' in line]
    text = json.loads(line.split(": ", 1)[1]).replace(str(ansible.work_dir), "PLACE")
    seen: dict[str, Any] = json.loads(text)
    kept = [item for item in seen["program"].split("\n") if not item.startswith(("_=", "SHLVL="))]
    return {**seen, "program": sorted(kept)}, done


def test_the_same_is_seen_as_in_a_process_of_its_own(
    ansible: Ansible, ansible_command: Ansible
) -> None:
    forked, _done = look(ansible, MARK="here")
    started, _done = look(ansible_command, MARK="here")
    assert forked == started
    assert forked["mark"] == "here" and "MARK=here" in forked["program"]
    assert forked["log"] == "PLACE/ansible.log" and forked["local"] == "PLACE/tmp/local"


def test_nothing_of_one_run_is_in_the_next(ansible: Ansible) -> None:
    assert look(ansible, MARK="first")[0]["mark"] == "first"
    seen, done = look(ansible)
    assert seen["mark"] == "none" and not any("MARK" in item for item in seen["program"])
    assert "first" not in done.output
    assert ansible.log().count("PLAY RECAP") == 2
    assert ansible.leftovers() == []


def test_a_configuration_file_is_read(ansible: Ansible) -> None:
    assert look(ansible)[0]["forks"] == 5
    (ansible.work_dir / "ansible.cfg").write_text("[defaults]\nforks = 3\n")
    assert look(ansible)[0]["forks"] == 3


def test_sources_of_modules_are_compiled_once(ansible: Ansible, warm_servers: WarmServers) -> None:
    assert look(ansible)[0]["forks"] == 5
    kept = warm_servers.place / "bytecode"
    compiled = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert compiled and all(path.read_bytes().startswith(MAGIC_NUMBER) for path in compiled)
    assert look(ansible, ANSIBLE_FORKS="3")[0]["forks"] == 3
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == compiled


def test_how_it_ended_is_told(ansible: Ansible) -> None:
    missing = ansible.run("nowhere.yml")
    assert missing.check(1).output.count("could not be found") == 1
    assert ansible.run(os.devnull, "--no-such-option").returncode == 2


def test_few_servers_live_and_a_broken_one_says_why(tmp_path: Path, collections: Path) -> None:
    (tmp_path / "servers").mkdir()
    servers = WarmServers(tmp_path / "servers", collections, most=1)
    config = tmp_path / "ansible.cfg"
    config.touch()
    env = {"ANSIBLE_CONFIG": str(config), "LC_ALL": "C.UTF-8"}
    first = servers.of(env)
    assert servers.of({**env, "ANSIBLE_LOG_PATH": "elsewhere", "HOME": "elsewhere"}) is first
    broken = {**env, "ANSIBLE_FORKS": "many"}
    with pytest.raises(EstateError, match="FORKS"):
        servers.of(broken).fork([], env, tmp_path, tmp_path)
    assert servers.of(env) is not first
    servers.close()
