# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the processes of a run look at: files by their names, and whether a server is asked.

No part of the product is named here. Python tells of opened files and of connections by its audit events; looks that make no
such event, at a file's attributes and through psycopg2, are heard by wrapping the functions.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2

SERVER = "a server"
_LOOKS = ("stat", "lstat", "access", "readlink")


class Ear:
    """Hears what is looked at, in the processes that are forked from this one.

    :param names: the files that matter, by the last part of their paths, which is all that a path below an open folder has.
    :param tell: gets one of these names, or ``SERVER``, once in each process.
    """

    def __init__(self, names: frozenset[str], tell: Callable[[str], None]) -> None:
        self._names, self._tell = names, tell
        self._parent = os.getpid()
        self._told: dict[int, set[str]] = {}
        self._muted = False

    @contextmanager
    def muted(self) -> Iterator[None]:
        """For looks that are not the run's own."""
        before, self._muted = self._muted, True
        try:
            yield
        finally:
            self._muted = before

    def hear(self, what: str) -> None:
        """Tell of it, unless that was done."""
        if self._muted or os.getpid() == self._parent:
            return
        told = self._told.setdefault(os.getpid(), set())
        if what not in told:
            told.add(what)
            with self.muted():
                self._tell(what)

    def path(self, path: Any) -> None:
        """A look at a path."""
        if isinstance(path, (str, bytes, os.PathLike)):
            name = os.path.basename(os.fsdecode(path))
            if name in self._names:
                self.hear(name)

    def event(self, event: str, arguments: tuple[Any, ...]) -> None:
        """One audit event."""
        if event == "open":
            self.path(arguments[0])
        elif event == "socket.connect":
            self.hear(SERVER)


def listen(names: frozenset[str], tell: Callable[[str], None]) -> Ear:
    """Hear from now on; see ``Ear``."""
    ear = Ear(names, tell)
    connect = psycopg2.connect

    def connected(*arguments: Any, **options: Any) -> Any:
        ear.hear(SERVER)
        return connect(*arguments, **options)

    psycopg2.connect = connected
    for name in _LOOKS:
        setattr(os, name, _heard(getattr(os, name), ear))
    sys.addaudithook(ear.event)
    return ear


def _heard(function: Callable[..., Any], ear: Ear) -> Callable[..., Any]:
    def look(path: Any, *arguments: Any, **options: Any) -> Any:
        ear.path(path)
        return function(path, *arguments, **options)

    return look
