# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What errors of the operating system about files mean for the operator."""

from __future__ import annotations

import errno
import os
import pwd
from typing import Sequence, Tuple, Type

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)

_MEANINGS: Sequence[Tuple[Tuple[int, ...], Type[KeyturnError], str]] = (
    (
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        Unreachable,
        "{reason}; this file is as it was. Make room there and run again",
    ),
    (
        (errno.EROFS,),
        Denied,
        "{reason}; this file is as it was. Mount it read-write or name another place",
    ),
    (
        (errno.EACCES, errno.EPERM),
        Denied,
        "{reason} for user {who}; give that user the right, or become one who has it",
    ),
    (
        (errno.ENOENT, errno.ENOTDIR),
        Absent,
        "there is no directory {directory}; create it with mode 0700",
    ),
    ((errno.EISDIR,), BadInput, "it is a directory; name a file in it"),
    (
        (errno.EBUSY,),
        Refused,
        "it is a mount point of its own, which no rename can replace; mount its directory instead of the file",
    ),
    ((), Unreachable, "{reason}"),
)


def user_name(uid: int) -> str:
    """A user's name, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def file_error(error: OSError, option: str, path: str, doing: str) -> KeyturnError:
    """What an error of the operating system means for the operator.

    :param doing: what was tried: ``read``, ``write`` or ``lock``.
    """
    found = (item for item in _MEANINGS if error.errno in item[0] or not item[0])
    _numbers, kind, text = next(found)
    facts = {
        "reason": os.strerror(error.errno or 0).lower(),
        "who": user_name(os.geteuid()),
        "directory": os.path.dirname(path) or ".",
    }
    return kind(f"{option}: cannot {doing} {path}: {text.format(**facts)}")


def refuse_link(path: str, option: str) -> None:
    """Refuse a path that is itself a symbolic link, where it is to be replaced.

    :raises BadInput: naming what to write instead.
    """
    if os.path.islink(path):
        raise link_error(path, option)


def link_error(path: str, option: str) -> BadInput:
    """What is said where a symbolic link would be replaced."""
    return BadInput(
        f"{option}: {path} is a symbolic link to {os.path.realpath(path)}; replacing it would leave a file in the link's "
        "place. Name the file that it points to"
    )
