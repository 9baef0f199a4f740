# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd: consumers, and what the module ``systemd_reload`` works on.

What tells whether a reload worked is ``ReloadResult``: ``Result`` stays ``success`` and the unit
stays active when it failed. A unit that is not running is started only where its definition says so:
``reload`` of one fails, and ``reload-or-restart`` would start what somebody stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import (
    SETTLE,
    Task,
    until,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._unit_log import UnitLog
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._unit_show import (
    copied_files,
    covers,
    number,
    reload_status,
    same_process,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._unit_state import (
    UnitState,
    maybe_old,
    runs,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
    Live,
    ProbeFailed,
    Refused,
    Unreachable,
)

# File times come from a clock that ticks every few milliseconds.
_MARGIN = 0.02
_STARTS = "it reads the new value when it is started"


@dataclass(frozen=True)
class Plan:
    """What there is to do with a unit.

    :param action: ``reload``, ``restart``, ``start`` or ``none``.
    :param why: the reason, as a clause.
    """

    action: str
    why: str


class SystemdUnit(UnitState):
    """One unit; see :class:`_port.Adapter`."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._wish = str(task.definition.get("action", "auto"))

    def check(self) -> bool:
        """See :meth:`_port.Adapter.check`."""
        return self.plan().action != "none"

    def plan(self) -> Plan:
        """What is to be done with it now; nothing is touched.

        :raises KeyturnError: it cannot be told, or must not be.
        """
        state = self.usable()
        if not runs(state):
            return self._inactive(state)
        self._refuse_live(state)
        self._see_files(state)
        return self.chosen(state)

    def _see_files(self, state: Mapping[str, str]) -> None:
        wish = self._task.definition.get("daemon_reload")
        if state.get("NeedDaemonReload") != "yes" or wish == "do":
            return
        told = f"{self._where}: the files of {self.unit} changed since systemd read them"
        if wish == "refuse":
            raise Refused(
                f"{told}, and nothing was changed. Run 'systemctl daemon-reload' there, or say 'daemon_reload: do'"
            )
        self._task.context.warn(f"{told}; they take effect with the next 'systemctl daemon-reload'")

    def _refuse_live(self, state: Mapping[str, str]) -> None:
        if self._task.definition.get("active") == "refuse":
            raise Live(
                f"{self._where}: someone may be live: unit {self.unit} is {state.get('ActiveState')} "
                f"({state.get('SubState')}), and nothing was changed there. Run this again "
                "when it was stopped, or say 'active: proceed' if it may be told while it runs"
            )

    def _inactive(self, state: Mapping[str, str]) -> Plan:
        is_so = (
            f"{self.unit} is {state.get('ActiveState')} "
            f"({state.get('SubState')}, last result {state.get('Result')})"
        )
        wish = self._task.definition.get("inactive")
        if wish == "start":
            self._see_files(state)
            return Plan("start", is_so)
        if wish not in ("warn", "skip"):
            hint = self._task.idle_hint or (
                "take it out of keyturn_consumers, or say 'inactive: warn' if it reads the value when it starts"
            )
            raise Refused(
                f"{self._where}: unit {is_so} and must not be started from here. Start it, {hint}"
            )
        if wish == "warn":
            self._task.context.warn(f"{self._where}: unit {is_so}; {_STARTS}")
        note = f"{is_so}; {_STARTS}"
        self._task.told.update(note=note, active_state=state.get("ActiveState"))
        return Plan("none", note)

    def _start_only(self) -> list[str]:
        """Those of the files it reads that only a start brings into the process."""
        if not self._task.files:
            return []
        copied = copied_files(self.systemctl("cat"))
        return [path for path in self._task.files if any(covers(it, path) for it in copied)]

    def chosen(self, state: Mapping[str, str]) -> Plan:
        """How one that runs is told: ``reload`` or ``restart``.

        :raises BadInput: a reload is asked for that the unit does not have.
        """
        if self._wish == "restart":
            return Plan("restart", "'action: restart' is asked for")
        if state.get("CanReload") != "yes":
            if self._wish == "reload":
                raise BadInput(
                    f"{self._where}: unit {self.unit} has no ExecReload; say 'action: restart'"
                )
            return Plan("restart", "it has no ExecReload")
        if self._wish == "reload":
            return Plan("reload", "'action: reload' is asked for")
        copied = self._start_only()
        if copied:
            return Plan(
                "restart", f"EnvironmentFile or LoadCredential copies {copied[0]} at a start only"
            )
        return Plan("reload", "it has ExecReload")

    def _started(self, state: Mapping[str, str]) -> float:
        """When the main process was started, in seconds since the epoch; 0 when it was not."""
        ticks = number(state, "ExecMainStartTimestampMonotonic")
        machine = self._task.machine
        return machine.clock() - (machine.monotonic() - ticks / 1e6) if ticks else 0.0

    def fresh(self, since: float, done: Mapping[str, float]) -> bool:
        """See :meth:`_port.Adapter.fresh`."""
        state = self.state()
        times = [self._started(state), done.get("restart", 0.0)]
        if self.chosen(state).action == "reload" and state.get("ReloadResult") == "success":
            times.append(done.get("reload", 0.0))
        read = max(time for time in times if time <= self._task.machine.clock())
        active = state.get("ActiveState") == "active" and read > since + _MARGIN
        return active and self._stays_up(state)

    def _stays_up(self, state: Mapping[str, str]) -> bool:
        """Whether one that was started a moment ago proves as much as one that was told from here."""
        machine = self._task.machine
        age = max(0.0, machine.clock() - self._started(state))
        machine.sleep(max(0.0, self._task.seconds("settle", SETTLE) - age))
        return same_process(state, self.state())

    def pick_up(self) -> str:
        """See :meth:`_port.Adapter.pick_up`."""
        machine = self._task.machine
        # It may have been started or stopped while others held its lock.
        before = self.usable()
        if runs(before):
            self._refuse_live(before)
            action = self.chosen(before).action
        else:
            action = self._inactive(before).action
        if action == "none":
            return action
        log = UnitLog.opened(self._task, before)
        begun, started = machine.clock(), machine.monotonic()
        try:
            self.systemctl(action, seconds=self._task.timeout)
            self._see(action, before)
            if log:
                log.judge(action, started + self._task.timeout)
        except (ProbeFailed, Unreachable) as error:
            said = log.last_words(action) if log else ""
            self._tell(action, log, machine.monotonic() - started)
            told = f"{error.message}{said}{self.hint(begun)}"
            raise type(error)(told, **{**self._task.told, **error.details}) from None
        self._tell(action, log, machine.monotonic() - started)
        return action

    def _tell(self, action: str, log: UnitLog | None, seconds: float) -> None:
        """What the result says of it."""
        try:
            now = self.state()
        except Unreachable:
            now = {}
        ended, good = reload_status(now) if action == "reload" else ("", True)
        reload_result = now.get("ReloadResult") if action == "reload" else None
        if not good and reload_result == "success":
            self._task.context.warn(
                f"{self._where}: a command of ExecReload of {self.unit} ended with {ended}, which its unit says to ignore ('-'): "
                "see whether it read its files"
            )
        self._task.told.update(
            active_state=now.get("ActiveState"),
            reload_result=reload_result,
            exec_reload_status=ended or None,
            pid=number(now, "MainPID"),
            seconds=round(seconds, 3),
            log=log.facts() if log else None,
        )

    def verify(self) -> None:
        """See how it is doing, and what it wrote lately; nothing is touched.

        :raises KeyturnError: it is not there, does not run although it should, or its log has what must not be there.
        """
        state = self.usable()
        active = state.get("ActiveState")
        self._task.told.update(active_state=active, pid=number(state, "MainPID"))
        idle = self._task.definition.get("inactive") in ("warn", "skip", "start")
        if not runs(state):
            result = f"{self.unit} is {active} ({state.get('SubState')}, last result {state.get('Result')})"
            if active == "failed" or not idle:
                told = f"{self._where}: {result}; see journalctl -u {self.unit}"
                raise ProbeFailed(told, **self._task.told)
            self._task.told.update(note=f"{result}; {_STARTS}")
        log = UnitLog.opened(self._task, state, mark=False)
        if log:
            try:
                log.judge_lately()
            except ProbeFailed as error:
                error.details.update(self._task.told, log=log.facts())
                raise
            self._task.told.update(log=log.facts())

    def _see(self, action: str, before: Mapping[str, str]) -> None:
        """Wait until it runs with what it read, and then a little for one that gives up soon."""
        machine = self._task.machine

        def look() -> str:
            return self._wrong(action, before, self.state())

        def failed(wrong: str) -> KeyturnError:
            return ProbeFailed(f"{self._where}: after {action}, {wrong}")

        until(machine, self._task.timeout, look, failed)
        settled = self.state()
        machine.sleep(self._task.seconds("settle", SETTLE))
        now = self.state()
        wrong = self._wrong(action, before, now)
        if wrong or not same_process(settled, now):
            raise failed(wrong or f"{self.unit} did not stay up: its process was replaced")

    def _wrong(self, action: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
        """What keeps it from having picked up the value; raises where waiting cannot help."""
        active = now.get("ActiveState")
        restarts = 0 if action == "start" else number(before, "NRestarts")
        if active == "failed" or number(now, "NRestarts") > restarts:
            raise ProbeFailed(
                f"{self._where}: after {action}, {self.unit} is {active}"
                f" (result {now.get('Result')}, {number(now, 'NRestarts')} automatic restarts)"
            )
        name = "ExecMainStartTimestampMonotonic"
        anew = number(now, name) > number(before, name)
        ran = now.get("Type") == "oneshot" and now.get("Result") == "success"
        if active == "inactive" and action != "reload" and ran:
            # systemctl waited for its end. What it did before may be forgotten by now.
            return ""
        if active == "inactive" and now.get("SubState") == "dead":
            # What is to be started again by itself is `activating`, or has another SubState.
            raise ProbeFailed(
                f"{self._where}: after {action}, {self.unit} is inactive ({now.get('SubState')})"
            )
        if active != "active":
            return f"{self.unit} is {active} ({now.get('SubState')})"
        if action == "restart" and number(now, name) and not anew:
            return f"{self.unit} still runs the process from before"
        if action == "reload" and now.get("ReloadResult", "success") != "success":
            raise ProbeFailed(
                f"{self._where}: the reload of {self.unit} failed "
                f"(ReloadResult={now.get('ReloadResult')}); it runs on with what it had"
            )
        errno = number(now, "StatusErrno")
        if errno:
            raise ProbeFailed(
                f"{self._where}: {self.unit} reports error {errno} after {action}"
                f"{maybe_old(action, errno, number(before, 'StatusErrno'))}"
            )
        return ""
