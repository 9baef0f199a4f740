# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One process at a time for each service of a machine, and when a service was last made to read its files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
from contextlib import contextmanager, suppress
from typing import Iterator

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import Held, hold

_RUN_LOCK = "/run/lock"


def _base() -> str:
    """A place that is emptied when the machine starts, as the times of services are."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.geteuid() != 0 and os.path.isdir(runtime):
        return runtime
    if os.geteuid() == 0 and os.path.isdir(_RUN_LOCK):
        return _RUN_LOCK
    return tempfile.gettempdir()


def _path(directory: str, name: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[-60:]
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return os.path.join(directory, f"{readable}-{digest}")


def _parsed(content: bytes | None) -> dict[str, float]:
    try:
        found = json.loads(content or b"{}")
        return {str(action): float(begun) for action, begun in found.items()}
    except (ValueError, AttributeError, TypeError):
        # Only a shortcut is lost: the service is reloaded once more.
        return {}


def noted(name: str, base: str | None = None) -> dict[str, float]:
    """What was noted of a service, without its lock and without making anything: for check mode."""
    directory = os.path.join(base or _base(), f"keyturn-{os.geteuid()}")
    try:
        with open(_path(directory, name), "rb") as file:
            return _parsed(file.read())
    except OSError:
        return {}


def lock_directory(base: str | None = None) -> str:
    """The directory of this user's locks; made when it is not there.

    :raises Refused: when somebody else could put files into it.
    """
    path = os.path.join(base or _base(), f"keyturn-{os.geteuid()}")
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    others = stat.S_IMODE(found.st_mode) & 0o077
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or others:
        raise Refused(
            f"{path} must be a directory of this user alone (mode 0700): locks are kept there. "
            "Find out who made it, and remove it"
        )
    return path


class Service:
    """A service whose lock this process holds.

    :ivar done: action → when it was last begun here, in seconds since the epoch.
    """

    def __init__(self, held: Held) -> None:
        self._held = held
        self.done = _parsed(held.read())

    def note(self, action: str, begun: float) -> None:
        """Remember that an action, begun then, was seen to work."""
        self.done[action] = begun
        self._held.replace(json.dumps(self.done).encode())


@contextmanager
def hold_service(name: str, seconds: float, base: str | None = None) -> Iterator[Service]:
    """Hold the lock of a service of this machine.

    :param seconds: to wait for another holder.
    :raises Conflict: when another process holds it longer than that.
    """
    path = _path(lock_directory(base), name)
    with hold(path, "consumer", timeout=seconds) as held:
        yield Service(held)
