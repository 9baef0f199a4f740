# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grace periods are measured by the store's clock: a machine whose own clock differs writes nothing."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _keyring_step, _preflight
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from estate.vault import VaultServer

ISSUER = {"type": "postgres_role", "roles": ["a", "b"], "login": {"host": "127.0.0.1", "port": 9}}


def params(mount: str, spec: dict[str, dict[str, object]], **own: object) -> dict[str, object]:
    """A task's parameters over a keyring in Vault."""
    run = {"run_id": "r1", "host": "ctl", "pid": 1, "boot_id": "b", "started": "1"}
    defaults = {name: option.get("default") for name, option in spec.items()}
    shared = {"keyring": f"ref+vault://{mount}/db_app", "credential": "db_app", "run": run}
    return {**defaults, **shared, **own}


def context(vault: VaultServer, ahead: timedelta) -> Context:
    """Surroundings whose clock differs from the server's."""
    environ = {"VAULT_ADDR": vault.address, "VAULT_TOKEN": vault.root_token}
    return Context(environ=environ, now=lambda: datetime.now(timezone.utc) + ahead)


def claim(vault: VaultServer, mount: str, ahead: timedelta) -> bool:
    asked = params(mount, dict(_keyring_step.SPEC), transition="claim")
    return bool(execute(_keyring_step.MODULE, asked, context(vault, ahead))["changed"])


@pytest.mark.parametrize("sign", [1, -1], ids=["ahead", "behind"])
def test_a_clock_that_differs_writes_nothing(
    vault: VaultServer, vault_mount: str, sign: int
) -> None:
    assert claim(vault, vault_mount, sign * timedelta(seconds=50))
    asked = params(vault_mount, dict(_keyring_step.SPEC))
    before = open_keyring(asked, context(vault, timedelta(0))).version
    with pytest.raises(
        Refused,
        match=r"the secret store's .* s apart \(at most 60 s are tolerated\): set them right",
    ):
        claim(vault, vault_mount, sign * timedelta(seconds=75))
    assert open_keyring(asked, context(vault, timedelta(0))).version == before


def test_a_first_step_is_refused_too(vault: VaultServer, vault_mount: str) -> None:
    with pytest.raises(Refused, match=r"apart \(at most 60 s are tolerated\): set them right"):
        claim(vault, vault_mount, timedelta(seconds=75))
    asked = params(vault_mount, dict(_keyring_step.SPEC))
    assert open_keyring(asked, context(vault, timedelta(0))).document is None


def test_preflight_says_so(vault: VaultServer, vault_mount: str) -> None:
    asked = params(
        vault_mount,
        dict(_preflight.SPEC),
        issuer=ISSUER,
        purpose="rotate",
        ledger="",
        baseline=False,
    )
    with pytest.raises(Refused, match="clock: the clock here says"):
        execute(_preflight.MODULE, asked, context(vault, timedelta(seconds=75)))
