# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of the demo: the search for secrets, the table, and whether every number that has to be 0 is 0."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from show.leaks import Leak, Search
from show.screen import table
from show.story import COUNTERS, Act, Story, read_keyring

PHASES = (
    ("stage", "stage"),
    ("applied", "apply"),
    ("proved", "prove"),
    ("promote", "promote"),
    ("observed", "reload, observe"),
)
VERIFIER = "verifier of "


def search_everywhere(story: Story, screen: str) -> None:
    """Search everything that a run prints, writes or leaves.

    A role's SCRAM verifier is what PostgreSQL is sent instead of the password: its own log may hold it. The files that are
    there to hold secrets are only looked at for who may read them.

    :param screen: all that was shown.
    """
    scene, search = story.scene, story.search
    search.know(scene.known)
    verifiers = [name for name in search.secrets if name.startswith(VERIFIER)]
    search.text("what this demo has shown", screen.encode())
    search.text("the command lines of all processes", b"\n".join(story.command_lines.seen))
    search.file(scene.postgres.log_path, without=verifiers)
    for path in (
        scene.pgbouncer.log_path,
        scene.client.log_path,
        scene.client.status_path,
        *_files(scene.work_dir),
    ):
        search.file(path)
    for path in (scene.places.facts, scene.places.ledger, scene.places.keyring):
        search.file(path)
    for path in (*_files(scene.places.root), scene.pgbouncer.userlist_path):
        _check_mode(search, path)


def _files(root: Path) -> Iterable[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def _check_mode(search: Search, path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    if not mode & 0o077:
        return
    for name in search.secrets:
        if search.finds(path, name):
            search.leaks.add(Leak(name, f"readable by others, mode {mode:04o}", str(path)))


def search_is_sharp(story: Story) -> bool:
    """Whether the search finds the password in use where it has to be, in the env file: one that finds nothing proves nothing."""
    places = story.scene.places
    current = read_keyring(places.keyring, places.keyring_password)["stages"]["current"]
    value = current["secrets"]["password"]
    names = [name for name, known in story.search.secrets.items() if known == value]
    return bool(names) and story.search.finds(places.env_file, names[0])


def phases(ledger: Path) -> list[tuple[str, float]]:
    """The phases of the first whole rotation with their seconds, from the times in the ledger.

    A phase lasts from the line before to its own line.
    """
    lines = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]
    names = dict(PHASES)
    found: list[tuple[str, float]] = []
    for before, line in itertools.pairwise(lines):
        if line["phase"] in names and line["phase"] not in (name for name, _seconds in found):
            seconds = (_time(line["time"]) - _time(before["time"])).total_seconds()
            found.append((line["phase"], seconds))
    return [(names[phase], seconds) for phase, seconds in found]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def acts_table(acts: Iterable[Act]) -> str:
    """The table of all acts with its sum."""
    every = list(acts)
    titles = ("", "seconds", "transactions", "failed logins", "failed transactions")
    rows = [
        (act.name, f"{act.seconds:.1f}", *(str(act.counts[name]) for name in COUNTERS))
        for act in every
    ]
    sums = [str(sum(act.counts[name] for act in every)) for name in COUNTERS]
    return table(titles, rows, ("sum", f"{sum(act.seconds for act in every):.1f}", *sums))


def faults(story: Story, last: dict[str, int]) -> list[str]:
    """Every number that is not 0 and has to be; empty when the demo succeeded."""
    found = [f"{number} {name.replace('_', ' ')}" for name, number in last.items() if number]
    found += [f"leak: {leak}" for leak in sorted(map(str, story.search.leaks))]
    if not search_is_sharp(story):
        found.append("the search did not find the password in the env file: it proves nothing")
    return found
