# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The detectors: each looks at one kind of place, and gives the text that came there while it looked."""

from __future__ import annotations

import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from show.leaks import Search, files

from leaks.trace import (
    COPIES,
    LOCAL,
    NAMES,
    OPENS,
    SENDS,
    STARTS,
    WRITES,
    Call,
    Tracer,
)

VERIFIER = "verifier of "
OTHERS = 0o077
_NO_FILES = ("/dev/", "/proc/")
_IN_MEMORY = ("/", "dev", "shm")
_KEPT_APART = ".keyturn-"


@dataclass(frozen=True)
class Text:
    """What was found in a place.

    :param place: where, for a person.
    :param allowed: it is a piece that may hold what the detector says may be there.
    """

    place: str
    content: bytes
    allowed: bool = False


@dataclass
class Detector(ABC):
    """One kind of place.

    :param name: the column of the table.
    :param may_hold: beginnings of the names of secrets that may be there, in the pieces that are known to hold them.
    """

    name: str
    may_hold: tuple[str, ...] = field(default=(), kw_only=True)
    _texts: list[Text] = field(default_factory=list, kw_only=True)

    @abstractmethod
    def start(self) -> None:
        """From now on."""

    def stop(self) -> None:
        """Until now."""
        self._texts = list(self._look())

    def collect(self) -> list[Text]:
        """What came there between start and stop."""
        return self._texts

    def found_by(self, search: Search) -> tuple[int, list[str]]:
        """How many bytes there were, and what a search finds in them, without a value."""
        allowed = [name for name in search.secrets if name.startswith(self.may_hold or ("\0",))]
        size, leaks = 0, set()
        for text in self.collect():
            size += len(text.content)
            without = allowed if text.allowed else ()
            leaks.update(map(str, search.text(text.place, text.content, without=without)))
        return size, sorted(leaks)

    @abstractmethod
    def _look(self) -> Iterator[Text]:
        """What came there since start."""


@dataclass
class Log(Detector):
    """Files that are only appended to: what was added.

    :param pieces: a pattern of what is known to hold secrets.
    """

    paths: Sequence[Path]
    pieces: bytes = rb"\Z."
    _from: dict[Path, int] = field(default_factory=dict)

    def start(self) -> None:
        self._from = {path: path.stat().st_size for path in self.paths if path.exists()}

    def _look(self) -> Iterator[Text]:
        for path in self.paths:
            if path.exists():
                with path.open("rb") as stream:
                    stream.seek(self._from.get(path, 0))
                    content = stream.read()
                yield Text(str(path), re.sub(self.pieces, b"", content))
                yield Text(str(path), b"\n".join(re.findall(self.pieces, content)), allowed=True)


@dataclass
class Folder(Detector):
    """Files below folders as they are at the end, with their names: those that are new or were changed."""

    roots: Sequence[Path]
    apart: Sequence[Path] = ()
    _before: dict[Path, int] = field(default_factory=dict)

    def start(self) -> None:
        self._before = {path: path.stat().st_mtime_ns for path in self._files()}

    def _look(self) -> Iterator[Text]:
        for path in self._files():
            if self._before.get(path) != path.stat().st_mtime_ns:
                yield Text(str(path), str(path).encode() + b"\n" + path.read_bytes())

    def _files(self) -> list[Path]:
        found = [path for root in self.roots for path in files(root)]
        return [path for path in found if not any(path.is_relative_to(one) for one in self.apart)]


@dataclass
class Printed(Detector):
    """What a command shows when it is asked: a journal, say."""

    ask: Callable[[], bytes]
    _before: bytes = b""

    def start(self) -> None:
        self._before = self.ask()

    def _look(self) -> Iterator[Text]:
        yield Text(self.name, self.ask().removeprefix(self._before))


@dataclass
class Traced(Detector):
    """Something of what strace tells."""

    tracer: Tracer
    _mark: int = 0

    def start(self) -> None:
        self._mark = self.tracer.mark()


class Arguments(Traced):
    """The command line of every program that is started, however short it lives."""

    def _look(self) -> Iterator[Text]:
        for process, call in self.tracer.since(self._mark):
            if call.name in STARTS:
                yield Text(f"the command line of process {process}", b"\0".join(call.texts))


class Environment(Traced):
    """The environment that every program is started with."""

    def _look(self) -> Iterator[Text]:
        for process, call in self.tracer.since(self._mark):
            if call.name in STARTS:
                yield Text(f"the environment of process {process}", b"\0".join(call.variables))


