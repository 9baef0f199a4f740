# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power cuts at the writes of a scene's flows: what holds at that moment, and that the same command comes to the same end."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from estate.playbook import PlaybookResult
from points import Kinds, cuts, inside, kind
from rotation import WATCHED, Point
from scene import Flow, Scene

# Keyrings, ledgers, receipts, locks and programs are the same everywhere, and are cut in the estates of test_cuts.py.
USUAL = re.compile(
    r"before|after|append |run |replace (command_|deploy_|.*\.json )|write \..*\.lock "
)


@dataclass
class SceneCourse:
    """A scene that is cut again and again.

    :ivar kinds: of the points that were chosen so far.
    :ivar env: more of the environment of each run.
    :ivar tried: the points that were cut, by flow.
    """

    scene: Scene
    kinds: Kinds = field(default_factory=Kinds)
    env: dict[str, str] = field(default_factory=dict)
    tried: dict[str, list[str]] = field(default_factory=dict)

    def cut(self, flow: Flow, share: int) -> None:
        """Run it once undisturbed, and then cut at some of its points.

        :param share: every how manieth point is tried, and one of each kind that is not cut in other estates as well; all of them
            with ``make soak``.
        """
        points, end, begun = self._undisturbed(flow)
        self.kinds.tried.update(kind(point) for point in points if self._is_usual(point.moment))
        left = self.kinds.choose(cuts(points), share)
        self.tried[flow.name] = [str(point) for point in left]
        while left:
            self.scene.begin(flow)
            passed = self._course(flow, left, end, begun)
            assert passed, f"{flow.name}: {left[0]} is not passed"
            left = left[passed:]

    def _is_usual(self, moment: str) -> bool:
        return bool(USUAL.match(moment) or re.match(self.scene.usual, moment))

    def _undisturbed(self, flow: Flow) -> tuple[list[Point], dict[str, Any], int]:
        """Every point of it, what it left, and how many values it made. Every file that it changed has its point."""
        scene = self.scene
        before = scene.begin(flow)["files"]
        made, trace = scene.begun(), scene.folder.parent / "trace"
        trace.unlink(missing_ok=True)
        self._run(flow, KEYTURN_TRACE=str(trace)).check(flow.code)
        points = [Point(*json.loads(line)) for line in trace.read_text().splitlines()]
        told = {point.moment.split(" ")[1] for point in points if inside(point)}
        after = scene.world()["files"]
        written = {
            Path(path).name
            for path in {*before, *after}
            if _content(before, path) != _content(after, path)
        }
        untold = written - told - scene.by_programs - scene.tellings
        assert not untold, f"{flow.name}: written, and no point tells of it: {sorted(untold)}"
        scene.survives(flow, f"{flow.name}, undisturbed")
        scene.ended(flow, flow.name)
        return points, scene.left(flow), scene.begun() - made

    def _run(self, flow: Flow, **env: str) -> PlaybookResult:
        given = self.scene.given(flow)
        return self.scene.run(flow.playbook, extra=given, **WATCHED, **self.env, **env)

    def _course(self, flow: Flow, points: Sequence[Point], end: dict[str, Any], new: int) -> int:
        """One course, from the state before to the end; how many points were passed."""
        scene, passed, where = self.scene, 0, flow.name
        before = scene.begun()
        for point in points:
            wanted = json.dumps([point.task, point.number, point.moment])
            done = self._run(flow, KEYTURN_KILL=wanted)
            if done.returncode != -9:
                break
            passed, where = passed + 1, f"{flow.name} cut {point}"
            scene.survives(flow, where)
            assert scene.begun() - before <= new, f"{where}: a second value"
        if done.returncode == -9:
            done = self._run(flow)
        assert done.returncode == flow.code, f"{where}: then {done.returncode}\n{done.output}"
        scene.survives(flow, f"{where}, after it")
        scene.ended(flow, f"{where}, after it")
        now = scene.left(flow)
        assert now == end, f"{where}\n{now}\n{end}\n{done.output}"
        assert scene.begun() - before == new, f"{where}: a second value"
        return passed


def _content(files: dict[str, Any], path: str) -> Any:
    return files[path]["content"] if path in files else None
