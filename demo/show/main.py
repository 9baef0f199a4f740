# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo``: from nothing to a table of numbers that have to be 0."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from estate.collection import collections_path
from estate.errors import EstateError, Missing
from estate.playbook import Ansible

from show.report import acts_table, faults, phases, search_everywhere
from show.scene import Scene
from show.screen import heading, paragraph, table
from show.story import INVENTORY, Broken, Story, play_all

OPENING = """
A database password is changed while an application works with it, and the application does not notice: no failed login, no
failed transaction, also when the rotation is killed in the middle. Everything runs on this machine, on 127.0.0.1, in a
temporary directory, and is gone afterwards.
"""


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
    rows = [
        (
            f"PostgreSQL {version}",
            str(scene.postgres.port),
            "the role shop_a, and a rotating role that is no superuser",
        ),
        (
            "PgBouncer",
            str(scene.pgbouncer.port),
            "transaction pooling; its userlist holds verifiers, no passwords",
        ),
        (
            "the shop",
            "",
            "8 connections held open, 4 that log in anew for each transaction; nothing is tried twice",
        ),
    ]
    parts = [f"  {name:<16} {port:<6} {what}" for name, port, what in rows]
    screen.say("\n".join(["", f"Started in {seconds:.1f} s:", *parts]))


def conclude(story: Story, screen: Screen, started: float) -> list[str]:
    """Stop the client, search, and show the tables; returns the faults."""
    last = story.scene.client.stop()
    search_everywhere(story, screen.text())
    screen.say(heading("What was counted"))
    screen.say(acts_table(story.acts))
    measured = [(name, f"{seconds:.2f}") for name, seconds in phases(story.scene.places.ledger)]
    screen.say("\n" + table(("phase of the first rotation", "seconds"), measured))
    search = story.search
    total = [
        ("transactions", str(last["transactions"])),
        ("failed logins", str(last["failed_logins"])),
        ("failed transactions", str(last["failed_transactions"])),
        ("leaks found", str(len(search.leaks))),
    ]
    screen.say("\n" + table(("in all", ""), total))
    size = f"{search.size / 1e6:.1f} MB in {search.places} places"
    screen.say(
        f"\n{len(search.secrets)} secrets searched for, in five encodings each, in {size}; {time.monotonic() - started:.0f} s in all."
    )
    found = faults(story, last)
    errors = [f"{reason}: {count} times" for reason, count in last["errors"].items()]
    return found + errors


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="demo/run", description=" ".join(OPENING.split()))
    parser.add_argument(
        "--keep", action="store_true", help="leave the files (not the servers) for a look at them"
    )
    return parser.parse_args(arguments)


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(143)


def run(keep: bool) -> int:
    """Play everything; returns the exit status."""
    started, screen = time.monotonic(), Screen()
    screen.say(heading("keyturn.runbooks: rotating a database password under load"))
    screen.say(paragraph(OPENING))
    with Scene(keep) as scene:
        introduce(scene, time.monotonic() - started, screen)
        env = {"KEYTURN_DEMO": str(scene.places.facts), "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}
        ansible = Ansible(scene.work_dir, collections_path(scene.work_dir), INVENTORY, env)
        story = Story(scene, ansible, screen.say)
        try:
            with story.command_lines:
                play_all(story)
            found = conclude(story, screen, started)
        except (Broken, EstateError) as error:
            found = [str(error), f"counters of the client: {scene.client.status()}"]
        if keep:
            screen.say(f"\nThe files are in {scene.run_dir}")
    if found:
        print(
            "\n".join(["", "THE DEMO FAILED", *(f"  {fault}" for fault in found)]),
            file=sys.stderr,
            flush=True,
        )
        return 1
    screen.say("\nEvery number that has to be 0 is 0.")
    return 0


def main() -> int:
    """The program."""
    options = parse_arguments()
    signal.signal(signal.SIGTERM, _end)
    try:
        return run(options.keep)
    except Missing as error:
        print(f"demo: a part is missing here: {error}", file=sys.stderr)
    except EstateError as error:
        print(f"demo: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("demo: interrupted; everything was stopped", file=sys.stderr)
    return 1
