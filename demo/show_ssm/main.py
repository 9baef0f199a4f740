# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo-ssm``: from nothing to a table of numbers that have to be 0."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from estate.collection import ROOT, collections_path
from estate.errors import EstateError
from estate.playbook import Ansible
from show.leaks import Search, files
from show.program import ended, parse_arguments, perform
from show.screen import Screen, described, heading, paragraph
from show.story import Broken

from show_ssm.acts import Acts
from show_ssm.figures import faults, figures_table
from show_ssm.film import Film
from show_ssm.scene import Scene

OPENING = """
An application's secrets are in AWS's Parameter Store. They get their first values, are rotated while the application works with
them, are searched for in images, are looked over as a whole, and one of them is stolen. Everything runs on this machine, on
127.0.0.1, in a temporary directory, and is gone afterwards.
"""
WITHOUT = {"--without-containers": "run no containers, also where podman works"}
INVENTORY = ROOT / "inventories" / "demo-ssm"
KEPT = ("ansible", "aws", "ledger", "reports")
PARTS = [
    (
        "AWS",
        "moto's server, with parameters below /musehub/production/, and keyrings below /keyturn/",
    ),
    ("PostgreSQL", "the database of the application; the role that rotates is no superuser"),
    (
        "workers",
        "4 connections held open, and 3 that log in anew for each transaction; they try nothing twice",
    ),
    ("webhooks", "a service that keeps encrypted values in rows"),
    ("runner", "a service that calls another one, a server, with a token that both know"),
]
CONTAINED = "the application in a container of podman, deployed by compose with an env file made of parameters"
UNCONTAINED = "containers: no act deploys one, and images are looked at as files"
MISSING = "Cloudflare's R2, section 4 of the runbook: docs/providers.md tells how it is rotated"
HINT = """All that Ansible is told about it is in inventories/demo-ssm. Below, "ok" looked at something, "changed" wrote something,
and "=>" was measured past Ansible."""
COUNTED = """Every number is of this run."""


def introduce(scene: Scene, screen: Screen, seconds: float) -> None:
    """Say what there is, and what is not."""
    why = scene.containers.why
    parts = [*PARTS, ("musehub", CONTAINED) if not why else ("left out", f"{UNCONTAINED} ({why})")]
    screen.say(f"\nStarted in {seconds:.1f} s:\n")
    screen.say(described([*parts, ("not here", MISSING)]))
    screen.say("\n" + paragraph(HINT))


def search_everywhere(acts: Acts, screen: str) -> None:
    """Search everything that a run prints, writes or leaves, and every log.

    :param screen: all that was shown.
    """
    scene, search = acts.scene, acts.film.search
    verifiers = [name for name in search.secrets if ": verifier of " in name]
    search.text("what this demo has shown", screen.encode())
    search.text("the command lines of all processes", b"\n".join(acts.film.command_lines.seen))
    search.file(scene.postgres.log_path, without=verifiers)
    kept = [path for part in KEPT for path in files(scene.root / part)]
    logs = [path for path in files(scene.root) if path.suffix == ".log"]
    for path in {*kept, *logs, scene.facts, scene.workers.status_path}:
        search.file(path)
    for path in files(scene.root):
        search.open_file(path)


def conclude(acts: Acts, screen: Screen, started: float) -> list[str]:
    """Stop the application, search, and show the figures; returns the faults."""
    scene, film = acts.scene, acts.film
    film.act("What was counted", COUNTED)
    acts.sum_up()
    last = scene.workers.stop()
    acts.claim("failed logins of the workers", last["failed_logins"], last["logins"], "logins")
    failed, done = last["failed_transactions"], last["transactions"]
    acts.claim("failed transactions of the workers", failed, done, "transactions")
    search_everywhere(acts, screen.text())
    search = film.search
    acts.claim(
        "secrets shown, logged or left where others see them",
        len(search.leaks),
        len(search.secrets),
        "secrets",
    )
    screen.say("\n" + figures_table(acts.figures))
    screen.say("\n" + paragraph(searched(search)))
    film.end()
    took = ", ".join(f"{seconds:.0f}" for seconds in film.seconds.values())
    screen.say(f"\nAll of it took {time.monotonic() - started:.0f} s (by act: {took}).")
    blunt = (
        []
        if sharp(acts)
        else ["the search did not find the password where it has to be: it proves nothing"]
    )
    leaks = [f"leak: {leak}" for leak in sorted(map(str, search.leaks))]
    return [*faults(acts.figures), *leaks, *blunt]


def sharp(acts: Acts) -> bool:
    """Whether the search finds the password in use where it has to be, in the workers' file."""
    search, value = acts.film.search, acts.scene.value("DB_PASSWORD")
    names = [name for name, known in search.secrets.items() if known == value]
    return bool(names) and search.finds(acts.scene.env_file, names[0])


def searched(search: Search) -> str:
    """What the last number is about."""
    return f"""The last number: each of {len(search.secrets)} secrets (passwords, keys, values of all keyrings in all versions), plain
    or encoded in one of the usual ways, was looked for in all that was shown above, in the logs of Ansible, PostgreSQL, AWS and
    the services, in reports, ledgers, command lines of all processes, files left over, and files that others can read:
    {search.size / 1e6:.1f} MB in {search.places} places."""


def play(
    acts: Acts, chosen: Sequence[Callable[[], None]], screen: Screen, started: float
) -> list[str]:
    """Acts, and what was counted; returns the faults."""
    try:
        with acts.film.command_lines:
            for act in chosen:
                act()
        return conclude(acts, screen, started)
    except (Broken, EstateError) as error:
        return [str(error)]


def surroundings(scene: Scene) -> dict[str, str]:
    """The environment of each run."""
    return {
        **scene.environ,
        "KEYTURN_DEMO": str(scene.facts),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false",
    }


def run(keep: bool, contained: bool) -> int:
    """The whole demo; returns the exit status."""
    started, screen = time.monotonic(), Screen()
    screen.say(heading("keyturn.runbooks: the secrets of an application in AWS"))
    screen.say(paragraph(OPENING))
    with Scene(keep, contained) as scene:
        introduce(scene, screen, time.monotonic() - started)
        place, env = collections_path(scene.work_dir), surroundings(scene)
        ansible = Ansible(scene.work_dir, place, INVENTORY, env)
        acts = Acts(scene, Film(screen, ansible, scene.secrets))
        found = play(acts, acts.all(), screen, started)
        if keep:
            screen.say(f"\nThe files are in {scene.run_dir}")
    return ended(found, screen)


def main() -> int:
    """The program."""
    options = parse_arguments("demo/ssm", OPENING, further=WITHOUT)
    return perform(lambda: run(options.keep, not options.without_containers))
