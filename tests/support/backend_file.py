# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files, as the tests over all stores and sinks see them."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

from backend_port import NO_TEXT, Backend


class FileBackend(Backend):
    """A file, as ``publish`` and file keyrings write it. The sink is a JSON file.

    :ivar form: the ``format`` of the sink's reference.
    """

    kind = "file"
    form = "json"
    field = "VALUE"
    server_compares = False
    keeps_bytes = True

    def __init__(self, folder: Path, encrypted: bool = False) -> None:
        super().__init__()
        self.folder = folder
        self._query = ""
        if encrypted:
            self.kind = "file, encrypted"
            password = folder / "vault-password"
            password.write_text(secrets.token_urlsafe(16), encoding="utf-8")
            password.chmod(0o600)
            self._query = f"?encrypt=vault&vault_password_file={password}"

    def _keyring(self, name: str = "db_app") -> Path:
        path = self.folder / "keyrings" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def keyring(self, name: str) -> str:
        return f"ref+file://{quote(str(self._keyring(name)))}{self._query}"

    def keyring_version(self, name: str = "db_app") -> str:
        return _state(self._keyring(name))

    def note_keyring(self) -> str:
        """``cp -p KEYRING COPY``."""
        copy = self.folder / f"copy-{secrets.token_hex(4)}"
        shutil.copy2(self._keyring(), copy)
        return str(copy)

    def go_back(self, noted: str) -> None:
        """``cp -p COPY KEYRING.back && mv KEYRING.back KEYRING``."""
        path = self._keyring()
        back = path.with_name(f"{path.name}.back")
        shutil.copy2(noted, back)
        back.replace(path)

    def spoil_keyring(self) -> bytes:
        path = self._keyring()
        path.write_bytes(NO_TEXT)
        path.chmod(0o600)
        return NO_TEXT

    def spoiled(self) -> bytes:
        return self._keyring().read_bytes()

    def keyring_left_over(self) -> list[str]:
        return _beside(self._keyring())

    def _path(self, name: str) -> Path:
        path = self.folder / "sinks" / f"{name}.{self.form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def sink(self, name: str) -> str:
        fragment = f"#/{self.field}" if self.field else ""
        return f"ref+file://{quote(str(self._path(name)))}?format={self.form}{fragment}"

    def _body(self, name: str) -> dict[str, Any]:
        """What is in it; bytes that are no text as Python's ``surrogateescape`` has them."""
        return self._parsed(self._path(name).read_bytes().decode("utf-8", "surrogateescape"))

    def _parsed(self, text: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(text)
        return body

    def _written(self, value: str) -> str:
        """What somebody else writes."""
        return json.dumps({"OTHER": "kept", self.field: value})

    def held(self, name: str) -> str | None:
        try:
            found = self._body(name).get(self.field)
        except FileNotFoundError:
            return None
        return None if found is None else str(found)

    def others(self, name: str) -> dict[str, str]:
        body = self._body(name)
        mode = f"{self._path(name).stat().st_mode:o}"
        return {**{key: body[key] for key in body if key != self.field}, "mode": mode}

    def left_over(self, name: str) -> list[str]:
        return _beside(self._path(name))

    def put(self, name: str, value: str) -> None:
        path = self._path(name)
        part = path.with_suffix(".part")
        part.write_text(self._written(value), encoding="utf-8")
        part.chmod(0o600)
        part.replace(path)

    def writes(self, name: str) -> int | str:
        return _state(self._path(name))

    def spoil(self, name: str) -> bytes:
        """A file may hold any bytes; those of 32 and more stand in JSON as they are, but for its own two marks."""
        held = bytes(byte for byte in NO_TEXT if byte >= 32 and byte not in b'"\\')
        pairs = (b'"%s": "%s"' % (key, held) for key in (b"BINARY", self.field.encode()))
        self._path(name).write_bytes(b"{%s}" % b", ".join(pairs))
        self._path(name).chmod(0o600)
        return held


class EnvFileBackend(FileBackend):
    """An env file, in lines that every reader of such files takes alike; other values are refused.

    Linux gives a process no variable of more than 128 KiB.
    """

    kind = "env file"
    form = "env"
    largest_value = 100_000
    refused_values = (
        "\"quotes\" 'and' \\ back $ { } % ` # ; & | < > ( ) ~ * ?",
        "line\nbreak\ttab",
        "ends with a line break\n",
        "-----BEGIN THING-----\n" + "A" * 64 + "\n-----END THING-----\n",
    )
    refused_fields = ("with-dashes", "with.dots", "with blank", "a/b", "ünïcode")

    def _parsed(self, text: str) -> dict[str, Any]:
        lines = re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)
        return {name: shlex.split(rest)[0] if rest[:1] in "'\"" else rest for name, rest in lines}

    def _written(self, value: str) -> str:
        return f"# kept\nOTHER=kept\n{self.field}={value}\n"

    def others(self, name: str) -> dict[str, str]:
        """The comments, too."""
        comments = re.findall(rb"^#.*$", self._path(name).read_bytes(), re.MULTILINE)
        return {**super().others(name), "comments": repr(comments)}

    def spoil(self, name: str) -> bytes:
        """Of other bytes, some mean something in such a file."""
        held = bytes(byte for byte in NO_TEXT if byte >= 128)
        lines = (b"%s=%s\n" % (key, held) for key in (b"BINARY", self.field.encode()))
        self._path(name).write_bytes(b"".join(lines))
        self._path(name).chmod(0o600)
        return held


class WholeFileBackend(FileBackend):
    """A file that holds one value and nothing else."""

    kind = "whole file"
    form = "text"
    field = ""

    def _parsed(self, text: str) -> dict[str, Any]:
        return {self.field: text}

    def _written(self, value: str) -> str:
        return value

    def spoil(self, name: str) -> bytes:
        """A file may hold any bytes."""
        self._path(name).write_bytes(NO_TEXT)
        self._path(name).chmod(0o600)
        return NO_TEXT


def _state(path: Path) -> str:
    """Differs after each replacement of the file; empty while there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ""
    return f"{status.st_ino} {status.st_mtime_ns}"


def _beside(path: Path) -> list[str]:
    """What else there is of a file's name in its directory, beside its lock."""
    names = {other.name for other in path.parent.iterdir()} - {path.name}
    return [name for name in names if path.stem in name and not name.endswith(".lock")]
