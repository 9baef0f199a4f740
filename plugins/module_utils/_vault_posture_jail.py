# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting a program that reaches nothing of this machine but one directory: for a Vault server that was made from a backup.

A restored Vault believes to be the real one. Once unsealed it revokes the leases that it thinks have ended, rotates static
passwords that it thinks are due, and appends to the audit log. At the real databases, with the real administrators' logins,
that would cut off whoever uses them. So it gets namespaces of its own: a network that holds its own loopback interface and
nothing else, and a file system that holds the program, the system's libraries (read-only) and the one directory. Also sockets
of services on this machine are out of its reach. It dies with the process that started it.

Source of facts: unshare(2), user_namespaces(7), mount_setattr(2), prctl(2), netdevice(7). Linux 5.12 or newer.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
from dataclasses import dataclass
from typing import Any, Callable, List, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Unreachable

PROGRAM, WORK = "/bin/program", "/work"

_NAMESPACES = 0x10000000 | 0x00020000 | 0x40000000 | 0x08000000  # user, mount, network, IPC
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000
_NO_SUID, _NO_DEVICES = 0x2, 0x4
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _READ_ONLY = 442, -100, 0x8000, 0x1
_PARENT_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")


@dataclass(frozen=True)
class Jail:
    """Where the program is to live.

    :param place: a private directory of this process; its part ``work`` is all that the program and this process share.
    :param program: the program's file.
    """

    place: str
    program: str

    @property
    def work(self) -> str:
        """The shared directory, as it is called outside."""
        return os.path.join(self.place, "work")

    @property
    def _root(self) -> str:
        return os.path.join(self.place, "root")

    def start(self, arguments: List[str], log: int) -> subprocess.Popen[bytes]:
        """Start the program.

        :param log: a descriptor for what it says.
        :raises Unreachable: where this system does not let this user do so; nothing was started then.
        """
        for path in (self.work, self._root):
            os.makedirs(path, mode=0o700, exist_ok=True)
        ids = os.geteuid(), os.getegid()
        heard, told = os.pipe()
        try:
            return subprocess.Popen(
                [PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"HOME": WORK, "TMPDIR": WORK, "LC_ALL": "C.UTF-8"},
                preexec_fn=lambda: self._enter(ids, told),  # noqa: PLW1509 # a task's process has no threads beside the one that is here
                start_new_session=True,
            )
        except (OSError, subprocess.SubprocessError):
            os.close(told)
            told = -1
            step = os.read(heard, 200).decode("utf-8", "replace") or "start the program"
            raise Unreachable(
                f"this system does not let this user shut a program in ({step}); a server made from a backup is not started outside "
                "of a network and a file system of its own"
            ) from None
        finally:
            os.close(heard)
            if told >= 0:
                os.close(told)

    def _enter(self, ids: Any, told: int) -> None:
        """In the new process, before the program takes its place."""
        steps: Sequence[Tuple[str, Callable[[], None]]] = (
            ("make its namespaces", lambda: _unshare(ids)),
            ("bring up its network", _loopback),
            ("make its file system", self._furnish),
            ("go there", self._go),
            ("tie it to this process", _tie),
        )
        left = iter(steps)
        doing = next(left)
        try:
            doing[1]()
            for doing in left:
                doing[1]()
        except OSError as error:
            os.write(told, f"cannot {doing[0]}: {os.strerror(error.errno or 0)}".encode())
            raise

    def _furnish(self) -> None:
        _mount("none", "/", "", _RECURSIVE | _PRIVATE)
        root = self._root
        _mount("tmpfs", root, "tmpfs", _NO_SUID | _NO_DEVICES, "size=64m,mode=0700")
        for path in (os.path.dirname(PROGRAM), WORK, "/usr"):
            os.mkdir(root + path, 0o700)
        with open(root + PROGRAM, "wb"):
            pass
        _mount(self.program, root + PROGRAM, "", _BIND)
        _mount(self.work, root + WORK, "", _BIND)
        for path in _LIBRARIES:
            _library(path, root + path)

    def _go(self) -> None:
        os.chroot(self._root)
        os.chdir(WORK)


def _library(path: str, target: str) -> None:
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
    elif os.path.isdir(path):
        os.mkdir(target, 0o700)
        _mount(path, target, "", _BIND | _RECURSIVE)
        attributes = struct.pack("QQQQ", _READ_ONLY, 0, 0, 0)
        _check(
            _libc().syscall(
                _MOUNT_SETATTR,
                _AT_FDCWD,
                os.fsencode(target),
                _AT_RECURSIVE,
                attributes,
                len(attributes),
            )
        )


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    texts = (os.fsencode(text) for text in (source, target, kind))
    _check(_libc().mount(*texts, ctypes.c_ulong(flags), os.fsencode(options)))


def _unshare(ids: Any) -> None:
    """Namespaces in which this user, and nobody else, is there, as their root."""
    _check(_libc().unshare(_NAMESPACES))
    for name, text in (
        ("uid_map", f"0 {ids[0]} 1"),
        ("setgroups", "deny"),
        ("gid_map", f"0 {ids[1]} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _loopback() -> None:
    request = struct.pack("16sH14x", b"lo", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, _GET_FLAGS, request)
        flags = struct.unpack("16sH14x", answer)[1] | _UP
        fcntl.ioctl(asking, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags))


def _tie() -> None:
    """No right that the program's file would give, which would also cut the tie; and an end with this process."""
    _check(_libc().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _check(_libc().prctl(_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0))
