# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of the demo: the search for secrets, the table, and whether every number that has to be 0 is 0."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from estate.client import failures

from show.acts import Scenario
from show.leaks import Search, files
from show.scene import Scene, read_keyring
from show.screen import table
from show.story import COUNTERS, Act, Story

PHASES = {
    "stage": "preflight, stage",
    "applied": "apply",
    "proved": "prove",
    "promote": "promote",
    "observed": "observe",
    "release": "release",
}
VERIFIER = "verifier of "


def search_everywhere(story: Story[Scene, Scenario], screen: str) -> None:
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
        *files(scene.work_dir),
    ):
        search.file(path)
    for path in (scene.places.facts, scene.places.ledger, scene.places.keyring):
        search.file(path)
    for path in (*files(scene.places.root), scene.pgbouncer.userlist_path):
        search.open_file(path)


def search_is_sharp(story: Story[Scene, Scenario]) -> bool:
    """Whether the search finds the password in use where it has to be, in the env file: one that finds nothing proves nothing."""
    places = story.scene.places
    current = read_keyring(places.keyring, places.keyring_password)["stages"]["current"]
    value = current["secrets"]["password"]
    names = [name for name, known in story.search.secrets.items() if known == value]
    return bool(names) and story.search.finds(places.env_file, names[0])


def phases(ledger: Path, began: float) -> list[tuple[str, float]]:
    """The phases of the first whole rotation with their seconds, from the times in the ledger.

    Each lasts from the end of the one before. A consumer that was seen using something is told before the new value is
    proved (a part of "apply"), or after it was promoted ("reload").

    :param began: when that rotation was started, in seconds since 1970.
    """
    text = ledger.read_text(encoding="utf-8")
    return phases_of([json.loads(line) for line in text.splitlines()], began)


def phases_of(lines: Sequence[Mapping[str, Any]], began: float) -> list[tuple[str, float]]:
    """The same, of the ledger's lines."""
    run_id = next((line["run_id"] for line in lines if line["phase"] == "stage"), "")
    found: dict[str, float] = {}
    last, told = began, "apply"
    for line in lines:
        if line["run_id"] == run_id:
            name = told if line["phase"] == "receive" else PHASES.get(line["phase"], line["phase"])
            ended = _time(line["time"]).timestamp()
            found[name] = found.get(name, 0.0) + ended - last
            last, told = ended, "reload" if line["phase"] == "promote" else told
    return list(found.items())


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


def faults(story: Story[Scene, Scenario], last: Mapping[str, Any]) -> list[str]:
    """Every number that is not 0 and has to be; empty when the demo succeeded.

    :param last: the client's last counters.
    """
    return faults_of(last, story.search, search_is_sharp(story))


def faults_of(last: Mapping[str, Any], search: Search, sharp: bool) -> list[str]:
    """The same.

    :param sharp: whether the search finds a password where it has to be.
    """
    failed = failures(last)
    found = [f"{number} {name.replace('_', ' ')}" for name, number in failed.items() if number]
    found += [f"  {reason}: {count} times" for reason, count in last["errors"].items()]
    if not last["transactions"]:
        found.append("0 transactions: nothing was under load")
    found += [f"leak: {leak}" for leak in sorted(map(str, search.leaks))]
    if not sharp:
        found.append("the search did not find the password in the env file: it proves nothing")
    return found


def totals(last: Mapping[str, Any], search: Search) -> str:
    """The table of what is counted in all."""
    rows = [
        ("transactions", str(last["transactions"])),
        ("failed logins", str(last["failed_logins"])),
        ("failed transactions", str(last["failed_transactions"])),
        ("leaks found", str(len(search.leaks))),
    ]
    return table(("in all", ""), rows)
