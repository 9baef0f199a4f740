# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that writes down what each task returned, and the state that it left behind."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import nullcontext
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: record
type: aggregate
short_description: Write down what each task returned and the state that it left behind
description:
  - For tests only.
  - E(KEYTURN_RECORD) names a file of JSON. C(to) is where to write; C(hosts) says for each host what to look at, C(places) with files
    and the C(login) of a server.
  - With C(moments) the whole state is written, and also right before each single write inside of a task, which is what a power
    cut there would leave. Without, digests are, and only after each task.
  - C(heard) names files of which is told when they are looked at, as of servers.
requirements:
  - to be enabled
"""


def _beside(name: str) -> Any:
    """A module of the folder above: Ansible loads a callback by its file alone."""
    spec = spec_from_file_location(f"keyturn_{name}", Path(__file__).parents[1] / f"{name}.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _digest(item: Any) -> str:
    return hashlib.sha256(json.dumps(item, sort_keys=True, default=str).encode()).hexdigest()


def _digests(world: dict[str, Any]) -> dict[str, str]:
    """Each file and each part of the server by a digest; a folder's time tells nothing that its files do not."""
    files = {
        path: _digest({**about, "mtime": 0} if about["content"] is None else about)
        for path, about in world["files"].items()
    }
    return {**files, **{name: _digest(part) for name, part in world.items() if name != "files"}}


class CallbackModule(CallbackBase):
    """Appends one line of JSON for each task, and for each moment inside of one."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._what: dict[str, Any] = json.loads(
            Path(os.environ["KEYTURN_RECORD"]).read_text(encoding="utf-8")
        )
        self._task = ""
        # What was read in this process last, and whether a statement followed it.
        self._last: dict[str, tuple[int, bool, Any]] = {}
        self._read_world = _beside("world").read_world
        self._moments = bool(self._what.get("moments"))
        heard = frozenset(self._what.get("heard", ()))
        self._ear = _beside("reads").listen(heard, self._read) if heard else None
        if self._moments:
            # Workers are forked from this process and inherit it.
            self._count_anew = _beside("writes").watch(
                self._inside, lambda moment: "", lambda moment, answer: None
            )
            _beside("steps").each_step(self._begin_step, self._end_step)

    def _begin_step(self, name: str) -> None:
        self._within, self._task = self._task, name
        self._count_anew()

    def _end_step(self, changed: bool | None) -> None:
        self._task = self._within

    def _state(self, host: str, server: Any = None) -> dict[str, Any]:
        watched = self._what["hosts"].get(host, {})
        with self._ear.muted() if self._ear else nullcontext():
            world = self._read_world(watched.get("places", ()), watched.get("login"), server)
        return world if self._moments else _digests(world)

    def _append(self, line: dict[str, Any]) -> None:
        with Path(self._what["to"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def _read(self, what: str) -> None:
        """When a process looks at something for the first time."""
        self._append({"read": what})

    def _inside(self, moment: str) -> None:
        """Right before one write."""
        for host in self._what["hosts"]:
            pid, statement, server = self._last.get(host, (0, False, None))
            asked = pid == os.getpid() and not statement
            state = self._state(host, server if asked else None)
            self._last[host] = (os.getpid(), moment.startswith("sql "), state)
            self._append({"host": host, "inside": self._task, "moment": moment, "state": state})

    def _write(self, host: str, task: str, status: str, result: Any) -> None:
        line = {"host": host, "task": task, "status": status, "result": result}
        seen = self._what.get("states", True) and host in self._what["hosts"]
        # Where nothing changed there is no other state, unless somebody is not honest: then they are compared.
        seen = seen and (not self._moments or status == "failed" or bool(result.get("changed")))
        self._append({**line, "state": self._state(host)} if seen else line)

    def _ended(self, status: str, result: Any) -> None:
        self._write(result._host.get_name(), result._task.get_name(), status, dict(result._result))

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Before anything."""
        for host in self._what["hosts"]:
            self._write(host, "start", "ok", {})

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """A moment inside is told with its task."""
        self._task = task.get_name()

    def v2_runner_on_ok(self, result: Any) -> None:
        """After a task."""
        self._ended("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """After a task that failed."""
        self._ended("failed", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """After a task that was not to be done."""
        if self._moments or not self._what.get("states", True):
            self._ended("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """After a task whose host did not answer."""
        self._ended("unreachable", result)
