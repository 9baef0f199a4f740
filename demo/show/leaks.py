# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Searching for secrets where none may be: in every file given, in every form that a secret commonly takes."""

from __future__ import annotations

import base64
import html
import json
import math
import os
import shlex
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

SHORTEST = 8
STAGES = ("pending", "current", "previous")
SAMPLE_SECONDS = 0.2
URL_ALPHABET = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True)
class Leak:
    """A secret that was found where it must not be.

    :param secret: its name; never its value.
    :param form: how it was written there.
    :param place: where.
    """

    secret: str
    form: str
    place: str

    def __str__(self) -> str:
        return f"{self.secret} ({self.form}) in {self.place}"


def _base64_cores(data: bytes) -> list[bytes]:
    """What any base64 text that holds these bytes contains, for each of the three places they can begin at in a group.

    Characters that also depend on the bytes before or after are left out.
    """
    cores = []
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + data)
        cores.append(encoded[math.ceil(shift * 8 / 6) : (shift + len(data)) * 8 // 6])
    return cores


def _json(value: str) -> set[str]:
    """A value inside of a JSON text, with other alphabets as they are or as escapes."""
    return {json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}


def _xml(value: str) -> set[str]:
    """A value inside of an XML text or attribute: writers differ in which quotes they escape."""
    all_of_it = html.escape(value)
    return {all_of_it, all_of_it.replace("&#x27;", "'"), html.escape(value, quote=False)}


def _carried(texts: set[str]) -> set[str]:
    """Texts as they stand, and inside of a JSON or XML text."""
    return texts.union(*(_json(text) | _xml(text) for text in texts))


def forms(value: str) -> dict[str, set[bytes]]:
    """How a secret may be written, by the name of the form: as it is, quoted for another language, encoded in another alphabet.

    Base64 is known at any offset and in both alphabets; each form also inside of JSON and XML, and of these in one another. A
    form that leaves this value as it is has no texts.
    """
    digits, cores = value.encode().hex(), _base64_cores(value.encode())
    quoted = {
        "URL-quoted": {quote(value, safe=""), quote(value), quote_plus(value)},
        "JSON": _json(value),
        "XML": _xml(value),
        "Python": {repr(value)[1:-1], ascii(value)[1:-1], repr(value.encode())[2:-1]},
        "shell": {shlex.quote(value)},
        "SQL": {value.replace("'", "''"), value.replace("'", "''").replace("\\", "\\\\")},
    }
    written = {
        name: {text.encode() for text in _carried(_carried(texts)) if value not in text}
        for name, texts in quoted.items()
    }
    return {
        "raw": {value.encode()},
        **written,
        "hexadecimal": {digits.encode(), digits.upper().encode()},
        "base64": {*cores, *(core.translate(URL_ALPHABET) for core in cores)},
    }


def secrets_of(document: Mapping[str, Any]) -> dict[str, str]:
    """The secrets of a keyring as it is kept, by what they are and whose."""
    stages = document["stages"]
    found = {"salt of the keyring": document["salt"]} if "salt" in document else {}
    for stage in [*(stages.get(name) for name in STAGES), *stages.get("retained", [])]:
        if stage:
            who = f"{stage['fields'].get('username', '?')} in rotation {stage['rotation_id']}"
            found.update({f"{kind} of {who}": value for kind, value in stage["secrets"].items()})
    return found


def files(root: Path) -> list[Path]:
    """Every file below a folder."""
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


@dataclass
class Search:
    """One search; collects what it finds.

    :ivar secrets: name to value.
    :ivar leaks: what was found.
    :ivar places: how many places were searched.
    :ivar size: how many bytes that were.
    """

    secrets: dict[str, str] = field(default_factory=dict)
    leaks: set[Leak] = field(default_factory=set)
    places: int = 0
    size: int = 0

    def know(self, found: Mapping[str, str]) -> None:
        """Learn secrets; one that is known under another name is not learnt twice.

        :raises ValueError: for one so short that it would be found by chance.
        """
        for name, value in found.items():
            if len(value) < SHORTEST:
                raise ValueError(f"the secret '{name}' is too short to be searched for")
            if value not in self.secrets.values():
                self.secrets[name] = value

    def text(self, place: str, content: bytes, without: Iterable[str] = ()) -> list[Leak]:
        """Search one text; returns what was found in it.

        :param without: names of secrets that may be there.
        """
        allowed = set(without)
        self.places += 1
        self.size += len(content)
        found = [
            Leak(name, form, place)
            for name, value in self.secrets.items()
            if name not in allowed
            for form, texts in forms(value).items()
            if any(text in content for text in texts)
        ]
        self.leaks.update(found)
        return found

    def file(self, path: Path, without: Iterable[str] = ()) -> list[Leak]:
        """Search one file, its name included."""
        return self.text(str(path), path.read_bytes() + os.fsencode(path), without)

    def open_file(self, path: Path) -> None:
        """Search a file that may hold secrets, provided that nobody but its owner can read it."""
        mode = path.stat().st_mode & 0o777
        if not mode & 0o077:
            return
        for name in self.secrets:
            if self.finds(path, name):
                self.leaks.add(Leak(name, f"readable by others, mode {mode:04o}", str(path)))

    def finds(self, path: Path, name: str) -> bool:
        """Whether the search finds this secret in a file that has it: a search that finds nothing anywhere proves nothing."""
        content = path.read_bytes()
        return any(
            text in content for texts in forms(self.secrets[name]).values() for text in texts
        )


class CommandLines:
    """Collects the command lines of this machine's processes while playbooks run.

    :ivar seen: every command line that was seen.
    """

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> CommandLines:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.seen.update(_command_lines())


def _command_lines() -> Iterable[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        content = _read(path)
        if content:
            yield content


def _read(path: Path) -> bytes:
    """A file that may be gone meanwhile."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
