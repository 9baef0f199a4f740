# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers that a command tells."""

from __future__ import annotations

import os
import shutil
from typing import Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import Task
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    ProbeFailed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._program import read_argv, read_codes


class Command:
    """A command, run without a shell; see :class:`_port.Adapter`.

    What it prints may hold a value and is not kept.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._where = f"consumer {task.name}"
        self._argv = read_argv(task.definition["argv"], f"{self._where}: argv")
        self._success = read_codes(task.definition.get("success", 0), f"{self._where}: success")
        self.service = f"command/{task.name}"

    def check(self) -> bool:
        """See :meth:`_port.Adapter.check`: that it is there; whether it would work is not known before it runs."""
        given = self._task.definition
        directory = str(given.get("chdir") or "")
        if directory and not os.path.isdir(directory):
            raise BadInput(
                f"{self._where}: directory {directory} was not found on this host; make it, or correct 'chdir'"
            )
        path = _texts(given.get("environment") or {}).get("PATH", self._task.environ.get("PATH"))
        name = self._argv[0]
        if not shutil.which(os.path.join(directory, name) if "/" in name else name, path=path):
            raise BadInput(
                f"{self._where}: program {name} was not found on this host; install it, or correct 'argv'"
            )
        return True

    def fresh(self, since: float, done: Mapping[str, float]) -> bool:
        """See :meth:`_port.Adapter.fresh`: what a command does with the files is not known."""
        return False

    def pick_up(self) -> str:
        """See :meth:`_port.Adapter.pick_up`."""
        given = self._task.definition
        environ = {**self._task.environ, **_texts(given.get("environment") or {})}
        try:
            ended = self._task.machine.run(
                self._argv, self._task.timeout, given.get("chdir"), environ
            )
        except Absent as error:
            raise BadInput(f"{self._where}: {error.message}") from None
        except Unreachable as error:
            raise Unreachable(
                f"{self._where}: {error.message}; run it by hand on this host, or give this "
                "consumer a longer 'timeout'"
            ) from None
        if ended.code not in self._success:
            raise ProbeFailed(
                f"{self._where}: '{self._argv[0]}' ended with exit code {ended.code}; run it by "
                "hand on this host to see what it says"
            )
        return "command"


def _texts(environment: Mapping[str, object]) -> dict[str, str]:
    return {str(name): str(value) for name, value in environment.items()}
