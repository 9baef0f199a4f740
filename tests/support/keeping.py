# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a credential's keyring and audit log are kept, as seen from outside of a run: in files, or in a real Vault."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers import (
    FileLedger,
    open_ledger,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import open_store
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._vault import to_text
from estate.vault import VaultSaysNo, VaultServer

Line = dict[str, Any]
CREDENTIAL = "db_app"


class Keeping(Protocol):
    """One keyring and its audit log.

    :ivar kind: how tables name it.
    :ivar counts: whether a server counts how often each thing was written.
    :ivar environ: what a run needs in its environment to get there.
    """

    kind: str
    counts: bool
    environ: dict[str, str]

    def options(self) -> dict[str, str]:
        """The references of both, as the modules' options."""

    def text(self) -> str | None:
        """The keyring; none when it is absent."""

    def lines(self, credential: str) -> list[Line]:
        """The audit log."""

    def ledger_text(self) -> str:
        """All that the audit log says."""

    def forget(self) -> None:
        """Remove both."""

    def versions(self) -> dict[str, int]:
        """How often each thing was written, by its place; empty where nobody counts that."""

    def others(self) -> dict[str, dict[str, str]]:
        """What sinks wrote beside keyring and audit log, by place and field."""

    def logs(self) -> list[Path]:
        """What its servers write down of their own accord."""

    def identities(self) -> dict[str, str]:
        """What opens them, by name."""

    def files(self) -> list[Path]:
        """The operator's files that hold such an identity."""

    def holders(self) -> list[Path]:
        """The files of sinks, which are there to hold a value, beside the application's own."""


@dataclass
class InFiles:
    """In two files."""

    keyring: Path
    ledger: Path

    kind, counts = "file", False

    @property
    def environ(self) -> dict[str, str]:
        """Nothing is needed."""
        return {}

    def options(self) -> dict[str, str]:
        """Two references."""
        return {"keyring": f"ref+file://{self.keyring}", "ledger": f"ref+file://{self.ledger}"}

    def text(self) -> str | None:
        """The file."""
        return self.keyring.read_text() if self.keyring.exists() else None

    def lines(self, credential: str) -> list[Line]:
        """The lines of the file."""
        return list(FileLedger(str(self.ledger)).read(credential).lines)

    def ledger_text(self) -> str:
        """The file."""
        return self.ledger.read_text()

    def forget(self) -> None:
        """Remove both files."""
        self.keyring.unlink()
        self.ledger.unlink()

    def versions(self) -> dict[str, int]:
        """Nobody counts."""
        return {}

    def others(self) -> dict[str, dict[str, str]]:
        """Files that sinks write are not kept here."""
        return {}

    def logs(self) -> list[Path]:
        """There is no server."""
        return []

    def identities(self) -> dict[str, str]:
        """Nothing opens them but the file system."""
        return {}

    def files(self) -> list[Path]:
        """None."""
        return []

    def holders(self) -> list[Path]:
        """None."""
        return []


@dataclass
class InVault:
    """In one mount of a Vault; the audit log is beside the keyring, where it is when nobody says where.

    :param mount: it holds nothing else but what sinks write.
    """

    server: VaultServer
    mount: str
    _seen: dict[str, Line] = field(default_factory=dict)

    kind, counts = "Vault", True

    @property
    def environ(self) -> dict[str, str]:
        """Address and token."""
        return {"VAULT_ADDR": self.server.address, "VAULT_TOKEN": self.server.root_token}

    def options(self) -> dict[str, str]:
        """The keyring's reference alone says it."""
        return {"keyring": f"ref+vault://{self.mount}/{CREDENTIAL}", "ledger": "beside"}

    def text(self) -> str | None:
        """The newest version."""
        reference = parse_reference(self.options()["keyring"], "keyring")
        found = open_store(reference, Context(environ=self.environ), "keyring").read()
        return found[0] if found else None

    def lines(self, credential: str) -> list[Line]:
        """The secrets that are lines. One that was seen once is not read again: none is ever written twice."""
        under = f"{CREDENTIAL}.ledger/{credential}/"
        for place in self._places(under):
            if place not in self._seen:
                answer = self.server.request("GET", f"{self.mount}/data/{place}")["data"]
                assert answer["metadata"]["version"] == 1, f"{place} was written over"
                self._seen[place] = json.loads(to_text(answer["data"]))
        return [self._seen[place] for place in sorted(self._seen)]

    def ledger_text(self) -> str:
        """All lines, read anew as somebody who verifies them does: none was written over, and nothing is beside them."""
        found = open_ledger(
            "beside", Context(environ=self.environ), keyring=self.options()["keyring"]
        ).read(CREDENTIAL)
        assert not found.faults, found.faults
        assert list(found.lines) == self.lines(CREDENTIAL)
        return "\n".join(str(line) for line in found.lines)

    def forget(self) -> None:
        """Remove everything with all versions."""
        for place in self._places():
            self.server.request("DELETE", f"{self.mount}/metadata/{place}")
        self._seen.clear()

    def versions(self) -> dict[str, int]:
        """The number of the newest version of each secret."""
        found = {}
        for place in self._places():
            about = self.server.request("GET", f"{self.mount}/metadata/{place}")["data"]
            found[place] = int(about["current_version"])
        return found

    def others(self) -> dict[str, dict[str, str]]:
        """Every other secret."""
        places = [place for place in self._places() if "/" not in place and place != CREDENTIAL]
        asked = {
            place: self.server.request("GET", f"{self.mount}/data/{place}") for place in places
        }
        return {place: answer["data"]["data"] for place, answer in asked.items()}

    def logs(self) -> list[Path]:
        """Vault's log."""
        return [self.server.log_path]

    def identities(self) -> dict[str, str]:
        """The token."""
        return {"token of Vault": self.server.root_token}

    def files(self) -> list[Path]:
        """None: the token is in the environment."""
        return []

    def holders(self) -> list[Path]:
        """None."""
        return []

    def _places(self, under: str = "") -> list[str]:
        try:
            names = self.server.request("LIST", f"{self.mount}/metadata/{under}")["data"]["keys"]
        except VaultSaysNo:
            return []
        found = []
        for name in names:
            found += self._places(under + name) if name.endswith("/") else [under + name]
        return found
