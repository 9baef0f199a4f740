# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that hold secrets: read whole, and replaced whole under a lock, so that a reader sees the old or the new one.

* **Replacing**: a temporary file (0600) in the same directory, flushed to the disk, gets the old file's owner, group, mode,
  ACL and SELinux label, and is renamed over it; then the directory is flushed. Killed anywhere, the file is the old or the
  new one; a temporary file left by a killed process is removed by the next holder of the lock.
* **Locking**: ``_file_lock``.
* **Symbolic links**: in the directories of a path they are followed, by root only as ``_safe_folder`` says. A path that is
  itself a symbolic link is read through (mounted secrets are made of links), but never replaced: a rename would put a file in
  the link's place, and writing through it would let whoever may place a link choose what is overwritten. The error names the
  link's target.
* **A directory of somebody else's** (root writes the env file of an application's user): the directory is opened once, and
  lock, reading and replacing go through that descriptor and follow no link at its end. Else its owner could hold the lock,
  put a link to a file of root's in the place, and be given a copy of that. For the same reason the owners are set before the
  file is in its place, by descriptor.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import Iterator, List, Optional, Tuple, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import (
    file_error,
    link_error,
    refuse_link,
    user_name,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_lock import (
    LOCK_TIMEOUT,
    NEW_MODE,
    open_directory,
    open_lock,
    take_lock,
)

# Non-blocking: a named pipe without a writer must not hang the run.
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_Owners = Tuple[Optional[int], Optional[int]]


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def read_file(path: str, option: str) -> Optional[bytes]:
    """The bytes of a file; none when it, or its directory, is not there. Needs no lock: files are replaced whole.

    :raises Denied, BadInput, Unreachable: naming the option and the file.
    """
    found = read_with_mode(path, option)
    return None if found is None else found[0]


def read_with_mode(path: str, option: str) -> Optional[Tuple[bytes, int]]:
    """The bytes of a file and its permission bits, of the very file that was read."""
    try:
        descriptor = os.open(path, _READING)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise file_error(error, option, path, "read") from None
    return _read_opened(descriptor, option, path)


def _read_opened(descriptor: int, option: str, path: str) -> Tuple[bytes, int]:
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            raise BadInput(f"{option}: {path} is no regular file; name one")
        return _read_all(descriptor), stat.S_IMODE(mode)
    except OSError as error:
        raise file_error(error, option, path, "read") from None


def _sync_directory(directory: int) -> None:
    try:
        os.fsync(directory)
    except OSError as error:
        # Some file systems cannot flush a directory; the rename itself is done.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _copy_attributes(directory: int, name: str, descriptor: int) -> None:
    """ACL and SELinux label, where system and file system have them and this user may set them."""
    if not hasattr(os, "listxattr"):
        return
    old = f"/proc/self/fd/{directory}/{name}"
    with suppress(OSError):
        for attribute in os.listxattr(old, follow_symlinks=False):
            with suppress(OSError):
                os.setxattr(
                    descriptor, attribute, os.getxattr(old, attribute, follow_symlinks=False)
                )


def _label(file: Union[int, str]) -> Optional[bytes]:
    """The SELinux label of a file, and never of what a link points to; none where there is none."""
    try:
        return os.getxattr(file, "security.selinux", follow_symlinks=isinstance(file, int))
    except OSError:
        return None


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class Held:
    """A file whose lock this process holds.

    :ivar path: the file.
    :param directory: a descriptor of the file's directory.
    """

    def __init__(self, path: str, option: str, directory: int) -> None:
        self.path = path
        self._option = option
        self._directory = directory
        self._name = os.path.basename(path)

    @property
    def _prefix(self) -> str:
        return _successors(self._name)

    def read(self) -> Optional[bytes]:
        """The bytes of the file; none when it is not there.

        :raises Denied, BadInput, Unreachable: as :func:`read_file`; and for a symbolic link.
        """
        found = self.read_with_mode()
        return None if found is None else found[0]

    def read_with_mode(self) -> Optional[Tuple[bytes, int]]:
        """The bytes and the permission bits of the file itself, never of one that a link in its place points to."""
        try:
            descriptor = os.open(self._name, _READING | os.O_NOFOLLOW, dir_fd=self._directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._status()
            raise file_error(error, self._option, self.path, "read") from None
        return _read_opened(descriptor, self._option, self.path)

    def status(self) -> Optional[os.stat_result]:
        """Owners and mode of the file; none when it is not there.

        :raises BadInput: for a symbolic link.
        """
        try:
            return self._status()
        except OSError as error:
            raise file_error(error, self._option, self.path, "read") from None

    def remove(self) -> None:
        """Remove the file, if it is there.

        :raises Denied, Unreachable: nothing was changed then.
        """
        self.remove_beside(self._name)

    def names_beside(self) -> List[str]:
        """What is in the same directory; nothing when that cannot be read."""
        try:
            return os.listdir(self._directory)
        except OSError:
            return []

    def remove_beside(self, name: str) -> None:
        """Remove a file of the same directory, if it is there.

        :raises Denied, Unreachable: nothing was changed then.
        """
        try:
            os.unlink(name, dir_fd=self._directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            path = os.path.join(os.path.dirname(self.path), name)
            raise file_error(error, self._option, path, "write") from None

    def add_beside(self, name: str, data: bytes) -> None:
        """Make a new file of mode 0600 in the same directory.

        :raises Denied, Unreachable: one of that name is there, no right or no room; there is no such file then.
        """
        path = os.path.join(os.path.dirname(self.path), name)
        try:
            self._add_beside(name, data)
        except OSError as error:
            raise file_error(error, self._option, path, "write") from None

    def _add_beside(self, name: str, data: bytes) -> None:
        """It gets its name when it is whole: a part of it would be taken for it after a power cut."""
        if name in self.names_beside():
            raise FileExistsError(errno.EEXIST, "")
        at, temporary = self._directory, f"{self._prefix}{os.getpid()}-{os.urandom(6).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, NEW_MODE, dir_fd=at)
        try:
            try:
                os.fchmod(descriptor, NEW_MODE)
                _write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=at)
            raise
        _sync_directory(at)

    def replace(
        self,
        data: bytes,
        mode: Optional[int] = None,
        uid: Optional[int] = None,
        gid: Optional[int] = None,
    ) -> None:
        """Put these bytes in the file's place. Mode, owner and group stay where none is given; a new file has mode 0600.

        :raises Denied: when the owner could not be kept or set, or this user may not write there. Nothing was changed.
        :raises Absent, Unreachable, Refused: no directory, no room, a mount point. Nothing was changed.
        """
        try:
            self._replace(data, mode, (uid, gid))
        except OSError as error:
            raise file_error(error, self._option, self.path, "write") from None

    def _replace(self, data: bytes, mode: Optional[int], owners: _Owners) -> None:
        old = self._status()
        at, temporary = self._directory, f"{self._prefix}{os.getpid()}-{os.urandom(6).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, NEW_MODE, dir_fd=at)
        try:
            try:
                self._dress(descriptor, old, mode, owners)
                _write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, self._name, src_dir_fd=at, dst_dir_fd=at)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=at)
            raise
        _sync_directory(at)

    def _status(self) -> Optional[os.stat_result]:
        try:
            found = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(found.st_mode):
            # A link's own mode is 0777, and its owner whoever put it there: neither may become the file's.
            raise link_error(self.path, self._option)
        return found

    def _dress(
        self,
        descriptor: int,
        old: Optional[os.stat_result],
        mode: Optional[int],
        owners: _Owners,
    ) -> None:
        if old is not None:
            _copy_attributes(self._directory, self._name, descriptor)
            self._keep_label(descriptor)
        self._set_owners(descriptor, old, owners)
        kept = NEW_MODE if old is None else stat.S_IMODE(old.st_mode)
        # Always, because the process's umask took bits away at creation. After the owner, because changing that clears bits.
        os.fchmod(descriptor, kept if mode is None else mode)

    def _keep_label(self, descriptor: int) -> None:
        """With another label than it had, what reads the file might no longer be allowed to."""
        if not hasattr(os, "getxattr"):
            return
        old = f"/proc/self/fd/{self._directory}/{self._name}"
        label = _label(old)
        if label is not None and label != _label(descriptor):
            raise Denied(
                f"{self._option}: the SELinux label of {self.path} cannot be kept by user {user_name(os.geteuid())} when replacing "
                "it; nothing was changed. Run as root, or let the policy allow relabelling there"
            )

    def _set_owners(self, descriptor: int, old: Optional[os.stat_result], owners: _Owners) -> None:
        new = os.fstat(descriptor)
        kept = new if old is None else old
        uid = kept.st_uid if owners[0] is None else owners[0]
        gid = kept.st_gid if owners[1] is None else owners[1]
        if (new.st_uid, new.st_gid) == (uid, gid):
            return
        try:
            os.fchown(descriptor, uid, gid)
        except OSError:
            raise self._owner_error(uid, gid, owners == (None, None)) from None

    def _owner_error(self, uid: int, gid: int, kept: bool) -> Denied:
        owner, who = user_name(uid), user_name(os.geteuid())
        if not kept:
            return Denied(
                f"{self._option}: user {who} cannot give {self.path} to {owner} (group {gid}); nothing was changed. Run as root"
            )
        remedy = " or as ".join(dict.fromkeys([owner, "root"]))
        return Denied(
            f"{self._option}: {self.path} belongs to {owner} (group {gid}), and user {who} cannot keep that "
            f"when replacing it; nothing was changed. Run as {remedy}"
        )

    def remove_leftovers(self) -> None:
        """Remove what killed processes left beside the file: whoever made it held the lock that is held here now."""
        for name in self.names_beside():
            if name.startswith(self._prefix):
                with suppress(OSError):
                    os.unlink(name, dir_fd=self._directory)


