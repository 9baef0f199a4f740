# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo claims, as numbers that have to be 0, each with what it was counted of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from show.screen import table

TITLES = ("what has to be 0", "counted", "of")


@dataclass(frozen=True)
class Figure:
    """A number that has to be 0.

    :param counted: what was counted.
    :param of: how many there could have been; where that is 0, nothing was tried, and the claim is not shown.
    :param what: of what.
    """

    name: str
    counted: int
    of: int
    what: str

    @property
    def fault(self) -> str:
        """What is wrong with it; empty when the claim holds."""
        if self.counted:
            return f"{self.name}: {self.counted} of {self.of} {self.what}"
        return "" if self.of > 0 else f"{self.name}: nothing was counted, there were 0 {self.what}"


def figures_table(figures: Sequence[Figure]) -> str:
    """All of them."""
    rows = [(one.name, str(one.counted), f"{one.of} {one.what}") for one in figures]
    return table(TITLES, rows)


def faults(figures: Sequence[Figure]) -> list[str]:
    """Those that are not as claimed; empty when all are."""
    return [one.fault for one in figures if one.fault]


def written(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What was written, made or removed in between, by the name of the place."""
    names = sorted({*before, *after})
    return [name for name in names if before.get(name) != after.get(name)]
