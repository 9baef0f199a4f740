# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a program for its exit code: no shell, a time limit, and nothing that it says is kept."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._environ import program_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret


@dataclass(frozen=True)
class Ran:
    """How a program ended: its exit code and how much it said. What it said may hold a value and is not kept."""

    rc: int
    lines: int

    def __str__(self) -> str:
        return f"exit code {self.rc}, {self.lines} line{'' if self.lines == 1 else 's'} of output"


@dataclass(frozen=True)
class Program:
    """A program to run, without a shell.

    :param environ: the task's whole environment, of which it gets what :func:`_environ.program_environ` leaves.
    :param secrets: environment variables of its own; their values may be secret.
    """

    argv: Tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    stdin: Optional[Secret] = None
    chdir: Optional[str] = None


def read_argv(value: Any, option: str) -> Tuple[str, ...]:
    """The words of a command.

    :raises BadInput: when it is no list, or a word is a reference: its value would stand in the list of processes.
    """
    if not isinstance(value, (list, tuple)) or not value or not str(value[0]):
        raise BadInput(
            f"{option}: expected a list of words, such as [/usr/local/bin/check, --fast]; there is no shell"
        )
    words = tuple(str(word) for word in value)
    if any(word.startswith(("ref+", "secretref+")) for word in words):
        raise BadInput(
            f"{option}: a value in a command line is seen by every user of the machine; references are not resolved there"
        )
    if any("\0" in word for word in words):
        raise BadInput(f"{option}: a word holds a NUL character")
    return words


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        process.kill()
    process.communicate()


def run_program(program: Program, seconds: float) -> Ran:
    """Run it to its end.

    :raises Unreachable: as :func:`read_program`.
    """
    rc, said = read_program(program, seconds, subprocess.STDOUT)
    return Ran(rc, said.count(b"\n") + (0 if said.endswith(b"\n") or not said else 1))


def read_program(program: Program, seconds: float, stderr: int) -> Tuple[int, bytes]:
    """Run it to its end, for its exit code and what it printed, which may hold a value.

    :param stderr: what becomes of its standard error, as :mod:`subprocess` says it.
    :raises Unreachable: it could not be started, or did not end in time (then it and its children are killed, and ``uncertain`` in the
        details says that it may have done a part).
    """
    name = program.argv[0]
    own = {key: value.reveal() for key, value in program.secrets.items()}
    environ = {**program_environ(program.environ), **own}
    try:
        process = subprocess.Popen(
            program.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environ,
            cwd=program.chdir,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        code = f": {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno else ""
        raise Unreachable(f"{name} could not be started{code}") from None
    try:
        said = process.communicate(
            program.stdin.reveal().encode() if program.stdin is not None else b"", timeout=seconds
        )[0]
    except subprocess.TimeoutExpired:
        _kill(process)
        raise Unreachable(
            f"{name} did not end within {seconds:.0f} s and was killed", uncertain=True
        ) from None
    except BaseException:
        _kill(process)
        raise
    return process.returncode, said


def read_codes(value: Any, option: str) -> Tuple[int, ...]:
    """One exit code or a list of them.

    :raises BadInput: when one is no number from 0 to 255.
    """
    items: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
    if not items or not all(str(item).isdigit() and int(item) <= 255 for item in items):
        raise BadInput(f"{option}: expected an exit code from 0 to 255, or a list of them")
    return tuple(int(item) for item in items)
