# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo``: from nothing to a table of numbers that have to be 0."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from estate.collection import collections_path
from estate.errors import EstateError, Missing
from estate.playbook import Ansible

from show.acts import RETIRE, ROTATE, SCENARIOS
from show.leaks import Search
from show.report import acts_table, faults, phases, search_everywhere
from show.scene import Scene
from show.screen import INDENT, heading, paragraph, table
from show.story import INVENTORY, Broken, Story

OPENING = """
A database password is changed while an application works with it, and the application does not notice: no failed login, no
failed transaction, also when the rotation is killed in the middle. Everything runs on this machine, on 127.0.0.1, in a
temporary directory, and is gone afterwards.
"""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Screen:
    """Shows lines as they come, and keeps them for the search at the end."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def say(self, text: str) -> None:
        """Show a text."""
        self._lines.append(text)
        print(text, flush=True)

    def text(self) -> str:
        """All that was shown."""
        return "\n".join(self._lines)


def introduce(scene: Scene, seconds: float, screen: Screen) -> None:
    """Say what there is."""
    version = str(scene.postgres.execute("SHOW server_version")[0][0]).split()[0]
    parts = [
        (f"PostgreSQL {version}", "with the role shop_a, and one that rotates and is no superuser"),
        ("PgBouncer", "in front of it; its userlist holds verifiers, no passwords"),
        ("the shop", "an application under load: 8 connections held open, and 4 that log in anew"),
        ("", "for each transaction. It tries nothing twice, and counts every failure"),
    ]
    screen.say(f"\nStarted in {seconds:.1f} s:\n")
    screen.say("\n".join(f"{INDENT}{name:<18}{what}" for name, what in parts))
    screen.say("\nAll that Ansible is told about it is in inventories/demo/host_vars/db_shop.yml.")


def conclude(story: Story, screen: Screen, started: float) -> list[str]:
    """Stop the client, search, and show the tables; returns the faults."""
    last = story.scene.client.stop()
    search_everywhere(story, screen.text())
    search, acts = story.search, {act.name: act for act in story.acts}
    screen.say(heading("What was counted"))
    screen.say(acts_table(story.acts))
    measured = phases(story.scene.places.ledger, acts[ROTATE.name].began)
    measured.append(("retire (a run of its own)", acts[RETIRE.name].seconds))
    rows = [(name, f"{seconds:.1f}") for name, seconds in measured]
    screen.say("\n" + table(("phase of the first rotation", "seconds"), rows))
    total = [
        ("transactions", str(last["transactions"])),
        ("failed logins", str(last["failed_logins"])),
        ("failed transactions", str(last["failed_transactions"])),
        ("leaks found", str(len(search.leaks))),
    ]
    screen.say("\n" + table(("in all", ""), total))
    screen.say("\n" + paragraph(searched(search)))
    screen.say(f"\nAll of it took {time.monotonic() - started:.0f} s.")
    return faults(story, last)


def searched(search: Search) -> str:
    """What the number of leaks is about."""
    return f"""A leak is one of {len(search.secrets)} secrets (passwords, verifiers), plain or encoded in one of the usual ways, in what was
    shown above, in Ansible's, PostgreSQL's or PgBouncer's log, in the ledger, in a command line of any process, in a file
    left over, or in a file that others can read: {search.size / 1e6:.1f} MB in {search.places} places."""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="demo/run", description=" ".join(OPENING.split()))
    parser.add_argument(
        "--keep", action="store_true", help="leave the files (not the servers) for a look at them"
    )
    return parser.parse_args(arguments)


def _end(number: int, _frame: object) -> NoReturn:
    """Leave once; whoever presses Ctrl-C twice does not break off the stopping."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise SystemExit(128 + number)


def play_and_count(scene: Scene, screen: Screen, started: float) -> list[str]:
    """All acts and the tables; returns the faults."""
    env = {
        "KEYTURN_DEMO": str(scene.places.facts),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false",
    }
    ansible = Ansible(scene.work_dir, collections_path(scene.work_dir), INVENTORY, env)
    story = Story(scene, ansible, screen.say)
    try:
        with story.command_lines:
            for scenario in SCENARIOS:
                story.play(scenario)
        return conclude(story, screen, started)
    except (Broken, EstateError) as error:
        return [str(error), f"counters of the shop: {json.dumps(scene.client.status())}"]


def run(keep: bool) -> int:
    """Play everything; returns the exit status."""
    started, screen = time.monotonic(), Screen()
    screen.say(heading("keyturn.runbooks: rotating a database password under load"))
    screen.say(paragraph(OPENING))
    with Scene(keep) as scene:
        introduce(scene, time.monotonic() - started, screen)
        found = play_and_count(scene, screen, started)
        if keep:
            screen.say(f"\nThe files are in {scene.run_dir}")
    if found:
        told = ["", "THE DEMO FAILED", *(f"  {fault}" for fault in found)]
        print("\n".join(told), file=sys.stderr, flush=True)
        return 1
    screen.say("\nEvery number that has to be 0 is 0.")
    return 0


def main() -> int:
    """The program."""
    options = parse_arguments()
    for number in SIGNALS:
        signal.signal(number, _end)
    try:
        return run(options.keep)
    except Missing as error:
        print(f"demo: a part is missing here: {error}", file=sys.stderr)
    except EstateError as error:
        print(f"demo: {error}", file=sys.stderr)
    except SystemExit:
        print("demo: interrupted; everything was stopped", file=sys.stderr)
        raise
    return 1
