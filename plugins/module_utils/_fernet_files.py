# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of numbered Fernet keys on this machine: read whole, and written so that a kill leaves it right.

Keystone opens every file of the folder on each request, whatever its name, before it looks whether the name is a number. One that
it may not read is an error of that request. So nothing here leaves or passes through a file beside the keys:

* the lock is that of the folder itself, and takes no file;
* a new key is written in a folder of its own inside (``.keyturn-…``, 0700), where it gets its owner, mode and time, and moves to its
  number when it is whole and on the disk;
* the staged key is promoted by a second name for the same file. At no time is there no ``0``, and nothing is copied.

What a killed run left in ``.keyturn-…`` is removed by the next one that holds the lock.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Dict, Iterator, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet import parse_key
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_like import Like, or_same
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_plan import (
    STAGED,
    Key,
    Keys,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import (
    file_error,
    link_error,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import Held
from ansible_collections.keyturn.runbooks.plugins.module_utils._safe_folder import FOLDER
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

_NUMBER = re.compile(r"(0|[1-9][0-9]{0,17})\Z")
_WORK = ".keyturn-"
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
_MOST_BYTES = 4096
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True)
class Found:
    """A folder as it was read.

    :param statuses: owners and mode of each file with a number, also of an empty ``0``.
    :param folder: those of the folder itself.
    """

    keys: Keys
    statuses: Mapping[int, os.stat_result]
    folder: Optional[os.stat_result]


NOTHING = Found(Keys({}), {}, None)
"""A folder that is not there."""


def _moment(status: os.stat_result) -> datetime:
    return _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)


def _key_number(name: str, path: str, where: str) -> Optional[int]:
    """The number that Keystone reads in a name; none for another name.

    :raises BadInput: for a name that is a number in another spelling: two files would be one key.
    """
    if _NUMBER.match(name):
        return int(name)
    try:
        int(name)
    except ValueError:
        return None
    raise BadInput(
        f"{where}: {os.path.join(path, name)!r}: Keystone takes this name for a number, but it is not written as one; rename the file or "
        "take it away"
    )


