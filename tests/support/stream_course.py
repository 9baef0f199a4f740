# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power cuts at the writes of a stream key's playbooks: what holds at that moment, and that the same command ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from points import Kinds, cuts
from rotation import Point
from stream_estate import StreamEstate
from stream_faults import keep_cuts


@dataclass(frozen=True)
class Flow:
    """An undisturbed run.

    :param code: how it ended.
    :param end: what it left, with names of stages in the place of keys.
    :param begun: how many rotations it began.
    """

    playbook: str
    code: int
    points: list[Point]
    end: dict[str, Any]
    begun: int


@dataclass
class StreamCourse:
    """A platform that is cut again and again.

    :ivar kinds: of the points that were chosen so far.
    """

    estate: StreamEstate
    kinds: Kinds = field(default_factory=Kinds)

    def undisturbed(self, playbook: str, code: int = 0) -> Flow:
        """Run it to its end."""
        stages = self._begun()
        points = self.estate.traced(playbook, code)
        return Flow(playbook, code, points, self.estate.left(), self._begun() - stages)

    def _begun(self) -> int:
        return self.estate.phases().count("stage")

    def cut(self, flow: Flow, again: Callable[[], object], share: int = 1) -> None:
        """Cut it at its points in turn, and then run it to its end, which is the undisturbed one.

        :param again: makes the state where it begins, which is not there yet: a point that a run does not pass any more, because
            one before it did the work, is cut in a new course.
        :param share: every how manieth point is tried, and one of each kind; all of them with ``make soak``.
        """
        left = self.kinds.choose(cuts(flow.points), share)
        tried = [str(point) for point in left]
        while left:
            again()
            self.estate.survives(f"{flow.playbook}: before")
            passed = self._course(flow, left)
            assert passed, f"{flow.playbook}: {left[0]} is not passed"
            left = left[passed:]
        keep_cuts(self.estate.overlap, flow.playbook, flow.code, tried)

    def _course(self, flow: Flow, points: Iterable[Point]) -> int:
        """One course, from the state before to the end; how many points were passed."""
        estate, passed, where = self.estate, 0, flow.playbook
        stages, worked_on = self._begun(), estate.rotation()
        for point in points:
            done = estate.cut(flow.playbook, point)
            if done.returncode != -9:
                break
            passed, where = passed + 1, f"{flow.playbook} cut {point}"
            estate.survives(where)
            assert self._begun() - stages <= flow.begun, f"{where}: a second key"
            if flow.begun:
                assert worked_on in (estate.rotation(), estate.since), f"{where}: another rotation"
                worked_on = estate.rotation()
        if done.returncode == -9:
            done = estate.run(flow.playbook, **estate.wish(flow.playbook))
        done.check(flow.code)
        estate.survives(f"{where}, after it")
        now = estate.left()
        assert now == flow.end, f"{where}\n{now}\n{flow.end}\n{done.output}"
        assert self._begun() - stages == flow.begun, f"{where}: a second key"
        return passed
