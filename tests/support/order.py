# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which parallel processes take tests: those that took long begin, so that no process is left alone with them at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

LONG = 15.0
"""Seconds from which on a test is one that takes long."""
Item = TypeVar("Item")


def shares(count: int, workers: int) -> list[int]:
    """How many tests each process is given at first, as pytest-xdist does it with ``--dist=worksteal``."""
    given: list[int] = []
    for left in range(workers, 0, -1):
        given.append((count - sum(given)) // left)
    return given


def longest_first(
    items: Sequence[Item], names: Sequence[str], seconds: Mapping[str, float], workers: int
) -> list[Item]:
    """The same tests, of which each process begins with some of those that took long; all others keep their order.

    :param names: of the tests, in the same order.
    :param seconds: what each took, by name; of tests that are not known nothing.
    """
    took = [seconds.get(name, 0.0) for name in names]
    known = sorted(range(len(items)), key=lambda number: -took[number])
    long = [number for number in known if took[number] >= LONG]
    others = [number for number in range(len(items)) if took[number] < LONG]
    ordered: list[int] = []
    for worker, share in enumerate(shares(len(items), workers)):
        own = long[worker::workers][:share]
        room = share - len(own)
        ordered += own + others[:room]
        others = others[room:]
    # What found no room in a share that is too small.
    taken = set(ordered)
    ordered += [number for number in range(len(items)) if number not in taken]
    return [items[number] for number in ordered]
