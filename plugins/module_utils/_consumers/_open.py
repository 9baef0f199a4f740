# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which adapter serves which type of consumer, and how one is brought to read its value."""

from __future__ import annotations

import os
import shutil
from typing import Any, Callable, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._command import Command
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._lock import hold_service
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import (
    Adapter,
    Task,
    prove_seen,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
    ProbeFailed,
)


# Imported where they are used: Ansible compiles each module of a collection anew in every run.
def _systemd(task: Task) -> Adapter:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._systemd import (
        SystemdUnit,
    )

    return SystemdUnit(task)


def _container(task: Task) -> Adapter:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._container import (
        NamedContainers,
    )

    return NamedContainers(task)


def _compose(task: Task) -> Adapter:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._compose import (
        ComposeService,
    )

    return ComposeService(task)


def _deploy(task: Task) -> Adapter:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._deploy import Deploy

    return Deploy(task)


ADAPTERS: Mapping[str, Callable[[Task], Adapter]] = {
    "systemd": _systemd,
    "container": _container,
    "compose": _compose,
    "command": Command,
    "deploy": _deploy,
}
"""The types that are told on their machine; ``pgbouncer`` has its own module, ``none`` needs no telling."""


def _written(path: str, name: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        raise Absent(
            f"consumer {name}: it reads {path}, which is not there on this host; publish the sinks "
            "first"
        ) from None


def newest(task: Task) -> float:
    """When the youngest of the files was written, in seconds since the epoch; 0 without files.

    :raises Absent: one is not there.
    """
    return max((_written(path, task.name) for path in task.files), default=0.0)


def open_adapter(task: Task) -> Adapter:
    """The adapter that serves a consumer."""
    return ADAPTERS[task.definition["type"]](task)


def check(task: Task, adapter: Adapter | None = None) -> bool:
    """See whether a consumer can pick up a value now, without touching it; see :meth:`_port.Adapter.check`.

    :param adapter: its adapter, where there is one already.
    :raises KeyturnError: it cannot.
    """
    words = task.definition.get("prepare")
    if words and not shutil.which(words[0], path=task.environ.get("PATH")):
        raise BadInput(
            f"consumer {task.name}: program {words[0]} was not found on this host; install it, or correct 'prepare'"
        )
    return (adapter or open_adapter(task)).check()


def prepare(task: Task) -> None:
    """Run what makes a consumer ready, where it has such a command. What that prints may hold a value and is not kept.

    :raises ProbeFailed, Unreachable: it did not work, and the consumer was not told.
    """
    words = task.definition.get("prepare")
    if not words:
        return
    where = f"consumer {task.name}: 'prepare'"
    try:
        ended = task.machine.run(words, task.timeout, environ=task.environ)
    except KeyturnError as error:
        raise type(error)(f"{where}: {error.message}; run it by hand on this host") from None
    if ended.code:
        raise ProbeFailed(
            f"{where}: '{words[0]}' ended with exit code {ended.code}, so it was not told; run it by hand on this host to see what "
            "it says"
        )


def pick_up(
    task: Task, locks: str | None = None, prepared: bool = False, adapter: Adapter | None = None
) -> dict[str, Any]:
    """Have a consumer read its value and see that it did; in check mode only find out whether it can.

    :param locks: where locks are kept; the machine's own place when none is given.
    :param prepared: it was checked and made ready.
    :param adapter: its adapter, where there is one already.
    :return: ``action``, ``coalesced`` and ``seen``.
    :raises KeyturnError: it was not seen using the value.
    """
    adapter = adapter or open_adapter(task)
    if not check(task, adapter):
        return {"action": "none", "coalesced": False, "seen": True}
    if task.context.check_mode:
        return {"action": "predicted", "coalesced": False, "seen": False}
    if not prepared:
        prepare(task)
    with hold_service(adapter.service, 2 * task.timeout, locks) as service:
        since = newest(task)
        if since and adapter.fresh(since, service.done):
            prove_seen(task)
            return {"action": "none", "coalesced": True, "seen": True}
        begun = task.machine.clock()
        action = adapter.pick_up()
        prove_seen(task)
        service.note(action, begun)
    return {"action": action, "coalesced": False, "seen": True}
