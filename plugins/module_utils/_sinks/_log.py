# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log as a place for sinks: a line is added where it is not there, and nothing is ever changed or removed.

The line is looked for from the end, block by block, in the file and in the one that logrotate made of it last (``NAME.1``), so that a
log that was rotated does not get it once more. Adding is one write at the end, under the lock that replacing a file takes, so
a run that was killed adds it once, and another program that appends meanwhile loses nothing.
"""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Dict, Iterator, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Conflict
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import file_error
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_lock import open_directory
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import (
    Held,
    check_replaceable,
    hold,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._define import WHOLE
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import (
    Attributes,
    attribute_drift,
    owners_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import (
    Changes,
    Observed,
)

NEW_MODE = 0o640
LONGEST = 4096
"""How many bytes a line has at most."""

_BLOCK = 1 << 16
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_ROTATED = ".1"


def harmless(text: str) -> str:
    """One line, without what would make two of it, or hide a part of it on a screen; it stands there as ``\\\\x0a``."""

    def one(character: str) -> str:
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return character
        number = ord(character)
        return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"

    return "".join(one(character) for character in text[: -1 if text.endswith("\n") else None])


def holds_line(descriptor: int, line: bytes, block: int = _BLOCK) -> bool:
    """Whether a file has this line. It is read from its end, and never more than a block of it at a time."""
    left = os.fstat(descriptor).st_size
    wanted = b"\n" + line + b"\n"
    # What an unfinished last line lacks.
    behind = b"\n"
    while left:
        size = min(block, left)
        left -= size
        window = os.pread(descriptor, size, left) + behind
        if not left:
            window = b"\n" + window
        if wanted in window:
            return True
        behind = window[: len(wanted) - 1]
    return False


@dataclass(frozen=True)
class _Lines:
    """What is to be in the log."""

    there: bool


class LogPlace:
    """One log on this machine.

    :param path: absolute; its directory must exist.
    :param where: how messages name it.
    """

    def __init__(self, path: str, attributes: Attributes, where: str) -> None:
        if not os.path.isabs(path):
            raise BadInput(f"{where}: expected an absolute path")
        self._path = path
        self._attributes = attributes
        self._where = where
        self._held: Optional[Held] = None
        self._wanted: Optional[Secret] = None

    def tidy(self) -> None:
        """Nothing: nothing is left beside a log."""

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the file's lock, so that two runs do not both add the line."""
        with hold(self._path, self._where) as held:
            self._held = held
            try:
                yield
            finally:
                self._held = None

    def check(self, changes: Changes) -> None:
        """Keep the line that :meth:`read` looks for.

        :raises BadInput: it is empty, or too long.
        """
        self._wanted = changes.get(WHOLE)
        size = len(self._line())
        if self._wanted is not None and self._wanted.known and not 0 < size <= LONGEST:
            raise BadInput(
                f"{self._where}: the line would have {size} bytes; expected 1 to {LONGEST}. Shorten what is in it"
            )

    def _line(self) -> bytes:
        text = self._wanted.reveal() if self._wanted is not None else ""
        return harmless(text).encode("utf-8")

    def read(self, names: Tuple[str, ...]) -> Observed:
        """The line, if it is there.

        :raises Denied, BadInput, Unreachable: when the log cannot be read, or is no file.
        """
        fields: Dict[str, Optional[Secret]] = {}
        wanted, status = self._wanted, None
        known = wanted is not None and wanted.known
        for name in (self._path, self._path + _ROTATED):
            descriptor = self._open(name)
            if descriptor is None:
                continue
            try:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode):
                    if name != self._path:
                        continue
                    raise BadInput(f"{self._where}: {name} is no regular file; name one")
                status = found if name == self._path else status
                if known and WHOLE not in fields and holds_line(descriptor, self._line()):
                    fields[WHOLE] = wanted
            except OSError as error:
                raise file_error(error, self._where, name, "read") from None
            finally:
                os.close(descriptor)
        drift = () if status is None else attribute_drift(self._attributes, status, self._where)
        there = status is not None
        return Observed(fields, exists=there, drift=drift, state=_Lines(there))

    def _open(self, name: str) -> Optional[int]:
        try:
            return os.open(name, _READING)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise file_error(error, self._where, name, "read") from None

    def check_write(self, observed: Observed, changes: Changes) -> None:
        """Find out what would stop a write, without one.

        :raises Absent, Denied, BadInput: as :meth:`write`.
        """
        check_replaceable(self._path, self._where)
        owners_of(self._attributes, self._where)
        writable = os.access(
            self._path, os.W_OK, effective_ids=os.access in os.supports_effective_ids
        )
        if observed.exists and not writable and os.path.exists(self._path):
            raise file_error(PermissionError(errno.EACCES, ""), self._where, self._path, "write")

    def write(self, observed: Observed, changes: Changes) -> Optional[str]:
        """Add the line under the lock that :meth:`exclusive` took, and set mode and owners.

        :raises Absent, Denied, Unreachable, BadInput: no line was added then.
        """
        if self._held is None:
            raise Conflict(f"{self._where}: the lock is not held")
        status = self._held.status()
        directory = open_directory(self._path, self._where)
        try:
            self._add(directory, status is None, self._line() if WHOLE in changes else b"")
        except OSError as error:
            raise file_error(error, self._where, self._path, "write") from None
        finally:
            os.close(directory)
        return None

    def _add(self, directory: int, new: bool, line: bytes) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        flags |= os.O_CREAT | os.O_EXCL if new else 0
        name = os.path.basename(self._path)
        owners = owners_of(self._attributes, self._where)
        descriptor = os.open(name, flags, NEW_MODE, dir_fd=directory)
        try:
            self._dress(descriptor, new, owners)
            if line:
                _append(descriptor, line)
        except BaseException:
            if new and not os.fstat(descriptor).st_size:
                os.unlink(name, dir_fd=directory)
            raise
        finally:
            os.close(descriptor)

    def _dress(
        self, descriptor: int, new: bool, owners: Tuple[Optional[int], Optional[int]]
    ) -> None:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise BadInput(f"{self._where}: {self._path} is no regular file; name one")
        uid, gid = owners
        if uid not in (None, found.st_uid) or gid not in (None, found.st_gid):
            os.fchown(descriptor, -1 if uid is None else uid, -1 if gid is None else gid)
        kept = NEW_MODE if new else stat.S_IMODE(found.st_mode)
        mode = kept if self._attributes.mode is None else self._attributes.mode
        # The process's umask took bits away from a new one, and a change of the owner clears some.
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            os.fchmod(descriptor, mode)


def _append(descriptor: int, line: bytes) -> None:
    """Add a line at the end; the last one is finished first if it is not."""
    size = os.fstat(descriptor).st_size
    start = b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""
    data = start + line + b"\n"
    done = os.write(descriptor, data)
    if done < len(data):
        # No room: a part of a line is worse than none, unless somebody else has added to it by now.
        if os.fstat(descriptor).st_size == size + done:
            os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, "")
    os.fsync(descriptor)
