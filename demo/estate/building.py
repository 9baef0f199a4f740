# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server programs that no package has: found, or built from their Go modules, which takes minutes the first time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from estate.collection import ROOT
from estate.errors import EstateError, Missing

GO = "Go 1.21 or newer (https://go.dev/dl, or the package golang-go of Debian 13)"
TICK = 15.0
LAST_LINES = 12


@dataclass(frozen=True)
class Program:
    """A server program.

    :param name: what messages call it.
    :param variable: names the program, instead of one on PATH or a build.
    :param commands: what it is called on PATH.
    :param script: in the folder ``scripts``; prints the program's path, and builds it unless told ``--cached``.
    :param sources: the Go module that it is built from, as a folder of this collection.
    """

    name: str
    variable: str
    commands: tuple[str, ...]
    script: str
    sources: str


VAULT = Program("Vault", "KEYTURN_VAULT_BINARY", ("vault", "bao"), "vault-binary", "tests/servers")
KUBERNETES = Program(
    "Kubernetes",
    "KEYTURN_KUBE_APISERVER_BINARY",
    ("kube-apiserver",),
    "kubernetes-binary",
    "tests/servers/kubernetes",
)


def find(program: Program, root: Path = ROOT) -> Path | None:
    """Where it is; none when it has to be built first.

    :raises Missing: when it is not there and cannot be built: the message says what to install.
    """
    given = os.environ.get(program.variable)
    if given:
        if not os.access(given, os.X_OK):
            raise Missing(f"{program.variable}: {given} is no executable file")
        return Path(given)
    on_path = [found for found in map(shutil.which, program.commands) if found]
    if on_path:
        return Path(on_path[0])
    _can_build(program, root)
    cached = [str(root / "scripts" / program.script), "--cached"]
    found = subprocess.run(cached, capture_output=True, text=True, check=False)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def _can_build(program: Program, root: Path) -> None:
    """:raises Missing: when not."""
    instead = (
        f"put {' or '.join(program.commands)} on PATH, or name such a program in {program.variable}"
    )
    needed = (root / program.sources / "go.mod", root / "scripts" / program.script)
    if not all(path.exists() for path in needed):
        raise Missing(
            f"{program.name}: this copy has no {program.sources} to build it from: take a checkout of the project, or {instead}"
        )
    if not shutil.which("go"):
        raise Missing(
            f"{program.name} is built from its Go module, and there is no go on PATH: install {GO}, or {instead}"
        )


def build(
    program: Program, say: Callable[[str], None], root: Path = ROOT, tick: float = TICK
) -> Path:
    """Build it, and tell meanwhile what is waited for and since when.

    :param say: shows a line.
    :param tick: seconds between two lines while nothing else is to be told.
    :raises EstateError: when that fails; with the end of what the build said.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(
            [str(root / "scripts" / program.script)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=told,
            start_new_session=True,
        )
        try:
            while not _ended(process, tick):
                say(f"still building {program.name}: {time.monotonic() - started:.0f} s so far")
        except BaseException:
            _stop(process)
            raise
        if process.returncode:
            raise EstateError(
                f"{program.name} could not be built; it takes {GO}, the network, and some GB of disk. "
                f"What the build said last:\n{_end(told)}"
            )
        say(f"{program.name} was built in {time.monotonic() - started:.0f} s")
        out.seek(0)
        return Path(out.read().strip())


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it and all that it started, and let it remove what it has half built."""
    os.killpg(process.pid, signal.SIGTERM)
    if not _ended(process, 20):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _end(stream: IO[str]) -> str:
    stream.seek(0)
    return "\n".join(stream.read().splitlines()[-LAST_LINES:])
