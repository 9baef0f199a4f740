# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers that are containers: by name, restarted; or a service of a compose project, recreated.

A restart starts the same container again, with the environment that it was made with: a changed
env file is seen only by a new container. So a compose service is recreated unless its definition
says that it only reads files, which a restart does pick up. A file mounted by itself that was
replaced by a rename is also seen after a restart and not before; mount its directory instead.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Mapping, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._define import (
    ACTIONS,
    CHOICES,
)
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

_QUICK = 30.0
_MARGIN = 0.02
# Single fields: the whole answer would hold the container's environment.
FORMAT = '{"created":{{json .Created}},"restarts":{{json .RestartCount}},"state":{{json .State}}}'
LABELS = "{{json .Config.Labels}}"
_PROJECT, _SERVICE = "com.docker.compose.project", "com.docker.compose.service"
_DIRECTORY = "com.docker.compose.project.working_dir"
_FILES = "com.docker.compose.project.config_files"
_COMPOSE: Mapping[str, tuple[str, ...]] = {
    "docker": ("docker", "compose"),
    "podman": ("podman-compose",),
}
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
            ended = self.task.machine.run(
                [self.engine, *words], seconds, environ=self.task.context.environ
            )
        except Absent:
            raise BadInput(f"{self.where}: there is no {self.engine} on this host") from None
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

    def see(self, action: str, new: Mapping[str, float], born: bool) -> None:
        """Wait until containers run that began after their time here, and stay up a little.

        :param new: container → a time that it must be younger than.
        :param born: whether its making counts, and not its start.
        :raises ProbeFailed: they did not come up.
        """
        machine = self.task.machine

        def look() -> str:
            wrong = (self._wrong(action, name, new[name], born) for name in new)
            return next((told for told in wrong if told), "")

        def failed(wrong: str) -> KeyturnError:
            return ProbeFailed(f"{self.where}: after {action}, {wrong}")

        until(machine, self.task.timeout, look, failed)
        before = {name: self.inspect(name) for name in new}
        machine.sleep(self.task.seconds("settle", SETTLE))
        for name, was in before.items():
            now = self.inspect(name)
            if not now.ready or (now.started, now.restarts) != (was.started, was.restarts):
                raise failed(f"container {name} did not stay up ({now.status} {now.health})")

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
        states = [self._engine.inspect(name) for name in self._names]
        return all(state.ready and state.started > since + _MARGIN for state in states)

    def pick_up(self) -> str:
        """See :meth:`_port.Adapter.pick_up`."""
        before = {name: self._engine.inspect(name).started for name in self._names}
        self._engine.call("restart", "--", *self._names, seconds=self._task.timeout)
        self._engine.see("restart", before, born=False)
        return "restart"


class ComposeService:
    """A service of a compose project; see :class:`_port.Adapter`."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._engine = Containers(task)
        self._name = str(task.definition["service"])
        self._action = str(task.definition.get("action", ACTIONS["compose"][0]))
        project = task.definition.get("project") or task.definition.get("project_dir") or ""
        self.service = f"{self._engine.engine}/compose/{project}/{self._name}"

    def _ids(self) -> list[str]:
        filters = [f"label={_SERVICE}={self._name}"]
        for key, label in (("project", _PROJECT), ("project_dir", _DIRECTORY)):
            if self._task.definition.get(key):
                filters.append(f"label={label}={self._task.definition[key]}")
        words = [word for one in filters for word in ("--filter", one)]
        return self._engine.call("ps", "--all", "--quiet", "--no-trunc", *words).split()

    def _found(self) -> list[str]:
        """The ids of its containers.

        :raises BadInput: there is none, or those of several projects.
        """
        ids = self._ids()
        if not ids:
            raise BadInput(
                f"{self._engine.where}: {self._engine.engine} has no container of compose service "
                f"'{self._name}'; correct 'service', 'project' or 'engine', or bring it up first"
            )
        projects = {self._labels(one).get(_PROJECT, "") for one in ids}
        if len(projects) > 1:
            raise BadInput(
                f"{self._engine.where}: compose service '{self._name}' is in several projects: "
                f"{', '.join(sorted(projects))}; give 'project'"
            )
        return ids

    def _labels(self, container: str) -> dict[str, str]:
        text = self._engine.call("container", "inspect", "--format", LABELS, "--", container)
        return {str(key): str(value) for key, value in (json.loads(text) or {}).items()}

    def check(self) -> bool:
        """See :meth:`_port.Adapter.check`."""
        ids = self._found()
        if self._action == "recreate":
            self._command(ids)
        return self._engine.running(ids)

    def fresh(self, since: float, done: Mapping[str, float]) -> bool:
        """See :meth:`_port.Adapter.fresh`."""
        for state in map(self._engine.inspect, self._found()):
            read = state.created if self._action == "recreate" else state.started
            if not state.ready or read <= since + _MARGIN:
                return False
        return True

    def _command(self, ids: Sequence[str]) -> tuple[list[str], str]:
        """The compose command up to its own words, and the directory to run it in.

        :raises BadInput: neither the definition nor the containers say where the project is.
        """
        given, labels = self._task.definition, self._labels(ids[0])
        directory = given.get("project_dir") or labels.get(_DIRECTORY)
        if not directory:
            raise BadInput(
                f"{self._engine.where}: the containers of '{self._name}' do not say where their "
                "compose project is; give 'project_dir'"
            )
        base = given.get("compose_command") or _COMPOSE[self._engine.engine]
        files = given.get("files") or [it for it in labels.get(_FILES, "").split(",") if it]
        words = [*base, *(word for file in files for word in ("-f", str(file)))]
        project = given.get("project") or labels.get(_PROJECT)
        return [*words, *(["-p", str(project)] if project else [])], str(directory)

    def pick_up(self) -> str:
        """See :meth:`_port.Adapter.pick_up`."""
        ids = self._found()
        if self._action == "restart":
            before = {one: self._engine.inspect(one).started for one in ids}
            self._engine.call("restart", "--", *ids, seconds=self._task.timeout)
            self._engine.see("restart", before, born=False)
        else:
            newest = max(self._engine.inspect(one).created for one in ids)
            self._recreate(ids)
            self._engine.see("recreate", dict.fromkeys(self._found(), newest), born=True)
        return self._action

    def _recreate(self, ids: Sequence[str]) -> None:
        base, directory = self._command(ids)
        argv = [*base, "up", "-d", "--no-deps", "--force-recreate", self._name]
        environ = self._task.context.environ
        try:
            ended = self._task.machine.run(argv, self._task.timeout, directory, environ)
        except Absent as error:
            raise BadInput(f"{self._engine.where}: {error.message}") from None
        if ended.code:
            # It prints the commands that it runs, values of the environment included.
            raise ProbeFailed(
                f"{self._engine.where}: {' '.join(base)} up ended with exit code {ended.code}; "
                f"run it by hand in {directory}"
            )
