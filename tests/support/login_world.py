# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mount of a real Vault, for those who have to log in first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    KeyturnError,
)
from estate.vault import AppRole, VaultSaysNo, VaultServer
from vault_world import World

ONE, TWO = '{\n "step": 1\n}\n', '{\n "step": 2\n}\n'
RULES = 'path "MOUNT/data/*" { capabilities = ["create", "read", "update"] }'
WITH_SELF = RULES + ' path "auth/token/renew-self" { capabilities = ["update"] }'
SELF = ' path "auth/token/revoke-self" { capabilities = ["update"] }'


class LoginWorld(World):
    """A world that logs in instead of having a token."""

    def __init__(self, server: VaultServer, mount: str) -> None:
        super().__init__(server, mount)
        del self.environ["VAULT_TOKEN"]
        self.rules = (WITH_SELF + SELF).replace("MOUNT", mount)

    def use(self, role: AppRole) -> None:
        """Log in with this role from now on."""
        self.environ |= {"VAULT_ROLE_ID": role.role_id, "VAULT_SECRET_ID": role.secret_id}
        self.environ["VAULT_LOGIN_MOUNT_POINT"] = role.mount

    def tokens(self, mount: str) -> list[dict[str, Any]]:
        """The tokens that logins at a mount made and that are good still."""
        listed = self.server.request("LIST", "auth/token/accessors")["data"]["keys"]
        found = []
        for accessor in listed:
            # One may end between the two questions.
            with contextlib.suppress(VaultSaysNo):
                body = {"accessor": accessor}
                found.append(
                    self.server.request("POST", "auth/token/lookup-accessor", body)["data"]
                )
        return [token for token in found if token["path"] == f"auth/{mount}/login"]


def refusal(kind: type[KeyturnError], call: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(kind) as caught:
        call(*args)
    assert caught.type is kind
    return caught.value.message
