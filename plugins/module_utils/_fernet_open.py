# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening and locking a folder of Fernet keys, and making one."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import Iterator

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Conflict
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_files import Folder
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_like import Like, or_same
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_plan import STAGED
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import file_error
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_lock import (
    LOCK_TIMEOUT,
    open_directory,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._safe_folder import FOLDER

NEW_MODE = 0o700
_POLL = 0.02


def _take(descriptor: int, path: str, where: str, alone: bool, timeout: float) -> None:
    end = time.monotonic() + timeout
    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        except OSError as error:
            raise file_error(error, where, path, "lock") from None
        if time.monotonic() >= end:
            raise Conflict(
                f"{where}: another process has held the lock of {path} for {timeout:g} s; find it with 'fuser {path}', then run again"
            )
        time.sleep(_POLL)


@contextmanager
def opened(path: str, where: str, alone: bool, timeout: float = LOCK_TIMEOUT) -> Iterator[Folder]:
    """A folder, locked.

    :param alone: for writing; else others may read meanwhile.
    :param timeout: seconds to wait for another holder.
    :raises Absent, Denied, BadInput: it is not there, may not be entered, or is reached by a link that root does not follow.
    :raises Conflict: another process held the lock longer.
    """
    descriptor = open_directory(os.path.join(path, str(STAGED)), where)
    try:
        _take(descriptor, path, where, alone, timeout)
        folder = Folder(path, where, descriptor)
        if alone:
            folder.remove_leftovers()
        yield folder
    finally:
        os.close(descriptor)


def is_there(path: str, where: str) -> bool:
    """Whether there is anything of this name.

    :raises Denied, Unreachable: it cannot be told.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise file_error(error, where, path, "read") from None
    return True


def make_folder(path: str, where: str, like: Like) -> None:
    """Make the folder, with 0700 where nothing else is said.

    :raises Absent, Denied, Unreachable: nothing was changed then.
    """
    parent = open_directory(path, where)
    try:
        name = os.path.basename(path)
        with suppress(FileExistsError):
            os.mkdir(name, NEW_MODE, dir_fd=parent)
        descriptor = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=parent)
        try:
            os.fchown(descriptor, or_same(like.uid), or_same(like.gid))
            os.fchmod(descriptor, NEW_MODE if like.mode is None else like.mode)
            os.fsync(parent)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise file_error(error, where, path, "write") from None
    finally:
        os.close(parent)
