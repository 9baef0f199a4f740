# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a value that a reset ended: kept in its keyring, and said by whoever is asked."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _keyring_step
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    parse_document,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
PROOF = [{"type": "stream", "against": "ingest", "at": "2026-03-01T12:00:00Z"}]


class Desk:
    """A credential whose values a person makes at a platform, by the module ``keyring``.

    :ivar handed: where the person puts a value.
    """

    def __init__(self, folder: Path, overlap: bool = False) -> None:
        self.path, self.handed = folder / "keyring.json", folder / "handed.key"
        self.now = NOW
        self.values: list[str] = []
        self.issuer = {
            "type": "operator",
            "overlap": overlap,
            "values": {"key": f"ref+file://{self.handed}"},
            "make": "dashboard.example, Keys: New",
            "end": "dashboard.example, Keys: Delete",
        }

    def common(self) -> dict[str, Any]:
        """What each module is told."""
        return {
            "keyring": f"ref+file://{self.path}",
            "credential": "tw",
            "issuer": self.issuer,
            "run_id": "run1",
        }

    def context(self, check: bool = False) -> Context:
        return Context(now=lambda: self.now, check_mode=check)

    def step(self, name: str, **more: Any) -> dict[str, Any]:
        """One step; an hour goes by."""
        spec = {key: option.get("default") for key, option in _keyring_step.SPEC.items()}
        given = {**spec, **self.common(), "transition": name, "evidence": PROOF, **more}
        done = _keyring_step.run(given, self.context())
        self.now += timedelta(hours=1)
        return done

    def hand(self, text: str = "") -> str:
        """Put a value there; a new one unless it is given."""
        self.handed.touch(0o600)
        self.values.append(text or secrets.token_urlsafe(20))
        self.handed.write_text(f"{self.values[-1]}\n")
        return self.values[-1]

    def make(self) -> None:
        """Have the person make a value, and take it."""
        self.step("stage")
        self.hand()
        self.step("issued")

    def rotate(self) -> None:
        """A whole rotation."""
        self.make()
        for name in ("applied", "proved", "promote", "observed"):
            self.step(name, grace="0s")

    def abandon(self) -> None:
        """Undo the pending value."""
        self.step("abandon")
        self.step("abandoned")

    def document(self) -> Document:
        return parse_document(self.path.read_text())


@pytest.mark.parametrize("overlap", [True, False])
def test_only_a_reset_ends_the_value_in_use(tmp_path: Path, overlap: bool) -> None:
    desk = Desk(tmp_path, overlap)
    desk.rotate()
    desk.step("stage")
    current = desk.document().current
    assert current and current.ended is None
    at = desk.now
    desk.hand()
    shown = desk.step("issued")["keyring"]["stages"]["current"]["ended"]
    desk.abandon()
    current = desk.document().current
    assert current and current.ended == (None if overlap else at)
    assert shown == (None if overlap else at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    line = desk.document().ledger
    assert line and ("ended" in line.line["stages"]["current"]) is not overlap
