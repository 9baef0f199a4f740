# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of Vault: one as in production, and the ways to log in to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from estate.vault import PRODUCTION, AppRole, VaultServer


@pytest.fixture(scope="session")
def production_vault(run_dir: Path, vault: VaultServer) -> Iterator[VaultServer]:
    """A Vault with raft storage, TLS by its own authority, an audit log and five key shares, shared by the session.

    It may be sealed by a test that unseals it again.
    """
    place = run_dir / "vault-production"
    place.mkdir(mode=0o700)
    with VaultServer(place, shape=PRODUCTION) as server:
        yield server


@pytest.fixture(scope="module")
def vault_approle(vault: VaultServer) -> Iterator[Callable[..., AppRole]]:
    """Makes roles at one mount: ``vault_approle(rules, **options)``."""
    mount = vault.enable_auth("approle")
    yield lambda rules, **options: vault.approle(mount, rules, **options)
    vault.request("DELETE", f"sys/auth/{mount}")
