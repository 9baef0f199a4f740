# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running ``ansible-playbook`` as a person would, in surroundings that hold nothing of this machine's user."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from estate.errors import EstateError
from estate.processes import kill_tree

KEPT = ("PATH", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE")

_STEP = re.compile(r"^  \S+: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class PlaybookResult:
    """How a run ended.

    :param returncode: of ``ansible-playbook``; negative when a signal ended it.
    :param seconds: how long it took.
    """

    argv: Sequence[str]
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def output(self) -> str:
        """Everything that it printed."""
        return self.stdout + self.stderr

    @property
    def steps(self) -> list[str]:
        """What it said while it was at work: the steps that it began, and what else a person should see at once."""
        return _STEP.findall(self.stderr)

    def check(self, returncode: int = 0) -> PlaybookResult:
        """This result, when it ended as expected.

        :raises AssertionError: with the output, when it did not.
        """
        if self.returncode != returncode:
            told = f"{shlex.join(self.argv)}\nended with {self.returncode}, expected {returncode}:\n{self.output}"
            raise AssertionError(told)
        return self


class Process(Protocol):
    """What is needed of a process, as ``subprocess.Popen`` has it."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def returncode(self) -> int | Any:
        """How it ended, once :meth:`poll` or :meth:`wait` has seen that."""

    def poll(self) -> int | None:
        """How it ended; none while it lives."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        :raises subprocess.TimeoutExpired: when it takes longer.
        """


class _Lines:
    """The lines of a file that grows."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._part = b""

    def new(self, ended: bool) -> list[str]:
        """Those that are there since the last call; without its end, the last one is left to the next call."""
        *whole, self._part = (self._part + self._stream.read()).split(b"\n")
        if ended and self._part:
            whole.append(self._part)
        return [line.decode("utf-8", "replace") for line in whole]


class RunningPlaybook:
    """A run that is under way."""

    def __init__(self, argv: Sequence[str], process: Process, captured: Path) -> None:
        self._argv = argv
        self._captured = captured
        self._started = time.monotonic()
        self._process = process

    @property
    def pid(self) -> int:
        """The process id of ``ansible-playbook``."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process.poll() is None

    def stdout(self) -> str:
        """What it has printed so far."""
        return (self._captured / "stdout").read_text(encoding="utf-8", errors="replace")

    def follow(self, pause: float = 0.05) -> Iterator[str]:
        """What it prints, line by line as it comes, until its end; of the standard error stream only which steps it begins."""
        for name in ("stderr", "stdout"):
            # A run that is forked makes them by itself, a moment later.
            (self._captured / name).touch()
        with contextlib.ExitStack() as files:
            # A step is told before the result of its task.
            readers = [
                _Lines(files.enter_context((self._captured / name).open("rb")))
                for name in ("stderr", "stdout")
            ]
            while True:
                ended = not self.running
                for reader in readers:
                    told = reader is readers[0]
                    yield from (line for line in reader.new(ended) if not told or _STEP.match(line))
                if ended:
                    break
                time.sleep(pause)

    def wait(self, seconds: float = 300.0) -> PlaybookResult:
        """Wait for its end.

        :raises EstateError: when it takes longer; it is killed then.
        """
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            kill_tree(self.pid)
            self._process.wait()
            raise EstateError(
                f"{shlex.join(self._argv)} took more than {seconds:g} s:\n{self.stdout()}"
            ) from None
        stderr = (self._captured / "stderr").read_text(encoding="utf-8", errors="replace")
        return PlaybookResult(
            self._argv,
            self._process.returncode,
            self.stdout(),
            stderr,
            time.monotonic() - self._started,
        )

    def kill(self) -> PlaybookResult:
        """SIGKILL to it and to every process below it, as a power cut would end it."""
        if self.running:
            kill_tree(self.pid)
        return self.wait()


@dataclass
class Ansible:
    """How playbooks are run.

    :param work_dir: the home directory, temporary files, log and captured output of all runs; an existing directory.
    :param collections: a path that holds the collection.
    :param inventory: the default inventory.
    :param env: further environment variables.
    """

    work_dir: Path
    collections: Path
    inventory: Path | None = None
    env: dict[str, str] = field(default_factory=dict)
    _runs: int = 0

    @property
    def log_path(self) -> Path:
        """Ansible's own log of all runs."""
        return self.work_dir / "ansible.log"

    @property
    def temp_dir(self) -> Path:
        """Where Ansible, its modules and everything else they call put temporary files."""
        return self.work_dir / "tmp"

    def log(self) -> str:
        """Ansible's log so far."""
        return (
            self.log_path.read_text(encoding="utf-8", errors="replace")
            if self.log_path.exists()
            else ""
        )

    def start(
        self,
        playbook: str,
        *arguments: str,
        inventory: Path | None = None,
        extra_vars: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> RunningPlaybook:
        """Start a playbook.

        :param playbook: a path, or a collection playbook such as ``keyturn.runbooks.rotate_db``.
        :param arguments: further command line arguments.
        :param extra_vars: go onto the command line: never a secret.
        """
        argv = [sys.executable, "-m", "ansible", "playbook", playbook]
        chosen = inventory or self.inventory
        argv += ["-i", str(chosen)] if chosen else []
        argv += ["-e", json.dumps(extra_vars)] if extra_vars else []
        self._runs += 1
        captured = self.work_dir / "captured" / f"{self._runs:02d}"
        captured.mkdir(parents=True)
        argv += arguments
        process = self._launch(argv, self._environment(env or {}), captured)
        return RunningPlaybook(argv, process, captured)

    def _launch(self, argv: Sequence[str], env: Mapping[str, str], captured: Path) -> Process:
        """Start a process whose output goes to ``stdout`` and ``stderr`` in that directory."""
        with (captured / "stdout").open("wb") as out, (captured / "stderr").open("wb") as err:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=env,
                cwd=self.work_dir,
                start_new_session=True,
            )

    def run(
        self,
        playbook: str,
        *arguments: str,
        inventory: Path | None = None,
        extra_vars: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        seconds: float = 300.0,
    ) -> PlaybookResult:
        """Run a playbook to its end; see :meth:`start`."""
        return self.start(
            playbook, *arguments, inventory=inventory, extra_vars=extra_vars, env=env
        ).wait(seconds)

    def leftovers(self) -> list[Path]:
        """Files that the runs left where temporary files go."""
        return sorted(path for path in self.temp_dir.rglob("*") if path.is_file())

    def _environment(self, further: Mapping[str, str]) -> dict[str, str]:
        home = self.work_dir / "home"
        config = self.work_dir / "ansible.cfg"
        for path in (home, self.temp_dir):
            path.mkdir(mode=0o700, exist_ok=True)
        config.touch()
        others = [
            entry
            for entry in os.environ.get("ANSIBLE_COLLECTIONS_PATH", "").split(os.pathsep)
            if entry
        ]
        return {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            "HOME": str(home),
            "TMPDIR": str(self.temp_dir),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(config),
            "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(
                dict.fromkeys([str(self.collections), *others])
            ),
            "ANSIBLE_LOCAL_TEMP": str(self.temp_dir / "local"),
            "ANSIBLE_REMOTE_TEMP": str(self.temp_dir / "remote"),
            "ANSIBLE_LOG_PATH": str(self.log_path),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_NOCOLOR": "1",
            **self.env,
            **further,
        }
