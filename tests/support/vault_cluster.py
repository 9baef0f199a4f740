# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Vault whose key is in five shares of which three open it, and what its tests do with the shares."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import secrets
import threading
from collections.abc import Sequence
from pathlib import Path

from estate.processes import wait_until
from estate.vault import PRODUCTION, VaultServer, VaultShape


class SharedVault(VaultServer):
    """A server as a careful administrator sets it up, or of another shape."""

    def __init__(self, run_dir: Path, shape: VaultShape = PRODUCTION) -> None:
        super().__init__(run_dir, shape=shape)

    @property
    def shares(self) -> list[str]:
        """The shares of its key."""
        return self.unseal_keys

    def restart(self) -> None:
        """As after a power cut: it comes back sealed."""
        self.stop()
        self.start_sealed()

    def give(self, *numbers: int) -> None:
        """Give it these shares."""
        for number in numbers:
            self.request("PUT", "sys/unseal", {"key": self.shares[number]})

    def progress(self) -> int:
        """How many shares it was given."""
        return int(self.request("GET", "sys/seal-status")["progress"])

    def is_sealed(self) -> bool:
        """Whether it is."""
        return bool(self.request("GET", "sys/seal-status")["sealed"])

    def serves(self) -> bool:
        """Whether a request with its root token is answered."""
        return self._says_yes("GET", "auth/token/lookup-self")

    def commits(self) -> bool:
        """Whether a write is taken: of a cluster, by a majority."""
        return self._says_yes("POST", "cubbyhole/committed", {"by": "a majority"})

    def _says_yes(self, method: str, path: str, body: dict[str, str] | None = None) -> bool:
        try:
            return self._call(method, path, body)[0] in (200, 204)
        except (OSError, http.client.HTTPException):
            return False

    def log(self) -> str:
        """What it has logged so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")


class FirstNode(SharedVault):
    """A node that others can join: it counts them after a second instead of ten."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir, VaultShape(storage="raft", shares=5, threshold=3))
        _configure(run_dir, autopilot_reconcile_interval="500ms", autopilot_update_interval="500ms")

    def start(self) -> FirstNode:
        """Start, and have it take a node for settled at once."""
        super().start()
        soon = {"server_stabilization_time": "1s"}
        self.request("POST", "sys/storage/raft/autopilot/configuration", soon)
        return self


class SecondNode(SharedVault):
    """A node that joins another one's cluster, whose shares open it."""

    def __init__(self, run_dir: Path, first: FirstNode) -> None:
        super().__init__(run_dir, first.shape)
        self.first = first
        _configure(run_dir, node_id="two")

    def start(self) -> SecondNode:
        """Start, join, and wait until the other one counts it."""
        self._daemon.start(lambda: self._health() == 501)
        self.unseal_keys = self.first.unseal_keys
        self.request("POST", "sys/storage/raft/join", {"leader_api_addr": self.first.address})
        for share in self.shares[:3]:
            self.request("PUT", "sys/unseal", {"key": share})
        wait_until(self._votes, 20, "the second node to become a voter")
        return self

    def _votes(self) -> bool:
        found = self.first.request("GET", "sys/storage/raft/configuration")["data"]["config"]
        return sum(bool(server["voter"]) for server in found["servers"]) == 2


def _configure(run_dir: Path, **raft: str) -> None:
    """Change a node's raft storage before its first start."""
    path = run_dir / "vault.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["storage"]["raft"].update(raft)
    path.write_text(json.dumps(settings), encoding="utf-8")


class CommandLines:
    """What stood in the command lines of all processes while this was entered, as far as a look each 10 ms sees it."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._ended = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> CommandLines:
        self._looking.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.seen.add(path.read_text(encoding="utf-8", errors="replace"))


class CarefulVault(SharedVault):
    """A server at which nothing is to be found: what it was set up with is gone, and two tokens can do little.

    :ivar canary: what its canary holds.
    :ivar reader: a token that may look at its posture.
    :ivar stranger: one that may not.
    """

    canary = ""
    reader = ""
    stranger = ""

    def furnish(self, rules: str) -> None:
        """Make canary and tokens, and revoke the root token.

        :param rules: what the reader may do.
        """
        self.mount_kv("secret")
        self.canary = secrets.token_urlsafe(24)
        self.request("POST", "secret/data/canary", {"data": {"value": self.canary}})
        self.reader = self.token(rules, no_parent=True, ttl="1h")
        little = 'path "secret/*" { capabilities = ["read"] }'
        self.stranger = self.token(little, no_parent=True, ttl="1h")
        self.request("POST", "auth/token/revoke-self", {})


def holders(place: Path, shares: Sequence[str]) -> list[str]:
    """The shares in private files of their own; references to them."""
    found = []
    for number, share in enumerate(shares):
        folder = place / f"holder{number}"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / "share"
        path.touch(mode=0o600)
        path.write_text(f"{share}\n")
        found.append(f"ref+file://{path}")
    return found


def bent(share: str) -> str:
    """A share that has the form of one and is wrong."""
    raw = bytearray(base64.b64decode(share))
    raw[3] ^= 1
    return base64.b64encode(bytes(raw)).decode()


def forms(share: str) -> tuple[str, ...]:
    """Each text by which the share could be found where it must not be."""
    return share, base64.b64decode(share).hex(), share.rstrip("=")
