# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene's flows in check mode and then for real: nothing is written, and what is said is what is done."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from predicted import compare, read_tasks
from rotation import PLUGINS
from scene import Flow, Scene
from world import differences

# What a provider names is not known before it does, and then stands among what is known.
_ID = re.compile(r"(?<![:\w])[0-9a-f]{32}\b")
_OF_A_PROVIDER = re.compile(
    r"keyring\.stages\.current\.(fields|fingerprints)\.(access_key_id|token_id): predicted .*(nothing|new)"
)
# What is told of a dry run as such; and counts of what was done, which a dry run tells as what is to do.
_OF_CHECK_MODE = re.compile(
    r"report\.check: |'Say what is next': msg: |'Re-encrypt what is stored': .*\.(reencrypted|closed)(\[\d+\])?: "
)
# A write makes another version, and its number is the server's.
_VERSIONS = re.compile(r"sinks\[\d+\]\.version: predicted")
# A later procedure of the same run does not foresee what an earlier one does at the issuer, nor to what a new value is compared there.
_OF_AN_ANSWER = re.compile(
    r"compromise.*: ('Take the steps: (rotate|retire)': diff\[\d+\]\.(before|after): .*(role|token) "
    r"|'Have the issuer refuse it': (changed|facts)|'Check every gate[^']*': gates\[\d+\]\.message: )"
)
# The claim that the last task of an answer gives back is not foreseen as given back.
_AT_THE_END = re.compile(
    r"'Destroy older versions[^:]*': (msg|keyring\.(step|ledger_number|claim[.\w]*)): "
)
TOLERATED = (_OF_A_PROVIDER, _OF_CHECK_MODE, _VERSIONS, _OF_AN_ANSWER, _AT_THE_END)


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
    for record in (dry, real):
        _even(record, known)
    found = compare(read_tasks(dry), read_tasks(real), known, scene.prefix)
    told = [f"{flow.name}: {fault}" for fault in (*faults, *found)]
    return [fault for fault in told if not any(one.search(fault) for one in TOLERATED)]


def _even(record: Path, known: str) -> None:
    """Name what a provider named, and have the fields of a keyring's difference in one order."""

    def named(found: re.Match[str]) -> str:
        return found[0] if found[0] in known else "(new)"

    def even(item: Any) -> Any:
        if isinstance(item, list):
            return [even(one) for one in item]
        if isinstance(item, dict):
            return {
                key: _in_order(even(one)) if key in ("before", "after") else even(one)
                for key, one in item.items()
            }
        return _ID.sub(named, item) if isinstance(item, str) else item

    lines = [json.dumps(even(json.loads(line))) for line in record.read_text().splitlines()]
    record.write_text("".join(f"{line}\n" for line in lines))


def _in_order(text: Any) -> Any:
    return "\n".join(sorted(text.splitlines())) if isinstance(text, str) else text


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
