# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers that are containers, restarted by name.

A restart starts the same container again, with the environment that it was made with: a changed
env file is seen only by a new container, see ``_compose``. A file mounted by itself that was
replaced by a rename is seen after a restart and not before; mount its directory instead.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Mapping, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._define import CHOICES
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

_QUICK = _STOPPING = 30.0
LOOK = "It may be down now: see whether {} runs, and start it if not"
_MARGIN = 0.02
# Single fields: the whole answer would hold the container's environment.
FORMAT = '{"created":{{json .Created}},"restarts":{{json .RestartCount}},"state":{{json .State}}}'
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?\s*(Z|[+-]\d\d:?\d\d)(?:\s+[A-Za-z0-9+-]+)?\Z"
)


def parse_moment(text: str) -> float:
    """A time as podman and docker print it, with up to nine digits of a second; 0 when unset."""
    match = _TIME.match(text.strip())
    if not match or text.startswith("0001-"):
        return 0.0
    day, clock, fraction, zone = match.groups()
    zone = "+0000" if zone == "Z" else zone.replace(":", "")
    moment = datetime.strptime(f"{day} {clock} {zone}", "%Y-%m-%d %H:%M:%S %z")
    return moment.astimezone(timezone.utc).timestamp() + float(fraction or 0)


@dataclass(frozen=True)
class State:
    """What counts of a container's state; times in seconds since the epoch.

    :param health: empty for one without a health check.
    """

    created: float
    started: float
    running: bool
    status: str
    health: str
    restarts: int

    @property
    def ready(self) -> bool:
        """Whether it runs and does not say that it is unwell."""
        return self.running and self.health in ("", "none", "healthy")


def parse_state(text: str) -> State:
    """What ``inspect --format`` printed.

    :raises ValueError: when it is something else.
    """
    found = json.loads(text)
    state: Mapping[str, Any] = found["state"]
    health = state.get("Health") or state.get("Healthcheck") or {}
    return State(
        created=parse_moment(str(found["created"])),
        started=parse_moment(str(state.get("StartedAt", ""))),
        running=bool(state.get("Running")) and not state.get("Restarting"),
        status=str(state.get("Status", "")),
        health=str(health.get("Status") or ""),
        restarts=int(found.get("restarts") or 0),
    )


