# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page that holds the figures."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psycopg2.extensions
from estate.binaries import pgbouncer_binary, postgres_bindir

from bench.contest import Run, of, ratio, spread
from bench.peers import PACKAGE, peer_collections, peer_version

Rows = Sequence[Sequence[str]]
BUSY = (
    "**The machine did other work at the same time (load {:.1f}): seconds are too many here, and ratios are rough. To be measured "
    "again on a quiet one.**"
)
METHOD = """\
Both sides have a PgBouncer, a database and applications of their own, on one PostgreSQL with `fsync` on and every statement logged, all on
127.0.0.1. They run by turns, in changing order; a first pair is not counted. A run counts only if it ended well, no login and no
transaction of an application failed, and the application was told to use the other user. Figures are medians, with the least and the
most. *Waiting* is the application's own reload and every pause of at least 0.1 s that Ansible or a module makes, measured on both sides by
the same two programs (`benchmarks/waits/`). *Processor* is user and system time of the run and all that it started, and depends least on
what else the machine does."""
PEER = """\
The peer is `benchmarks/peer/rotate.yml`: 15 tasks and 5 for the way back, for the same two users, as careful as its modules allow. It does
less than the rotation it is compared with: no gates, no look at what consumers will need, no proof against each consumer, no audit log that
shows what was changed in it, no resuming after a kill, and the new password goes to the server in clear text."""

# What was asked for, with what the careful playbook took on the machine that it was asked for on, in seconds; and a share.
ONE_AT_MOST, ONE_BY_HAND = 1.3, 6.6
MANY, MANY_AT_MOST, MANY_BY_HAND = 20, 5.0, 97.7
ROLES_AT_LEAST = 85
GOALS_NOTE = """\
Seconds are another number on every machine, so what counts is how many times as fast it is as the careful playbook, measured beside it: the
playbook of existing modules that is told of below."""


@dataclass(frozen=True)
class Results:
    """All figures; what was not measured is empty.

    :param many: by the number of forks.
    """

    one: Mapping[str, list[Run]]
    many: Mapping[int, Mapping[str, list[Run]]]
    credentials: int
    roles: Mapping[str, list[float]]
    role_count: int
    load: float


