# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers that are services of a compose project: recreated.

Only a new container sees a changed env file. So a service is recreated unless its definition says
that it only reads files, which a restart picks up too.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Mapping, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._container import (
    LOOK,
    Containers,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._define import ACTIONS
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import Task
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    ProbeFailed,
    Unreachable,
)

LABELS = "{{json .Config.Labels}}"
_PROJECT, _SERVICE = "com.docker.compose.project", "com.docker.compose.service"
_DIRECTORY = "com.docker.compose.project.working_dir"
_FILES = "com.docker.compose.project.config_files"
_TELLING = "podman-compose"
_MOUNTS = "/proc/self/mounts"
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "docker": ("docker", "compose"),
    "podman": (_TELLING,),
}


def located(directory: str, files: Sequence[str]) -> list[str]:
    """Where a project's files are, from what its containers' labels say.

    podman-compose notes the files as they were typed, and as directory the first one's: both end alike
    when the path was relative. docker notes whole paths.
    """
    typed = os.path.dirname(files[0]) if files else ""
    base = directory
    if typed and directory.endswith(f"/{typed}"):
        base = directory[: -len(typed)]
    return [os.path.normpath(os.path.join(base, file)) for file in files]


def _processes_hidden() -> bool:
    """Whether users see their own processes alone."""
    try:
        with open(_MOUNTS, encoding="utf-8") as file:
            mounted = [line.split() for line in file]
    except (OSError, ValueError):
        return False
    options = [words[3].split(",") for words in mounted if len(words) > 3 and words[1] == "/proc"]
    hiding = {"hidepid=1", "hidepid=2", "hidepid=noaccess", "hidepid=invisible"}
    return bool(options) and bool(hiding & set(options[-1]))


def warn_of_arguments(task: Task) -> None:
    """podman-compose writes ``-e NAME=VALUE`` for each line of an ``env_file`` (seen with 1.6.0)."""
    given = task.definition
    program = (given.get("compose_command") or _COMMANDS[Containers(task).engine])[0]
    if os.path.basename(str(program)) == _TELLING and not _processes_hidden():
        task.context.warn(
            f"consumer {task.name}: where the compose file has 'env_file', podman-compose puts each variable into podman's arguments, "
            "which every user of this host sees while a container is made; use docker compose on podman's socket, mount the file instead, "
            "or mount /proc with hidepid=2"
        )


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
            self._warn()
        return self._engine.running(ids)

    def _warn(self) -> None:
        warn_of_arguments(self._task)

    def fresh(self, since: float, done: Mapping[str, float]) -> bool:
        """See :meth:`_port.Adapter.fresh`."""
        return self._engine.young(self._found(), since, born=self._action == "recreate")

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
        base = given.get("compose_command") or _COMMANDS[self._engine.engine]
        if not shutil.which(base[0], path=self._task.environ.get("PATH")):
            raise BadInput(
                f"{self._engine.where}: there is no {base[0]} on this host; install it, or give "
                "'compose_command'"
            )
        words = [*base, *(word for file in self._files(labels) for word in ("-f", file))]
        project = given.get("project") or labels.get(_PROJECT)
        return [*words, *(["-p", str(project)] if project else [])], str(directory)

    def _files(self, labels: Mapping[str, str]) -> list[str]:
        """The compose files, as its user or its containers name them.

        :raises BadInput: one of those that the containers name is not there.
        """
        given = self._task.definition.get("files")
        if given:
            return [str(file) for file in given]
        told = [it for it in labels.get(_FILES, "").split(",") if it]
        found = located(labels.get(_DIRECTORY, ""), told)
        gone = next((file for file in found if not os.path.exists(file)), None)
        if gone:
            raise BadInput(
                f"{self._engine.where}: the containers of '{self._name}' were made from {gone}, "
                "which is not there; give 'files' (and 'project_dir', where these are relative)"
            )
        return found

    def pick_up(self) -> str:
        """See :meth:`_port.Adapter.pick_up`."""
        ids = self._found()
        if self._action == "restart":
            self._engine.restart(ids)
        else:
            newest = max(self._engine.inspect(one).created for one in ids)
            self._recreate(ids)
            self._engine.see("recreate", dict.fromkeys(self._found(), newest), born=True)
        return self._action

    def _recreate(self, ids: Sequence[str]) -> None:
        base, directory = self._command(ids)
        argv = [*base, "up", "-d", "--no-deps", "--force-recreate", self._name]
        environ = self._task.environ
        try:
            ended = self._task.machine.run(argv, self._engine.patience, directory, environ)
        except Absent as error:
            raise BadInput(f"{self._engine.where}: {error.message}") from None
        except Unreachable as error:
            look = LOOK.format(f"service {self._name}")
            raise Unreachable(f"{self._engine.where}: {error.message}. {look}") from None
        if ended.code:
            # It prints the commands that it runs, values of the environment included.
            raise ProbeFailed(
                f"{self._engine.where}: {' '.join(base)} up ended with exit code {ended.code}; "
                f"run it by hand in {directory}. {LOOK.format(f'service {self._name}')}"
            )
