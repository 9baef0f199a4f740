# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of a file as it was, beside it, and their end.

A copy has mode 0600 and belongs to whoever runs the task, whatever the file's own mode and owner are: it holds values that may
still be accepted. For the same reason copies do not stay: each run removes those that are too old or too many, also a run that
changes nothing else. Their names go by the clock of their machine, in UTC; one that is dated in the future is told, and left alone:

* ``NAME.backup-YYYYMMDDTHHMMSS.ffffffZ`` (:data:`EACH_TIME`), one for each time that the file is replaced;
* ``NAME.bak.YYYYMMDD`` (:data:`EACH_DAY`), one for each day: the first copy of a day stays, which is the file as that day found it.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Dict, List, Optional, Pattern, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import (
    hold,
    read_with_mode,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import Outcome
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import (
    Attributes,
    Codec,
    FilePlace,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Changes, Observed


@dataclass(frozen=True)
class Naming:
    """How copies are named.

    :param mark: what stands between the file's name and the time.
    :param stamp: the time, as ``strftime`` has it.
    :param covers: how long a copy may have been made after the time that its name tells.
    """

    mark: str
    stamp: str
    pattern: Pattern[str]
    covers: timedelta = timedelta(0)

    def name(self, of: str, now: datetime) -> str:
        """What a copy that is made now is called."""
        return f"{of}{self.mark}{now.astimezone(timezone.utc).strftime(self.stamp)}"

    def made(self, name: str, of: str) -> Optional[datetime]:
        """When a copy was made, by its name; none for a file that is no copy of this one."""
        start = of + self.mark
        if not name.startswith(start) or not self.pattern.match(name[len(start) :]):
            return None
        with suppress(ValueError):
            found = datetime.strptime(name[len(start) :], self.stamp)
            return found.replace(tzinfo=timezone.utc)
        return None


EACH_TIME = Naming(".backup-", "%Y%m%dT%H%M%S.%fZ", re.compile(r"\d{8}T\d{6}\.\d{6}Z\Z"))
EACH_DAY = Naming(".bak.", "%Y%m%d", re.compile(r"\d{8}\Z"), timedelta(days=1))


AHEAD = timedelta(days=1)
"""How far in the future the name of a copy may be: two machines' midnights are not the same moment."""
NO_COPY = "there was no file before, so there is nothing to copy and no copy to go back to"


@dataclass(frozen=True)
class Keep:
    """Which copies stay.

    :param age: no older ones.
    :param count: no more than the newest of this number; any number without it.
    """

    age: timedelta
    count: Optional[int] = None
    naming: Naming = EACH_TIME


def superfluous(
    names: Sequence[str], of: str, keep: Keep, now: datetime, more: int = 0
) -> List[str]:
    """Those of the names that are copies which do not stay, oldest first. Pure.

    :param of: the name of the file.
    :param more: how many copies are about to be made, and count already.
    """
    naming = keep.naming
    dated = [(made, name) for made, name in _dated(names, of, keep) if made - now <= AHEAD]
    surplus = 0 if keep.count is None else max(0, len(dated) + more - keep.count)
    return [
        name
        for index, (made, name) in enumerate(dated)
        if index < surplus or now - made - naming.covers > keep.age
    ]


def _dated(names: Sequence[str], of: str, keep: Keep) -> List[Tuple[datetime, str]]:
    made = ((keep.naming.made(name, of), name) for name in names)
    return sorted((when, name) for when, name in made if when)


def ahead(names: Sequence[str], of: str, keep: Keep, now: datetime) -> List[str]:
    """Those of the names that are copies dated in the future, which neither age nor count removes. Pure."""
    return [name for made, name in _dated(names, of, keep) if made - now > AHEAD]


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
        paths = ((name, os.path.join(directory, name)) for name in found)
        # A folder of such a name is somebody's own.
        return [name for name, there in paths if there not in own and not os.path.isdir(there)]

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


def destroy(
    path: str, where: str, naming: Naming, carries: Callable[[str], bool], context: Context
) -> List[str]:
    """Remove the copies that carry a value, and say which; in check mode only say it.

    :param carries: tells of a text whether it does.
    :raises KeyturnError: as the lock, the directory and the copies give cause.
    """
    directory, of = os.path.split(path)

    def carry(data: Optional[bytes]) -> bool:
        return data is not None and carries(data.decode("utf-8", "surrogateescape"))

    names = [name for name in _listed(directory) if naming.made(name, of)]
    paths = [os.path.join(directory, name) for name in sorted(names)]
    found = [it for it in paths if not os.path.isdir(it) and carry(_content(it, where))]
    if found and not context.check_mode:
        with hold(path, where) as held:
            for it in found:
                held.remove_beside(os.path.basename(it))
    return found


def _content(path: str, where: str) -> Optional[bytes]:
    read = read_with_mode(path, where)
    return read[0] if read else None


@dataclass(frozen=True)
class Copies:
    """What became of the copies of a file.

    :param made: the path of the one that was made, or would be in check mode.
    :param pruned: the paths of those that were removed, or would be.
    :param note: why none was made although something was to be written; else empty.
    :param missing: there was no file, so there is no way back by a copy.
    :param destroyed: the paths of those that carried a compromised value and were removed, or would be.
    """

    made: Optional[str] = None
    pruned: Tuple[str, ...] = ()
    note: str = ""
    missing: bool = False
    destroyed: Tuple[str, ...] = ()

    def told(self) -> Dict[str, Any]:
        """What a result says of them."""
        told = {**asdict(self), "pruned": list(self.pruned), "destroyed": list(self.destroyed)}
        return told if self.destroyed else {k: v for k, v in told.items() if k != "destroyed"}


class BackedUpPlace(FilePlace):
    """A file that is copied before it is replaced.

    :ivar copies: the paths of the copies that were made.
    """

    def __init__(
        self,
        path: str,
        codec: Codec,
        attributes: Attributes,
        where: str,
        keep: Keep,
        context: Context,
    ) -> None:
        super().__init__(path, codec, attributes, where)
        self._context = context
        self._keep = keep
        self.copies: Tuple[str, ...] = ()

    def _next(self) -> str:
        return self._keep.naming.name(self._path, self._context.now())

    def write(self, observed: Observed, changes: Changes) -> Optional[str]:
        """As :meth:`FilePlace.write`; the copy of a file that was not replaced after all does not stay."""
        held = self._held
        old = held.read() if held and changes else None
        copy = self._next()
        name = os.path.basename(copy)
        if held is None or old is None or name in held.names_beside():
            return super().write(observed, changes)
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

    def settle(self, outcome: Outcome) -> Copies:
        """Remove copies that do not stay, once the place was brought to what is wanted; in check mode tell what would be.

        :raises KeyturnError: as :func:`prune`; the file is written by then.
        """
        context, made = self._context, self.copies[-1] if self.copies else None
        missing = bool(outcome.changes) and not outcome.observed.exists
        if context.check_mode and outcome.changes and not missing:
            made = self._foreseen()
        more = int(context.check_mode and made is not None)
        pruned = prune(self._path, self._where, self._keep, context, self.copies, more)
        self._tell_of_the_future()
        if missing:
            note = NO_COPY
        elif outcome.changes and made is None:
            note = f"the copy of this day was there already and stays as it is: {self._next()}"
        else:
            note = ""
        return Copies(made, tuple(pruned), note, missing)

    def without(self, carries: Callable[[str], bool]) -> Copies:
        """Remove the copies that carry a value; in check mode tell which.

        :raises KeyturnError: as :func:`destroy`.
        """
        found = destroy(self._path, self._where, self._keep.naming, carries, self._context)
        return Copies(destroyed=tuple(found))

    def _tell_of_the_future(self) -> None:
        directory, of = os.path.split(self._path)
        found = ahead(_listed(directory), of, self._keep, self._context.now())
        if found:
            more = f", and so are {len(found) - 1} more" if len(found) > 1 else ""
            self._context.warn(
                f"{self._where}: the copy {found[0]} in {directory} is dated in the future{more}: a clock was wrong then, or this "
                "machine's is wrong now. It is not removed, and not counted. Set the clock right; a copy that is still dated in the future "
                "then, remove by hand, since its value may still be accepted"
            )

    def _foreseen(self) -> Optional[str]:
        copy = self._next()
        if os.path.lexists(copy) or copy in self._context.foreseen:
            return None
        # What comes later in this dry run finds it there.
        self._context.foreseen[copy] = {}
        return copy