def _successors(name: str) -> str:
    """What the names of files begin with that are to take this one's place."""
    return f".{name}.keyturn-"


def remove_leftovers(path: str, option: str) -> None:
    """Remove what a killed process left beside a file that needs no write now: it may hold a value that is in use.

    :raises KeyturnError: as :func:`hold`, when there is something to remove.
    """
    directory, name = os.path.split(path)
    with suppress(OSError):
        if any(found.startswith(_successors(name)) for found in os.listdir(directory or ".")):
            with hold(path, option):
                pass


def check_replaceable(path: str, option: str) -> None:
    """See, without a write, whether this process may put another file in the place of this one.

    :raises BadInput: it is a symbolic link, or to root the path has one of another user's that is not followed.
    :raises Absent, Denied: its directory is not there, or takes no file from this user.
    """
    refuse_link(path, option)
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise file_error(OSError(errno.ENOENT, ""), option, path, "write")
    os.close(open_directory(path, option))
    if not takes_files(directory):
        raise file_error(refusal_of(directory), option, path, "write")


def takes_files(directory: str) -> bool:
    """Whether it is one, and this process may make files in it."""
    own = os.access in os.supports_effective_ids
    may = os.access(directory, os.W_OK | os.X_OK, effective_ids=own)
    return may and os.path.isdir(directory)


