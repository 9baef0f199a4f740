# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play's own ``environment`` says reaches the programs of its definitions; what the run merely inherited does not."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Any

import yaml
from estate.playbook import Ansible

PROGRAMS = ("consumer", "seen", "notify")
WRITE = "import json,os,sys; open(sys.argv[1], 'w').write(json.dumps(dict(os.environ)))"


def play(place: Path, direct: bool) -> dict[str, Any]:
    """A consumer, its proof and a contact that write down the environment in which they run."""
    argv = {
        name: [sys.executable, "-S", "-c", WRITE, str(place / f"{name}.json")] for name in PROGRAMS
    }
    consumer = {
        "name": "app",
        "type": "command",
        "argv": argv["consumer"],
        "seen": argv["seen"],
        "environment": {"OWN": "of the definition"},
    }
    notify = {"credential": "db", "event": "success", "text": "x"}
    contacts = [{"type": "command", "argv": argv["notify"]}]
    return {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"keyturn_direct": direct},
        "environment": {"HTTPS_PROXY": "http://proxy:3128"},
        "tasks": [
            {"keyturn.runbooks.consumer": {"definition": consumer}},
            {"keyturn.runbooks.notify": {**notify, "contacts": contacts}},
        ],
    }


def test_what_the_play_says_and_what_the_run_inherited(
    ansible_command: Ansible, tmp_path: Path
) -> None:
    value = secrets.token_urlsafe(16)
    places = {tmp_path / "direct": True, tmp_path / "module": False}
    for place in places:
        place.mkdir()
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump([play(*item) for item in places.items()]))
    env = {"VAULT_TOKEN": value, "AWS_SECRET_ACCESS_KEY": value, "MY_OWN": value}
    ansible_command.run(str(playbook), env=env).check()
    for path in (place / f"{name}.json" for place in places for name in PROGRAMS):
        seen = json.loads(path.read_text())
        assert seen["HTTPS_PROXY"] == "http://proxy:3128", path
        assert ("OWN" in seen) is (path.stem == "consumer")
        assert not {"VAULT_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_OWN"} & set(seen), path
        assert value not in path.read_text()
