# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make benchmarks``: measure everything side by side, show it and write the page."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from estate.errors import EstateError, Missing

from bench.contest import Wrong, by_turns, say
from bench.page import Results, page
from bench.roles import roles_by_turns

PARTS = ("one", "many", "roles")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument("--page", type=Path, help="write the figures to this file")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some parts alone")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each side that are counted")
    parser.add_argument("--warm-up", type=int, default=1, help="runs of each side before those")
    parser.add_argument("--credentials", type=int, default=20, help="in the runs with many")
    parser.add_argument("--forks", type=int, nargs="+", default=[5, 20], help="of these runs")
    parser.add_argument("--roles", type=int, default=1000, help="that get a new password")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> Results:
    """All that was asked for.

    :raises Wrong: when a run did not do its job.
    """
    load, counts = os.getloadavg()[0], (options.repeat, options.warm_up)
    one, many, roles = {}, {}, {}
    if "one" in options.only:
        say("one credential")
        one = by_turns(1, 5, *counts)
    for forks in options.forks if "many" in options.only else []:
        say(f"{options.credentials} credentials, {forks} forks")
        many[forks] = by_turns(options.credentials, forks, *counts)
    if "roles" in options.only:
        say(f"{options.roles} roles")
        roles = roles_by_turns(options.roles, *counts)
    return Results(one, many, options.credentials, roles, options.roles, load)


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    options = parse_arguments(arguments)
    # Whoever ends it leaves no server behind.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        text = page(measure(options))
    except (EstateError, Missing, Wrong) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print(text)
    if options.page:
        options.page.write_text(text, encoding="utf-8")
    return 0
