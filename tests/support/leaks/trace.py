# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process tree calls the kernel for, as strace(1) tells it: programs with arguments and environment, and every byte written."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from estate.errors import EstateError, Missing

# A longer argument, variable or write would be cut off; one that is ends the test.
LONGEST = 4 * 1024 * 1024
STARTS = ("execve", "execveat")
WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2")
COPIES = ("sendfile", "copy_file_range")
NAMES = (
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "mkdir",
    "mkdirat",
)
OPENS = ("open", "openat", "creat")
MODES = ("chmod", "fchmod", "fchmodat")
SENDS = ("sendto", "sendmsg", "sendmmsg")
# What a socket of this machine alone is called in the place of a path.
LOCAL = "UNIX"
_HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")
_TEXT = re.compile(r'"([\\x0-9a-f]*)"(\.\.\.)?')
_FILE = re.compile(r"\d+<((?:\\x[0-9a-f]{2})+)(?:<[a-z]+ \d+:\d+>)?>")
_LISTS = re.compile(r"\[([^\]]*)\], \[([^\]]*)\]")
_SOCKET = re.compile(rf"^\d+<({LOCAL}[A-Z-]*:\[[^\]]*\])")
_MODE = re.compile(r", 0([0-7]+)\)? += \d")


@dataclass(frozen=True)
class Call:
    """One system call.

    :param name: of the call.
    :param paths: the files behind its descriptors, in order; for a socket of this machine what strace calls it.
    :param texts: the strings that it was given, in order.
    :param variables: the environment that a program was given.
    :param mode: the mode that a file was created with, or given; none when it was not.
    """

    name: str
    paths: tuple[str, ...]
    texts: tuple[bytes, ...]
    variables: tuple[bytes, ...] = ()
    mode: int | None = None


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _texts(part: str) -> tuple[bytes, ...]:
    found = _TEXT.findall(part)
    if any(cut for _text, cut in found):
        raise EstateError(f"strace cut off what is longer than {LONGEST} bytes: {part[:40]}…")
    return tuple(_bytes(text) for text, _cut in found)


def parse(line: str) -> Call | None:
    """One line of strace's; none for one that is no call.

    :raises EstateError: when strace did not tell everything.
    """
    name, bracket, rest = line.partition("(")
    if not bracket:
        return None
    if name in STARTS:
        lists = _LISTS.search(rest)
        if lists is None:
            raise EstateError(f"no arguments in what strace tells of a program: {line[:200]}")
        return Call(name, (), _texts(lists.group(1)), _texts(lists.group(2)))
    # No path is in a text, and a text can be long.
    apart = '"'.join(rest.split('"')[::2])
    paths = tuple(_bytes(path).decode(errors="replace") for path in _FILE.findall(apart))
    socket = _SOCKET.match(rest)
    made = "O_CREAT" in rest or name == "creat" if name in OPENS else name in MODES
    mode = _MODE.search(rest) if made else None
    return Call(
        name,
        (socket.group(1), *paths) if socket else paths,
        _texts(rest),
        mode=int(mode.group(1), 8) if mode else None,
    )


def strace() -> str:
    """The program, tried.

    :raises Missing: when it is not installed, or may not look at processes here.
    """
    found = shutil.which("strace")
    if found is None:
        raise Missing("strace: install the Debian package strace")
    tried = subprocess.run(
        [found, "-f", "--seccomp-bpf", "-qq", "-e", "trace=execve", "-o", "/dev/null", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        raise Missing(f"strace: it may not trace here: {tried.stderr.strip()[:200]}")
    return found


@dataclass
class Tracer:
    """strace in front of a command.

    :param folder: where it writes, a file for each process; an existing directory.
    :param program: strace itself.
    """

    folder: Path
    program: str
    _calls: list[tuple[str, Call]] = field(default_factory=list)
    _read: dict[Path, int] = field(default_factory=dict)

    def prefix(self) -> list[str]:
        """What to put before the command to be traced, with all that it starts."""
        calls = (*STARTS, *WRITES, *COPIES, *NAMES, *OPENS, *MODES, *SENDS)
        options = [
            "-ff",
            "--seccomp-bpf",
            "-qq",
            "-yy",
            "-v",
            "-xx",
            "--signal=none",
            "-s",
            str(LONGEST),
        ]
        return [
            self.program,
            *options,
            "-e",
            f"trace={','.join(calls)}",
            "-o",
            str(self.folder / "p"),
        ]

    def mark(self) -> int:
        """How many calls there have been so far."""
        self._read_on()
        return len(self._calls)

    def since(self, mark: int) -> list[tuple[str, Call]]:
        """The calls after a mark, each with the process that made it."""
        self._read_on()
        return self._calls[mark:]

    def _read_on(self) -> None:
        """What was written since the last time; strace writes whole lines, and the one that is not ended yet is left."""
        for path in sorted(self.folder.iterdir()):
            if path.stat().st_size == self._read.get(path, 0):
                continue
            with path.open("rb") as stream:
                stream.seek(self._read.get(path, 0))
                told, end, _rest = stream.read().rpartition(b"\n")
            self._read[path] = self._read.get(path, 0) + len(told + end)
            calls = (parse(line) for line in told.decode("ascii").splitlines())
            self._calls += [(path.suffix[1:], call) for call in calls if call]
