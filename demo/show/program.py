# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a demo is as a program: its command line, its end by a signal, and its exit status."""

from __future__ import annotations

import argparse
import importlib.util
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from estate.errors import EstateError, Missing

from show.screen import Screen

SHOP = """an application under load: 8 connections held open, and 4 that log in anew for each transaction. It tries nothing
twice, and counts every failure"""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def lacks(needed: Mapping[str, str], target: str) -> bool:
    """Say which libraries are missing, which is worth more than a traceback.

    :param needed: the package to install, by the module that is imported.
    :param target: what ``make`` calls the demo.
    """
    missing = [name for module, name in needed.items() if importlib.util.find_spec(module) is None]
    if missing:
        told = f"{sys.executable} has no {' and no '.join(missing)}: run make {target}, or install them"
        print(f"demo: {told}", file=sys.stderr)
    return bool(missing)


def parse_arguments(
    name: str,
    opening: str,
    arguments: Sequence[str] | None = None,
    further: Mapping[str, str] | None = None,
) -> argparse.Namespace:
    """The command line.

    :param further: what each further flag does, by its name.
    """
    parser = argparse.ArgumentParser(prog=name, description=" ".join(opening.split()))
    parser.add_argument(
        "--keep", action="store_true", help="leave the files (not the servers) for a look at them"
    )
    for flag, what in (further or {}).items():
        parser.add_argument(flag, action="store_true", help=what)
    return parser.parse_args(arguments)


def ended(found: Sequence[str], screen: Screen) -> int:
    """Say how it ended; returns the exit status.

    :param found: what is not as it has to be.
    """
    if found:
        told = ["", "THE DEMO FAILED", *(f"  {fault}" for fault in found)]
        print("\n".join(told), file=sys.stderr, flush=True)
        return 1
    screen.say("\nEvery number that has to be 0 is 0.")
    return 0


def _end(number: int, _frame: object) -> NoReturn:
    """Leave once; whoever presses Ctrl-C twice does not break off the stopping."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise SystemExit(128 + number)


def perform(run: Callable[[], int]) -> int:
    """Run it; returns the exit status."""
    for number in SIGNALS:
        signal.signal(number, _end)
    try:
        return run()
    except Missing as error:
        print(f"demo: a part is missing here: {error}", file=sys.stderr)
    except EstateError as error:
        print(f"demo: {error}", file=sys.stderr)
    except SystemExit:
        print("demo: interrupted; everything was stopped", file=sys.stderr)
        raise
    return 1
