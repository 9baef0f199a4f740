# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers that are systemd units.

What tells whether a reload worked is ``ReloadResult``: ``Result`` stays ``success`` and the unit
stays active when it failed. A unit that is not running is never started from here: ``reload`` of
one fails, and ``reload-or-restart`` would start what somebody stopped.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
from typing import Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._define import unit_name
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import (
    SETTLE,
    Task,
    until,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
    ProbeFailed,
    Refused,
    Unreachable,
)

PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "CanReload",
    "ReloadResult",
    "Result",
    "StatusErrno",
    "MainPID",
    "NRestarts",
    "ExecMainStartTimestampMonotonic",
    "NeedDaemonReload",
)
_QUICK = 15.0
# File times come from a clock that ticks every few milliseconds.
_MARGIN = 0.02
_MOVING = ("activating", "deactivating", "reloading", "refreshing", "maintenance")
_COPIED = re.compile(
    r"^\s*(EnvironmentFile|LoadCredential|LoadCredentialEncrypted)\s*=\s*(\S.*)$", re.MULTILINE
)
_SPECIFIER = re.compile(r"%(.)")


def _open(specifier: re.Match[str]) -> str:
    return "%" if specifier.group(1) == "%" else "*"


def parse_show(text: str) -> dict[str, str]:
    """The properties that ``systemctl show`` printed."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found[name] = value
    return found


def copied_files(text: str) -> list[str]:
    """The files that systemd itself reads for a unit, at start only, from ``systemctl cat``: patterns.

    The process sees copies: its environment, or the directory of its credentials. A reload leaves
    them as they are. What a specifier such as ``%i`` stands for is left open.
    """
    found: list[str] = []
    for key, value in _COPIED.findall(text):
        path = value.strip() if key == "EnvironmentFile" else value.partition(":")[2].strip()
        path = _SPECIFIER.sub(_open, path.strip('"').lstrip("-"))
        if path:
            found.append(path)
    return found


def parse_messages(text: str) -> list[str]:
    """What systemd itself says about a unit's life, from ``journalctl -o json``.

    Only messages of a kind that systemd's catalogue knows are taken: these name units, jobs and exit
    codes. Others may quote a line of an environment file, with its value.
    """
    found: list[str] = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        known = isinstance(entry, dict) and entry.get("MESSAGE_ID")
        message = entry.get("MESSAGE") if known else None
        if isinstance(message, str):
            found.append(message[:200].rstrip(". "))
    return found


def _number(properties: Mapping[str, str], name: str) -> int:
    text = properties.get(name, "")
    return int(text) if text.isdigit() else 0


class SystemdUnit:
    """One unit; see :class:`_port.Adapter`."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._where = f"consumer {task.name}"
        self.unit = unit_name(str(task.definition["unit"]), self._where)
        self.service = f"systemd/{self.unit}"
        self._wish = str(task.definition.get("action", "auto"))

    def _systemctl(self, *words: str, seconds: float = _QUICK) -> str:
        """Run systemctl; its own messages name units and jobs, and no values.

        :raises Unreachable, ProbeFailed: what it said.
        """
        argv = ["systemctl", "--no-pager", "--no-ask-password", *words, "--", self.unit]
        environ = {**self._task.environ, "LC_ALL": "C"}
        try:
            ended = self._task.machine.run(argv, seconds, environ=environ)
        except Absent:
            raise BadInput(f"{self._where}: there is no systemctl on this host") from None
        except Unreachable as error:
            raise Unreachable(f"{self._where}: {words[0]} {self.unit}: {error.message}") from None
        if ended.code:
            raise ProbeFailed(f"{self._where}: {words[0]} {self.unit}: {ended.first_line}")
        return ended.out

    def state(self) -> dict[str, str]:
        """The unit's properties.

        :raises Unreachable: systemd does not answer.
        """
        try:
            return parse_show(self._systemctl("show", f"--property={','.join(PROPERTIES)}"))
        except ProbeFailed as error:
            raise Unreachable(error.message) from None

    def check(self) -> bool:
        """See :meth:`_port.Adapter.check`."""
        state = self.state()
        loaded = state.get("LoadState")
        if loaded != "loaded":
            raise BadInput(
                f"{self._where}: unit {self.unit} cannot be used here (LoadState={loaded}); "
                "correct its name, or install or unmask it"
            )
        if state.get("ActiveState") not in ("active", *_MOVING):
            return self._inactive(state)
        if state.get("NeedDaemonReload") == "yes":
            self._task.context.warn(
                f"{self._where}: the files of {self.unit} changed since systemd read them; they "
                "take effect with the next 'systemctl daemon-reload'"
            )
        self.action()
        return True

    def _inactive(self, state: Mapping[str, str]) -> bool:
        told = (
            f"{self._where}: unit {self.unit} is {state.get('ActiveState')} "
            f"({state.get('SubState')}, last result {state.get('Result')})"
        )
        if self._task.definition.get("inactive") == "warn":
            self._task.context.warn(f"{told}; it reads the new value when it is started")
            return False
        raise Refused(
            f"{told} and must not be started from here. Start it, take it out of "
            "keyturn_consumers, or say 'inactive: warn' if it reads the value when it starts"
        )

    def _start_only(self) -> list[str]:
        """Those of the files it reads that only a start brings into the process."""
        if not self._task.files:
            return []
        copied = copied_files(self._systemctl("cat"))
        return [path for path in self._task.files if any(_covers(it, path) for it in copied)]

    def action(self) -> str:
        """``reload`` or ``restart``.

        :raises BadInput: a reload is asked for that the unit does not have.
        """
        if self._wish == "restart":
            return "restart"
        can = self.state().get("CanReload") == "yes"
        if self._wish == "reload":
            if not can:
                raise BadInput(
                    f"{self._where}: unit {self.unit} has no ExecReload; say 'action: restart'"
                )
            return "reload"
        return "reload" if can and not self._start_only() else "restart"

    def _started(self, state: Mapping[str, str]) -> float:
        """When the main process was started, in seconds since the epoch; 0 when it was not."""
        ticks = _number(state, "ExecMainStartTimestampMonotonic")
        machine = self._task.machine
        return machine.clock() - (machine.monotonic() - ticks / 1e6) if ticks else 0.0

    def fresh(self, since: float, done: Mapping[str, float]) -> bool:
        """See :meth:`_port.Adapter.fresh`."""
        state = self.state()
        times = [self._started(state), done.get("restart", 0.0)]
        if self.action() == "reload" and state.get("ReloadResult") == "success":
            times.append(done.get("reload", 0.0))
        read = max(time for time in times if time <= self._task.machine.clock())
        active = state.get("ActiveState") == "active" and read > since + _MARGIN
        return active and self._stays_up(state)

    def _stays_up(self, state: Mapping[str, str]) -> bool:
        """Whether one that was started a moment ago proves as much as one that was told from here."""
        machine = self._task.machine
        age = max(0.0, machine.clock() - self._started(state))
        machine.sleep(max(0.0, self._task.seconds("settle", SETTLE) - age))
        return _same_process(state, self.state())

    def pick_up(self) -> str:
        """See :meth:`_port.Adapter.pick_up`."""
        action, machine = self.action(), self._task.machine
        begun, before = machine.clock(), self.state()
        try:
            self._systemctl(action, seconds=self._task.timeout)
            self._see(action, before)
        except (ProbeFailed, Unreachable) as error:
            raise type(error)(f"{error.message}{self._hint(begun)}") from None
        return action

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
        if wrong or not _same_process(settled, now):
            raise failed(wrong or f"{self.unit} did not stay up: its process was replaced")

    def _wrong(self, action: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
        """What keeps it from having picked up the value; raises where waiting cannot help."""
        active = now.get("ActiveState")
        if active == "failed" or _number(now, "NRestarts") > _number(before, "NRestarts"):
            raise ProbeFailed(
                f"{self._where}: after {action}, {self.unit} is {active}"
                f" (result {now.get('Result')}, {_number(now, 'NRestarts')} automatic restarts)"
            )
        if active != "active":
            return f"{self.unit} is {active} ({now.get('SubState')})"
        name = "ExecMainStartTimestampMonotonic"
        if action == "restart" and 0 < _number(now, name) <= _number(before, name):
            return f"{self.unit} still runs the process from before"
        if action == "reload" and now.get("ReloadResult", "success") != "success":
            raise ProbeFailed(
                f"{self._where}: the reload of {self.unit} failed "
                f"(ReloadResult={now.get('ReloadResult')}); it runs on with what it had"
            )
        errno = _number(now, "StatusErrno")
        if errno and errno != _number(before, "StatusErrno"):
            raise ProbeFailed(f"{self._where}: {self.unit} reports error {errno} after {action}")
        return ""

    def _hint(self, begun: float) -> str:
        """Systemd's own messages since then. What the service itself wrote may hold a value."""
        argv = ["journalctl", "--no-pager", "--output=json", "--lines=6", f"--since=@{begun:.6f}"]
        argv += ["_PID=1", f"UNIT={self.unit}"]
        try:
            messages = parse_messages(self._task.machine.run(argv, _QUICK).out)
        except KeyturnError:
            messages = []
        told = f". systemd says: {'; '.join(messages)}" if messages else ""
        return f"{told}. Its own log: journalctl -u {self.unit} --since=@{int(begun)}"


def _same_process(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return all(one.get(name) == other.get(name) for name in ("MainPID", "NRestarts"))


def _covers(pattern: str, path: str) -> bool:
    """Whether what systemd reads is this file, or a directory that it is in."""
    return any(
        fnmatch.fnmatchcase(name, pattern.rstrip("/")) for name in (path, os.path.dirname(path))
    )
