# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of both sides by turns, and what each took."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from estate.playbook import PlaybookResult

from bench.scene import HERE, Scene, Side

PEER = str(HERE / "peer" / "rotate.yml")
FORCE = {"keyturn_force": True}


class Wrong(Exception):
    """A run did not do its job, so that its time says nothing."""


@dataclass(frozen=True)
class Run:
    """What one run took, in seconds.

    :param wall: from its start to its end.
    :param waited: of that, in the application's own reload and in pauses between two tries.
    :param processor: user and system time of it and everything that it started.
    """

    wall: float
    waited: float
    processor: float

    @property
    def beyond(self) -> float:
        """Beyond waiting."""
        return self.wall - self.waited


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _numbers(path: Path) -> list[float]:
    return [float(line) for line in path.read_text().split()] if path.exists() else []


def _checked(side: Side, ran: PlaybookResult) -> PlaybookResult:
    if ran.returncode:
        raise Wrong(f"{side.kind} ended with {ran.returncode}:\n{ran.output}")
    if side.failures():
        raise Wrong(f"{side.kind}: {side.failures()} logins or transactions of applications failed")
    return ran


def _users(side: Side) -> list[str]:
    return [one.user() for one in side.credentials]


def rotate(side: Side, forks: int) -> Run:
    """One rotation of all credentials of a side, as a whole process.

    :raises Wrong: when it failed, an application noticed it, or one uses the same user as before.
    """
    before = _users(side)
    reloads, pauses = side.place / "reloads", side.place / "pauses"
    for path in (reloads, pauses):
        path.unlink(missing_ok=True)
    keyturn = side.kind == "keyturn"
    playbook = "keyturn.runbooks.rotate_db" if keyturn else PEER
    used = _processor()
    ran = side.ansible.run(
        playbook, "--forks", str(forks), extra_vars=FORCE if keyturn else None, seconds=600
    )
    used = _processor() - used
    _checked(side, ran)
    if any(old == new for old, new in zip(before, _users(side), strict=True)):
        raise Wrong(f"{side.kind}: an application uses the user that it used before")
    waited = sum(_numbers(reloads)) / 1e9 + sum(_numbers(pauses))
    return Run(ran.seconds, waited if len(before) == 1 else 0.0, used)


def _retire(scene: Scene, forks: int) -> None:
    """Make room for the next rotation; the peer has nothing like it, so it is not timed."""
    side = scene.sides["keyturn"]
    _checked(side, side.ansible.run("keyturn.runbooks.retire_due", "--forks", str(forks)))


def by_turns(count: int, forks: int, repeat: int, warm_up: int = 1) -> dict[str, list[Run]]:
    """Rotations of both sides by turns.

    :param warm_up: so many pairs are run before those that are counted.
    """
    found: dict[str, list[Run]] = {"keyturn": [], "peer": []}
    with Scene(count) as scene:
        for number in range(repeat + warm_up):
            if number:
                _retire(scene, forks)
            # Whoever goes first finds other caches than whoever goes second.
            order = ("keyturn", "peer") if number % 2 else ("peer", "keyturn")
            for kind in order:
                run = rotate(scene.sides[kind], forks)
                say(f"  {kind}: {run.wall:.2f} s, {run.waited:.2f} s of it waiting")
                if number >= warm_up:
                    found[kind].append(run)
    return found


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def spread(values: list[float]) -> str:
    """The median with the least and the most."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def of(runs: list[Run], what: Callable[[Run], float]) -> list[float]:
    """One number of each run."""
    return [what(run) for run in runs]


def ratio(found: Mapping[str, list[Any]], what: Callable[[Any], float]) -> float:
    """How many times as long the peer takes, by the medians."""
    return median(of(found["peer"], what)) / median(of(found["keyturn"], what))
