# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of stream keys tried: kept for the page about faults where that is asked for (``KEYTURN_PAGES``), and its part of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LISTED, RESET = "takes a list of keys", "has one key, which a person resets"
_ORDER = ("rotate_stream_keys", "rollback_stream_keys", "retire_due", "abandon")
_DAY = re.compile(r"(?<=\.bak\.)\d{8}")
_HEAD = """
## Stream keys

The same with a real ingest, and a relay that takes what the key file holds. A run is killed at some of these points, and at one of each
kind; `make soak` takes all. At each moment whoever goes live with a key in use is accepted, or, where a person has reset it, the keyring
says what goes on; the ingest takes no key that the keyring never had. The same command, run again, comes to the end of a run that
nothing disturbed, and makes no second key.

| the platform | playbook | power cuts |
|---|---|---:|
"""
_OTHERS = """
Other faults. A host is a real one with systemd, reached by ssh; the lines of one fault are platforms of one run. That a host stopped
answering is noticed by ssh's `ServerAliveInterval`, which `ansible_ssh_args` set here; ssh may wait for much longer without it.

| fault | the platform | then | the same command after that |
|---|---|---|---|
"""
_POINTS = """
One line for each point that was cut:

"""


def _keep(kind: str, row: dict[str, Any]) -> None:
    if pages := os.environ.get("KEYTURN_PAGES"):
        text = json.dumps(row, sort_keys=True)
        name = f"streams-{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
        Path(pages, name).write_text(text)


def keep_cuts(overlap: bool, playbook: str, code: int, points: Sequence[str]) -> None:
    """A run was killed at these points.

    :param code: how it ends where nothing disturbs it; one that has to wait for a person fails.
    """
    told = f"{playbook}{', until it waits for a person' * bool(code)}"
    named = [_DAY.sub("DAY", point) for point in points]
    row = {"platform": LISTED if overlap else RESET, "playbook": told, "points": named}
    _keep("cuts", row)


def keep_fault(fault: str, *seen: tuple[bool, str, str]) -> None:
    """Something else went wrong.

    :param seen: for each platform whether it takes a list of keys, what the run did, and what the same command did after all was mended.
    """
    for overlap, then, again in seen:
        platform = LISTED if overlap else RESET
        _keep("fault", {"fault": fault, "platform": platform, "then": then, "again": again})


def _rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in folder.glob(f"streams-{kind}-*.json")]


def section(folder: Path) -> str:
    """The part of the page; empty when nothing was kept."""
    cut = sorted(
        _rows(folder, "cuts"),
        key=lambda row: (row["platform"] == RESET, _ORDER.index(row["playbook"].partition(",")[0]), row["playbook"]),
    )  # fmt: skip
    faults = sorted(_rows(folder, "fault"), key=lambda row: (row["fault"], row["platform"] == RESET, row["then"]))  # fmt: skip
    if not cut and not faults:
        return ""
    lines = [f"| {row['platform']} | {row['playbook']} | {len(row['points'])} |" for row in cut]
    lines.append(f"| **all** | | {sum(len(row['points']) for row in cut)} |")
    others = [f"| {row['fault']} | {row['platform']} | {row['then']} | {row['again']} |" for row in faults]  # fmt: skip
    points = [
        line
        for row in cut
        for line in (f"### {row['playbook']}: a platform that {row['platform']}", "", *(f"- {point}" for point in row["points"]), "")
    ]  # fmt: skip
    return _HEAD + "\n".join(lines) + "\n" + _OTHERS + "\n".join(others) + "\n" + _POINTS + "\n".join(points).rstrip() + "\n"  # fmt: skip
