# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that ends ansible-playbook with SIGKILL at a chosen point, as a power cut would, and that tells which points there are."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: kill_at
type: aggregate
short_description: End the run with SIGKILL at a chosen point
description:
  - For tests only.
  - A point is a step of a procedure or a task, how often it had been begun when it was, and a moment.
  - >-
    A run can follow several procedures that have steps of the same name. Each is followed in a process of its own, which knows nothing of
    the steps of the others; so the first time of a step is 1 in the first procedure, 201 in the second, and 301 in the third.
  - >-
    Moments are C(before) and C(after) the step or task, and inside of it each write to the world outside as it is about to be done, by what
    is written and how often that was: C(replace keyring.json 2), C(append ledger.jsonl 1), C(remove NAME 1), C(sql ALTER ROLE 1),
    C(run PROGRAM 1), C(http PUT NAME 1).
  - >-
    C(lost) before the moment of a statement, a request or a program does it, and takes the answer away as a broken connection, or a kill
    right before the program's end, would. C(silent) before that of a request does the same, and no request of that process is
    answered any more.
  - C(lost) before the kind of a write and a star, as in C(lost http *), loses the answers of all of them, whatever the step.
  - E(KEYTURN_TRACE) names a file to which every point is written as it is passed.
  - E(KEYTURN_DEFECT) is a file of Python and the name of a function in it, which breaks the product before anything begins.
  - E(KEYTURN_LOST) names a file that gets a line with the moment and the answer, such as a status, for each answer that was lost.
  - E(KEYTURN_KILL) is the JSON of the point to die at; where the number is left open, the first one of that name counts.
requirements:
  - to be enabled
"""


PROCEDURE = "Take the steps: "


def _load(path: Path) -> Any:
    """A module by its file, as Ansible loads a callback."""
    spec = spec_from_file_location(f"keyturn_{path.stem}", path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _beside(name: str) -> Any:
    """A module of the folder above."""
    return _load(Path(__file__).parents[1] / f"{name}.py")


class CallbackModule(CallbackBase):
    """Kills its own process, and the worker that does the task, at the point that KEYTURN_KILL names."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kill_at"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._parent = os.getpid()
        self._trace = os.environ.get("KEYTURN_TRACE", "")
        self._wanted = json.loads(os.environ.get("KEYTURN_KILL", "null"))
        self._started: Counter[str] = Counter()
        self._procedures = 0
        self._before_handlers = 1
        self._task, self._number = "", 0
        self._count_anew: Callable[[], None] = lambda: None
        if self._trace or (self._wanted and " " in self._wanted[2]):
            # Workers are forked from this process and inherit it.
            self._count_anew = _beside("writes").watch(self._pass, self._loses, self._lost)
        if self._trace or self._wanted:
            _beside("steps").each_step(self._begin_step, self._end_step)
        if defect := os.environ.get("KEYTURN_DEFECT"):
            path, name = defect.split(" ")
            getattr(_load(Path(path)), name)()

    def _loses(self, moment: str) -> str:
        """How the answer of this write is lost, if it is."""
        every = f"lost {moment.partition(' ')[0]} *"
        if self._wanted and self._wanted[2] == every:
            return "lost"
        ways = [how for how in ("lost", "silent") if self._is_wanted(f"{how} {moment}")]
        return ways[0] if ways else ""

    def _lost(self, moment: str, answer: str) -> None:
        """An answer was lost."""
        if told := os.environ.get("KEYTURN_LOST"):
            with open(told, "a", encoding="utf-8") as file:
                file.write(f"{moment}: {answer}\n")

    def _pass(self, moment: str, changed: bool = False) -> None:
        """One point was reached."""
        if self._trace:
            point = [self._task, self._number, moment, changed]
            with open(self._trace, "a", encoding="utf-8") as file:
                file.write(json.dumps(point) + "\n")
        if self._is_wanted(moment):
            os.kill(self._parent, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_wanted(self, moment: str) -> bool:
        if not self._wanted:
            return False
        task, number, when = self._wanted
        return bool(
            self._task == task and moment == when and (number is None or number == self._number)
        )

    def _begin_step(self, name: str) -> None:
        self._within = (self._task, self._number)
        self._count_anew()
        times = self._started[name] + 1
        self._begin(name, times + 100 * self._procedures if self._procedures > 1 else times)

    def _end_step(self, changed: bool | None) -> None:
        self._pass("after failure" if changed is None else "after", bool(changed))
        self._task, self._number = self._within
        self._count_anew()

    def _begin(self, name: str, number: int | None = None) -> None:
        self._task = name.rpartition(" : ")[2]
        self._started[self._task] += 1
        self._number = number or self._started[self._task]
        self._pass("before")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Before a task."""
        self._procedures += PROCEDURE in task.get_name()
        self._begin(task.get_name())
        self._before_handlers = self._number

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Before a handler: it counts as often as the task that came before it, because not every flush runs it."""
        self._begin(task.get_name(), self._before_handlers)

    def v2_runner_on_ok(self, result: Any) -> None:
        """After a task."""
        self._pass("after", bool(result._result.get("changed")))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """After a task that failed."""
        self._pass("after failure")
