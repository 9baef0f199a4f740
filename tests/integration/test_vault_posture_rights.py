# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy that docs/vault-posture.md ships: without any of its rules, something is said not to have been looked at."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import (
    _vault_posture,
    _vault_posture_snapshot,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import ModuleCore, execute
from estate.vault import VaultServer, vault_binary
from vault_cluster import holders
from vault_rights import rules, without

PAGE = Path(__file__).resolve().parents[2] / "docs" / "vault-posture.md"
[POLICY] = re.findall(r"```hcl\n(.*?)\n```", PAGE.read_text("utf-8"), re.DOTALL)
EACH = [(path, capability) for path, given in rules(POLICY) for capability in given]
CANARY, SNAPSHOT = "secret/data/canary", "sys/storage/raft/snapshot"
Look = Callable[[str], list[tuple[str, str]]]


@pytest.fixture
def look(production_vault: VaultServer, scratch: Path) -> Look:
    """Looks as somebody with a policy; which checks could not be made, and why."""
    mount = production_vault.mount_kv(f"kv-{secrets.token_hex(4)}")
    body = {"data": {"value": secrets.token_urlsafe(24)}}
    production_vault.request("POST", f"{mount}/data/canary", body)

    def asked(policy: str) -> list[tuple[str, str]]:
        token = production_vault.token(policy.replace('"secret/', f'"{mount}/'))
        reach = {"url": production_vault.address, "ca_cert": str(production_vault.ca_file)}
        restore = {
            "program": str(vault_binary()),
            "canary": f"ref+vault://{mount}/canary#/value",
            "shares": holders(scratch, production_vault.unseal_keys)[:3],
            "directory": str(scratch),
        }
        found = findings(_vault_posture.MODULE, **reach, token=token)
        # To restore one takes its time. With the whole policy, the playbook's own test does.
        if CANARY not in policy or SNAPSHOT not in policy:
            found += findings(_vault_posture_snapshot.MODULE, **reach, **restore, token=token)
        return [(item["check"], item["message"]) for item in found if item["level"] == "unknown"]

    return asked


def findings(core: ModuleCore, **options: Any) -> list[dict[str, str]]:
    """Everything that a part of the playbook found."""
    defaults = {name: option.get("default") for name, option in core.argument_spec.items()}
    return list(execute(core, {**defaults, **options}, Context(environ={}))["findings"])


def test_with_the_policy_of_the_page_everything_is_looked_at(look: Look) -> None:
    assert look(POLICY) == []


@pytest.mark.parametrize(("path", "capability"), EACH)
def test_no_capability_can_be_left_out(look: Look, path: str, capability: str) -> None:
    [(check, message)] = look(without(POLICY, path, capability))
    checks = {
        "sys/config/state/sanitized": "listener_tls",
        "sys/audit": "audit",
        "auth/token/accessors": "root_tokens",
        "auth/token/lookup-accessor": "root_tokens",
        SNAPSHOT: "restore",
        CANARY: "restore",
    }
    assert check == checks[path]
    assert any(text in message for text in ("the token may not", "looked at", "cannot be read"))