class Folder:
    """An opened folder of keys.

    :param path: absolute.
    :param where: how messages name it.
    :param descriptor: of the folder.
    """

    def __init__(self, path: str, where: str, descriptor: int) -> None:
        self.path, self._where, self._at = path, where, descriptor

    def _file(self, name: object) -> str:
        return os.path.join(self.path, str(name))

    def _error(self, error: OSError, name: object, doing: str = "write") -> KeyturnError:
        return file_error(error, self._where, self._file(name), doing)

    # Reading

    def read(self) -> Found:
        """All keys.

        :raises BadInput: for a file with a number that is no key, naming the file and what is wrong with it.
        :raises Denied, Unreachable: as the files give cause.
        :raises Conflict: when something else changes the folder meanwhile.
        """
        try:
            numbers = [_key_number(name, self.path, self._where) for name in os.listdir(self._at)]
            folder = os.fstat(self._at)
        except OSError as error:
            raise self._error(error, "", "read") from None
        keys: Dict[int, Key] = {}
        statuses: Dict[int, os.stat_result] = {}
        for number in sorted(item for item in numbers if item is not None):
            text, statuses[number] = self._read_file(number)
            if text or number != STAGED:
                secret = parse_key(text, f"{self._where}: {self._file(number)}")
                keys[number] = Key(secret, _moment(statuses[number]))
        return Found(Keys(keys), statuses, folder)

    def _read_file(self, number: int) -> Tuple[str, os.stat_result]:
        try:
            descriptor = os.open(str(number), _READING, dir_fd=self._at)
        except FileNotFoundError:
            raise self._raced() from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise link_error(self._file(number), self._where) from None
            raise self._error(error, number, "read") from None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BadInput(
                    f"{self._where}: {self._file(number)} is no regular file; take it away, or name another folder"
                )
            data = os.read(descriptor, _MOST_BYTES)
        except OSError as error:
            raise self._error(error, number, "read") from None
        finally:
            os.close(descriptor)
        text = data.decode("utf-8", "replace")
        # As editors leave it, and readers ignore it.
        return (text[:-1] if text.endswith("\n") else text), status

    def _raced(self) -> Conflict:
        return Conflict(
            f"{self._where}: something else changes the files of {self.path} at this moment, such as 'keystone-manage fernet_rotate'. "
            "Let one alone rotate them, then run again"
        )

    # Writing

    def remove_leftovers(self) -> None:
        """Remove what killed runs left."""
        for name in os.listdir(self._at):
            if name.startswith(_WORK):
                with suppress(OSError):
                    self._remove_work(name)

    def _remove_work(self, name: str) -> None:
        descriptor = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=self._at)
        try:
            for inside in os.listdir(descriptor):
                os.unlink(inside, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        os.rmdir(name, dir_fd=self._at)

    @contextmanager
    def prepared(self, keys: Mapping[int, Secret], like: Like, now: datetime) -> Iterator[Prepared]:
        """New keys, each whole and on the disk with its owner, mode and time, and none of them in use yet.

        :raises Denied, Unreachable: no right or no room; nothing was changed then.
        """
        name = f"{_WORK}{os.getpid()}-{os.urandom(6).hex()}"
        try:
            os.mkdir(name, 0o700, dir_fd=self._at)
        except OSError as error:
            raise self._error(error, name) from None
        try:
            work = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=self._at)
            try:
                self._refuse_foreign(work, name)
                for number, secret in keys.items():
                    self._write(work, number, secret, like, now)
                yield Prepared(self, work)
            finally:
                os.close(work)
        except OSError as error:
            raise self._error(error, name) from None
        finally:
            with suppress(OSError):
                self._remove_work(name)

    def _refuse_foreign(self, work: int, name: str) -> None:
        """Whoever owns the folder of keys could have put a folder of their own in the place of the one just made."""
        if os.fstat(work).st_uid != os.geteuid():
            raise Refused(
                f"{self._where}: {self._file(name)} was replaced by somebody else; nothing was changed"
            )

    def _write(self, work: int, number: int, secret: Secret, like: Like, now: datetime) -> None:
        held = Held(self._file(number), self._where, work)
        held.replace(secret.reveal().encode(), like.mode, like.uid, like.gid)
        moment = (now - _EPOCH) // timedelta(microseconds=1) * 1000
        os.utime(str(number), ns=(moment, moment), dir_fd=work, follow_symlinks=False)

    def promote(self, number: int, key: Key) -> None:
        """Give the staged key its number; it stays ``0`` as well.

        :raises Conflict: there is such a number already, or another ``0``.
        """
        try:
            os.link(
                str(STAGED),
                str(number),
                src_dir_fd=self._at,
                dst_dir_fd=self._at,
                follow_symlinks=False,
            )
        except FileExistsError:
            raise self._raced() from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise self._error(error, number) from None
            self._copy_staged(number, key)
        self.sync()
        if self._read_file(number)[0] != key.secret.reveal():
            raise self._raced()

    def _copy_staged(self, number: int, key: Key) -> None:
        """For file systems without second names for a file, and users who may not make one."""
        status = os.stat(str(STAGED), dir_fd=self._at, follow_symlinks=False)
        like = Like(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        with self.prepared({number: key.secret}, like, key.modified) as ready:
            ready.put(number)

    def remove(self, numbers: Sequence[int]) -> None:
        """Remove keys, in this order."""
        for number in numbers:
            try:
                with suppress(FileNotFoundError):
                    os.unlink(str(number), dir_fd=self._at)
            except OSError as error:  # noqa: PERF203 - names the file
                raise self._error(error, number) from None
        if numbers:
            self.sync()

    def dress(self, number: Optional[int], wanted: Like) -> None:
        """Set owners and mode of one file right, or without a number those of the folder.

        :raises Refused: for a file that has another name elsewhere: it would be changed there, too.
        """
        name = "" if number is None else str(number)
        try:
            descriptor = (
                os.dup(self._at) if number is None else os.open(name, _READING, dir_fd=self._at)
            )
            try:
                if number is not None:
                    self._refuse_shared(descriptor, name)
                if wanted.uid is not None or wanted.gid is not None:
                    os.fchown(descriptor, or_same(wanted.uid), or_same(wanted.gid))
                if wanted.mode is not None:
                    os.fchmod(descriptor, wanted.mode)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._error(error, name) from None

    def _refuse_shared(self, descriptor: int, name: str) -> None:
        status = os.fstat(descriptor)
        here = [
            os.stat(item, dir_fd=self._at, follow_symlinks=False) for item in os.listdir(self._at)
        ]
        same = [
            item for item in here if (item.st_dev, item.st_ino) == (status.st_dev, status.st_ino)
        ]
        if status.st_nlink > len(same):
            raise Refused(
                f"{self._where}: {self._file(name)} has another name elsewhere (a hard link), whose owner and mode would change, too. "
                "Remove that name, or leave out 'owner', 'group' and 'mode'"
            )

    def sync(self) -> None:
        """Bring the folder's names to the disk."""
        try:
            os.fsync(self._at)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise self._error(error, "") from None

    def _put(self, work: int, number: int) -> None:
        try:
            if number != STAGED and str(number) in os.listdir(self._at):
                raise self._raced()
            os.rename(str(number), str(number), src_dir_fd=work, dst_dir_fd=self._at)
        except OSError as error:
            raise self._error(error, number) from None
        self.sync()


class Prepared:
    """Keys that wait in their folder."""

    def __init__(self, folder: Folder, work: int) -> None:
        self._folder, self._work = folder, work

    def put(self, number: int) -> None:
        """Put this one in its place; a staged key takes the place of the one before.

        :raises Conflict: there is such a number already.
        """
        self._folder._put(self._work, number)
