# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of a file as it was, beside it, and their end.

A copy is named ``NAME.backup-YYYYMMDDTHHMMSS.ffffffZ`` by the clock of its machine, in UTC. It has mode 0600 and belongs to
whoever runs the task, whatever the file's own mode and owner are: it holds values that may still be accepted. For the same
reason copies do not stay: each run removes those that are too old or too many, also a run that changes nothing else.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import List, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import hold
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import (
    Attributes,
    Codec,
    FilePlace,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Changes, Observed

_STAMP = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(r"\.backup-(\d{8}T\d{6}\.\d{6}Z)\Z")


@dataclass(frozen=True)
class Keep:
    """Which copies stay.

    :param age: no older ones.
    :param count: no more than the newest of this number.
    """

    age: timedelta
    count: int


def _made(name: str, of: str) -> Optional[datetime]:
    """When a copy was made, by its name; none for a file that is no copy of this one."""
    found = _NAME.match(name[len(of) :]) if name.startswith(of) else None
    if not found:
        return None
    with suppress(ValueError):
        return datetime.strptime(found.group(1), _STAMP).replace(tzinfo=timezone.utc)
    return None


def superfluous(
    names: Sequence[str], of: str, keep: Keep, now: datetime, more: int = 0
) -> List[str]:
    """Those of the names that are copies which do not stay, oldest first. Pure.

    :param of: the name of the file.
    :param more: how many copies are about to be made, and count already.
    """
    dated = sorted((made, name) for name in names for made in [_made(name, of)] if made)
    surplus = max(0, len(dated) + more - keep.count)
    return [
        name for index, (made, name) in enumerate(dated) if index < surplus or now - made > keep.age
    ]


def prune(
    path: str, where: str, keep: Keep, context: Context, own: Sequence[str] = (), more: int = 0
) -> List[str]:
    """Remove the copies that do not stay, and say which; in check mode only say it.

    :param own: copies that were made just now.
    :param more: in check mode, how many would have been.
    :raises KeyturnError: as the lock and the directory give cause.
    """
    directory, of = os.path.split(path)

    def chosen(names: Sequence[str]) -> List[str]:
        found = superfluous(names, of, keep, context.now(), more)
        return [name for name in found if os.path.join(directory, name) not in own]

    names = chosen(_listed(directory))
    if names and not context.check_mode:
        with hold(path, where) as held:
            # By the held descriptor: in a directory of somebody else's, the path could lead elsewhere by now.
            names = chosen(held.names_beside())
            for name in names:
                held.remove_beside(name)
    return [os.path.join(directory, name) for name in names]


def _listed(directory: str) -> List[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


class BackedUpPlace(FilePlace):
    """A file that is copied before it is replaced.

    :ivar copies: the paths of the copies that were made.
    """

    def __init__(
        self, path: str, codec: Codec, attributes: Attributes, where: str, context: Context
    ) -> None:
        super().__init__(path, codec, attributes, where)
        self._context = context
        self.copies: Tuple[str, ...] = ()

    def write(self, observed: Observed, changes: Changes) -> Optional[str]:
        """As :meth:`FilePlace.write`; the copy of a file that was not replaced after all does not stay."""
        held = self._held
        old = held.read() if held and changes else None
        if held is None or old is None:
            return super().write(observed, changes)
        stamp = self._context.now().strftime(_STAMP)
        copy = f"{self._path}.backup-{stamp}"
        name = os.path.basename(copy)
        held.add_beside(name, old)
        try:
            version = super().write(observed, changes)
        except BaseException:
            if held.read() == old:
                with suppress(KeyturnError):
                    held.remove_beside(name)
            raise
        self.copies += (copy,)
        return version
