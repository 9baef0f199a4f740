# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of playbooks that are run, and of the machines that run in containers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from estate.collection import ROOT, given_collections_path
from estate.playbook import Ansible
from machines import Podman, SystemdMachine, required
from warm import WarmAnsible, WarmServers


@pytest.fixture(scope="session")
def collections() -> Path:
    """A path that holds the collection, this one or the build of it that is tested."""
    found = given_collections_path()
    assert found
    return found


@pytest.fixture(scope="session")
def warm_servers(run_dir: Path, collections: Path) -> Iterator[WarmServers]:
    """What the runs of ``ansible`` are forked from, shared by the session."""
    place = run_dir / "warm"
    place.mkdir(mode=0o700)
    made = WarmServers(place, collections)
    yield made
    made.close()


@pytest.fixture
def ansible(scratch: Path, collections: Path, warm_servers: WarmServers) -> Ansible:
    """Runs playbooks in fresh surroundings: ``ansible.run("keyturn.runbooks.rotate_db", "--check", inventory=…)``."""
    place = scratch / "ansible"
    place.mkdir(mode=0o700)
    return WarmAnsible(place, collections, servers=warm_servers)


@pytest.fixture
def ansible_command(scratch: Path, collections: Path) -> Ansible:
    """The same with the command that a person types, which imports everything anew: for tests of the process itself."""
    place = scratch / "ansible-command"
    place.mkdir(mode=0o700)
    return Ansible(place, collections)


@pytest.fixture
def run_playbook(ansible: Ansible) -> Callable[..., Any]:
    """``run_playbook(playbook, *arguments, inventory=…, extra_vars=…, env=…)`` gives how the run ended."""
    return ansible.run


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
