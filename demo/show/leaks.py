# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Searching for secrets where none may be: in every file given, in every form that a secret commonly takes."""

from __future__ import annotations

import base64
import json
import math
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

SHORTEST = 8
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


def forms(value: str) -> dict[str, set[bytes]]:
    """How a secret may be written: raw, URL-quoted, in JSON, hexadecimal, base64 at any offset and in both alphabets."""
    data = value.encode()
    cores = _base64_cores(data)
    raw = {data}
    return {
        "raw": raw,
        "URL-quoted": {quote(value, safe="").encode(), quote(value).encode()} - raw,
        "JSON": {json.dumps(value)[1:-1].encode()} - raw,
        "hexadecimal": {data.hex().encode(), data.hex().upper().encode()},
        "base64": {*cores, *(core.translate(URL_ALPHABET) for core in cores)},
    }


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
