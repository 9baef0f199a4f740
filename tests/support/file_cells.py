# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept in files, on a disk of its own that can be filled and made read-only."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._json_lines import json_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import Wanted, bring
from ansible_collections.keyturn.runbooks.plugins.module_utils._verify_ledger import run as verify
from backends import OPTION, WHERE, EnvFileBackend, FileBackend, WholeFileBackend
from nobody import NOBODY

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_PAGE = 4096


def own_disk(folder: Path) -> None:
    """Mount 64 KiB there, for this process alone; the mount ends with it."""
    flags = _NEW_MOUNTS if os.geteuid() == 0 else _NEW_MOUNTS | _NEW_USER
    assert ctypes.CDLL(None, use_errno=True).unshare(flags) == 0, os.strerror(ctypes.get_errno())
    _mount("--make-rprivate", "/")
    _mount("-t", "tmpfs", "-o", "size=64k", "none", str(folder))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def fill(folder: Path, left: int = 0) -> Callable[[], None]:
    """Let the disk have room for so many pages more; gives what takes it back."""
    filler = folder / "filler"
    with suppress(OSError), open(filler, "wb", buffering=0) as stream:
        while True:
            stream.write(bytes(512))
    os.truncate(filler, filler.stat().st_size - left * _PAGE)
    return filler.unlink


def read_only(folder: Path) -> Callable[[], None]:
    """Let nothing be written to the disk; gives what takes it back."""
    _mount("-o", "remount,ro", str(folder))
    return lambda: _mount("-o", "remount,rw", str(folder))


def unharmed(_folder: Path) -> Callable[[], None]:
    """Let the disk be as it is: who asks is the fault."""
    return lambda: None


def spoil(folder: Path) -> Callable[[], None]:
    """Let something stand there that is no document and no JSON; gives what takes it back."""
    before = kept(folder)
    for path in before:
        path.write_text('{"step": ', encoding="utf-8")

    def back() -> None:
        for path, content in before.items():
            path.write_bytes(content)

    return back


def kept(folder: Path) -> dict[Path, bytes]:
    """All files but those that only lock, with what is in them: one that was left over would be among them."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    beside = (".lock", "filler")
    return {path: path.read_bytes() for path in paths if not path.name.endswith(beside)}


class Kept(ABC):
    """One thing that a file keeps, on a disk.

    :param folder: where the disk is.
    :ivar option: what messages name.
    :ivar warnings: what was warned of.
    :ivar hidden: what must never show.
    """

    option = OPTION

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.old, self.new = secrets.token_urlsafe(18), secrets.token_urlsafe(6000)
        self.hidden = [self.old, self.new]
        self.backend = FileBackend(folder)
        self.warnings = self.backend.warnings
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Put the old value there."""

    @abstractmethod
    def call(self) -> None:
        """What is tried: bring the new value there."""

    def whole(self) -> dict[Path, bytes]:
        """All files, without what counts for nothing."""
        return kept(self.folder)

    @abstractmethod
    def is_there(self) -> bool:
        """Whether the new value is there, and the call would do nothing more."""


class Keyring(Kept):
    """A keyring that is written."""

    def prepare(self) -> None:
        self._version = self.backend.store().write(json_lines({"v": self.old}), None)

    def call(self) -> None:
        self.backend.store().write(json_lines({"v": self.new}), self._version)

    def is_there(self) -> bool:
        found = self.backend.store().read()
        return found is not None and found[0] == json_lines({"v": self.new})


class KeyringRead(Keyring):
    """A keyring that is read."""

    def call(self) -> None:
        self.backend.store().read()

    def is_there(self) -> bool:
        found = self.backend.store().read()
        return found == (json_lines({"v": self.old}), self._version)


class EncryptedKeyring(Keyring):
    """A keyring that is written, encrypted by ansible-vault."""

    def prepare(self) -> None:
        self.backend = FileBackend(self.folder, encrypted=True)
        self.warnings = self.backend.warnings
        if os.geteuid() == 0:
            # Whoever has no rights to the keyring has them to its password.
            os.chown(self.folder / "vault-password", NOBODY, NOBODY)
        super().prepare()


class Sink(Kept):
    """A sink of JSON."""

    option = WHERE

    def prepare(self) -> None:
        self.backend.put("app", self.old)

    def call(self) -> None:
        self._bring()

    def _bring(self) -> bool:
        context = self.backend.context()
        wanted = Wanted(WHERE, {self.backend.field: Secret(self.new)})
        return bring(self.backend.place("app", context), wanted, no_guard, context).changed

    def is_there(self) -> bool:
        return self.backend.held("app") == self.new and not self._bring()


class EnvSink(Sink):
    """A sink of an env file."""

    def prepare(self) -> None:
        self.backend = EnvFileBackend(self.folder)
        self.warnings = self.backend.warnings
        super().prepare()


class WholeSink(Sink):
    """A sink that is all of a file."""

    def prepare(self) -> None:
        self.backend = WholeFileBackend(self.folder)
        self.warnings = self.backend.warnings
        super().prepare()


class Ledger(Kept):
    """The audit log of a keyring that is on another disk."""

    option = "keyturn_ledger"

    def prepare(self) -> None:
        beside = self.folder.with_name(f"{self.folder.name}-beside")
        beside.mkdir(mode=0o700)
        self._keyring = beside / "keyring.json"
        self._ledger = self.folder / "ledger.jsonl"
        self._step()
        if os.geteuid() == 0:
            # Whoever has no rights to the ledger has all to the keyring.
            for path in (beside, *beside.iterdir()):
                os.chown(path, NOBODY, NOBODY)

    def _params(self) -> dict[str, object]:
        return {
            "keyring": f"ref+file://{self._keyring}",
            "credential": "db_app",
            "ledger": f"ref+file://{self._ledger}",
        }

    def _context(self) -> Context:
        return Context(environ={}, warn=self.warnings.append)

    def _step(self, text: str = "") -> None:
        run = {"run_id": "run1", "host": "here", "pid": 1, "who": "ann", "why": "test"}
        access = open_keyring({**self._params(), "run": run, "take_over": True}, self._context())
        access.step(Request("note" if access.document else "claim", Run("")), text)

    def call(self) -> None:
        # Of a size that a page does not take.
        self._step("x" * 2 * _PAGE)

    def whole(self) -> dict[Path, bytes]:
        """A part of a line at the end is what a broken append left: nobody reads it, and the next append cuts it off."""
        return {path: held[: held.rfind(b"\n") + 1] for path, held in super().whole().items()}

    def is_there(self) -> bool:
        verify(self._params(), self._context())
        numbers = [json.loads(line)["number"] for line in self._ledger.read_text().splitlines()]
        return numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 2
