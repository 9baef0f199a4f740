# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a file that is replaced: ``flock`` on an empty file beside it.

``.NAME.keyturn.lock`` (0600) stays: to remove it would let a process that waits for the removed file and one that makes a new file
both hold "the lock". The file itself cannot be the lock, because each replacement puts another inode in its place.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from typing import Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Conflict
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import (
    file_error,
    user_name,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._safe_folder import (
    StrayLink,
    open_folder,
)

NEW_MODE = 0o600
LOCK_TIMEOUT = 10.0
_POLL = 0.02


def lock_path(path: str) -> str:
    """The file whose lock guards replacing ``path``."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.keyturn.lock")


def _owner_for_lock(name: str, directory: int) -> os.stat_result:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return os.fstat(directory)


def _create_lock(path: str, directory: int) -> Optional[int]:
    """A new lock file, or none when there is one. It gets the owner of the file that it guards: root's own would shut out
    that user. One that is there already is never given away: somebody may have put a link to another file in its place.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(os.path.basename(lock_path(path)), flags, NEW_MODE, dir_fd=directory)
    except FileExistsError:
        return None
    if os.geteuid() == 0:
        owner = _owner_for_lock(os.path.basename(path), directory)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def open_directory(path: str, option: str) -> int:
    """A descriptor of the directory that a file is in.

    :raises BadInput: to root, where the path has a link of another user's that is not followed.
    :raises Absent, Denied: it is not there, or may not be entered.
    """
    try:
        return open_folder(os.path.dirname(path) or ".")
    except OSError as error:
        raise file_error(error, option, path, "write") from None
    except StrayLink as error:
        who = user_name(error.owner)
        raise BadInput(
            f"{option}: cannot write {path}: the symbolic link {error.link} of {who} leads to a folder of somebody else's, which root "
            f"does not follow. Name the folder that it leads to, or run as {who}"
        ) from None


def open_lock(path: str, option: str, directory: int) -> int:
    """A descriptor of the lock's file, made where there was none.

    :raises Absent, Denied, Unreachable: there is no directory, no right or no room for it.
    """
    name = lock_path(path)
    try:
        descriptor = _create_lock(path, directory)
        if descriptor is None:
            descriptor = os.open(
                os.path.basename(name), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory
            )
    except OSError as error:
        raise file_error(
            error, option, path if error.errno == errno.ENOENT else name, "write"
        ) from None
    return descriptor


def _try_lock(descriptor: int, path: str, option: str) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise file_error(error, option, lock_path(path), "lock") from None
    return True


def take_lock(descriptor: int, path: str, option: str, timeout: float) -> None:
    """Wait for the lock and take it.

    :param timeout: seconds to wait for another holder.
    :raises Conflict: another process held it longer.
    """
    end = time.monotonic() + timeout
    while not _try_lock(descriptor, path, option):
        if time.monotonic() >= end:
            raise Conflict(
                f"{option}: another process has held the lock of {path} for {timeout:g} s; find it with "
                f"'fuser {lock_path(path)}', then run again"
            )
        time.sleep(_POLL)
