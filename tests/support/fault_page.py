# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: python fault_page.py FOLDER > docs/faults.md
"""Write the page about faults from what the tests kept in a folder (``KEYTURN_PAGES``)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from stream_faults import section

ORDER = ("adopt", "rotate_db", "rollback", "retire_due", "abandon")
HEAD = """\
# Faults at every write

This page is written by `make pages`. Of the first estate it takes every point. Of each other strategy, and of each other place of keyring
and sinks, it takes at least one point of each kind (what is written, and how it is disturbed) that the estates before it do not have, and
some of the others; where an estate differs from another one in PgBouncer alone, a part of the points, with one strategy. With
`KEYTURN_SOAK=1` it takes every point of all of them, with every strategy.

A run is killed (SIGKILL, as by a power cut) right before each of its writes to the world outside: files that are replaced or
added to, statements, programs, requests; and when all is done, right before it ends. Where they are is read off a run that nothing
disturbs, from Python's audit events and from the statements of the database connections; what the servers and the file system show
beside that fails the test. A *lost answer* is a statement, a request or a program that was done, which its answer proves, and of which
the run hears as of a broken connection or a killed program. After a *silent* one no request of that run is answered any more.

After each fault the value in use logs in, an application under load has had no failed login and no failed transaction (with one
password that is changed in place: no failed transaction), and the same playbook, run again, comes to the end of a run that
nothing disturbed: no second value, no second rotation, no file left over, a whole audit log, and none of the values anywhere in
output and logs.

| keyring in | strategy | PgBouncer | playbook | power cuts | lost answers |
|---|---|---|---|---:|---:|
"""
BODY = """
## The points

One line for each point of the first of these estates that has it: the write, the step, and how often that step had been begun in the run.

"""


def summary(found: list[dict[str, Any]]) -> list[str]:
    """A line for each strategy, pooler and procedure."""
    return [
        f"{row['keyring']:16} {row['strategy']:16} {row['pooler']:11} {row['playbook']:11} "
        f"{len(row['faults']) - _lost(row):3} cuts {_lost(row):3} lost"
        for row in ordered(found)
    ]


def _lost(row: dict[str, Any]) -> int:
    return sum(fault.startswith(("lost ", "silent ")) for fault in row["faults"])


def rows(folder: Path) -> list[dict[str, Any]]:
    """What was kept."""
    return ordered([json.loads(path.read_text()) for path in folder.glob("faults-*.json")])


def ordered(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in the order of the strategies, the poolers and the procedures."""
    pooler, keyring = (
        ("userlist", "auth_query", "none"),
        ("file", "file, command", "Vault", "Vault, all sinks"),
    )
    return sorted(
        found,
        key=lambda row: (
            keyring.index(row["keyring"]),
            row["strategy"],
            pooler.index(row["pooler"]),
            ORDER.index(row["playbook"]),
        ),
    )


def page(found: list[dict[str, Any]]) -> str:
    """The page."""
    lines, points, seen = [], [], set()
    cuts, answers = 0, 0
    for row in found:
        lost = _lost(row)
        cuts, answers = cuts + len(row["faults"]) - lost, answers + lost
        about = f"{row['keyring']} | {row['strategy']} | {row['pooler']} | {row['playbook']}"
        lines.append(f"| {about} | {len(row['faults']) - lost} | {lost} |")
        new = [fault for fault in row["faults"] if (row["playbook"], fault) not in seen]
        seen.update((row["playbook"], fault) for fault in new)
        if new:
            points += [f"### {about.replace(' | ', ', ')}", ""]
            points += [*(f"- {fault}" for fault in new), ""]
    lines.append(f"| **all** | | | | {cuts} | {answers} |")
    return HEAD + "\n".join(lines) + "\n" + BODY + "\n".join(points).rstrip() + "\n"


if __name__ == "__main__":
    kept = Path(sys.argv[1])
    sys.stdout.write(page(rows(kept)) + section(kept))
