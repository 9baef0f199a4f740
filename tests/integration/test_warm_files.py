# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the warm process parsed is what a run would read: the same data with the same origin, and never of a text that is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).resolve().parents[1] / "support"
PROGRAM = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import warm_server
from ansible._internal._datatag._tags import Origin, TrustedAsTemplate
from ansible.parsing import dataloader

folder = Path(sys.argv[2])
path = folder / "playbooks" / "one.yml"

def seen(loader, trusted=True):
    read = loader.load_from_file(str(path), trusted_as_template=trusted)
    task = read[0]["tasks"][0]
    told = [task["name"], str(Origin.get_tag(task["name"])), TrustedAsTemplate.is_tagged_on(task["name"])]
    read[0]["tasks"].clear()
    return told

told = {"cold": seen(dataloader.DataLoader())}
parsed = dataloader.from_yaml
asked = []
dataloader.from_yaml = lambda data, **more: asked.append(str(data)) or parsed(data, **more)
warm_server.parse_once(folder)
asked.clear()
loader = dataloader.DataLoader()
told["warm"] = [seen(loader), seen(loader), seen(loader)]
told["parsed"] = len(asked)
told["untrusted"] = seen(dataloader.DataLoader(), trusted=False)
path.write_text(path.read_text().replace("first", "second"))
told["changed"] = seen(dataloader.DataLoader())
print(json.dumps(told))
"""
PLAY = "- hosts: all\n  tasks:\n    - name: the first\n      ansible.builtin.debug:\n"


def look(folder: Path) -> dict[str, Any]:
    """What a process sees that parsed this folder before."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(SUPPORT), str(folder)],
        env={**os.environ, "HOME": str(folder), "ANSIBLE_LOCAL_TEMP": str(folder / "tmp")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_what_was_parsed_before_is_what_is_read(scratch: Path) -> None:
    path = scratch / "playbooks" / "one.yml"
    path.parent.mkdir()
    path.write_text(PLAY)
    told = look(scratch)
    assert told["cold"] == ["the first", f"{path}:3:13", True]
    # Each time a copy of its own, although the one before it was emptied.
    assert told["warm"] == 3 * [told["cold"]]
    assert told["parsed"] == 0, "it was parsed again: this proved nothing"
    assert told["untrusted"] == ["the first", f"{path}:3:13", False]
    assert told["changed"] == ["the second", f"{path}:3:13", True]
