# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log files of this machine, line by line, with as much memory as one line takes; and how much of a window they cover."""

from __future__ import annotations

import errno
import gzip
import os
import re
import stat
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import IO, Any, Iterator, List, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import file_error
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import Window
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

LONGEST = 1 << 20
_PACKED = (".xz", ".bz2", ".zst", ".lz4")
_MAGIC = re.compile(r"[*?\[]")


def check_path(path: str, option: str) -> None:
    """Refuse what names no file.

    :raises BadInput: for a relative path, and for a pattern in the name of a folder.
    """
    folder, name = os.path.split(path)
    if not os.path.isabs(path) or not name:
        raise BadInput(
            f"{option}: '{path}' is no absolute path of a file; name the log, such as /var/log/app.log"
        )
    if _MAGIC.search(folder):
        raise BadInput(
            f"{option}: '{path}': a pattern may be in the name of the file, and not in that of a folder"
        )


def files_of(path: str, option: str) -> List[str]:
    """The files that a path names, the oldest first.

    :raises Absent: when there is none.
    :raises Denied: when that cannot be known.
    """
    folder, name = os.path.split(path)
    if not _MAGIC.search(name):
        return [path]
    try:
        with os.scandir(folder) as entries:
            found = [
                (entry.stat().st_mtime, entry.path)
                for entry in entries
                if fnmatchcase(entry.name, name) and entry.is_file()
            ]
    except OSError as error:
        raise file_error(error, option, folder, "read") from None
    if not found:
        raise Absent(
            f"{option}: no file is called {path} on this host; correct it, or see whether its service logs somewhere else"
        )
    return [path for _time, path in sorted(found)]


def _open(path: str, option: str) -> IO[bytes]:
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Absent(
            f"{option}: {path} is not there on this host; correct its name, or see whether its service logs somewhere else"
        ) from None
    except OSError as error:
        raise file_error(error, option, path, "read") from None
    file = os.fdopen(number, "rb")
    if not stat.S_ISREG(os.fstat(number).st_mode):
        file.close()
        raise BadInput(f"{option}: {path} is no plain file; name a log file")
    return file


@dataclass
class Lines:
    """The lines of some files.

    :ivar gaps: what could not be read, in sentences.
    """

    path: str
    option: str
    gaps: List[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[bytes]:
        """Each line without its end.

        :raises Absent, Denied, BadInput, Unreachable: as a file gives cause.
        """
        for path in files_of(self.path, self.option):
            if path.endswith(_PACKED):
                self.gaps.append(f"{path} is compressed in a way that is not read here: unpack it")
                continue
            with _open(path, self.option) as raw:
                packed: Any = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
                yield from self._of(path, packed)

    def _of(self, path: str, file: IO[bytes]) -> Iterator[bytes]:
        try:
            while True:
                line = file.readline(LONGEST)
                if not line:
                    return
                if len(line) == LONGEST and not line.endswith(b"\n"):
                    gap = f"{path} has a line of more than {LONGEST} bytes, which was passed over"
                    self.gaps += [] if gap in self.gaps else [gap]
                    while line and not line.endswith(b"\n"):
                        line = file.readline(LONGEST)
                    continue
                yield line.rstrip(b"\r\n")
        except (EOFError, zlib.error):
            self.gaps.append(f"{path} is cut off or damaged: what comes after that was not read")
        except OSError as error:
            if error.errno in (None, errno.EINVAL):
                self.gaps.append(f"{path} is no file of gzip")
                return
            reason = errno.errorcode.get(error.errno, "error")
            raise Unreachable(
                f"{self.option}: {path} cannot be read to its end ({reason}); see to its disk, then run again"
            ) from None


def to_moment(text: str, zone: timezone = timezone.utc) -> Optional[datetime]:
    """A time as logs write it, to the second; none when it is no time."""
    found = re.match(
        r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,]\d+)?\s*(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?\Z",
        text,
    )
    if not found:
        return None
    name = found[3] or ""
    digits = name[1:].replace(":", "").ljust(4, "0")
    try:
        if name in ("", "Z", "UTC", "GMT"):
            moment = datetime.fromisoformat(f"{found[1]}T{found[2]}")
            return moment.replace(tzinfo=timezone.utc if name else zone).astimezone(timezone.utc)
        text = f"{found[1]}T{found[2]}{name[0]}{digits[:2]}:{digits[2:]}"
        return datetime.fromisoformat(text).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


@dataclass
class Coverage:
    """From when to when a log says anything, and what in it is none of it."""

    first: Optional[datetime] = None
    last: Optional[datetime] = None
    seen: int = 0
    unreadable: int = 0

    def add(self, moment: datetime) -> None:
        """An entry of this time."""
        self.first = min(self.first or moment, moment)
        self.last = max(self.last or moment, moment)

    def gaps(self, window: Window, what: str) -> List[str]:
        """Why there may be more than was found."""
        if self.first is None or self.last is None:
            gaps = [f"the log has no entry of {what}: nothing can be concluded from it"]
        else:
            gaps = []
            if self.first > window.since:
                gaps.append(
                    f"the log begins at {format_time(self.first)}, after the window does: name older files, too"
                )
            if self.last < window.until:
                gaps.append(
                    f"the log ends at {format_time(self.last)}, before the window does: either nothing was written any more, or it was "
                    "written somewhere else"
                )
        if self.unreadable:
            gaps.append(f"{self.unreadable} lines are no entries of {what}")
        return gaps
