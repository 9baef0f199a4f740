# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play's own ``environment`` says reaches the programs of its definitions; what the run merely inherited does not."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

import pytest
import yaml
from estate.playbook import Ansible

WRITE = "import json,os,sys; open(sys.argv[1], 'w').write(json.dumps(dict(os.environ)))"


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "module"])
def test_what_the_play_says_and_what_the_run_inherited(
    ansible_command: Ansible, tmp_path: Path, direct: bool
) -> None:
    value = secrets.token_urlsafe(16)
    found = {name: tmp_path / f"{name}.json" for name in ("consumer", "seen", "notify")}
    argv = {name: [sys.executable, "-S", "-c", WRITE, str(path)] for name, path in found.items()}
    consumer = {
        "name": "app",
        "type": "command",
        "argv": argv["consumer"],
        "seen": argv["seen"],
        "environment": {"OWN": "of the definition"},
    }
    notify = {"credential": "db", "event": "success", "text": "x"}
    contacts = [{"type": "command", "argv": argv["notify"]}]
    tasks = [
        {"keyturn.runbooks.consumer": {"definition": consumer}},
        {"keyturn.runbooks.notify": {**notify, "contacts": contacts}},
    ]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    play["environment"] = {"HTTPS_PROXY": "http://proxy:3128"}
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump([play]))
    env = {"VAULT_TOKEN": value, "AWS_SECRET_ACCESS_KEY": value, "MY_OWN": value}
    ansible_command.run(str(playbook), extra_vars={"keyturn_direct": direct}, env=env).check()
    for name, path in found.items():
        seen = json.loads(path.read_text())
        assert seen["HTTPS_PROXY"] == "http://proxy:3128", name
        assert ("OWN" in seen) is (name == "consumer")
        assert not {"VAULT_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_OWN"} & set(seen), name
        assert value not in path.read_text()
