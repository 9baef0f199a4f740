# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that write to one store or one place at the same time, and processes that die while they write.

They are forked from one program, ``racing_program.py``, so that a race does not begin with eight imports of the same libraries.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PROCESSES = 8
"""How many race."""
PROGRAM = Path(__file__).with_name("racing_program.py")


@dataclass(frozen=True)
class Task:
    """What one process does.

    :param work: ``append``, ``create``, ``publish`` or ``replace``.
    :param ref: what it writes to.
    :param key: the field of a sink.
    :param keyring: the keyring that ``publish`` has its value from.
    :param die_at: it dies at so manieth step of its writes; 0: it lives.
    :param size: bytes that make its texts longer.
    """

    work: str
    ref: str
    environ: Mapping[str, str] = field(repr=False)
    who: int = 0
    writes: int = 1
    key: str = ""
    keyring: str = ""
    size: int = 0
    die_at: int = 0


@dataclass(frozen=True)
class End:
    """How one process ended.

    :param status: 0, or the signal that it died of, negative.
    :param done: writes that were done.
    :param lost: how often somebody else's came first.
    :param steps: steps of its writes at which it could have died.
    """

    status: int
    done: int = 0
    lost: int = 0
    steps: int = 0

    @property
    def died(self) -> bool:
        """Whether it was killed."""
        return self.status == -signal.SIGKILL


class Race:
    """Processes that have opened what they write to, and wait.

    :ivar pids: theirs, in the order of their tasks.
    """

    def __init__(self, talk: Callable[[Any], Any], tasks: Sequence[Task]) -> None:
        self._talk = talk
        self.pids: list[int] = talk([asdict(task) for task in tasks])

    def go(self, kill_after: float | None = None) -> list[End]:
        """Let them write, all at once, and wait for their ends.

        :param kill_after: seconds after which all are killed.
        """
        told = {} if kill_after is None else {"kill_after": kill_after}
        return [End(**end) for end in self._talk(told)]


class Racers:
    """The program, started when it is first needed."""

    def __init__(self) -> None:
        self._program: subprocess.Popen[str] | None = None

    def race(self, tasks: Sequence[Task]) -> list[End]:
        """Let tasks run at once to their ends, which must be good.

        :raises AssertionError: when one of them failed; what it said is on stderr.
        """
        ends = Race(self._talk, tasks).go()
        assert [end.status for end in ends] == [0] * len(tasks), "a racing process failed"
        return ends

    def doomed(self, task: Task, kill_after: float | None = None) -> End:
        """Let one run that is to die, by its own task or after a time."""
        [end] = Race(self._talk, [task]).go(kill_after)
        assert end.died or not end.status, "it failed instead of dying"
        return end

    def close(self) -> None:
        """End the program."""
        if self._program is not None:
            self._program.communicate(timeout=30)
            self._program = None

    def _talk(self, told: Any) -> Any:
        """Tell the program something, and hear what it says to that."""
        program = self._started()
        assert program.stdin is not None and program.stdout is not None
        program.stdin.write(json.dumps(told) + "\n")
        program.stdin.flush()
        line = program.stdout.readline()
        assert line, "the program of the racing processes ended"
        return json.loads(line)

    def _started(self) -> subprocess.Popen[str]:
        if self._program is None:
            paths = os.pathsep.join(path for path in sys.path if path)
            self._program = subprocess.Popen(
                [sys.executable, str(PROGRAM)],
                env={**os.environ, "PYTHONPATH": paths},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._program


def filler(size: int) -> str:
    """A text of so many characters that cannot be made smaller, and is the same in every process."""
    return base64.urlsafe_b64encode(hashlib.shake_256(b"filler").digest(size)).decode()[:size]
