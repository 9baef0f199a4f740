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
from importlib import import_module
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: kill_at
type: aggregate
short_description: End the run with SIGKILL at a chosen point
description:
  - For tests only.
  - A point is a task, how often it had been started when it was (the tasks of one file are used in several places), and a moment.
  - >-
    Moments are C(before) and C(after) the task, and inside of it C(guard N) before its Nth write outside of the keyring,
    C(keyring N) before its Nth write to the keyring, C(ledger N) between such a write and the line in the ledger, and C(file N)
    when the successor of the Nth file that it replaces is written, but not in its place.
  - E(KEYTURN_TRACE) names a file to which every point is written as it is passed.
  - E(KEYTURN_KILL) is the JSON of the point to die at; where the number is left open, the first one of that name counts.
requirements:
  - to be enabled
"""

MODULE_UTILS = "ansible_collections.keyturn.runbooks.plugins.module_utils"


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
        self._writes: Counter[str] = Counter()
        self._before_handlers = 1
        self._task, self._number = "", 0
        if self._trace or (self._wanted and " " in self._wanted[2]):
            self._watch_writes()

    def _watch_writes(self) -> None:
        """Pass a point at each write inside a task: workers are forked from this process and inherit it."""
        access = import_module(f"{MODULE_UTILS}._access")
        files = import_module(f"{MODULE_UTILS}._files")
        keyring, open_ledger = access.KeyringAccess, access.open_ledger
        keyring.guard = self._counted("guard", keyring.guard)
        keyring._write = self._counted("keyring", keyring._write)

        def watched(*arguments: Any, **options: Any) -> Any:
            ledger = open_ledger(*arguments, **options)
            ledger.append = self._counted("ledger", ledger.append)
            return ledger

        access.open_ledger = watched
        files._write_all = self._counted("file", files._write_all, after=True)

    def _counted(
        self, moment: str, function: Callable[..., Any], after: bool = False
    ) -> Callable[..., Any]:
        """The function with a point before or after each call."""

        def counted(*arguments: Any, **options: Any) -> Any:
            self._writes[moment] += 1
            done = function(*arguments, **options) if after else None
            self._pass(f"{moment} {self._writes[moment]}")
            return done if after else function(*arguments, **options)

        return counted

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

    def _begin(self, task: Any, number: int | None = None) -> None:
        self._task = task.get_name().rpartition(" : ")[2]
        self._started[self._task] += 1
        self._number = number or self._started[self._task]
        self._pass("before")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Before a task."""
        self._begin(task)
        self._before_handlers = self._number

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Before a handler: it counts as often as the task that came before it, because not every flush runs it."""
        self._begin(task, self._before_handlers)

    def v2_runner_on_ok(self, result: Any) -> None:
        """After a task."""
        self._pass("after", bool(result._result.get("changed")))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """After a task that failed."""
        self._pass("after failure")
