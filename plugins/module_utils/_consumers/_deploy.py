# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers that are deployed anew: their env file is rendered from a path of parameters, their compose services are recreated.

Killed anywhere, the next run finds by the file's time which containers are older than it. What is rendered comes from the controller
in one opaque text, see :mod:`_deploy_known`; with ``read_from: host`` that text has digests alone, and the host reads the values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, List, Mapping, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._compose import (
    ComposeService,
    warn_of_arguments,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._deploy_known import Known
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._open import pick_up
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import (
    Task,
    until,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_render import EnvFile
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    ProbeFailed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import (
    Call,
    send,
    shown_url,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

OF_SERVICE = ("project", "project_dir", "files", "compose_command", "engine", "settle", "timeout")
START, WARN = "start", "warn"
_ANSWER = 10.0


class _Service(ComposeService):
    """A service that is made where it is not there, as ``up -d`` does, unless the definition says otherwise.

    podman-compose that is killed half way has removed a container and not made the next one.
    """

    def __init__(self, task: Task, inactive: str) -> None:
        super().__init__(task)
        self._starts = inactive == START

    def _warn(self) -> None:
        """Said once for all services of the deployment."""

    def _found(self) -> List[str]:
        return [] if self._starts and not self._ids() else super()._found()

    def _labels(self, container: str) -> Dict[str, str]:
        return super()._labels(container) if container else {}

    def _command(self, ids: Sequence[str]) -> Any:
        return super()._command(ids or [""])

    def check(self) -> bool:
        """See :meth:`_port.Adapter.check`."""
        if not self._starts:
            return super().check()
        self._command(self._found())
        return True

    def fresh(self, since: float, done: Mapping[str, float]) -> bool:
        """See :meth:`_port.Adapter.fresh`."""
        ids = self._found()
        return bool(ids) and self._engine.young(ids, since, born=True)

    def pick_up(self) -> str:
        """See :meth:`_port.Adapter.pick_up`."""
        ids = self._found()
        newest = max((self._engine.inspect(one).created for one in ids), default=0.0)
        self._recreate(ids)
        self._engine.see("recreate", dict.fromkeys(super()._found(), newest), born=True)
        return self._action


class Deploy:
    """An env file and the compose services that read it; see :class:`_port.Adapter`."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._given = task.definition
        self._where = f"consumer {task.name}"
        self._path = str(self._given["env_file"])
        self._inactive = str(self._given.get("inactive", START))
        self._at = f"{self._where} ({self._path})"
        self._file = EnvFile(self._given, self._at, task.context)
        self._values: Dict[str, Secret] = {}
        self.service = f"deploy/{self._path}"

    def _service_task(self, name: str) -> Task:
        own = {key: self._given[key] for key in OF_SERVICE if key in self._given}
        definition = {"type": "compose", "service": name, **own}
        if self._inactive == WARN:
            definition["inactive"] = WARN
        task = self._task
        return Task(task.name, definition, task.context, task.machine, (self._path,))

    def _services(self) -> Dict[str, _Service]:
        return {
            str(name): _Service(self._service_task(str(name)), self._inactive)
            for name in self._given["services"]
        }

    def _read(self) -> Dict[str, Secret]:
        """The variables; read once."""
        if not self._values:
            if not self._task.hidden:
                raise BadInput(
                    f"{self._where}: type deploy gets its values from the action plugin; call it as keyturn.runbooks.consumer in a task"
                )
            known = Known.parse(self._task.hidden[0])
            self._values = known.values_for(self._given, self._where, self._task.context)
        return self._values

    def check(self) -> bool:
        """See :meth:`_port.Adapter.check`: the services, the values, and whether the file can be written."""
        for service in self._services().values():
            service.check()
        warn_of_arguments(self._task)
        values = self._read()
        if self._task.context.check_mode and values:
            self._render(values)
        elif values:
            dry = replace(self._task.context, check_mode=True, foreseen={})
            EnvFile(self._given, self._at, dry).bring(values)
        return True

    def fresh(self, since: float, done: Mapping[str, float]) -> bool:
        """See :meth:`_port.Adapter.fresh`: each service knows that of itself."""
        return False

    def _render(self, values: Mapping[str, Secret]) -> bool:
        done = self._file.bring(values)
        self._task.told.update(file=self._path, **done.result())
        if self._task.context.diff:
            self._task.told["diff"] = done.diff(self._path)
        return done.changed

    def pick_up(self) -> str:
        """See :meth:`_port.Adapter.pick_up`: the file, each service in its turn, then the HTTP check."""
        changed = self._render(self._read())
        recreated = []
        for name, service in self._services().items():
            done = pick_up(self._service_task(name), adapter=service)
            recreated += [name] if done["action"] != "none" else []
        self._task.told["recreated"] = recreated
        self._answers()
        if recreated:
            return "recreate"
        return "render" if changed else "none"

    def _answers(self) -> None:
        """Wait for the answer that is asked for.

        :raises ProbeFailed: it did not come in time.
        """
        given = self._given
        if not given.get("url"):
            return
        wanted = int(given.get("status", 200))
        call = Call(
            str(given["url"]),
            timeout=min(_ANSWER, self._task.timeout),
            validate_certs=bool(given.get("validate_certs", True)),
            ca_path=given.get("ca_path"),
        )

        def look() -> str:
            try:
                status = send(call).status
            except (Unreachable, BadInput) as error:
                return error.message
            return "" if status == wanted else f"status {status}, expected {wanted}"

        until(
            self._task.machine,
            self._task.timeout,
            look,
            lambda wrong: ProbeFailed(
                f"{self._where}: {shown_url(call.url)} did not answer as expected within {self._task.timeout:g} s: {wrong}. See the logs "
                f"of {', '.join(map(str, given['services']))}"
            ),
        )