def table(heads: Sequence[str], rows: Rows) -> str:
    """A Markdown table."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _first_line(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.machine()


def machine(results: Results) -> str:
    """What it was measured on."""
    libpq = psycopg2.extensions.libpq_version()
    facts = [
        ("processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("load before the first run", f"{results.load:.1f}"),
        ("system", f"{platform.system()} {platform.release().split('-')[0]}"),
        ("Python, ansible-core", f"{platform.python_version()}, {version('ansible-core')}"),
        ("community.postgresql", f"{peer_version(peer_collections())} (of `{PACKAGE}`)"),
        ("psycopg2, libpq", f"{version('psycopg2-binary')}, {libpq // 10000}.{libpq % 10000}"),
        (
            "PostgreSQL",
            _first_line(str(postgres_bindir("16") / "postgres"), "--version").split()[-1],
        ),
        ("PgBouncer", _first_line(pgbouncer_binary(), "--version").removeprefix("PgBouncer ")),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in facts)])


def _compared(found: Mapping[str, list[Run]], names: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name, what in names.items():
        cells = [spread(of(found[kind], what)) for kind in ("keyturn", "peer")]
        waits = name.startswith("of it")
        rows.append([name, *cells, "" if waits else f"{ratio(found, what):.1f}"])
    return rows


HEADS = ("seconds", "keyturn.runbooks", "by hand", "ratio")


def one_credential(found: Mapping[str, list[Run]]) -> str:
    """The first table."""
    what = {
        "**beyond waiting**": lambda run: run.beyond,
        "whole process": lambda run: run.wall,
        "of it waiting": lambda run: run.waited,
        "processor": lambda run: run.processor,
    }
    return table(HEADS, _compared(found, what))


def many_credentials(many: Mapping[int, Mapping[str, list[Run]]]) -> str:
    """The second table."""
    rows: list[list[str]] = []
    for forks, found in many.items():
        what = {
            f"**whole process**, {forks} forks": lambda run: run.wall,
            f"processor, {forks} forks": lambda run: run.processor,
        }
        rows += _compared(found, what)
    return table(HEADS, rows)


def role_passwords(found: Mapping[str, list[float]]) -> str:
    """The third table."""
    own = median(found["keyturn"])
    names = {
        "`pg_role`, one task": "keyturn",
        "psycopg2 alone, a transaction for each role": "raw",
        "psycopg2 alone, one transaction": "raw together",
    }
    rows = [
        [
            name,
            spread(found[kind]),
            "" if kind == "keyturn" else f"{100 * median(found[kind]) / own:.0f} %",
        ]
        for name, kind in names.items()
    ]
    return table(("", "seconds", "speed of `pg_role` beside it"), rows)


def _times_as_fast(what: str, at_most: float, by_hand: float, own: float, peer: float) -> list[str]:
    """A goal in seconds beside the careful playbook, and what was reached."""
    fast = peer / own
    measured = f"{own:.2f} s where it took {peer:.2f} s: {fast:.1f} times as fast, {by_hand / fast:.1f} s there"
    asked = f"at least {by_hand / at_most:.1f} times as fast"
    return [f"{what}: {asked}", measured, verdict(fast >= by_hand / at_most)]


def verdict(reached: bool) -> str:
    """How a table says whether a goal was reached."""
    return "yes" if reached else "no"


def _medians(found: Mapping[str, list[Run]], what: Callable[[Run], float]) -> tuple[float, float]:
    return median(of(found["keyturn"], what)), median(of(found["peer"], what))


def goals(results: Results) -> str:
    """What was to be reached and what was, as far as it was measured; empty when nothing of it was."""
    rows = []
    if results.one:
        what = f"One rotation, at most {ONE_AT_MOST} s beyond waiting, on a machine where the careful playbook takes {ONE_BY_HAND} s"
        own, peer = _medians(results.one, lambda run: run.beyond)
        rows.append(_times_as_fast(what, ONE_AT_MOST, ONE_BY_HAND, own, peer))
    for forks, found in results.many.items() if results.credentials == MANY else ():
        what = f"{MANY} credentials, {forks} forks, at most {MANY_AT_MOST:.0f} s, on a machine where it takes {MANY_BY_HAND} s"
        own, peer = _medians(found, lambda run: run.wall)
        rows.append(_times_as_fast(what, MANY_AT_MOST, MANY_BY_HAND, own, peer))
    if results.roles:
        loops = [median(results.roles[kind]) for kind in ("raw", "raw together")]
        share = 100 * min(loops) / median(results.roles["keyturn"])
        what = f"`pg_role`, at least {ROLES_AT_LEAST} % of the speed of a loop with psycopg"
        measured = f"{share:.0f} % of the faster loop, over {results.role_count} roles"
        rows.append([what, measured, verdict(share >= ROLES_AT_LEAST)])
    return table(("to be reached", "measured", "reached"), rows) if rows else ""


def page(results: Results) -> str:
    """The whole of it, as far as it was measured."""
    parts = [
        "# Benchmarks",
        "`make benchmarks` measures this on your machine and writes this page.",
    ]
    if results.load > (os.cpu_count() or 1) / 2:
        parts.append(BUSY.format(results.load))
    if told := goals(results):
        parts += ["## What was to be reached", told, GOALS_NOTE]
    if results.one:
        repeat = len(results.one["keyturn"])
        parts += ["## One rotation, as a whole process", one_credential(results.one)]
        parts.append(f"{repeat} runs of each; the application is the demo's, under load.")
    if results.many:
        repeats = min(len(found["keyturn"]) for found in results.many.values())
        parts += [
            f"## {results.credentials} credentials in one run",
            many_credentials(results.many),
        ]
        parts.append(
            f"{repeats} runs of each. All credentials share a PgBouncer and its userlist; nothing is taken off for waiting."
        )
    if results.roles:
        parts += [f"## New passwords for {results.role_count} roles", role_passwords(results.roles)]
        parts.append(
            f"{len(results.roles['keyturn'])} runs of each, in one process, without Ansible's start. All make SCRAM verifiers on "
            "the client, so that no password reaches the server."
        )
    parts += ["## How it is measured", METHOD, PEER, machine(results)]
    return "\n\n".join(parts) + "\n"
