# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rotation leaves beside its value, told by a dry run and then done: a copy, a day, and one line of a log."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from estate.playbook import Ansible, PlaybookResult
from rotation import FORCE

LINE = "{current.promoted} KEY-ROTATED platform=restream reason={current.reason|json} operator={current.operator}"
SAID = re.compile(r'\S+Z KEY-ROTATED platform=restream reason="a \\"leak\\"" operator=mira')


def definition(folder: Path) -> dict[str, Any]:
    here = f"ref+file://{folder}"
    accepted = "{current,pending,previous.value|join:\n}\n"
    sinks = [
        {"name": "allowed", "ref": f"{here}/allowed", "template": accepted},
        {"name": "key", "ref": f"{here}/key", "template": "{current.value}\n"},
        {"name": "day", "ref": f"{here}/profile.yaml?format=yaml#/day"},
        {"name": "log", "ref": f"{here}/log?format=log", "template": LINE},
    ]
    sinks[1]["backup"] = {"keep": "7d"}
    sinks[2]["template"] = "{current.promoted|date}"
    # Shows the value to whoever is asked; who has it in the list says yes.
    proof = f'grep -qxF "$KEY" {folder}/allowed'
    shown = {"environment": {"KEY": "{pending.value}"}, "refused_rc": 1}
    told = f"echo told >>{folder}/told"
    return {
        "keyturn_keyring": f"{here}/keyring.json",
        "keyturn_policy": {"rotate": "age", "max_age": "90d", "grace": "0s"},
        "keyturn_issuer": {"type": "generated", "overlap": True},
        "keyturn_sinks": sinks,
        "keyturn_consumers": [
            {"name": "relay", "type": "command", "argv": ["sh", "-c", told], "reads": ["key"]}
        ],
        "keyturn_probes": [{"type": "command", "argv": ["sh", "-c", proof], **shown}],
        "keyturn_reason": 'a "leak"',
        "keyturn_who": "mira",
    }


class Flow:
    """Runs of playbooks for one credential."""

    def __init__(self, folder: Path, ansible: Ansible) -> None:
        self.folder, self.ansible = folder, ansible
        (folder / "inventory" / "host_vars").mkdir(parents=True)
        hosts = {"all": {"children": {"credentials": {"hosts": {"restream": None}}}}}
        (folder / "inventory" / "hosts.yml").write_text(yaml.safe_dump(hosts))
        variables = folder / "inventory" / "host_vars" / "restream.yml"
        variables.write_text(yaml.safe_dump(definition(folder)))
        (folder / "profile.yaml").write_text("# mine\nday: never   # yet\n")

    def run(self, playbook: str, *arguments: str) -> PlaybookResult:
        name = f"keyturn.runbooks.{playbook}"
        inventory = self.folder / "inventory"
        return self.ansible.run(name, *arguments, inventory=inventory, extra_vars=FORCE).check()

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def state(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.folder.iterdir() if path.is_file()}


def changed(result: PlaybookResult) -> list[str]:
    return re.findall(r"changed=(\d+)", result.stdout)


def test_a_rotation_and_its_way_back(scratch: Path, ansible: Ansible) -> None:
    flow = Flow(scratch, ansible)
    today = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    flow.run("rotate")
    first, told = flow.text("key"), flow.text("told")
    assert flow.text("profile.yaml") == f"# mine\nday: {today}   # yet\n"
    before = flow.state()
    looked = flow.run("rotate", "--check", "--diff")
    assert flow.state() == before
    done = flow.run("rotate", "--diff")
    assert changed(looked) == changed(done)
    assert flow.text("key") != first and flow.text("told") == told * 2
    assert flow.text(f"key.bak.{today.replace('-', '')}") == first
    lines = flow.text("log").splitlines()
    assert len(lines) == 2 and all(map(SAID.fullmatch, lines))
    looked = flow.run("rollback", "--check")
    done = flow.run("rollback")
    assert changed(looked) == changed(done) and flow.text("key") == first
    assert len(flow.text("log").splitlines()) == 3
    # The line is gone, and whoever reads the value need not be told of that.
    (scratch / "log").unlink()
    told = flow.text("told")
    flow.run("rotate", "--tags", "reload")
    assert flow.text("told") == told and len(flow.text("log").splitlines()) == 1
    # Nor does it keep the value that was replaced from its end.
    (scratch / "log").unlink()
    flow.run("retire_due")
    assert flow.text("allowed") == first
