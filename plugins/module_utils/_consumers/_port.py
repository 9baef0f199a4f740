# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an adapter to one type of consumer offers, and the machine that it works on."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import IO, Any, Callable, Mapping, Protocol, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._environ import program_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    KeyturnError,
    ProbeFailed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

POLL = 0.2
TIMEOUT, SETTLE = "60s", "1s"
_KEPT = 1 << 20


@dataclass(frozen=True)
class Completed:
    """How a program ended, and what it said. What it said may hold a value: see who passes it on."""

    code: int
    out: str = ""
    err: str = ""

    @property
    def first_line(self) -> str:
        """The first line of its errors, shortened: only for programs that quote no value there."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        return lines[0][:300].rstrip(". ") if lines else f"exit code {self.code}"


class Runner(Protocol):
    """Runs a program without a shell and waits for its end."""

    def __call__(
        self,
        argv: Sequence[str],
        seconds: float,
        chdir: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run it.

        :param environ: its whole environment; what a program may inherit of this process's when
            none is given.
        :raises Absent: there is no such program or directory.
        :raises Unreachable: it did not end in time, or could not be started.
        """


def _in_memory() -> IO[bytes]:
    """A file without a name: what a program says may be secret, and is on no disk where the system can do that (memfd_create(2))."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("keyturn"), "w+b")
    return tempfile.TemporaryFile()


def run_command(
    argv: Sequence[str],
    seconds: float,
    chdir: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Completed:
    """The real :class:`Runner`.

    What a program says goes to files without a name and not to pipes: a service that it leaves
    behind would keep a pipe open, and this would wait for that service to end.
    """
    with _in_memory() as out, _in_memory() as err:
        process = _started(argv, out, err, environ, chdir)
        _wait(process, argv[0], seconds)
        return Completed(process.returncode, _said(out), _said(err))


def _started(
    argv: Sequence[str],
    out: Any,
    err: IO[bytes],
    environ: Mapping[str, str] | None,
    chdir: str | None = None,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=chdir,
            env=program_environ(os.environ) if environ is None else dict(environ),
            start_new_session=True,
        )
    except (FileNotFoundError, NotADirectoryError):
        where = f" in {chdir}" if chdir else ""
        raise Absent(f"{argv[0]} could not be started{where}: not found") from None
    except (OSError, ValueError) as error:
        code = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(code).lower() if code else "its words cannot be passed on"
        raise Unreachable(f"{argv[0]} could not be started: {reason}") from None


def _wait(process: subprocess.Popen[bytes], name: str, seconds: float) -> None:
    try:
        process.wait(seconds)
    except BaseException as error:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError:
            process.kill()
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise Unreachable(f"{name} did not end within {seconds:g} s and was killed") from None
        raise


class Reader(Protocol):
    """Runs a program without a shell, and hands over what it prints line by line: all of it, however much it is."""

    def __call__(
        self,
        argv: Sequence[str],
        seconds: float,
        take: Callable[[str], None],
        environ: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run it; ``out`` of what is returned is empty.

        :raises Absent: there is no such program.
        :raises Unreachable: it did not end in time, or could not be started.
        """


def read_command(
    argv: Sequence[str],
    seconds: float,
    take: Callable[[str], None],
    environ: Mapping[str, str] | None = None,
) -> Completed:
    """The real :class:`Reader`; for programs that leave nothing behind that would keep the pipe open."""
    late = threading.Event()
    with _in_memory() as err:
        process = _started(argv, subprocess.PIPE, err, environ)

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            for raw in process.stdout or ():
                take(raw.decode("utf-8", "replace"))
            process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        if late.is_set():
            raise Unreachable(f"{argv[0]} did not end within {seconds:g} s and was killed")
        return Completed(process.returncode, "", _said(err))


def _said(file: Any) -> str:
    file.seek(0)
    text: bytes = file.read(_KEPT)
    return text.decode("utf-8", "replace")


@dataclass(frozen=True)
class Machine:
    """The machine that consumers run on; tests pass their own.

    :param clock: wall clock, in seconds since the epoch.
    :param monotonic: the clock for deadlines.
    """

    run: Runner = run_command
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    read: Reader = read_command


@dataclass(frozen=True)
class Task:
    """One consumer with what it is to pick up.

    :param files: paths of the file sinks that it reads, when it reads nothing else.
    :param title: how messages begin; the consumer's name unless given.
    :param idle_hint: what else can be done about one that does not run, as the end of a sentence.
    :param hidden: values that are never shown, whatever the service writes.
    :ivar told: what the result says of it beside the action.
    """

    name: str
    definition: Mapping[str, Any]
    context: Context
    machine: Machine = field(default_factory=Machine)
    files: tuple[str, ...] = ()
    title: str = ""
    idle_hint: str = ""
    hidden: tuple[Secret, ...] = ()
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """How messages begin."""
        return self.title or f"consumer {self.name}"

    def seconds(self, key: str, default: str) -> float:
        """A duration of the definition."""
        return parse_duration(self.definition.get(key, default), key).total_seconds()

    @property
    def environ(self) -> dict[str, str]:
        """What a program inherits."""
        return program_environ(self.context.environ)

    @property
    def timeout(self) -> float:
        """Seconds until it must be seen using the value."""
        return self.seconds("timeout", TIMEOUT)


class Adapter(Protocol):
    """One consumer of one type on this machine.

    :ivar service: what is locked and coalesced: two consumers with the same one share a service.
    """

    service: str

    def check(self) -> bool:
        """See whether it can pick up a value now, without touching it.

        :return: false when nothing is to be done, because it is not running and reads the value
            when it starts.
        :raises KeyturnError: when it cannot.
        """

    def fresh(self, since: float, done: Mapping[str, float]) -> bool:
        """Whether it has read its files since a point in time, and runs.

        :param since: seconds since the epoch.
        :param done: action → when this collection last began it here.
        """

    def pick_up(self) -> str:
        """Make it read its value, and return once it was seen to have done so.

        :return: the action taken.
        :raises ProbeFailed: it was told, but did not come up with it.
        """


def until(
    machine: Machine, seconds: float, look: Callable[[], str], failed: Callable[[str], KeyturnError]
) -> None:
    """Wait until ``look`` finds nothing wrong.

    :param look: says what is still missing; empty when all is well. It raises what is final.
    :param failed: makes the error from the last finding.
    """
    end = machine.monotonic() + seconds
    while True:
        wrong = look()
        if not wrong:
            return
        if machine.monotonic() >= end:
            raise failed(wrong)
        machine.sleep(POLL)


def prove_seen(task: Task) -> None:
    """Run the consumer's own proof, where it has one, until it succeeds.

    :raises ProbeFailed: it did not within the consumer's timeout.
    """
    argv = task.definition.get("seen")
    if not argv:
        return

    def look() -> str:
        try:
            ended = task.machine.run(argv, task.timeout, environ=task.environ)
        except Unreachable as error:
            return error.message
        return f"it ends with exit code {ended.code}" if ended.code else ""

    until(
        task.machine,
        task.timeout,
        look,
        lambda wrong: ProbeFailed(
            f"consumer {task.name}: its proof '{argv[0]}' did not succeed within "
            f"{task.timeout:g} s: {wrong}. Run it by hand on this host"
        ),
    )
