# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene's flows in check mode and then for real: nothing is written, and what is said is what is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from predicted import compare, read_tasks
from rotation import PLUGINS
from scene import Flow, Scene
from world import differences


def foretold(scene: Scene, flow: Flow, env: Mapping[str, str] | None = None) -> list[str]:
    """Where the dry run changed something, or said something else than was done after it.

    :param env: more of the environment of the dry run.
    """
    before = scene.begin(flow)
    paths = [scene.keyring(host) for host in scene.hosts] + [
        scene.ledger(host) for host in scene.hosts
    ]
    known = "\n".join(path.read_text() for path in paths if path.exists())
    known += "\n".join(row[0] for row in before.get("roles", ()))
    dry, code = _recorded(scene, flow, "dry", "--check", env=env)
    faults = [f"wrote {name}" for name in differences(before, scene.world())]
    if faults:
        scene.restore(before)
    real, ended = _recorded(scene, flow, "real")
    if code != ended:
        faults.append(f"ended with {code}, then with {ended}")
    return faults + compare(read_tasks(dry), read_tasks(real), known, scene.prefix)


def _recorded(
    scene: Scene, flow: Flow, name: str, *arguments: str, env: Mapping[str, str] | None = None
) -> tuple[Path, int]:
    """Run it and record it; the record, by host, and how it ended."""
    folder = scene.folder.parent
    what, to = folder / f"{name}.json", folder / f"{name}.jsonl"
    for path in (what, to):
        path.touch(mode=0o600)
        path.write_text("")
    what.write_text(json.dumps({"to": str(to), "hosts": {}, "moments": False, "states": False}))
    plant = "KEYTURN_PLANT" in (env or {})
    watched = {
        "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS),
        "ANSIBLE_CALLBACKS_ENABLED": "record,plant" if plant else "record",
        "KEYTURN_RECORD": str(what),
        **(env or {}),
    }
    done = scene.run(flow.playbook, "--diff", *arguments, extra=scene.given(flow), **watched)
    # Hosts come to their ends in any order.
    lines = sorted(to.read_text().splitlines(), key=lambda line: str(json.loads(line).get("host")))
    to.write_text("".join(f"{line}\n" for line in lines))
    return to, done.returncode
