# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with the faults of a disk, at a read and a write of a keyring and at a sink; see :mod:`test_faults`."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._json_lines import json_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import Wanted, bring
from backends import OPTION, WHERE, FileBackend
from store_page import OPERATIONS

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def _fill(folder: Path) -> None:
    with suppress(OSError), open(folder / "filler", "wb", buffering=0) as stream:
        while True:
            stream.write(bytes(512))


def _read_only(folder: Path) -> None:
    _mount("-o", "remount,ro", str(folder))


def _broken(folder: Path) -> None:
    """What is no document and no JSON stands there instead."""
    for path in (*folder.glob("keyrings/*.json"), *folder.glob("sinks/*.json")):
        path.write_text('{"step": ', encoding="utf-8")


CASES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "disk full": (_fill, ("done", "Unreachable", "Unreachable")),
    "disk read-only": (_read_only, ("done", "Denied", "Denied")),
    "content broken": (_broken, ("done", "Conflict", "Corrupt")),
}
"""How to make it so, and how each of the operations ends. What a document means is not a store's matter."""


def _attempt(backend: FileBackend, operation: str, new: str, version: str) -> KeyturnError | None:
    context = backend.context()
    try:
        if operation == "read a keyring":
            backend.store().read()
        elif operation == "write a keyring":
            backend.store().write(json_lines({"v": new}), version)
        else:
            wanted = Wanted(WHERE, {backend.field: Secret(new)})
            bring(backend.place("app", context), wanted, no_guard, context)
    except KeyturnError as error:
        return error
    return None


def _cell(folder: Path, name: str, operation: str) -> str:
    """One cell, in mounts of this process's own."""
    flags = _NEW_MOUNTS if os.geteuid() == 0 else _NEW_MOUNTS | _NEW_USER
    assert ctypes.CDLL(None, use_errno=True).unshare(flags) == 0, os.strerror(ctypes.get_errno())
    _mount("--make-rprivate", "/")
    _mount("-t", "tmpfs", "-o", "size=64k", "none", str(folder))
    old, new = secrets.token_urlsafe(18), secrets.token_urlsafe(6000)
    backend = FileBackend(folder)
    version = backend.store().write(json_lines({"v": old}), None)
    backend.put("app", old)
    CASES[name][0](folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    error = _attempt(backend, operation, new, version)
    if error is None:
        return "done"
    assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before
    assert backend.left_over("app") == []
    shown = "\n".join([error.message, *backend.warnings])
    assert old not in shown
    assert new not in shown
    assert (WHERE if operation == "publish" else OPTION) in error.message
    return type(error).__name__


def _apart(folder: Path, name: str, operation: str) -> str:
    """The same in a process of its own, whose mounts end with it; a failed check is an error here."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = {"how": _cell(folder, name, operation)}
        except BaseException as error:
            told = {"failed": f"{type(error).__name__}: {error}"}
        os.write(writing, json.dumps(told).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        found = json.loads(stream.read())
    os.waitpid(child, 0)
    assert "how" in found, found
    return str(found["how"])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", CASES)
def test_a_fault_of_the_disk(
    scratch: Path, name: str, operation: str, record_property: Callable[[str, object], None]
) -> None:
    how = _apart(scratch, name, operation)
    record_property("fault", json.dumps(["file", name, operation, how]))
    assert how == CASES[name][1][OPERATIONS.index(operation)]
