# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with the faults of a disk, or without the rights to them: keyrings, sinks of each format, a ledger; see :mod:`test_faults`.

After each: what was there is there to the byte and nothing beside it, and the same call converges once the disk is well again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from file_cells import (
    EncryptedKeyring,
    EnvSink,
    Kept,
    Keyring,
    KeyringRead,
    Ledger,
    Sink,
    WholeSink,
    fill,
    kept,
    own_disk,
    read_only,
    spoil,
    unharmed,
)
from nobody import as_nobody
from store_faults import TO_DO
from store_page import OPERATIONS

READ, WRITE, PUBLISH = OPERATIONS
FULL, FIXED = "Unreachable", "Denied"
NO_RIGHTS = "no rights"
FAULTS: dict[str, Callable[[Path], Callable[[], None]]] = {
    "disk full": fill,
    "disk full after a part": partial(fill, left=1),
    "disk read-only": read_only,
    NO_RIGHTS: unharmed,
    "content broken": spoil,
}
DISK = (FULL, FULL, FIXED, FIXED)
CELLS: list[tuple[type[Kept], str, str, tuple[str, ...]]] = [
    (KeyringRead, "", READ, ("done", "done", "done", FIXED, "done")),
    # What a document means is not a store's matter.
    (Keyring, "", WRITE, (*DISK, "Conflict")),
    (Sink, "", PUBLISH, (*DISK, "Corrupt")),
    (EncryptedKeyring, ", encrypted", WRITE, DISK),
    (EnvSink, ", env file", PUBLISH, DISK),
    (WholeSink, ", whole file", PUBLISH, DISK),
    (Ledger, ", ledger", WRITE, DISK),
]
"""What is kept, how the table names it beside the fault, the operation, and how it ends with each of the faults."""


def _cell(folder: Path, fault: str, kind: type[Kept]) -> str:
    """One cell, in mounts of this process's own."""
    own_disk(folder)
    thing = kind(folder)
    well = kept(folder)
    heal = FAULTS[fault](folder)
    before = kept(folder)
    with as_nobody() if fault == NO_RIGHTS else nullcontext():
        how, message = _end(thing)
    shown = "\n".join([message, *thing.warnings])
    assert all(value not in shown for value in thing.hidden)
    if how != "done":
        assert TO_DO.search(message.partition(thing.option)[2]), message
    assert thing.whole() == before
    heal()
    assert thing.whole() == well
    thing.call()
    assert thing.is_there()
    assert set(kept(folder)) == set(well), "a file was left over"
    return how


def _end(thing: Kept) -> tuple[str, str]:
    try:
        thing.call()
    except KeyturnError as error:
        return type(error).__name__, error.message
    return "done", ""


def _apart(folder: Path, fault: str, kind: type[Kept]) -> str:
    """The same in a process of its own, whose mounts end with it; a failed check is an error here."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = {"how": _cell(folder, fault, kind)}
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


@pytest.mark.parametrize(
    ("kind", "row", "operation", "fault", "wanted"),
    [
        pytest.param(kind, f"{fault}{beside}", operation, fault, how, id=f"{fault}-{kind.__name__}")
        for kind, beside, operation, ends in CELLS
        for fault, how in zip(FAULTS, ends, strict=False)
    ],
)
def test_a_fault_of_the_disk(
    scratch: Path,
    kind: type[Kept],
    row: str,
    operation: str,
    fault: str,
    wanted: str,
    record_property: Callable[[str, object], None],
) -> None:
    how = _apart(scratch, fault, kind)
    untried = () if row == fault else OPERATIONS
    for one in dict.fromkeys([*untried, operation]):
        told = how if one == operation else "-"
        record_property("fault", json.dumps(["file", row, one, told]))
    assert how == wanted