def written(tracer: Tracer, mark: int) -> dict[str, bytes]:
    """Every file that was written, also one that is gone by now: all that was written to it, in order, and its names."""
    found: dict[str, list[bytes]] = {}
    for _process, call in tracer.since(mark):
        if call.name in WRITES and call.paths:
            path, content = call.paths[0], b"".join(call.texts)
        elif call.name in COPIES and len(call.paths) > 1:
            to, source = call.paths[:2] if call.name == "sendfile" else call.paths[1::-1]
            path, content = to, b"".join(found.get(source, ())) or _content(Path(source))
        elif call.name in NAMES or call.mode is not None:
            path, content = "names of files", b"\n".join(call.texts) + b"\n"
        else:
            continue
        if _is_file(path) and (path.startswith("/") or call.name not in WRITES):
            found.setdefault(path, []).append(content)
    return {path: b"".join(pieces) for path, pieces in found.items()}


def _is_file(path: str) -> bool:
    return not path.startswith(_NO_FILES) or Path(path).parts[:3] == _IN_MEMORY


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@dataclass
class Written(Traced):
    """Every byte that is written to any file, be it removed again at once.

    :param made_for: files that are there to hold secrets, and are looked at by :class:`Open` alone; so are their successors, which
        take their place by rename.
    :param apart: folders and files that another detector looks at.
    """

    made_for: Sequence[Path] = ()
    apart: Sequence[Path] = ()

    def _look(self) -> Iterator[Text]:
        for path, content in written(self.tracer, self._mark).items():
            if not self._is_apart(Path(path)):
                yield Text(path, path.encode() + b"\n" + content)

    def _is_apart(self, path: Path) -> bool:
        return any(is_or_succeeds(path, one) for one in self.made_for) or any(
            path.is_relative_to(one) for one in self.apart
        )


def is_or_succeeds(path: Path, one: Path) -> bool:
    """Whether a path is this file, or the one that will take its place."""
    successor = path.parent == one.parent and path.name.startswith(f".{one.name}{_KEPT_APART}")
    return path == one or successor


class Local(Traced):
    """What is sent to other processes of this machine over its own sockets: to syslog, to the journal."""

    def _look(self) -> Iterator[Text]:
        for process, call in self.tracer.since(self._mark):
            if call.name in (*SENDS, *WRITES) and call.paths and call.paths[0].startswith(LOCAL):
                yield Text(f"what process {process} sent to {call.paths[0]}", b"".join(call.texts))


@dataclass
class Beside(Folder):
    """Files beside those that are there to hold secrets, such as the successor of one that never took its place.

    :param made_for: these files.
    :ivar killed: the run was: then a successor may be there, until another run removes it.
    """

    made_for: Sequence[Path] = ()
    killed: bool = False

    def __post_init__(self) -> None:
        self.apart = (*self.apart, *self.made_for)
        self.may_hold = ("",)

    def _look(self) -> Iterator[Text]:
        for text in super()._look():
            path = Path(text.place)
            may_be = self.killed and any(is_or_succeeds(path, one) for one in self.made_for)
            yield Text(text.place, text.content, allowed=may_be)


def open_to_others(roots: Sequence[Path], apart: Sequence[Path]) -> Iterator[Text]:
    """Files below these folders that others than their owner can read."""
    for path in (path for root in roots for path in files(root)):
        # The application under load goes on, and puts its own files in the place of others.
        with contextlib.suppress(FileNotFoundError):
            mode = path.stat().st_mode & 0o777
            if mode & OTHERS and not any(path.is_relative_to(one) for one in apart):
                yield Text(f"{path}, of mode {mode:04o}", path.read_bytes())


@dataclass
class OpenAtLast(Detector):
    """Files that others than their owner can read at the end."""

    roots: Sequence[Path]
    apart: Sequence[Path] = ()

    def start(self) -> None:
        """There is no before."""

    def _look(self) -> Iterator[Text]:
        yield from open_to_others(self.roots, self.apart)


@dataclass
class Open(Traced):
    """Files that others than their owner can read: at the end, or at any moment since they were made."""

    roots: Sequence[Path] = ()
    apart: Sequence[Path] = ()

    def _look(self) -> Iterator[Text]:
        texts = written(self.tracer, self._mark)
        for path, mode in self._opened():
            content = texts.get(str(path)) or _content(path)
            if content and not any(path.is_relative_to(one) for one in self.apart):
                yield Text(f"{path}, given mode {mode:04o}", content)
        yield from open_to_others(self.roots, self.apart)

    def _opened(self) -> Iterator[tuple[Path, int]]:
        found = {}
        for _process, call in self.tracer.since(self._mark):
            if call.mode is not None and call.mode & OTHERS:
                found[_subject(call)] = call.mode
        yield from found.items()


def _subject(call: Call) -> Path:
    """The file that a call made, or gave another mode."""
    if call.name in OPENS:
        return Path(call.paths[-1])
    named = call.texts[0].decode(errors="replace") if call.texts else ""
    return Path(call.paths[0], named) if call.paths else Path(named)
