# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control groups of containers, which stay behind when their processes are killed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_HYBRID = _CGROUPS / "unified"
_OURS = "/k8s.io/"


def groups_of(pids: Iterable[int]) -> set[Path]:
    """The control groups that containerd made for these processes."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
                _number, kinds, path = line.split(":", 2)
                # Beside the older kinds, the newer hierarchy has no name and a folder of its own.
                kind = kinds.removeprefix("name=") or ("unified" if _HYBRID.exists() else "")
                if path.startswith(_OURS):
                    found.add(_CGROUPS / kind / path[1:])
    return found


def remove_groups(groups: Iterable[Path]) -> None:
    """Remove empty control groups; the kernel takes a moment to see that a process is gone."""
    left = set(groups)
    end = time.monotonic() + 5
    while left and time.monotonic() < end:
        left = {group for group in left if not _removed(group)}
        if left:
            time.sleep(0.05)
    for parent in {group.parent for group in groups}:
        _removed(parent)


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
