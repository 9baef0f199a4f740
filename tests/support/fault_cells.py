# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cells of the table of faults: one backend, one fault, one operation; and many of them beside each other.

Most of a cell is waiting, so a few processes share them out. They are processes and not threads, because the clients of AWS and
Kubernetes take the environment of their process for the task's.
"""

from __future__ import annotations

import json
import os
import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._json_lines import json_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import (
    Outcome,
    Wanted,
    bring,
)
from backends import WHERE, Backend, Upstream
from estate.tls import Certificate
from fault_proxy import FaultProxy
from store_arrange import Bench, is_write
from store_faults import DONE, Case

READ, WRITE, PUBLISH = OPERATIONS = ("read a keyring", "write a keyring", "publish")
PROCESSES = 6
_LONGEST_TEXT = 1800
"""Characters of what a process tells of a cell: less than a pipe takes as a whole."""


@dataclass
class Ended:
    """How one call ended.

    :param how: ``done``, or the name of the error's kind.
    """

    how: str
    seconds: float
    message: str = ""
    uncertain: bool = False


def ended(call: Callable[[], object]) -> Ended:
    """Make a call, and see how it ends."""
    started = time.monotonic()
    try:
        found = call()
    except KeyturnError as error:
        took = time.monotonic() - started
        uncertain = bool(error.details.get("uncertain"))
        return Ended(type(error).__name__, took, error.message, uncertain)
    return Ended("absent" if found is None else DONE, time.monotonic() - started)


class Cell:
    """One backend and what is tried with it: a keyring and a sink of its own, which hold the old value.

    :param name: of both, different from that of every other cell of the backend.
    """

    def __init__(self, backend: Backend, name: str) -> None:
        self.backend = backend
        self.keyring, self.sink = f"{name}k", f"{name}s"
        self.old, self.new = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
        self.first, self.second = json_lines({"v": self.old}), json_lines({"v": self.new})
        self.version = backend.store(self.keyring).write(self.first, None)
        backend.put(self.sink, self.old)

    def publish(self) -> Outcome:
        """Bring the sink to the new value."""
        context = self.backend.context()
        place = self.backend.place(self.sink, context)
        wanted = Wanted(WHERE, {self.backend.field: Secret(self.new)})
        return bring(place, wanted, no_guard, context)

    def read(self) -> tuple[str, str]:
        """The keyring and its version."""
        found = self.backend.store(self.keyring).read()
        assert found, "the keyring is there"
        return found

    def write(self) -> str:
        """Write the keyring's second text over its first."""
        return self.backend.store(self.keyring).write(self.second, self.version)

    def attempt(self, operation: str) -> Ended:
        """Try it."""
        return ended({READ: self.read, WRITE: self.write, PUBLISH: self.publish}[operation])

    def go_on(self, operation: str, end: Ended) -> None:
        """Take what is there for the old value, and have another new one."""
        if operation == WRITE:
            self.first, self.version = self.read()
        elif operation == PUBLISH and end.how == DONE:
            self.old = self.new
        self.new = secrets.token_urlsafe(18)
        self.second = json_lines({"v": self.new})

    def hidden(self) -> list[str]:
        """What must never show."""
        return [self.old, self.new, *self.backend.values()]

    def shown(self, end: Ended) -> str:
        """All that is said of a call."""
        return "\n".join([end.message, *self.backend.warnings])


class Bay:
    """What the cells of one process share: a client of AWS takes longer to make than to use, and it goes by the port.

    :param make: a backend with nothing in it.
    :param certificates: what a listener may show.
    :param keeps: one backend, and so its client, is for all cells.
    """

    def __init__(
        self, make: Callable[[], Backend], certificates: dict[str, Certificate], keeps: bool
    ) -> None:
        self._make = make
        self._certificates = certificates
        self._kept = make() if keeps else None
        self._proxies: dict[str, FaultProxy] = {}
        self._warm: set[tuple[tuple[str, str], ...]] = set()

    def backend(self) -> Backend:
        """One for a cell, as if it were alone with it."""
        found = self._kept or self._make()
        found.warnings.clear()
        return found

    @contextmanager
    def arranged(self, cell: Cell, case: Case, operation: str) -> Iterator[Bench]:
        """The fault, until the block ends; then all is well again."""
        backend = cell.backend
        environ = dict(backend.environ)
        upstream = backend.upstream()
        assert upstream, "a server"
        proxy = self._proxy(upstream, case)
        backend.through(proxy.port, self._trusted(upstream, case))
        backend.patience(case.deadline(operation))
        self._warm_up(cell, proxy)
        bench = Bench(backend, proxy)
        case.arrange(bench)
        try:
            yield bench
        finally:
            proxy.stop()
            backend.heal(environ)

    def _warm_up(self, cell: Cell, proxy: FaultProxy) -> None:
        """Make the client that is kept before its time is taken."""
        identity = tuple(sorted(cell.backend.environ.items()))
        if self._kept and identity not in self._warm:
            self._warm.add(identity)
            with suppress(KeyturnError):
                cell.read()
            cell.backend.warnings.clear()
            proxy.clear()

    def _proxy(self, upstream: Upstream, case: Case) -> FaultProxy:
        name = case.tls or ("right" if upstream.tls else "")
        if name not in self._proxies:
            shows = self._certificates[name].server_context() if name else None
            self._proxies[name] = FaultProxy(upstream, is_write, shows)
        self._proxies[name].clear()
        return self._proxies[name]

    def _trusted(self, upstream: Upstream, case: Case) -> Path | None:
        if not (case.tls or upstream.tls):
            return None
        name = case.tls if case.tls in ("expired", "wrong name") else "right"
        return self._certificates[name].certificate


def beside(
    count: int, run: Callable[[int], Any], meanwhile: Callable[[], object] = bool
) -> list[dict[str, Any]]:
    """Run things by their numbers in a few processes, each taking the next one that is left.

    :param run: gives what JSON can tell.
    :param meanwhile: is done here as soon as they are at work.
    :returns: in the order of the numbers ``{"end": what it gave}``, or ``{"failed": what was raised}``.
    """
    left, told = os.pipe(), os.pipe()
    os.write(left[1], b"".join(number.to_bytes(2, "big") for number in range(count)))
    os.close(left[1])
    children = [_child(left[0], told, run) for _process in range(min(PROCESSES, count))]
    os.close(left[0])
    os.close(told[1])
    meanwhile()
    with os.fdopen(told[0], encoding="utf-8") as stream:
        found = dict(json.loads(line) for line in stream)
    for child in children:
        os.waitpid(child, 0)
    gone = {"failed": "its process ended before it did"}
    return [found.get(number, gone) for number in range(count)]


def _child(left: int, told: tuple[int, int], run: Callable[[int], Any]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.close(told[0])
        while number := os.read(left, 2):
            _tell(told[1], int.from_bytes(number, "big"), run)
    finally:
        os._exit(0)


def _tell(to: int, number: int, run: Callable[[int], Any]) -> None:
    try:
        end = {"end": run(number)}
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
        end = {"failed": said[:_LONGEST_TEXT]}
    os.write(to, json.dumps([number, end]).encode() + b"\n")
