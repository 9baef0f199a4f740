# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures over the estate: real servers, and a fresh database for each test."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import secrets
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "demo"))
sys.path.insert(0, str(Path(__file__).parent / "support"))

from estate.collection import collections_path, given_collections_path
from estate.databases import Database, fresh_database
from estate.errors import Missing
from estate.kubernetes import KubernetesServer
from estate.moto import MotoServer
from estate.pgbouncer import PgBouncer
from estate.postgres import VERSIONS, PostgresServer
from estate.users import make_run_dir
from estate.vault import VaultServer
from order import LONG, longest_first
from playbook_fixtures import (
    ansible,
    ansible_command,
    collections,
    machine,
    podman,
    run_playbook,
    warm_servers,
)
from vault_fixtures import production_vault

__all__ = [
    "ansible",
    "ansible_command",
    "collections",
    "machine",
    "podman",
    "production_vault",
    "run_playbook",
    "warm_servers",
]

ABSENT = "real part missing: "
RUN_DIR = pytest.StashKey[Path]()
FAILED = pytest.StashKey[bool]()
SHARED_DIR = "KEYTURN_TESTS_DIR"
WORKER = "PYTEST_XDIST_WORKER"
SECONDS = "keyturn/seconds"
MEMORY, ROOM = Path("/dev/shm"), 8 << 30  # noqa: S108 (a directory of its own is made there)


def pytest_configure(config: pytest.Config) -> None:
    """Make one place for the state of everything that is started, and let this collection be imported."""
    config.addinivalue_line(
        "markers", "pg_versions(*versions): run with these PostgreSQL versions only, such as '16'"
    )
    run_dir = _session_dir()
    config.stash[RUN_DIR] = run_dir
    _import_collection(given_collections_path() or collections_path(run_dir))


def pytest_collection_finish() -> None:
    """What was imported stays: looking through all of it for garbage again and again takes a tenth of the time of all tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each parallel process the same of the tests that took long."""
    node.workerinput[SECONDS] = _known_seconds()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have parallel processes begin with the tests that took long when they were run last."""
    told: dict[str, Any] = getattr(config, "workerinput", {})
    if told.get(SECONDS):
        names = [item.nodeid for item in items]
        items[:] = longest_first(items, names, told[SECONDS], told["workercount"])


def _seconds_file() -> Path:
    """Beside what else is kept for all clones."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "keyturn" / "test-seconds.json"


