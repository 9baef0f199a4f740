# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where ledger lines go."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Corrupt,
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import encode_line
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._throwaway import refuse_throwaway

_BLOCK = 65536


def _os_error(path: str, error: OSError) -> KeyturnError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "make room there" if full else "give this user the right to append to it"
    text = (
        f"keyturn_ledger: cannot write {path}: {error.strerror}; {remedy}, or name another ledger"
    )
    return Denied(text) if isinstance(error, PermissionError) else Unreachable(text)


class FileLedger:
    """JSON lines in a local file, appended under a lock and flushed to the disk."""

    def __init__(self, path: str) -> None:
        self.path = path

    @contextmanager
    def _open(self) -> Iterator[int]:
        try:
            os.makedirs(os.path.dirname(self.path) or ".", mode=0o700, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _os_error(self.path, error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line; a fragment that a crash left at the end is cut off first.

        :raises Denied, Unreachable: naming the file.
        """
        with self._open() as handle:
            try:
                _cut_fragment(handle)
                os.write(handle, encode_line(line).encode())
                os.fsync(handle)
            except OSError as error:
                raise _os_error(self.path, error) from None

    def last(self, credential: str) -> Optional[Dict[str, Any]]:
        """The newest line of a credential, read from the end; none when there is none."""
        needle = json.dumps(credential).encode()
        for raw in _lines_backwards(self.path):
            if needle in raw:
                line = _decode(raw, self.path)
                if line.get("credential") == credential:
                    return line
        return None

    def lines(self, credential: str) -> List[Dict[str, Any]]:
        """All lines of a credential, oldest first."""
        try:
            with open(self.path, "rb") as file:
                found = [_decode(raw, self.path) for raw in file if raw.endswith(b"\n")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _os_error(self.path, error) from None
        return [line for line in found if line.get("credential") == credential]


def _decode(raw: bytes, path: str) -> Dict[str, Any]:
    try:
        line = json.loads(raw)
    except ValueError:
        line = None
    if not isinstance(line, dict):
        raise Corrupt(
            f"keyturn_ledger: {path} has a line that is no JSON object; keep the file for the inquiry and restore a copy"
        )
    return line


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


def _lines_backwards(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            position, rest = _end_of_lines(file.fileno()), b""
            while position > 0:
                start = max(0, position - _BLOCK)
                parts = (os.pread(file.fileno(), position - start, start) + rest).split(b"\n")
                rest, position = parts[0], start
                yield from (part for part in reversed(parts[1:]) if part)
            if rest:
                yield rest
    except FileNotFoundError:
        return
    except OSError as error:
        raise _os_error(path, error) from None


class NoLedger:
    """For modules used alone, without a ledger."""

    def append(self, line: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def last(self, credential: str) -> Optional[Dict[str, Any]]:
        """Know nothing."""
        return None

    def lines(self, credential: str) -> List[Dict[str, Any]]:
        """Know nothing."""
        return []


def open_ledger(text: str, context: Context, option: str = "keyturn_ledger") -> Any:
    """The ledger that a reference names; none named gives one that keeps nothing.

    :raises BadInput: for a scheme that no ledger has.
    """
    if not text:
        return NoLedger()
    reference = parse_reference(text, option)
    if reference.scheme != "file":
        raise BadInput(
            f"{option}: '{reference.scheme}' is no place for a ledger; expected ref+file:///path"
        )
    refuse_throwaway(reference.path, context, option)
    return FileLedger(reference.path)
