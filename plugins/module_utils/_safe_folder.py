# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening the folder of a file to be replaced, led astray by nobody.

Root may write in every folder. So whoever owns a folder above the file could put a link there, to a folder of root's or of
another user's, and have a file in it replaced and given to them. Therefore root goes a path step by step, and a symbolic link
that belongs to another user than root may lead only to a folder of that same user, where they may do anything anyhow. Any other
user is kept in bounds by the kernel, and opens the path at once. systemd's ``CHASE_SAFE`` is about the same (``src/basic/chase.c``).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Dict, List, Tuple

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_LINKS = 40
"""As many as Linux follows in one path."""


class StrayLink(Exception):
    """A link of a user's leads to a folder that is not theirs.

    :ivar link: where the link is.
    :ivar owner: the number of its owner.
    """

    def __init__(self, link: str, owner: int) -> None:
        super().__init__(link, owner)
        self.link, self.owner = link, owner


def open_folder(path: str) -> int:
    """A descriptor of this folder, to be closed by the caller.

    :raises OSError: as the path gives cause.
    :raises StrayLink: for root, on the link of another user.
    """
    if os.geteuid() != 0 or not hasattr(os, "O_PATH"):
        return os.open(path, FOLDER)
    walk = _Walk(path)
    try:
        return walk.to_the_end()
    finally:
        os.close(walk.at)


class _Walk:
    """A path on its way.

    :ivar at: a descriptor of the folder that was reached.
    """

    def __init__(self, path: str) -> None:
        self._shown = "/" if path.startswith("/") else "."
        self.at = os.open(self._shown, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._ahead = _names(path)
        self._followed = 0
        self._links: Dict[int, str] = {}

    def to_the_end(self) -> int:
        """A descriptor of the last folder, for reading."""
        while self._ahead:
            self._step(self._ahead.pop())
        owner = os.fstat(self.at).st_uid
        for user, link in self._links.items():
            if user != owner:
                raise StrayLink(link, user)
        return os.open(".", FOLDER, dir_fd=self.at)

    def _step(self, name: str) -> None:
        shown = os.path.join(self._shown, name)
        # With O_DIRECTORY, because a folder that is mounted when it is entered would not be, without.
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            below = os.open(name, flags | os.O_DIRECTORY, dir_fd=self.at)
        except NotADirectoryError:
            target, owner = _link(os.open(name, flags, dir_fd=self.at))
            self._follow(target, owner, shown)
            return
        os.close(self.at)
        self.at, self._shown = below, shown

    def _follow(self, target: str, owner: int, shown: str) -> None:
        self._followed += 1
        if self._followed > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if owner != 0:
            self._links.setdefault(owner, shown)
        self._ahead += _names(target)
        if target.startswith("/"):
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            os.close(self.at)
            self.at, self._shown = root, "/"


def _names(path: str) -> List[str]:
    """The steps of a path, the first one last."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _link(descriptor: int) -> Tuple[str, int]:
    """Where a link leads, and whose it is; takes the descriptor."""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISLNK(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return os.readlink("", dir_fd=descriptor), status.st_uid
    finally:
        os.close(descriptor)
