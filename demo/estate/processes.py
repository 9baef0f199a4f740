# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting a program with a log, waiting for it by asking, and stopping it by its pid."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from estate.errors import EstateError
from estate.users import OsUser

LOG_TAIL = 20


def tail(path: Path, lines: int = LOG_TAIL) -> str:
    """The last lines of a log; a sentence when there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(empty log)"


def wait_until(ask: Callable[[], bool], seconds: float, what: str, pause: float = 0.02) -> float:
    """Ask until the answer is yes; returns how many seconds it took.

    The pause between two questions grows to a tenth of a second, so that a slow answer is not asked for in a busy loop.

    :raises EstateError: when the deadline passes; the text names what was waited for.
    """
    started = time.monotonic()
    while not ask():
        if time.monotonic() - started > seconds:
            raise EstateError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    return time.monotonic() - started


def _parents_signal(number: signal.Signals | None) -> list[str]:
    """A prefix that lets the kernel signal the program when this process dies, so that a killed demo leaves no server.

    The kernel watches the thread that started the program, so this is only for the main thread.
    """
    setpriv = shutil.which("setpriv")
    if (
        number is None
        or setpriv is None
        or threading.current_thread() is not threading.main_thread()
    ):
        return []
    return [setpriv, "--pdeathsig", number.name[3:]]


Self = TypeVar("Self", bound="Running")


class Running(ABC):
    """Something that is started on entry and closed on exit, also when starting it fails half way."""

    @abstractmethod
    def start(self: Self) -> Self:
        """Start it; returns itself."""

    @abstractmethod
    def close(self) -> None:
        """End it and remove its state; safe to call when it was never started."""

    def __enter__(self: Self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass
class Daemon:
    """One program in the background.

    :param name: what messages call it.
    :param argv: its command line; never holds a secret.
    :param log_path: where its output goes, appended; opened here, so that the file belongs to this process's user.
    :param user: the user to run as; none for this process's own.
    :param stop_signal: what ends it in good order.
    """

    name: str
    argv: Sequence[str]
    log_path: Path
    user: OsUser | None = None
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id.

        :raises EstateError: when it was never started.
        """
        if self._process is None:
            raise EstateError(f"{self.name} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, ready: Callable[[], bool], seconds: float = 20.0) -> float:
        """Start it and wait until it is ready; returns how many seconds that took.

        :param ready: asks the program itself; what it raises is taken to be a defect.
        :raises EstateError: when it ends early or is not ready in time, with the end of its log.
        """
        if self.running:
            raise EstateError(f"{self.name} runs already (process {self.pid})")
        options: dict[str, Any] = dict(self.user.popen_options()) if self.user else {}
        handle = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                [*_parents_signal(self.stop_signal), *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                cwd=self.cwd,
                env={**_base_environment(), **self.env},
                start_new_session=True,
                **options,
            )
        finally:
            os.close(handle)
        try:
            return wait_until(lambda: self._ended() or ready(), seconds, f"{self.name} to answer")
        except BaseException as error:
            self.kill()
            if isinstance(error, EstateError):
                raise EstateError(
                    f"{error}; end of {self.log_path}:\n{tail(self.log_path)}"
                ) from None
            raise

    def _ended(self) -> bool:
        if self.running or self._process is None:
            return False
        raise EstateError(f"{self.name} ended with status {self._process.returncode}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal.

        :raises EstateError: when it does not run.
        """
        if not self.running:
            raise EstateError(
                f"{self.name} does not run; end of {self.log_path}:\n{tail(self.log_path)}"
            )
        os.kill(self.pid, number)

    def stop(self, seconds: float = 10.0) -> int:
        """End it in good order, by force after the deadline; returns its exit status. Does nothing when it has ended."""
        if self._process is None:
            return 0
        if self.running:
            os.kill(self.pid, self.stop_signal)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    def kill(self) -> None:
        """SIGKILL, as a power cut would end it."""
        if self._process is None:
            return
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
        self._process.wait()


def _base_environment() -> dict[str, str]:
    """Little of this process's environment: what a test sets for itself must not change a server."""
    kept = {
        name: os.environ[name] for name in ("PATH", "TZ", "LD_LIBRARY_PATH") if name in os.environ
    }
    return {**kept, "LC_ALL": "C.UTF-8"}


def _children() -> dict[int, list[int]]:
    """Pid to the pids of its children, from ``ps``."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    found: dict[int, list[int]] = {}
    for line in listing.splitlines():
        pid, parent = line.split()
        found.setdefault(int(parent), []).append(int(pid))
    return found


def descendants(pid: int) -> list[int]:
    """The processes below this one, at this moment."""
    children = _children()
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found.extend(below)
        queue.extend(below)
    return found


def kill_tree(pid: int) -> list[int]:
    """SIGKILL a process and all below it; returns the pids.

    Ansible's workers make sessions of their own, so that a process group does not hold them. All are stopped before the
    first is killed: a process whose parent died is no longer found below it.
    """
    stopped: list[int] = []
    while True:
        new = [one for one in (pid, *descendants(pid)) if one not in stopped]
        if not new:
            break
        for one in new:
            _send(one, signal.SIGSTOP)
        stopped.extend(new)
    for one in stopped:
        _send(one, signal.SIGKILL)
    return stopped


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
