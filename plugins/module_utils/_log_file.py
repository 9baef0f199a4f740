# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log file, read from a place in it, also after it was rotated.

A cursor is ``DEVICE:INODE:OFFSET``. A file that was moved aside is looked for beside its successor, and so are those that came
between. What was compressed, removed or cut off meanwhile cannot be read any more, and is told as a gap.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import IO, List, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Absent, BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import file_error
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_look import Line, Look

_CURSOR = re.compile(r"(\d+):(\d+):(\d+)\Z")
_PACKED = (".gz", ".xz", ".bz2", ".zst", ".lz4")
_LINE = 1 << 16


@dataclass(frozen=True)
class Place:
    """A place in a file."""

    device: int
    inode: int
    offset: int

    def __str__(self) -> str:
        return f"{self.device}:{self.inode}:{self.offset}"

    def is_of(self, found: os.stat_result) -> bool:
        """Whether it is in this file."""
        return (self.device, self.inode) == (found.st_dev, found.st_ino)


def parse_place(cursor: str, option: str) -> Place:
    """Read a cursor.

    :raises BadInput: when it is none of a file.
    """
    found = _CURSOR.match(cursor)
    if not found:
        raise BadInput(f"{option}: this is no cursor of a file; give one from an earlier result")
    device, inode, offset = (int(number) for number in found.groups())
    return Place(device, inode, offset)


class LogFile:
    """One log file of this machine.

    :param where: how messages begin.
    """

    def __init__(self, path: str, where: str) -> None:
        self.path = path
        self._where = where

    def _open(self, path: str) -> IO[bytes]:
        """Open a plain file; no other kind is waited for.

        :raises Absent, Denied, BadInput: it is not there, may not be read, or is something else.
        """
        try:
            number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Absent(
                f"{self._where}: {path} is not there on this host; correct its name, or see whether its service logs somewhere else"
            ) from None
        except OSError as error:
            raise file_error(error, self._where, path, "read") from None
        file = os.fdopen(number, "rb")
        if not stat.S_ISREG(os.fstat(number).st_mode):
            file.close()
            raise BadInput(f"{self._where}: {path} is no plain file; name a log file")
        return file

    def end(self) -> Place:
        """Where the file ends now, after its last whole line.

        :raises Absent, Denied, BadInput: as the file gives cause.
        """
        with self._open(self.path) as file:
            found = os.fstat(file.fileno())
            offset = found.st_size
            while offset:
                begin = max(0, offset - _LINE)
                file.seek(begin)
                at = file.read(offset - begin).rfind(b"\n")
                if at >= 0:
                    offset = begin + at + 1
                    break
                offset = begin
            return Place(found.st_dev, found.st_ino, offset)

    def begin(self) -> Place:
        """Where the file begins.

        :raises Absent, Denied, BadInput: as the file gives cause.
        """
        with self._open(self.path) as file:
            found = os.fstat(file.fileno())
            return Place(found.st_dev, found.st_ino, 0)

    def after(self, place: Place, look: Look, whole: bool = False) -> Place:
        """Look at what was written since a place, in whichever file that is now.

        :param whole: also look at a last line whose end is not written yet; the place returned is before it.
        :return: the place to go on from.
        :raises Absent, Denied, BadInput: as the file gives cause.
        """
        with self._open(self.path) as file:
            found = os.fstat(file.fileno())
            offset = place.offset
            if not place.is_of(found):
                self._rotated(place, found, look)
                offset = 0
            elif found.st_size < offset:
                look.tell_gap(
                    f"{self.path} is shorter than it was (copytruncate, or written anew): what was in it before is gone"
                )
                offset = 0
            end = self._read(file, offset, look, whole)
            return Place(found.st_dev, found.st_ino, end)

    def _rotated(self, place: Place, now: os.stat_result, look: Look) -> None:
        """Look at the rest of the file that was moved aside, and at those that came between."""
        older = self._siblings(now)
        at = next((number for number, (_path, it) in enumerate(older) if place.is_of(it)), None)
        if at is None:
            look.tell_gap(
                f"{self.path} was rotated, and the file that this look began in is not beside it any more: what was written to it after "
                "that is not looked at"
            )
            return
        for path, found in older[at:]:
            if path.endswith(_PACKED):
                look.tell_gap(f"{path} is compressed: what is in it is not looked at")
                continue
            with self._open(path) as file:
                self._read(file, place.offset if place.is_of(found) else 0, look, whole=True)

    def _siblings(self, now: os.stat_result) -> List[Tuple[str, os.stat_result]]:
        """The files that this one was moved aside to, the oldest first."""
        folder, name = os.path.split(self.path)
        stem, suffix = os.path.splitext(name)
        found = []
        for entry in os.scandir(folder or "."):
            # logrotate appends to the name (app.log.1), or puts a date before the suffix (app-20260131.log).
            own = entry.name.startswith(name) or (
                suffix and entry.name.startswith(f"{stem}-") and suffix in entry.name
            )
            if own and entry.is_file(follow_symlinks=False):
                about = entry.stat(follow_symlinks=False)
                if (about.st_dev, about.st_ino) != (now.st_dev, now.st_ino):
                    found.append((entry.path, about))
        return sorted(found, key=lambda item: item[1].st_mtime)

    def _read(self, file: IO[bytes], offset: int, look: Look, whole: bool) -> int:
        file.seek(offset)
        while True:
            raw = file.readline(_LINE)
            if not raw or not (whole or raw.endswith(b"\n") or len(raw) == _LINE):
                return offset
            look.add(Line(raw.decode("utf-8", "replace").rstrip("\n"), self.path))
            if not raw.endswith(b"\n") and len(raw) < _LINE:
                return offset
            offset += len(raw)
