# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process this run is, and whether the process of another run is still there."""

from __future__ import annotations

import os
import socket
from typing import Any, Dict, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Claim
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Run


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def _boot_id() -> str:
    """The kernel's boot id with the pid namespace: only inside both does a pid mean the same process (proc(5), namespaces(7))."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{_read('/proc/sys/kernel/random/boot_id')}/{namespace}"


def _started(pid: int) -> str:
    """Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat); empty when it is gone."""
    after_name = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return after_name[19] if len(after_name) > 19 else ""


def describe_process(pid: int) -> Dict[str, Any]:
    """A run's identity, made from the process of ``ansible-playbook``: every task of one process gives the same one."""
    host, started = socket.gethostname(), _started(pid)
    return {
        "run_id": f"{host}-{pid}-{started}",
        "host": host,
        "pid": pid,
        "boot_id": _boot_id(),
        "started": started,
    }


def run_of(params: Mapping[str, Any]) -> Run:
    """The run that a task's parameters name."""
    given = params.get("run") or describe_process(os.getpid())
    texts = {
        name: str(given.get(name) or "")
        for name in ("run_id", "host", "boot_id", "started", "who", "why")
    }
    return Run(pid=int(given.get("pid") or 0), **texts)


def is_dead(claim: Optional[Claim]) -> bool:
    """Whether the claim's process is known to be gone: same machine, same boot, same pid namespace, and no such process."""
    if claim is None or not claim.started:
        return False
    if claim.host != socket.gethostname() or claim.boot_id != _boot_id():
        return False
    return _started(claim.pid) != claim.started
