# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each backend with each fault, at a read and a write of a keyring and at a sink.

Whatever goes wrong: the state is the old one or the new one, what is said names the option and what to do and holds no value, it
ends in time and after few requests, and the same call converges once all is well again, without writing anything twice.

The cells of one backend are one test, which names each cell that failed; see :mod:`fault_cells`.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from backends import (
    OPTION,
    WHERE,
    Backend,
    ProductionVaultBackend,
    VaultBackend,
    make_backend,
)
from estate.kubernetes import KubernetesServer
from estate.processes import wait_until
from estate.tls import Certificate, make_certificate
from estate.vault import VaultServer
from fault_cells import OPERATIONS, PUBLISH, READ, Bay, Cell, Ended, beside
from fault_proxy import proxy_before
from store_faults import (
    DONE,
    FORWARDED,
    LIMITED,
    PRODUCTION,
    REDIRECTED,
    RESTARTED,
    RESTARTING,
    SEALED,
    TO_DO,
    USED_UP,
    Case,
    cases_of,
    is_write,
)
from vault_cluster import FirstNode, SecondNode
from vault_states import State, limited, restarted, sealed

KINDS = {
    "vault": "Vault",
    "vault-production": PRODUCTION,
    "ssm": "SSM",
    "secretsmanager": "Secrets Manager",
    "kubernetes": "Kubernetes",
}
LATE = 8.0
"""Seconds beyond the deadline: a busy machine. Together with a short deadline, it is less than the shortest one that nobody set."""
MOST = 40
"""Requests of one call with all its tries."""

Tell = Callable[[str, object], None]


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


@pytest.fixture
def maker(request: pytest.FixtureRequest, scratch: Path) -> Callable[[str], Backend]:
    """Makes backends of a kind; from the second one on also in another process."""
    known: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name == "scratch":
            folder = scratch / secrets.token_hex(6)
            folder.mkdir(mode=0o711)
            return folder
        if name not in known:
            known[name] = request.getfixturevalue(name)
        return known[name]

    return lambda kind: make_backend(kind, get)


@pytest.mark.parametrize("kind", KINDS)
def test_faults(
    kind: str,
    maker: Callable[[str], Backend],
    certificates: dict[str, Certificate],
    record_property: Tell,
) -> None:
    # What one backend imports and starts is there for those of all processes.
    maker(kind).store().read()
    cells = [(case, operation) for case in cases_of(KINDS[kind]) for operation in OPERATIONS]
    bays: list[Bay] = []

    def run(number: int) -> str:
        if not bays:
            keeps = kind in ("ssm", "secretsmanager")
            bays.append(Bay(lambda: maker(kind), certificates, keeps))
        case, operation = cells[number]
        return _run(bays[0], case, operation, f"c{number}")

    told = [(case.name, operation) for case, operation in cells]
    tell_all(KINDS[kind], told, beside(len(cells), run), record_property)


def tell_all(
    backend: str, cells: Sequence[tuple[str, str]], found: Sequence[Any], tell: Tell
) -> None:
    """A row of the table for each cell; fails with the names of those that failed."""
    for (case, operation), end in zip(cells, found, strict=True):
        tell("fault", json.dumps([backend, case, operation, end.get("end", "FAILED")]))
    failed = [
        f"{backend}, {case}, {operation}: {end['failed']}"
        for (case, operation), end in zip(cells, found, strict=True)
        if "failed" in end
    ]
    if failed:
        text = "\n\n".join([f"{len(failed)} of {len(cells)} cells failed:", *failed])
        pytest.fail(text, pytrace=False)


def _run(bay: Bay, case: Case, operation: str, name: str) -> str:
    cell = Cell(bay.backend(), name)
    with bay.arranged(cell, case, operation) as bench:
        end = cell.attempt(operation)
        hidden = [*cell.hidden(), *bench.hidden]
        asked = len(bench.proxy.asked)
        if isinstance(bench.backend, ProductionVaultBackend):
            check_logins(bench.backend, bench.left)
        assert all(fault.seen for fault in bench.due), "the fault was not met"
    assert asked < MOST, "as many requests as a deadline of so few seconds lets"
    if case.tls not in ("", "right"):
        assert asked == 0, "a server that is not the right one was told something"
    check_end(cell, case, operation, end, hidden)
    check_state(cell, operation, end)
    return end.how


def check_end(cell: Cell, case: Case, operation: str, end: Ended, hidden: list[str]) -> None:
    assert end.how in case.ends(operation), end.message
    assert end.seconds < case.deadline(operation) + LATE
    option = WHERE if operation == PUBLISH else OPTION
    for value in hidden:
        assert value not in cell.shown(end)
    if end.how != DONE:
        assert option in end.message
        assert TO_DO.search(end.message.partition(option)[2]), "a message says what to do"


def check_logins(backend: ProductionVaultBackend, left: list[str]) -> None:
    """At the end, each token of a login is revoked, or it is told that it is not; either way it ends by itself.

    :param left: tokens that a login left behind whose answer was lost.
    """
    tokens, told = backend.tokens(), len(backend.warnings)
    backend.context().close()
    warned = backend.warnings[told:]
    assert all("ends by itself in" in warning for warning in warned)
    lasting = [seconds for token in tokens if (seconds := backend.lasts(token))]
    assert len(lasting) <= len(warned), "a token was left, and nothing said of it"
    lasting += [backend.lasts(token) for token in left]
    assert all(0 < seconds <= 60 for seconds in lasting)


