# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the machines that run in containers."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from estate.collection import ROOT

sys.path.insert(0, str(Path(__file__).parent))

from machines import Podman, SystemdMachine, required


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """podman with an image, shared by the session."""
    with required():
        made = Podman()
    with required():
        made.start()
    yield made
    made.close()


@pytest.fixture(scope="session")
def machine(podman: Podman, run_dir: Path) -> Iterator[SystemdMachine]:
    """A machine with systemd, shared by the session; each test has units of its own."""
    folder = run_dir / f"m-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o700)
    made = SystemdMachine(podman, folder, ROOT)
    try:
        with required():
            made.start()
        yield made
    finally:
        made.close()
