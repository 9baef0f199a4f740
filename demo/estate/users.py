# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operating system user that servers run as: PostgreSQL and PgBouncer refuse to be root."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from estate.errors import Missing

OPEN_TEMP = Path("/var") / "tmp"


@dataclass(frozen=True)
class OsUser:
    """A user to switch to.

    :param name: its name.
    """

    name: str
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Make this user the owner of a path."""
        os.chown(path, self.uid, self.gid)

    def can_reach(self, path: Path) -> bool:
        """Whether every directory above the path lets this user through, and the path can be read by it."""
        real = path.resolve()
        return all(self._bit(parent, 1) for parent in real.parents) and self._bit(real, 4)

    def _bit(self, path: Path, bit: int) -> bool:
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return bool(status.st_mode >> shift & bit)

    def popen_options(self) -> dict[str, object]:
        """The arguments of ``subprocess`` that switch to this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def server_user() -> OsUser | None:
    """The user that servers run as when this process is root; none when it is not root.

    :raises Missing: when there is neither ``postgres`` nor ``nobody``.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return OsUser(name, entry.pw_uid, entry.pw_gid)
    raise Missing(
        "running as root needs an OS user 'postgres' or 'nobody' that the servers can run as"
    )


def make_run_dir(prefix: str = "keyturn-", within: Path | None = None) -> Path:
    """A fresh directory for one estate's state.

    Mode 0711 as root, so that the servers' user can pass through to what it owns and nobody can list it; else 0700. When
    the place is closed to the servers' user, ``/var/tmp`` is taken.

    :param within: the place, if not the usual one for temporary files.
    """
    user = server_user()
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    if user is None:
        return path
    path.chmod(0o711)
    if not all(user._bit(parent, 1) for parent in path.resolve().parents):
        shutil.rmtree(path)
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=OPEN_TEMP))
        path.chmod(0o711)
    return path


def private_dir(parent: Path, name: str) -> Path:
    """A directory of mode 0700 that the servers' user owns."""
    path = parent / name
    path.mkdir(mode=0o700)
    user = server_user()
    if user:
        user.own(path)
    return path


def write_private(path: Path, lines: list[str]) -> None:
    """Write a file that only the servers' user can read (0600), whole or not at all."""
    user = server_user()
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write("".join(f"{line}\n" for line in lines))
    if user:
        user.own(Path(temporary))
    os.replace(temporary, path)