def check_state(cell: Cell, operation: str, end: Ended) -> None:
    """Old or new, and the same call again ends as if nothing had been."""
    if operation == PUBLISH:
        _check_sink(cell, end)
        return
    found = cell.read()
    if operation == READ:
        assert found == (cell.first, cell.version)
        return
    assert found[0] in (cell.first, cell.second)
    if end.how == DONE:
        assert found[0] == cell.second
    elif not end.uncertain:
        assert found[0] == cell.first
    if found[0] == cell.first:
        assert found[1] == cell.version
        cell.write()
    assert cell.read()[0] == cell.second
    with suppress(KeyturnError):
        known = cell.backend.store(cell.keyring).versions()
        assert len(known) <= 2


def _check_sink(cell: Cell, end: Ended) -> None:
    held = cell.backend.held(cell.sink)
    assert held == cell.new if end.how == DONE else held in (cell.old, cell.new)
    if end.how != DONE and not end.uncertain:
        assert held == cell.old
    cell.publish()
    assert cell.backend.held(cell.sink) == cell.new
    counted = cell.backend.writes(cell.sink)
    assert not cell.publish().changed
    assert cell.backend.writes(cell.sink) == counted


# --- real servers that are in the state themselves


def _keep(
    backend: Backend, case: Case, tell: Tell, wrong: AbstractContextManager[State], port: int = 0
) -> None:
    """The three operations while a server is in a state of its own, and after it.

    :param port: where to go meanwhile; 0: to the server.
    """
    cells = {operation: Cell(backend, secrets.token_hex(4)) for operation in OPERATIONS}
    environ, ends = dict(backend.environ), {}
    with wrong as again:
        if port:
            backend.through(port, None)
        for operation, cell in cells.items():
            backend.patience(case.deadline(operation))
            again()
            ends[operation] = cell.attempt(operation)
    backend.heal(environ)
    for operation, cell in cells.items():
        check_end(cell, case, operation, ends[operation], cell.hidden())
        check_state(cell, operation, ends[operation])
        tell("fault", json.dumps([backend.kind, case.name, operation, ends[operation].how]))


def test_a_vault_that_is_sealed(
    vault: VaultServer, vault_mount: str, record_property: Tell
) -> None:
    _keep(VaultBackend(vault, vault_mount), SEALED, record_property, sealed(vault))


@pytest.mark.parametrize(("case", "interval"), [(LIMITED, "1s"), (USED_UP, "1h")])
def test_a_rate_limit_of_vault(
    case: Case, interval: str, vault: VaultServer, vault_mount: str, record_property: Tell
) -> None:
    backend, wrong = VaultBackend(vault, vault_mount), limited(vault, vault_mount, interval)
    with proxy_before(backend.upstream(), is_write) as proxy:
        _keep(backend, case, record_property, wrong, proxy.port)
    assert proxy.answered.count(429) >= 3


@pytest.fixture
def nodes(scratch: Path) -> Iterator[tuple[FirstNode, SecondNode]]:
    """A cluster of two: the active node, and a standby."""
    folders = [scratch / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir(mode=0o700)
    with FirstNode(folders[0]) as first, SecondNode(folders[1], first) as second:
        yield first, second


def test_a_standby_of_vault(nodes: tuple[FirstNode, SecondNode], record_property: Tell) -> None:
    """What it is asked it forwards, or it tells where the active node is; after a restart it is sealed."""
    active, standby = nodes
    backend = VaultBackend(active, active.mount_kv("kv"))
    before = VaultBackend(standby, backend.mount).upstream()
    for case, status in ((FORWARDED, 200), (REDIRECTED, 307), (RESTARTED, 503)):
        wrong = restarted(standby) if case is RESTARTED else nullcontext(bool)
        with proxy_before(before, is_write) as proxy:
            if case is REDIRECTED:
                proxy.adds = {"X-Vault-No-Request-Forwarding": "true"}
            _keep(backend, case, record_property, wrong, proxy.port)
        assert set(proxy.answered) == {status}, case.name


def test_the_api_server_of_kubernetes_restarts(
    maker: Callable[[str], Backend],
    kubernetes_server: KubernetesServer,
    scratch: Path,
    record_property: Tell,
) -> None:
    """While it is read, written and published to without a pause."""
    over = scratch / "over"

    def restart() -> None:
        wait_until(lambda: len(list(scratch.glob("begun*"))) == len(OPERATIONS), 60, "the calls")
        kubernetes_server.stop_api()
        kubernetes_server.start_api()
        over.touch()

    def run(number: int) -> str:
        operation = OPERATIONS[number]
        cell = Cell(maker("kubernetes"), f"c{number}")
        cell.backend.patience(RESTARTING.deadline(operation))
        seen = set()
        while True:
            last = over.exists()
            end = cell.attempt(operation)
            check_end(cell, RESTARTING, operation, end, cell.hidden())
            seen.add(end.how)
            (scratch / f"begun{number}").touch()
            if last:
                break
            cell.go_on(operation, end)
            time.sleep(0.05)
        check_state(cell, operation, end)
        return " or ".join(sorted(seen))

    told = [(RESTARTING.name, operation) for operation in OPERATIONS]
    found = beside(len(told), run, restart)
    tell_all(KINDS["kubernetes"], told, found, record_property)
