# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the dry runs showed, as a table for the screen and as a page of the documentation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dry_run import Walk

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "dry-run.md"
PARTS = ROOT / "build" / "dry-run"
ASKED = "KEYTURN_PAGES"
STRATEGIES = (
    "alternate_roles",
    "same_role",
    "new_role",
    "generated",
    "generated, one at a time",
    "stream keys",
    "a stream key that is reset",
)
_HEAD = """\
# Dry runs

`--check --diff` changes nothing, and says what the same command would do without `--check`. This page shows where that was tried:
each playbook from each state that a credential can be left in, first as a dry run and right after it for real.

- *Changes nothing*: keyring, ledger, sinks, userlist and their folders (bytes, owner, mode, time), roles with password, settings,
  memberships and rights, and what PgBouncer itself tells (`SHOW USERS`, `SHOW CONFIG`), are the same before and after.
- *Says what happens*: which tasks run, are skipped or fail; what each returns, `changed`, the diff and every fact. What two runs
  cannot have in common has the same name in both: a new rotation and a new value are `(new)`, a new time is the time of the run.
  A proof that needs a value which does not exist yet is announced instead of tried: that it would fail is not foretold.
- The *states* are found, not listed: what every run leaves, and what is there right before each of its writes and after each of its
  tasks, which a power cut would leave; also of runs in which a consumer or a proof fails. "Not told" names the consumers that were not
  seen using what they should.
- The first three tables are a database role's, behind PgBouncer. The next two are a token's, which is made here: the env file of an
  application holds one, and that of a hub the list of those that it accepts (`{current,pending,previous.value|join:,}`, and the same
  with the pending one first), or the one that it knows. A list is foreseen to change where it does, and to stay where its order does.
- The last two are a stream platform's: an own ingest with its list, its key file with copies and its relay, and a platform where a person
  resets the one key that there is. No dry run sends a test stream.

**=** stands for: nothing was changed, and the real run did what was said. The word is how both ended. **(=)** stands for a state from which
the playbook was not run, because it would look only at files and servers that are as in another state, from which it was. One in
ten of these is run all the same, and has to end as the other one.
"""
_FOOT = """\
Made by

```console
$ KEYTURN_PAGES=1 scripts/pytest dry-run tests/dryrun
```

which tries a choice of states and playbooks, as `make test` does; with `KEYTURN_SOAK=1` it tries all, for hours.
"""


def rows(walk: Walk) -> dict[str, dict[str, str]]:
    """State, then playbook: how both runs ended."""
    found: dict[str, dict[str, str]] = {}
    for cell in walk.cells:
        told = f"{'=' if cell.tried else '(=)'} {cell.ended}"
        row = found.setdefault(cell.state.name, {})
        if cell.faults:
            row[cell.playbook] = f"**differs** ({len(cell.faults)})"
        elif cell.tried and row.get(cell.playbook, "(").startswith("("):
            row[cell.playbook] = told
        row.setdefault(cell.playbook, told)
    return found


def table(found: Mapping[str, Mapping[str, str]], playbooks: Sequence[str]) -> str:
    """As Markdown."""
    lines = [f"| state | {' | '.join(playbooks)} |", f"|---|{'---|' * len(playbooks)}"]
    for name, row in sorted(found.items()):
        cells = " | ".join(row.get(playbook, "") for playbook in playbooks)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines) + "\n"


def _part(strategy: str, part: Mapping[str, Any]) -> str:
    summary = (
        f"{part['cells']} runs and their dry runs, from {part['tried']} of {part['states']} states that were found; "
        f"{part['differ']} differ. {part['alike']} more would look at nothing that these did not."
    )
    return f"## {strategy}\n\n{summary}\n\n{table(part['rows'], part['playbooks'])}"


def keep(walk: Walk) -> None:
    """Print the table, and write the page where that is asked for."""
    strategy = walk.estate.strategy
    tried = [cell for cell in walk.cells if cell.tried]
    part = {
        "cells": len(tried),
        "alike": len(walk.cells) - len(tried),
        "tried": len({cell.state.key for cell in tried}),
        "states": len(walk.states),
        "differ": sum(bool(cell.faults) for cell in walk.cells),
        "playbooks": walk.estate.playbooks,
        "rows": rows(walk),
    }
    print(f"\n{_part(strategy, part)}")
    for cell in walk.cells:
        for fault in cell.faults:
            print(f"{cell.playbook} from {cell.state.name} ({cell.state.way}): {fault}")
    if not os.environ.get(ASKED):
        return
    PARTS.mkdir(parents=True, exist_ok=True)
    (PARTS / f"{strategy}.json").write_text(json.dumps(part))
    parts = {
        name: json.loads(path.read_text())
        for name in STRATEGIES
        if (path := PARTS / f"{name}.json").exists()
    }
    sections = [_part(name, kept) for name, kept in parts.items()]
    PAGE.write_text("\n".join([_HEAD, *sections, _FOOT]))
