# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo-stores``: from nothing to a table of places, and of numbers that have to be 0."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from estate.building import KUBERNETES, VAULT, build, find
from estate.collection import ROOT, collections_path
from estate.errors import EstateError
from estate.kubernetes import etcd_binary
from estate.playbook import Ansible
from show.leaks import files
from show.program import SHOP, ended, parse_arguments, perform
from show.report import VERIFIER, acts_table, faults_of, phases_of, totals
from show.screen import INDENT, Screen, described, heading, paragraph, table
from show.story import Broken

from show_stores.acts import ROTATE, SCENARIOS
from show_stores.places import NAMES
from show_stores.scene import Scene
from show_stores.story import StoresStory

OPENING = """
One database password is in five places: two parameters of AWS, a secret in Vault, a Secret in Kubernetes and an env file. It is
changed in all of them while an application works with it, and the application does not notice: no failed login, also when one
of the places refuses. Everything runs on this machine, on 127.0.0.1, in a temporary directory, and is gone afterwards.
"""
PARTS = [
    (
        "PostgreSQL 16",
        "the database, with the role shop_a, and one that rotates and is no superuser",
    ),
    (
        "Vault",
        """raft storage, TLS, an audit log, five key shares of which three open it. The keyring is secret/keyrings/db_shop, the ledger
        beside it. A run logs in by AppRole and may do what docs/vault.md lists, no more""",
    ),
    (
        "AWS",
        "moto's server. A run may read and put /shop/*; each call is compared with that policy",
    ),
    ("Kubernetes", "etcd and the API server. A run may get and update one Secret"),
    ("the shop", SHOP),
]
INVENTORY = ROOT / "inventories" / "demo-stores"


def prepare(screen: Screen) -> None:
    """Find the programs of the servers, or build them.

    :raises Missing: when one can neither be found nor built; before anything is built.
    """
    etcd_binary()
    found = {program: find(program) for program in (VAULT, KUBERNETES)}
    for program, there in found.items():
        path = there
        if path is None:
            screen.say(
                "\n"
                + paragraph(
                    f"""Waiting for the build of {program.name} from its Go module: once, 3 to 10 minutes; it is kept in
                    ~/.cache/keyturn for later."""
                )
            )
            path = build(program, lambda text: screen.say(f"{INDENT}{text}"))
        os.environ[program.variable] = str(path)


def introduce(screen: Screen, seconds: float) -> None:
    """Say what there is."""
    screen.say(f"\nStarted in {seconds:.1f} s:\n")
    screen.say(described(PARTS))
    screen.say("\nThe five places, as people have left them:\n")
    screen.say(described(list(NAMES.items())))
    screen.say(
        "\n"
        + paragraph(
            """All that Ansible is told about it is in inventories/demo-stores. Below, "ok" looked at something, and "changed" wrote
            something. What the places hold is asked from each server itself, past Ansible. The version is what that server counts
            (Kubernetes counts the changes of the whole cluster, a file has none), the password is shown as a fingerprint, and
            "works" says that whoever reads that place can log in."""
        )
    )


def search_everywhere(story: StoresStory, screen: str) -> None:
    """Search everything that a run prints, writes or leaves, and every server's log; see :mod:`show.report`.

    :param screen: all that was shown.
    """
    scene, search = story.scene, story.search
    search.know(scene.known)
    verifiers = [name for name in search.secrets if name.startswith(VERIFIER)]
    search.text("what this demo has shown", screen.encode())
    search.text("the command lines of all processes", b"\n".join(story.command_lines.seen))
    search.text("the ledger", json.dumps(scene.lines()).encode())
    search.file(scene.postgres.log_path, without=verifiers)
    logs = [path for path in files(scene.root) if path.suffix == ".log"]
    for path in {*logs, scene.client.status_path, scene.facts, *files(scene.work_dir)}:
        search.file(path)
    for path in files(scene.root):
        search.open_file(path)


def search_is_sharp(story: StoresStory) -> bool:
    """Whether the search finds the password in use where it has to be, in the env file: one that finds nothing proves nothing."""
    value = story.scene.places.look()["env file"].password
    names = [name for name, known in story.search.secrets.items() if known == value]
    return bool(names) and story.search.finds(story.scene.env_file, names[0])


def conclude(story: StoresStory, screen: Screen, started: float) -> list[str]:
    """Stop the client, search, and show the tables; returns the faults."""
    last: Mapping[str, Any] = story.scene.client.stop()
    search_everywhere(story, screen.text())
    search, acts = story.search, {act.name: act for act in story.acts}
    screen.say(heading("What was counted"))
    screen.say(acts_table(story.acts))
    rows = [
        (name, f"{seconds:.1f}")
        for name, seconds in phases_of(story.scene.lines(), acts[ROTATE.name].began)
    ]
    screen.say("\n" + table(("phase of the first rotation", "seconds"), rows))
    screen.say("\n" + totals(last, search))
    screen.say("\n" + paragraph(searched(story)))
    screen.say(f"\nAll of it took {time.monotonic() - started:.0f} s.")
    return faults_of(last, search, search_is_sharp(story))


def searched(story: StoresStory) -> str:
    """What the number of leaks is about."""
    search = story.search
    return f"""A leak is one of {len(search.secrets)} secrets (passwords, verifiers, key shares, tokens, keys), plain or encoded in one of
    the usual ways, in what was shown above, in the log of Ansible or of any server, Vault's audit log among them, in the
    ledger, in a command line of any process, in a file left over, or in a file that others can read:
    {search.size / 1e6:.1f} MB in {search.places} places."""


def play(scene: Scene, screen: Screen, started: float) -> tuple[StoresStory, list[str]]:
    """All acts and the tables; returns what was played, and the faults."""
    env = {
        **scene.environ,
        "KEYTURN_DEMO": str(scene.facts),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false",
    }
    ansible = Ansible(scene.work_dir, collections_path(scene.work_dir), INVENTORY, env)
    story = StoresStory(scene, ansible, screen.say)
    try:
        with story.command_lines:
            for scenario in SCENARIOS:
                story.play(scenario)
        return story, conclude(story, screen, started)
    except (Broken, EstateError) as error:
        counters = json.dumps(scene.client.status())
        return story, [str(error), f"counters of the shop: {counters}"]


def run(keep: bool) -> int:
    """Play everything; returns the exit status."""
    started, screen = time.monotonic(), Screen()
    screen.say(heading("keyturn.runbooks: rotating a password in five places at once"))
    screen.say(paragraph(OPENING))
    prepare(screen)
    starting = time.monotonic()
    screen.say("\nWaiting for the servers to answer:\n")
    with Scene(screen.say, keep) as scene:
        introduce(screen, time.monotonic() - starting)
        _story, found = play(scene, screen, started)
        if keep:
            screen.say(f"\nThe files are in {scene.run_dir}")
    return ended(found, screen)


def main() -> int:
    """The program."""
    options = parse_arguments("demo/stores", OPENING)
    return perform(lambda: run(options.keep))
