# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which points of a run are disturbed, and how."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from rotation import Point


def soak() -> bool:
    """Whether everything is tried, however long it takes: ``make soak``."""
    return bool(os.environ.get("KEYTURN_SOAK"))


def inside(point: Point) -> bool:
    """Whether it is a write inside of a task."""
    return point.moment not in ("before", "after", "after failure")


def cuts(points: list[Point]) -> list[Point]:
    """Where a power cut makes a difference: before the first task, before each write, and after the last one.

    In between, nothing is different.
    """
    return [points[0], *(point for point in points if inside(point)), points[-1]]


def lost_answers(points: list[Point], but: str = "") -> list[Point]:
    """Each statement, request and program, done, and its answer lost.

    :param but: a kind that is left out: ``sql``, ``http`` or ``run``.
    """
    kinds = {"sql", "http", "run"} - {but}
    asked = [point for point in points if point.moment.split(" ")[0] in kinds]
    return [replace(point, moment=f"lost {point.moment}") for point in asked]


def breaks(points: list[Point]) -> list[Point]:
    """The cuts, and after each request silence: it was done, and neither its answer nor any other one comes."""
    found = []
    for point in cuts(points):
        found.append(point)
        if point.moment.startswith("http "):
            found.append(replace(point, moment=f"silent {point.moment}"))
    return found


def requests(points: list[Point]) -> list[str]:
    """The requests that change something, by method and name."""
    return [point.moment.split(" ")[2] for point in points if point.moment.startswith("http ")]


def kind(point: Point) -> str:
    """What is written there and how it is disturbed, whatever the step and however often that was done before."""
    words, _space, count = point.moment.rpartition(" ")
    return words if count.isdigit() else point.moment


def chosen(points: list[Point], share: int = 1) -> list[Point]:
    """The points that are tried: all of them with ``make soak``.

    :param share: every how manieth, where the same is tried all over in other surroundings.
    """
    if soak() or not points:
        return points
    # The first of them is the same everywhere.
    return points[min(share // 2, len(points) - 1) :: share]


@dataclass
class Kinds:
    """Chooses points of one estate so that every kind of them is tried at least once.

    :ivar tried: the kinds that were chosen so far.
    """

    tried: set[str] = field(default_factory=set)

    def choose(self, points: list[Point], share: int = 1) -> list[Point]:
        """Every so manieth point, and one of each kind that was not tried before."""
        often = chosen(points, share)
        self.tried.update(kind(point) for point in often)
        wanted = {*often, *self.new(points)}
        return [point for point in points if point in wanted]

    def new(self, points: list[Point]) -> list[Point]:
        """The first point of each kind that was not tried before."""
        found = {kind(one): one for one in reversed(points) if kind(one) not in self.tried}
        self.tried.update(found)
        return [point for point in points if point in found.values()]
