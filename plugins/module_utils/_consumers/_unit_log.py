# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a unit writes while it is told: from right before that until it has settled, and no older line."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import Task
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    KeyturnError,
    ProbeFailed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._journal import WAIT, Journal
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_hide import Hider
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_look import (
    SINCE,
    Look,
    read_wanted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

_JOURNAL = ("journal", "journal+console", "kmsg", "kmsg+console", "syslog", "inherit", "")


class UnitLog:
    """The log of one unit; opened before it is told.

    :param state: the unit's properties, from before.
    :param mark: whether to remember where the journal ends now.
    :raises KeyturnError: the journal cannot be read: what cannot be seen later must not be begun.
    """

    def __init__(self, task: Task, state: Mapping[str, str], mark: bool) -> None:
        self._task = task
        self.unit = state.get("Id") or str(task.definition["unit"])
        given: Mapping[str, Any] = task.definition["log"]
        self._since = given.get("since") or SINCE
        self._before = state.get("InvocationID", "")
        values = [secret.reveal() for secret in task.hidden]
        hider = Hider(values, (self.unit, *task.files))
        self._look = Look(read_wanted(given, f"{task.where}: log."), hider)
        self._journal = Journal(task.machine, task.environ, [self.unit], task.where)
        self._see_places(state)
        self._cursor = self._journal.mark() if mark else ""

    @classmethod
    def opened(cls, task: Task, state: Mapping[str, str], mark: bool = True) -> Optional[UnitLog]:
        """The log, where the definition says what to look for in it."""
        return cls(task, state, mark) if task.definition.get("log") is not None else None

    def _see_places(self, state: Mapping[str, str]) -> None:
        """Say so where the service writes to somewhere else."""
        for name in ("StandardOutput", "StandardError"):
            place = state.get(name, "")
            if place not in _JOURNAL:
                self._look.tell_gap(
                    f"{name} of {self.unit} is {place.partition(':')[0]} and not the journal: what it writes there is not looked at "
                    "(the module log_probe reads files)"
                )
        if state.get("LogNamespace"):
            self._look.tell_gap(
                f"{self.unit} writes to the journal's namespace {state['LogNamespace']}, which is not looked at"
            )

    def _read(self, action: str) -> None:
        # What a process says while it is ended is nothing that the next one is to blame for.
        passed_over = self._before if action in ("restart", "start") else ""
        self._cursor = self._journal.after(self._cursor, self._look, passed_over)

    def judge(self, action: str, deadline: float) -> None:
        """Look at what was written since the mark; what must occur is waited for.

        :param deadline: until when, by the monotonic clock.
        :raises ProbeFailed: what must not be there is, or what must be is not.
        :raises KeyturnError: the journal cannot be read.
        """
        machine = self._task.machine
        while True:
            self._read(action)
            waits = self._look.missing and not self._look.forbidden
            if not waits or machine.monotonic() >= deadline:
                break
            machine.sleep(WAIT)
        self._warn_of_gaps()
        self._refuse(f"after {action}, the log of {self.unit} ")

    def judge_lately(self) -> None:
        """Look at what was written lately; nothing has to be.

        :raises ProbeFailed: what must not be there is.
        :raises KeyturnError: the journal cannot be read.
        """
        seconds = parse_duration(self._since, "log.since").total_seconds()
        self._journal.since(max(1.0, self._task.machine.clock() - seconds), self._look)
        self._warn_of_gaps()
        if self._look.forbidden:
            self._refuse(f"in the last {self._since}, the log of {self.unit} ")

    def _warn_of_gaps(self) -> None:
        for gap in self._look.gaps:
            self._task.context.warn(f"{self._task.where}: {gap}")

    def _refuse(self, begin: str) -> None:
        complaint = self._look.complaint()
        if complaint:
            raise ProbeFailed(f"{self._task.where}: {begin}{complaint}")

    def last_words(self, action: str) -> str:
        """The first forbidden line since the mark, for a failure of another kind; empty when there is none or it is told already."""
        if self._look.lines:
            return ""
        try:
            self._read(action)
        except KeyturnError:
            return ""
        return f". Its log says: {self._look.matches[0]['line']}" if self._look.matches else ""

    def facts(self) -> Dict[str, Any]:
        """What the result says of it."""
        return self._look.facts()