class Containers:
    """What podman's and docker's command line tell and do alike."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.where = f"consumer {task.name}"
        self.engine = str(task.definition.get("engine", CHOICES["engine"][0]))

    def call(self, *words: str, seconds: float = _QUICK) -> str:
        """Run the engine's command; for calls whose errors quote no environment.

        :raises ProbeFailed, Unreachable, BadInput: what it said.
        """
        try:
            ended = self.task.machine.run([self.engine, *words], seconds, environ=self.task.environ)
        except Absent:
            raise BadInput(f"{self.where}: there is no {self.engine} on this host") from None
        except Unreachable as error:
            raise Unreachable(f"{self.where}: {words[0]}: {error.message}") from None
        if ended.code:
            raise ProbeFailed(f"{self.where}: {self.engine} {words[0]}: {ended.first_line}")
        return ended.out

    def inspect(self, name: str) -> State:
        """The state of one container.

        :raises BadInput: there is none of that name.
        :raises Unreachable: the engine does not answer.
        """
        try:
            return parse_state(
                self.call("container", "inspect", "--format", FORMAT, "--", name).strip()
            )
        except ProbeFailed as error:
            if "no such" in error.message.lower():
                raise BadInput(
                    f"{self.where}: {self.engine} has no container '{name}'; correct its name or "
                    "'engine', or make it first"
                ) from None
            raise Unreachable(error.message) from None
        except (ValueError, KeyError, TypeError):
            told = f"{self.where}: {self.engine} inspect gave no state of container {name}"
            raise Unreachable(told) from None

    def running(self, names: Sequence[str]) -> bool:
        """Whether all run.

        :raises Refused: some do not, unless the definition only wants a warning.
        """
        stopped = [f"{name} is {it.status}" for name in names for it in [self.inspect(name)]]
        stopped = [told for told in stopped if not told.endswith(" is running")]
        if not stopped:
            return True
        told = f"{self.where}: container {', '.join(stopped)}"
        if self.task.definition.get("inactive") == "warn":
            self.task.context.warn(f"{told}; it reads the new value when it is started")
            return False
        raise Refused(
            f"{told} and must not be started from here. Start it, take it out of "
            "keyturn_consumers, or say 'inactive: warn' if it reads the value when it starts"
        )

    def restart(self, names: Sequence[str]) -> None:
        """Restart containers, each once, and wait until the new processes run.

        :raises ProbeFailed, Unreachable: it did not work; one that was stopped may not be up again.
        """
        before = {name: self.inspect(name).started for name in names}
        try:
            self.call("restart", "--", *names, seconds=self.patience)
        except (ProbeFailed, Unreachable) as error:
            raise type(error)(f"{error.message}. {LOOK.format(', '.join(names))}") from None
        self.see("restart", before, born=False)

    @property
    def patience(self) -> float:
        """Seconds until the engine's own work is given up: podman killed half way has stopped and not started."""
        return self.task.timeout + _STOPPING

    def see(self, action: str, new: Mapping[str, float], born: bool) -> None:
        """Wait until containers run that began after their time here, and stay up a little.

        :param new: container → a time that it must be younger than.
        :param born: whether its making counts, and not its start.
        :raises ProbeFailed: they did not come up.
        """

        def look() -> str:
            wrong = (self._wrong(action, name, new[name], born) for name in new)
            return next((told for told in wrong if told), "")

        def failed(wrong: str) -> KeyturnError:
            return ProbeFailed(f"{self.where}: after {action}, {wrong}")

        until(self.task.machine, self.task.timeout, look, failed)
        settle = self.task.seconds("settle", SETTLE)
        fallen = self._fallen({name: self.inspect(name) for name in new}, settle)
        if fallen:
            raise failed(fallen)

    def young(self, names: Sequence[str], since: float, born: bool) -> bool:
        """Whether all run, began after a point in time, and stay up.

        :param born: whether their making counts, and not their start.
        """
        states = {name: self.inspect(name) for name in names}
        read = [state.created if born else state.started for state in states.values()]
        if not all(it.ready for it in states.values()) or min(read) <= since + _MARGIN:
            return False
        # One that came up a moment ago must prove as much as one that was restarted from here.
        age = self.task.machine.clock() - max(state.started for state in states.values())
        return not self._fallen(states, self.task.seconds("settle", SETTLE) - max(0.0, age))

    def _fallen(self, before: Mapping[str, State], seconds: float) -> str:
        """What does not live on for so many seconds; empty when all do."""
        self.task.machine.sleep(max(0.0, seconds))
        for name, was in before.items():
            now = self.inspect(name)
            if not now.ready or (now.started, now.restarts) != (was.started, was.restarts):
                told = f"{now.status} {now.health}".strip()
                return f"container {name} did not stay up ({told})"
        return ""

    def _wrong(self, action: str, name: str, since: float, born: bool) -> str:
        now = self.inspect(name)
        if (now.created if born else now.started) <= since:
            return f"container {name} is still the one from before"
        if now.status in ("exited", "dead", "stopped"):
            raise ProbeFailed(
                f"{self.where}: after {action}, container {name} is {now.status}; see its log"
            )
        told = f"{now.status} {now.health}".strip()
        return "" if now.ready else f"container {name} is {told}"


class NamedContainers:
    """Containers by name, restarted; see :class:`_port.Adapter`."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._engine = Containers(task)
        self._names = tuple(str(name) for name in task.definition["containers"])
        self.service = f"{self._engine.engine}/{'+'.join(sorted(self._names))}"

    def check(self) -> bool:
        """See :meth:`_port.Adapter.check`."""
        return self._engine.running(self._names)

    def fresh(self, since: float, done: Mapping[str, float]) -> bool:
        """See :meth:`_port.Adapter.fresh`."""
        return self._engine.young(self._names, since, born=False)

    def pick_up(self) -> str:
        """See :meth:`_port.Adapter.pick_up`."""
        self._engine.restart(self._names)
        return "restart"