def refusal_of(directory: str) -> OSError:
    """What the kernel would say to whoever makes a file in a directory that takes none from them."""
    if not os.path.isdir(directory):
        return OSError(errno.ENOTDIR, "")
    fixed = os.statvfs(directory).f_flag & os.ST_RDONLY
    return OSError(errno.EROFS if fixed else errno.EACCES, "")


@contextmanager
def hold(path: str, option: str, timeout: float = LOCK_TIMEOUT) -> Iterator[Held]:
    """Hold the lock of a file, to read it, decide and replace it with nobody in between.

    Never in check mode: the lock file is made if it is not there.

    :param option: how messages name the file's origin.
    :param timeout: seconds to wait for another holder.
    :raises Conflict: when another process holds it longer than that.
    :raises BadInput: when the path is a symbolic link; to root also, when it has one of another user's that is not followed.
    :raises Absent, Denied, Unreachable: when there is no directory, no right or no room for the lock.
    """
    refuse_link(path, option)
    with ExitStack() as opened:
        directory = open_directory(path, option)
        opened.callback(os.close, directory)
        descriptor = open_lock(path, option, directory)
        opened.callback(os.close, descriptor)
        take_lock(descriptor, path, option, timeout)
        held = Held(path, option, directory)
        held.remove_leftovers()
        yield held
