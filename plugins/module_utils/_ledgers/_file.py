# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log in a local file: ``ref+file:///path``.

* One line of JSON for each step, appended under a lock and flushed to the disk. Several credentials may share a file.
* The file itself is never reached through a symbolic link: whoever may place one there could have the log written elsewhere.
  Links in the directories above are followed, as everywhere.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import (
    refusal_of,
    takes_files,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import LedgerHead
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    encode_line,
    missing_line,
    once,
    run_faults,
    tail_faults,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers._port import (
    Reading,
    Review,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers._text import (
    decode_line,
    decode_lines,
)

_BLOCK = 65536
# Non-blocking: a named pipe without a reader must not hang the run.
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class FileLedger:
    """JSON lines in a local file.

    :param option: how messages name where the path came from.
    """

    def __init__(self, path: str, option: str = "keyturn_ledger") -> None:
        self.path = path
        self._option = option

    def __repr__(self) -> str:
        return f"FileLedger({self.path})"

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line; a fragment that a crash left at the end is cut off first.

        :raises BadInput, Denied, Refused, Unreachable: naming the file.
        """
        try:
            os.makedirs(os.path.dirname(self.path) or ".", mode=0o700, exist_ok=True)
            with self._opened(os.O_RDWR | os.O_APPEND | os.O_CREAT) as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                _cut_fragment(handle)
                _write_all(handle, encode_line(line).encode())
                os.fsync(handle)
        except OSError as error:
            raise self._meaning(error, "write") from None

    def review(
        self, credential: str, head: Optional[LedgerHead], first: bool, failed: bool
    ) -> Review:
        """Compare the end with the keyring; with a run's first line the whole chain.

        :raises BadInput, Denied, Refused, Unreachable: naming the file.
        """
        if first:
            found = self._read(credential, fragment=False)
            faults = [*found.faults, *run_faults(found.lines, head)]
            return Review(
                missing_line(found.lines[-1] if found.lines else None, head), tuple(faults)
            )
        last = self.last(credential)
        lost = missing_line(last, head)
        return Review(lost, () if lost else tuple(tail_faults([last] if last else [], head)))

    def check_append(self, credential: str, head: Optional[LedgerHead]) -> None:
        """See whether this user may append to the file, or make it.

        :raises BadInput, Denied, Refused, Unreachable: naming the file.
        """
        try:
            with self._opened(os.O_RDWR | os.O_APPEND):
                return
        except FileNotFoundError:
            folder = _nearest(os.path.dirname(self.path) or ".")
            if not takes_files(folder):
                raise self._meaning(refusal_of(folder), "write") from None
        except OSError as error:
            raise self._meaning(error, "write") from None

    def read(self, credential: str) -> Reading:
        """All lines of a credential; of an exported file also those with something before the JSON.

        :raises BadInput, Denied, Refused, Unreachable: naming the file.
        """
        return self._read(credential, fragment=True)

    def _read(self, credential: str, fragment: bool) -> Reading:
        """:param fragment: a last line without its line end counts, if it is whole: in a copy it was only cut there."""
        raws = self._raw_lines()
        if raws and not raws[-1].endswith(b"\n"):
            whole = fragment and decode_line(raws[-1].decode("utf-8", "replace"))[0] is not None
            raws = raws if whole else raws[:-1]
        lines, faults = decode_lines(raws, credential)
        return Reading(tuple(once(lines)), tuple(faults))

    def _raw_lines(self) -> List[bytes]:
        try:
            with self._opened(os.O_RDONLY) as handle, os.fdopen(os.dup(handle), "rb") as file:
                return file.readlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._meaning(error, "read") from None

    def last(self, credential: str) -> Optional[Dict[str, Any]]:
        """The newest line of a credential, read from the end; none when there is none."""
        needle = json.dumps(credential).encode()
        try:
            with self._opened(os.O_RDONLY) as handle:
                for raw in _lines_backwards(handle):
                    line = decode_line(raw.decode("utf-8", "replace"))[0] if needle in raw else None
                    if line is not None and line["credential"] == credential:
                        return line
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._meaning(error, "read") from None
        return None

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        handle = os.open(self.path, flags | _FLAGS, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise BadInput(f"{self._option}: {self.path} is no regular file; name one")
            yield handle
        finally:
            os.close(handle)

    def _meaning(self, error: OSError, doing: str) -> KeyturnError:
        where = f"{self._option}: cannot {doing} {self.path}"
        if error.errno == errno.ELOOP and os.path.islink(self.path):
            return Refused(
                f"{where}: it is a symbolic link to {os.path.realpath(self.path)}, and whoever may place one there chooses where the "
                "audit log goes. Name the file itself"
            )
        reason = os.strerror(error.errno or 0).lower()
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return Unreachable(f"{where}: {reason}; make room there, or name another ledger")
        if error.errno == errno.EROFS:
            return Denied(f"{where}: {reason}; mount it read-write, or name another ledger")
        kind = Denied if isinstance(error, PermissionError) else Unreachable
        return kind(
            f"{where}: {reason}; give this user the right to append to it, or name another ledger"
        )


def _nearest(folder: str) -> str:
    """The folder, or the first one above it that is there: those below it would be made."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder) or "."
    return folder


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _end_of_lines(handle: int) -> int:
    """Where the last whole line ends: a fragment after it is what a crash left of an append."""
    position = os.fstat(handle).st_size
    while position > 0:
        start = max(0, position - _BLOCK)
        end = os.pread(handle, position - start, start).rfind(b"\n")
        if end >= 0:
            return start + end + 1
        position = start
    return 0


def _cut_fragment(handle: int) -> None:
    end = _end_of_lines(handle)
    if end != os.fstat(handle).st_size:
        os.ftruncate(handle, end)


def _lines_backwards(handle: int) -> Iterator[bytes]:
    position, rest = _end_of_lines(handle), b""
    while position > 0:
        start = max(0, position - _BLOCK)
        parts = (os.pread(handle, position - start, start) + rest).split(b"\n")
        rest, position = parts[0], start
        yield from (part for part in reversed(parts[1:]) if part)
    if rest:
        yield rest
