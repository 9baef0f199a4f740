# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each backend with each fault, at a read and a write of a keyring and at a sink.

Whatever goes wrong: the state is the old one or the new one, what is said names the option and what to do and holds no value, it
ends in time, and the same call converges once all is well again, without writing anything twice.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._json_lines import json_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import (
    Outcome,
    Wanted,
    bring,
)
from backends import OPTION, WHERE, Backend, Upstream, make_backend
from estate.tls import Certificate, make_certificate
from fault_proxy import FaultProxy, proxy_before
from store_faults import CASES, DONE, Bench, Case, is_write

KINDS = ("vault", "ssm", "secretsmanager", "kubernetes")
NAMES = {
    "vault": "Vault",
    "ssm": "SSM",
    "secretsmanager": "Secrets Manager",
    "kubernetes": "Kubernetes",
}
OPERATIONS = ("read a keyring", "write a keyring", "publish")
TO_DO = re.compile(
    r"\b(check|run again|run later|set|log in|add|allow|unseal|raise|see|correct|use|give|make|compare)\b",
    re.IGNORECASE,
)
DEADLINE = 1.2
LATE = 2.5
"""Seconds beyond the deadline: a request that was begun right before it, and a busy machine."""

CELLS = [
    (kind, case, operation)
    for kind in KINDS
    for case in CASES
    for operation in OPERATIONS
    if not case.only or NAMES[kind] in case.only
]


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
    started = time.monotonic()
    try:
        found = call()
    except KeyturnError as error:
        took = time.monotonic() - started
        uncertain = bool(error.details.get("uncertain"))
        return Ended(type(error).__name__, took, error.message, uncertain)
    return Ended("absent" if found is None else DONE, time.monotonic() - started)


@pytest.fixture(scope="session")
def certificates(run_dir: Path) -> dict[str, Certificate]:
    """What a listener may show."""
    place = run_dir / "fault-certificates"
    place.mkdir()
    return {
        "right": make_certificate(place, "right"),
        "wrong CA": make_certificate(place, "other"),
        "expired": make_certificate(place, "expired", days=-0.01),
        "wrong name": make_certificate(place, "named", host="192.0.2.1"),
    }


class Cell:
    """One backend with one fault, and what is tried."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.old, self.new = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
        self.first, self.second = json_lines({"v": self.old}), json_lines({"v": self.new})
        self.version = ""

    def prepare(self) -> None:
        self.version = self.backend.store().write(self.first, None)
        self.backend.put("app", self.old)

    def publish(self) -> Outcome:
        context = self.backend.context()
        place = self.backend.place("app", context)
        wanted = Wanted(WHERE, {self.backend.field: Secret(self.new)})
        return bring(place, wanted, no_guard, context)

    def attempt(self, operation: str) -> Ended:
        if operation == "publish":
            return ended(self.publish)
        if operation == "write a keyring":
            return ended(lambda: self.backend.store().write(self.second, self.version))
        return ended(lambda: self.backend.store().read())

    def shown(self, end: Ended) -> str:
        return "\n".join([end.message, *self.backend.warnings])


@contextmanager
def arranged(cell: Cell, case: Case, certificates: dict[str, Certificate]) -> Iterator[FaultProxy]:
    """The fault, until the block ends; then all is well again."""
    backend = cell.backend
    upstream = backend.upstream()
    assert upstream
    environ = dict(backend.environ)
    with proxy_before(upstream, is_write, _shown(case, upstream, certificates)) as proxy:
        trusted = _trusted(case, upstream, certificates)
        backend.through(proxy.port, trusted)
        case.arrange(Bench(backend, proxy))
        try:
            yield proxy
        finally:
            backend.heal(environ)


def _shown(case: Case, upstream: Upstream, certificates: dict[str, Certificate]) -> object:
    name = case.tls or ("right" if upstream.tls else "")
    return certificates[name].server_context() if name else None


def _trusted(case: Case, upstream: Upstream, certificates: dict[str, Certificate]) -> Path | None:
    if not (case.tls or upstream.tls):
        return None
    name = case.tls if case.tls in ("expired", "wrong name") else "right"
    return certificates[name].certificate


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Cell:
    """A backend with a keyring and a sink that hold the old value."""
    made = Cell(make_backend(request.param, request.getfixturevalue))
    made.prepare()
    made.backend.patience(DEADLINE)
    return made


@pytest.mark.parametrize(
    ("cell", "case", "operation"),
    [
        pytest.param(kind, case, operation, id=f"{kind}-{case.name}-{operation}".replace(" ", "_"))
        for kind, case, operation in CELLS
    ],
    indirect=["cell"],
)
def test_a_fault(
    cell: Cell,
    case: Case,
    operation: str,
    certificates: dict[str, Certificate],
    record_property: Callable[[str, object], None],
) -> None:
    with arranged(cell, case, certificates) as proxy:
        end = cell.attempt(operation)
        hidden = [cell.old, cell.new, *cell.backend.values()]
    record_property("fault", json.dumps([cell.backend.kind, case.name, operation, end.how]))
    allowed = case.read if operation == "read a keyring" else case.write
    assert end.how in allowed, end.message
    assert end.seconds < DEADLINE + LATE
    _check_message(cell, end, hidden, OPTION if operation != "publish" else WHERE)
    if case.tls not in ("", "right"):
        assert proxy.asked == [], "a server that is not the right one was told something"
    _check_state(cell, operation, end)


def _check_message(cell: Cell, end: Ended, hidden: list[str], option: str) -> None:
    for value in hidden:
        assert value not in cell.shown(end)
    if end.how != DONE:
        assert option in end.message
        assert TO_DO.search(end.message.partition(option)[2]), "a message says what to do"


def _check_state(cell: Cell, operation: str, end: Ended) -> None:
    """Old or new, and the same call again ends as if nothing had been."""
    if operation == "publish":
        held = cell.backend.held("app")
        assert held == cell.new if end.how == DONE else held in (cell.old, cell.new)
        if end.how != DONE and not end.uncertain:
            assert held == cell.old
        cell.publish()
        assert cell.backend.held("app") == cell.new
        counted = cell.backend.writes("app")
        assert not cell.publish().changed
        assert cell.backend.writes("app") == counted
        return
    store = cell.backend.store()
    found = store.read()
    assert found
    assert found[0] in (cell.first, cell.second)
    if operation == "read a keyring":
        assert found == (cell.first, cell.version)
        return
    if end.how == DONE:
        assert found[0] == cell.second
    elif not end.uncertain:
        assert found[0] == cell.first
    if found[0] == cell.first:
        store.write(cell.second, found[1])
    final = cell.backend.store().read()
    assert final
    assert final[0] == cell.second
    with suppress(KeyturnError):
        known = cell.backend.store().versions()
        assert len(known) <= 2
