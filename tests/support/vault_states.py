# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""States of a real Vault in which it refuses: sealed, and with a quota that is used up."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from estate.processes import wait_until
from estate.vault import VaultSaysNo, VaultServer
from vault_cluster import SecondNode

State = Callable[[], object]
"""What keeps the server in the state, called before each request that is to meet it."""


@contextmanager
def sealed(server: VaultServer) -> Iterator[State]:
    """As after ``vault operator seal``."""
    server.seal()
    try:
        yield bool
    finally:
        server.unseal()


@contextmanager
def restarted(node: SecondNode) -> Iterator[State]:
    """A node of a cluster that was restarted and that nobody has unsealed yet."""
    node.restart()
    try:
        yield bool
    finally:
        node.give(0, 1, 2)
        # Alone, the other one was no majority and has stepped down, or is about to: what the two have committed, they have a leader for.
        wait_until(node.first.commits, 20, "the cluster's leader")


@contextmanager
def limited(server: VaultServer, mount: str, interval: str) -> Iterator[State]:
    """A rate limit quota of one request of this mount in an interval, used up; the server tells how long."""
    path = f"sys/quotas/rate-limit/q{secrets.token_hex(4)}"
    server.request("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": True})
    server.request("POST", path, {"path": f"{mount}/", "rate": 1, "interval": interval})

    def use_up() -> None:
        try:
            while True:
                server.request("GET", f"{mount}/config")
        except VaultSaysNo as error:
            if error.status != 429:
                raise

    try:
        yield use_up
    finally:
        server.request("DELETE", path)
        server.request("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": False})
