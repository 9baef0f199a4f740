# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``vault_kv`` in this process, on one mount of a real Vault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv_task import MODULE
from estate.vault import VaultSaysNo
from vault_world import World

VALUES = 'path "MOUNT/data/*" { capabilities = ["create", "read", "update"] }'
ASKING = ' path "sys/capabilities-self" { capabilities = ["update"] }'
NO_PATCH = ' path "MOUNT/metadata/*" { capabilities = ["read", "create", "update"] }'
READ = 'path "MOUNT/data/*" { capabilities = ["read"] } path "MOUNT/metadata/*" { capabilities = ["read"] }'


class KvWorld(World):
    """Runs the module in this process."""

    salted = False

    def options(self, **options: Any) -> dict[str, Any]:
        defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
        return {**defaults, "engine_mount_point": self.mount, "path": "app", **options}

    def run(self, check: bool = False, **options: Any) -> dict[str, Any]:
        # Fingerprints with one salt, so that those of two calls can be compared.
        salted = {"randbytes": b"s".__mul__} if self.salted else {}
        context = replace(self.context, check_mode=check, diff=True, foreseen={}, **salted)
        return execute(MODULE, self.options(**options), context)

    def quartet(self, **options: Any) -> dict[str, Any]:
        """Check, apply, check, apply: predicted, done, and then nothing more to do."""
        before, self.salted = self.state(), True
        predicted = self.run(check=True, **options)
        assert self.state() == before
        done = self.run(**options)
        assert predicted["changed"] is done["changed"] is True
        assert predicted["diff"] == done["diff"]
        after = self.state()
        for check in (True, False):
            again = self.run(check=check, **options)
            assert again["changed"] is False
        assert self.state() == after
        self.salted = False
        return done

    def state(self) -> dict[str, Any] | None:
        """Metadata and newest data, as Vault gives them."""
        try:
            metadata = self.server.request("GET", f"{self.mount}/metadata/app")["data"]
        except VaultSaysNo:
            return None
        return {**metadata, "data": self.data()}

    def data(self, path: str = "data/app") -> Any:
        try:
            return self.server.request("GET", f"{self.mount}/{path}")["data"].get("data")
        except VaultSaysNo:
            return None

    def custom(self) -> dict[str, str]:
        state = self.state()
        assert state
        return state["custom_metadata"] or {}

    def version_states(self) -> dict[str, str]:
        state = self.state()
        assert state
        return {
            number: "destroyed"
            if entry["destroyed"]
            else "deleted"
            if entry["deletion_time"]
            else "live"
            for number, entry in state["versions"].items()
        }


def refusal(kind: type[KeyturnError], call: Callable[..., Any], **options: Any) -> str:
    with pytest.raises(kind) as caught:
        call(**options)
    assert caught.type is kind
    return caught.value.message
