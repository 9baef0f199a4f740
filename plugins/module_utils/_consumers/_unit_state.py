# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A unit of systemd as it is: asked for, and not told anything."""

from __future__ import annotations

from typing import Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._define import unit_name
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import Task
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._unit_show import (
    parse_messages,
    parse_show,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
    ProbeFailed,
    Unreachable,
)

PROPERTIES = (
    "Id",
    "Type",
    "LoadState",
    "ActiveState",
    "SubState",
    "CanReload",
    "ReloadResult",
    "ExecReload",
    "Result",
    "StatusErrno",
    "MainPID",
    "NRestarts",
    "ExecMainStartTimestampMonotonic",
    "NeedDaemonReload",
    "InvocationID",
    "StandardOutput",
    "StandardError",
    "LogNamespace",
)
QUICK = 15.0
_MOVING = ("activating", "deactivating", "reloading", "refreshing", "maintenance")


def runs(state: Mapping[str, str]) -> bool:
    """Whether it runs, or is on its way up or down."""
    return state.get("ActiveState") in ("active", *_MOVING)


def maybe_old(action: str, errno: int, before: int) -> str:
    """What is said of an error that was there before: systemd keeps it over reloads until the service tells another, or starts anew."""
    if action != "reload" or errno != before:
        return ""
    return (
        ", as it did before, so nothing tells whether this reload went well: a service says ERRNO=0 with READY=1 when one did. "
        "A restart takes the error away"
    )


class UnitState:
    """One unit of this machine."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._where = task.where
        self.unit = unit_name(str(task.definition["unit"]), self._where)
        self.service = f"systemd/{self.unit}"

    def systemctl(self, *words: str, seconds: float = QUICK) -> str:
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

    def daemon_reload(self) -> None:
        """Have systemd read the files of all units anew.

        :raises Unreachable, ProbeFailed: what systemctl said.
        """
        argv = ["systemctl", "--no-pager", "--no-ask-password", "daemon-reload"]
        environ = {**self._task.environ, "LC_ALL": "C"}
        ended = self._task.machine.run(argv, self._task.timeout, environ=environ)
        if ended.code:
            raise ProbeFailed(f"{self._where}: daemon-reload: {ended.first_line}")

    def state(self) -> dict[str, str]:
        """The unit's properties.

        :raises Unreachable: systemd does not answer.
        """
        try:
            return parse_show(self.systemctl("show", f"--property={','.join(PROPERTIES)}"))
        except ProbeFailed as error:
            raise Unreachable(error.message) from None

    def usable(self) -> dict[str, str]:
        """The properties of one that is there.

        :raises BadInput: it is not, or may not be started.
        """
        state = self.state()
        loaded = state.get("LoadState")
        if loaded != "loaded":
            raise BadInput(
                f"{self._where}: unit {self.unit} cannot be used here (LoadState={loaded}); "
                "correct its name, or install or unmask it"
            )
        return state

    def hint(self, begun: float) -> str:
        """Systemd's own messages since then. What the service itself wrote may hold a value."""
        argv = ["journalctl", "--no-pager", "--output=json", "--lines=6", f"--since=@{begun:.6f}"]
        argv += ["_PID=1", f"UNIT={self.unit}"]
        try:
            messages = parse_messages(self._task.machine.run(argv, QUICK).out)
        except KeyturnError:
            messages = []
        told = f". systemd says: {'; '.join(messages)}" if messages else ""
        return f"{told}. Its own log: journalctl -u {self.unit} --since=@{int(begun)}"
