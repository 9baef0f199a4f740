# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How it is arranged that something goes wrong with an AppRole's login at Vault, with its renewal or with its end."""

from __future__ import annotations

import json
import time

import fault_proxy as harm
from backends import ProductionVaultBackend
from estate.vault import AppRole
from fault_proxy import Exchange, Fault
from store_arrange import Arrange, Bench

FORBIDDEN = harm.said(403, b'{"errors": ["permission denied"]}')
_BRIEF = 1.0
"""Seconds that a token lasts which is to end."""


def _backend(bench: Bench) -> ProductionVaultBackend:
    assert isinstance(bench.backend, ProductionVaultBackend)
    return bench.backend


def at(ending: str, act: harm.Act, times: int | None = None) -> Arrange:
    """At requests whose path ends like this, of which there must be one."""

    def arrange(bench: Bench) -> None:
        fault = Fault(act, lambda asked: asked.path.endswith(ending), times)
        bench.proxy.faults.append(fault)
        bench.due.append(fault)

    return arrange


def lost_login(bench: Bench) -> None:
    """Vault makes a token that nobody hears of."""

    def act(exchange: Exchange) -> None:
        token = json.loads(exchange.forward().body)["auth"]["client_token"]
        bench.hidden.append(token)
        bench.left.append(token)
        exchange.cut()

    at("/login", act, 1)(bench)


def used_up(bench: Bench) -> None:
    """The secret id was good for one login, and that is over."""
    backend = _backend(bench)
    role = backend.new_role(secret_id_num_uses=1)
    backend.use(role)
    _log_in_past(backend, role)


def _log_in_past(backend: ProductionVaultBackend, role: AppRole) -> None:
    credentials = {"role_id": role.role_id, "secret_id": role.secret_id}
    backend.server.request("POST", f"auth/{role.mount}/login", credentials)


def _logged_in(bench: Bench) -> str:
    """Let the task log in; its token."""
    backend = _backend(bench)
    backend.store("nothing").read()
    return backend.token_at(backend.environ["VAULT_ADDR"])


def revoked(bench: Bench) -> None:
    """The token of the login is revoked while the task runs."""
    token = _logged_in(bench)
    _backend(bench).server.request("POST", "auth/token/revoke", {"token": token})


def expired(bench: Bench) -> None:
    """The token of the login ends while the task runs."""
    _age(bench, 1.2)


def renewal(act: harm.Act) -> Arrange:
    """The token of the login has less than a third of its time left, and its renewal meets this."""

    def arrange(bench: Bench) -> None:
        _age(bench, 0.75)
        at("/renew-self", act)(bench)

    return arrange


def _age(bench: Bench, share: float) -> None:
    """Let this share of the time of the login's token go by; the next token lasts as usual."""
    backend = _backend(bench)
    role = backend.new_role(token_ttl=f"{_BRIEF:g}s")
    backend.use(role)
    _logged_in(bench)
    backend.server.request("POST", f"auth/{role.mount}/role/{role.name}", {"token_ttl": "60s"})
    time.sleep(share * _BRIEF)