def _known_seconds() -> dict[str, float]:
    """What the longest tests took, as far as it is known."""
    try:
        kept: dict[str, float] = json.loads(_seconds_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return kept


def _keep_seconds(config: pytest.Config) -> None:
    """Remember what tests took in parallel processes, beside what is known of those that were not run."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if WORKER in os.environ or not reporter or not getattr(config.option, "numprocesses", 0):
        return
    took: Counter[str] = Counter()
    for reports in reporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                took[report.nodeid] += report.duration
    known = {**_known_seconds(), **took}
    long = {name: round(known[name]) for name in sorted(known) if known[name] >= LONG}
    made = _seconds_file().with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(json.dumps(long, indent=1), "utf-8")
        made.replace(_seconds_file())


def _in_memory() -> Path | None:
    """A file system in memory, if there is plenty of it: to make and remove the files of servers on a disk costs a quarter of
    the time of tests that make a database each. Whoever sets ``TMPDIR`` chooses the place.
    """
    try:
        place, lines = os.statvfs(MEMORY), Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return None
    (unused,) = (int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    programs = not place.f_flag & os.ST_NOEXEC
    enough = min(unused, place.f_bavail * place.f_frsize) >= ROOM
    return MEMORY if programs and enough and not os.environ.get("TMPDIR") else None


def _session_dir() -> Path:
    """One directory for all; each parallel worker has its own part of it, and the session that began it removes it."""
    worker = os.environ.get(WORKER)
    if worker is None:
        made = make_run_dir("keyturn-tests-", _in_memory())
        os.environ[SHARED_DIR] = str(made)
        return made
    part = Path(os.environ[SHARED_DIR]) / worker
    part.mkdir()
    part.chmod(0o711)
    return part


def _import_collection(path: Path) -> None:
    """Put this collection before any other of its name, also where Ansible's own package of collections is installed."""
    sys.path.insert(0, str(path))
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(path)
    package: Any = importlib.import_module("ansible_collections")
    places = list(package.__path__)
    here = str(path / "ansible_collections")
    package.__path__ = [here, *(place for place in places if place != here)]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the state; after a failure the logs of servers and playbooks stay."""
    if WORKER in os.environ:
        return
    run_dir = config.stash[RUN_DIR]
    if config.stash.get(FAILED, False) and any(run_dir.rglob("*.log")):
        _remove_all_but_logs(run_dir)
    else:
        shutil.rmtree(run_dir, ignore_errors=True)


def _remove_all_but_logs(run_dir: Path) -> None:
    for path in sorted(run_dir.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.rmdir()
        elif path.suffix != ".log" and path.parent.parent.name != "captured":
            path.unlink(missing_ok=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remember whether something failed."""
    session.config.stash[FAILED] = bool(session.testsfailed)
    _keep_seconds(session.config)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how many tests had no real part to run against, and where logs of a failed run are."""
    absent = [
        report
        for report in terminalreporter.getreports("skipped")
        if ABSENT in str(report.longrepr)
    ]
    if absent:
        reasons = sorted({str(report.longrepr[2]).split(ABSENT, 1)[1] for report in absent})
        terminalreporter.write_line(
            f"{len(absent)} tests were skipped because a real part is missing:", yellow=True
        )
        for reason in reasons:
            terminalreporter.write_line(f"  {reason}", yellow=True)
    if config.stash.get(FAILED, False) and any(config.stash[RUN_DIR].rglob("*.log")):
        terminalreporter.write_line(f"logs of the servers: {config.stash[RUN_DIR]}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses ``postgres`` once for each version, or for those that its marker names."""
    if "postgres" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("pg_versions")
    versions = [str(version) for version in marker.args] if marker else list(VERSIONS)
    metafunc.parametrize(
        "postgres",
        versions,
        ids=[f"pg{version}" for version in versions],
        indirect=True,
        scope="session",
    )


def unavailable(error: Missing) -> None:
    """Skip with the reason; fail where every real part is required."""
    if os.environ.get("KEYTURN_REQUIRE_REAL") == "1":
        pytest.fail(f"{ABSENT}{error}", pytrace=False)
    pytest.skip(f"{ABSENT}{error}")


@pytest.fixture(scope="session")
def run_dir(pytestconfig: pytest.Config) -> Path:
    """The place of all state of this session; servers' users can pass through it."""
    return pytestconfig.stash[RUN_DIR]


@pytest.fixture
def scratch(run_dir: Path) -> Path:
    """A fresh directory of one test that servers' users can pass through, unlike ``tmp_path``."""
    path = run_dir / secrets.token_hex(6)
    path.mkdir()
    path.chmod(0o711)
    return path


@pytest.fixture(scope="session")
def _postgres_servers(run_dir: Path) -> Iterator[Callable[[str], PostgresServer]]:
    """One server for each version, started when it is first asked for."""
    servers: dict[str, PostgresServer] = {}

    def get(version: str) -> PostgresServer:
        if version not in servers:
            servers[version] = PostgresServer(version, run_dir=run_dir)
        server = servers[version]
        return server if server.running else server.start()

    yield get
    for server in servers.values():
        server.close()


@pytest.fixture(scope="session")
def postgres_of(
    _postgres_servers: Callable[[str], PostgresServer],
) -> Callable[[str], PostgresServer]:
    """Gives the PostgreSQL server of a version, shared by the session; for a test that needs several at once."""

    def get(version: str) -> PostgresServer:
        try:
            return _postgres_servers(version)
        except Missing as error:
            unavailable(error)
            raise

    return get


@pytest.fixture(scope="session")
def postgres(
    request: pytest.FixtureRequest, postgres_of: Callable[[str], PostgresServer]
) -> PostgresServer:
    """A PostgreSQL server, shared by the session; see ``pg_versions``."""
    return postgres_of(request.param)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Database]:
    """A fresh database and its owner role; every role and database made by the test goes with it."""
    if not postgres.running:
        postgres.start()
    with fresh_database(postgres) as fresh:
        yield fresh


@pytest.fixture
def pgbouncer_factory(scratch: Path) -> Iterator[Callable[..., PgBouncer]]:
    """Starts PgBouncers: ``pgbouncer_factory(postgres, auth="userlist", database=…, users={…}, **ini)``."""
    started: list[PgBouncer] = []

    def make(server: PostgresServer, **options: Any) -> PgBouncer:
        place = scratch / f"pgbouncer-{len(started)}"
        place.mkdir()
        place.chmod(0o711)
        try:
            pooler = PgBouncer(server, run_dir=place, **options)
        except Missing as error:
            unavailable(error)
            raise
        started.append(pooler)
        return pooler.start()

    yield make
    for pooler in started:
        pooler.close()


@pytest.fixture(scope="session")
def vault(run_dir: Path) -> Iterator[VaultServer]:
    """A Vault server, unsealed, shared by the session."""
    place = run_dir / "vault"
    place.mkdir(mode=0o700)
    try:
        server = VaultServer(place)
    except Missing as error:
        unavailable(error)
        raise
    with server:
        yield server


@pytest.fixture
def vault_mount(vault: VaultServer) -> Iterator[str]:
    """The name of a fresh KV v2 mount."""
    name = vault.mount_kv(f"kv-{secrets.token_hex(4)}")
    yield name
    vault.unmount(name)


@pytest.fixture(scope="session")
def moto(run_dir: Path) -> Iterator[MotoServer]:
    """AWS's parameters, secrets and identities, shared by the session: use names of your own."""
    place = run_dir / "moto"
    place.mkdir(mode=0o700)
    try:
        server = MotoServer(place)
    except Missing as error:
        unavailable(error)
        raise
    with server:
        yield server


@pytest.fixture(scope="session")
def kubernetes_server(run_dir: Path) -> Iterator[KubernetesServer]:
    """The control plane of a Kubernetes, shared by the session."""
    place = run_dir / "kubernetes"
    place.mkdir(mode=0o700)
    try:
        server = KubernetesServer(place)
    except Missing as error:
        unavailable(error)
        raise
    with server:
        yield server
