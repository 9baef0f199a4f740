# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The place ``files``: files that are each one ciphertext.

Everything below the folders that a path names is read, or the run fails: a folder that may not be read is not an empty one, and
``glob`` of the standard library would pass it over in silence.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Collection, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Absent, BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import (
    file_error,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_lock import (
    LOCK_TIMEOUT,
    open_directory,
    open_lock,
    take_lock,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import (
    Held,
    check_replaceable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import refuse_unknown
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._options import (
    COMMON,
    seconds,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._port import (
    Item,
    Key,
    Replacement,
    shown,
)

KEYS = (*COMMON, "path", "pause")
PAGE = 100
PAGE_BYTES, MOST_BYTES = 32 << 20, 128 << 20
"""A page ends with the file that fills it, and a file is whole in the memory, several times. Nobody encrypts more by Fernet."""
LOCK_NAME = "reencrypt"
"""The lock of a folder is that of a file of this name in it, which need not be there: each file's own lock would leave as many more."""
_WILD = re.compile(r"[*?\[]")
_LEFT = re.compile(r"\.(?P<name>.+)\.keyturn-\d+-[0-9a-f]{12}\Z")


@dataclass(frozen=True)
class Files:
    """Files of one host.

    :param on: the inventory host that they are on; empty: where the rotation runs.
    :param path: absolute; in each part of it may be wildcards.
    :param pause: seconds after each page that something was written in.
    """

    on: str
    path: str
    pause: float
    option: str

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any], option: str) -> Files:
        """The place that a definition describes.

        :raises BadInput: naming the key and what is expected.
        """
        refuse_unknown(definition, KEYS, option)
        host, path = definition.get("host") or "", definition.get("path")
        if not isinstance(host, str):
            raise BadInput(
                f"{option}.host: expected the inventory's name of the machine that has the files"
            )
        parts = path.split("/") if isinstance(path, str) else []
        wrong = not parts or parts[0] or not parts[-1] or "\0" in str(path)
        if wrong or {"..", "."} & set(parts):
            raise BadInput(
                f"{option}.path: expected an absolute path of files, such as /srv/app/secrets/*.enc"
            )
        if "**" in parts:
            raise BadInput(
                f"{option}.path: ** is not known; write one * for each folder, and a place of its own for each depth"
            )
        return cls(host, str(path), seconds(definition.get("pause", 0), f"{option}.pause"), option)

    @property
    def needs(self) -> Mapping[str, Any]:
        """No login."""
        return {}

    @property
    def where(self) -> str:
        """How messages and results name it."""
        return f"{self.path} on {self.on}" if self.on else self.path


class FileStore:
    """These files, opened one by one when they are needed."""

    def __init__(self, files: Files, context: Context) -> None:
        self._files, self._context = files, context
        self._option = f"{files.option}.path"
        self._left: Set[str] = set()

    def close(self) -> None:
        """Nothing is open."""

    def check_write(self) -> None:
        """See whether other files could be put in the places of these.

        :raises KeyturnError: naming the file.
        """
        for path in self._paths():
            check_replaceable(path, self._option)

    def shown(self, key: Key) -> str:
        """A path, which every message about the file has."""
        return shown(key)

    def _paths(self) -> List[str]:
        """All of them, sorted.

        :raises Absent: a folder or a file without wildcards is not there.
        :raises Denied: a folder may not be read.
        """
        _root, *parts = self._files.path.split("/")
        found = self._below("/", parts)
        if not found:
            self._context.warn(f"{self._option}: no file matches {self._files.where}")
        return found

    def _below(self, folder: str, parts: Sequence[str]) -> List[str]:
        part, rest = parts[0], parts[1:]
        if not _WILD.search(part):
            path = os.path.join(folder, part)
            if rest:
                return self._below(path, rest)
            if not os.path.lexists(path):
                raise Absent(f"{self._option}: there is no file {path}")
            return [path]
        found = []
        for name, is_folder in self._entries(folder, part):
            path = os.path.join(folder, name)
            if rest and is_folder:
                found += self._below(path, rest)
            elif not rest and not is_folder:
                found.append(path)
        return found

    def _entries(self, folder: str, pattern: str) -> List[Tuple[str, bool]]:
        """What matches in a folder, and whether each is a folder itself; hidden names only where the pattern begins with a dot."""
        try:
            with os.scandir(folder) as entries:
                found = [(entry.name, entry.is_dir()) for entry in entries]
        except FileNotFoundError:
            raise Absent(f"{self._option}: there is no directory {folder}") from None
        except OSError as error:
            raise file_error(error, self._option, folder, "read") from None
        left = (_LEFT.match(name) for name, _is_folder in found)
        self._left |= {os.path.join(folder, name["name"]) for name in left if name}
        hidden = pattern.startswith(".")
        return sorted(
            (name, is_folder)
            for name, is_folder in found
            if fnmatchcase(name, pattern) and (hidden or not name.startswith("."))
        )

    def pages(self) -> Iterator[List[Item]]:
        """All files that hold something.

        :raises KeyturnError: a file or a folder cannot be read; or a file is a symbolic link.
        """
        page: List[Item] = []
        for path in self._paths():
            page += self.again([(path,)])
            if len(page) >= PAGE or sum(len(item.text) for item in page) >= PAGE_BYTES:
                yield page
                page = []
        if page:
            yield page

    def again(self, keys: Collection[Key]) -> List[Item]:
        """These files as they are by now.

        :raises KeyturnError: as :meth:`pages`.
        """
        found = []
        for (path,) in keys:
            data = self._read(path)
            if data:
                found.append(Item((path,), data))
        return found

    def _read(self, path: str) -> Optional[bytes]:
        """The very file of that name: whoever owns its folder may put a link to another in its place at any moment."""
        try:
            directory = open_directory(path, self._option)
        except Absent:
            return None
        try:
            held = Held(path, self._option, directory)
            status = held.status()
            if status is not None and status.st_size > MOST_BYTES:
                raise BadInput(
                    f"{self._option}: {path} has {status.st_size} bytes, which is no token that was meant; at most {MOST_BYTES} are read. "
                    "Write a path that does not match it"
                )
            return held.read()
        finally:
            os.close(directory)

    def replace(self, replacements: Sequence[Replacement]) -> Set[Key]:
        """Each file as a whole, with its mode and owner, when it still holds what was read.

        :raises KeyturnError: as ``_files`` gives cause; the file is as it was then.
        """
        done: Set[Key] = set()
        for item in replacements:
            with self._held(item.key[0]) as held:
                if held.read() == item.old:
                    held.replace(item.new)
                    done.add(item.key)
        return done

    @contextmanager
    def _held(self, path: str) -> Iterator[Held]:
        """The file, under the lock of its folder, without what a killed run left there."""
        lock = os.path.join(os.path.dirname(path), LOCK_NAME)
        with ExitStack() as opened:
            directory = open_directory(path, self._option)
            opened.callback(os.close, directory)
            descriptor = open_lock(lock, self._option, directory)
            opened.callback(os.close, descriptor)
            take_lock(descriptor, lock, self._option, LOCK_TIMEOUT)
            held = Held(path, self._option, directory)
            # To look for them takes the whole folder.
            if path in self._left or not _WILD.search(os.path.basename(self._files.path)):
                held.remove_leftovers()
            yield held
