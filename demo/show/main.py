# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo``: from nothing to a table of numbers that have to be 0."""

from __future__ import annotations

import json
import time

from estate.collection import ROOT, collections_path
from estate.errors import EstateError
from estate.playbook import Ansible

from show.acts import RETIRE, ROTATE, SCENARIOS, Scenario
from show.leaks import Search
from show.program import SHOP, ended, parse_arguments, perform
from show.report import acts_table, faults, phases, search_everywhere, totals
from show.scene import Scene
from show.screen import Screen, described, heading, paragraph, table
from show.story import Broken, Story

OPENING = """
A database password is changed while an application works with it, and the application does not notice: no failed login, no
failed transaction, also when the rotation is killed in the middle. Everything runs on this machine, on 127.0.0.1, in a
temporary directory, and is gone afterwards.
"""
INVENTORY = ROOT / "inventories" / "demo"
STORES = "Next: make demo-stores (demo/stores) shows Vault, AWS and Kubernetes at once."


def introduce(scene: Scene, seconds: float, screen: Screen) -> None:
    """Say what there is."""
    version = str(scene.postgres.execute("SHOW server_version")[0][0]).split()[0]
    parts = [
        (f"PostgreSQL {version}", "with the role shop_a, and one that rotates and is no superuser"),
        ("PgBouncer", "in front of it; its userlist holds verifiers, no passwords"),
        ("the shop", SHOP),
    ]
    screen.say(f"\nStarted in {seconds:.1f} s:\n")
    screen.say(described(parts))
    screen.say("\nAll that Ansible is told about it is in inventories/demo/host_vars/db_shop.yml.")


def conclude(story: Story[Scene, Scenario], screen: Screen, started: float) -> list[str]:
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
    screen.say("\n" + totals(last, search))
    screen.say("\n" + paragraph(searched(search)))
    screen.say(f"\nAll of it took {time.monotonic() - started:.0f} s.")
    return faults(story, last)


def searched(search: Search) -> str:
    """What the number of leaks is about."""
    return f"""A leak is one of {len(search.secrets)} secrets (passwords, verifiers), plain or encoded in one of the usual ways, in what was
    shown above, in Ansible's, PostgreSQL's or PgBouncer's log, in the ledger, in a command line of any process, in a file
    left over, or in a file that others can read: {search.size / 1e6:.1f} MB in {search.places} places."""


def play_and_count(scene: Scene, screen: Screen, started: float) -> list[str]:
    """All acts and the tables; returns the faults."""
    env = {
        "KEYTURN_DEMO": str(scene.places.facts),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false",
    }
    ansible = Ansible(scene.work_dir, collections_path(scene.work_dir), INVENTORY, env)
    story: Story[Scene, Scenario] = Story(scene, ansible, screen.say)
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
    status = ended(found, screen)
    if not status:
        screen.say(STORES)
    return status


def main() -> int:
    """The program."""
    options = parse_arguments("demo/run", OPENING)
    return perform(lambda: run(options.keep))
