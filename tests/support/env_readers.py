# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real readers of env files: systemd's own function, docker compose's own parser, shells, and python-dotenv."""

from __future__ import annotations

import ctypes
import glob
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import dotenv
from estate.errors import Missing

Reader = Callable[[Path], Mapping[str, str]]
FINDER = Path(__file__).parents[2] / "scripts" / "dotenv-binary"
_SYSTEMD = "/usr/lib/*/systemd/libsystemd-shared-*.so"


def _split(assignments: list[bytes]) -> dict[str, str]:
    parts = [item.decode().partition("=") for item in assignments]
    return {key: value for key, _equals, value in parts}


def _shell(program: str) -> Reader:
    if not shutil.which(program):
        raise Missing(f"{program}, a reader of env files: install the Debian package of that name")

    def read(path: Path) -> Mapping[str, str]:
        script = 'set -a; . "$0"; exec env -0'
        argv = [program, "-c", script, str(path)]
        done = subprocess.run(
            argv, env={"PATH": os.environ["PATH"]}, capture_output=True, check=True
        )
        return _split([item for item in done.stdout.split(b"\0") if item])

    return read


def _systemd() -> Reader:
    found = glob.glob(_SYSTEMD)
    if not found:
        raise Missing(
            "libsystemd-shared, which reads env files: install the Debian package systemd"
        )
    load = ctypes.CDLL(found[0]).load_env_file
    pointers = ctypes.POINTER(ctypes.c_char_p)
    load.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(pointers)]

    def read(path: Path) -> Mapping[str, str]:
        lines = pointers()
        assert load(None, str(path).encode(), ctypes.byref(lines)) >= 0
        assignments: list[bytes] = []
        while lines and lines[len(assignments)]:
            assignments.append(bytes(lines[len(assignments)] or b""))
        return _split(assignments)

    return read


def compose_reader() -> Path:
    """The program that reads as docker compose does; built once for each state of its source.

    :raises Missing: when there is none, and no Go to build it.
    """
    done = subprocess.run([FINDER], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"docker compose's reader of env files: {done.stderr.strip()[-300:]}")
    return Path(done.stdout.strip())


def _compose() -> Reader:
    program = compose_reader()

    def read(path: Path) -> Mapping[str, str]:
        done = subprocess.run([program, path], env={}, capture_output=True, check=True)
        found: dict[str, str] = json.loads(done.stdout)
        return found

    return read


def podman_compose(path: Path) -> Mapping[str, str]:
    """What podman-compose reads: it leaves that to python-dotenv."""
    return {key: value or "" for key, value in dotenv.dotenv_values(path).items()}


READERS: Mapping[str, Callable[[], Reader]] = {
    "systemd": _systemd,
    "compose": _compose,
    "dash": lambda: _shell("dash"),
    "bash": lambda: _shell("bash"),
}
"""By name, what opens a reader, or raises Missing."""

DIALECT_OF = {"systemd": "systemd", "compose": "compose", "dash": "posix", "bash": "posix"}
"""The dialect that each reader is written for."""
