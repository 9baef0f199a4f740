# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stream platform's keyring in a file, and calls of ``publish`` for it under a clock of the test's own."""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._publish import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

MORNING = datetime(2026, 11, 22, 8, 30, tzinfo=timezone.utc)


class Platform:
    """One credential with the field ``key``.

    :ivar keys: every value that it ever had, the one in use last.
    :ivar now: what the clock shows.
    """

    def __init__(self, folder: Path, sinks: list[dict[str, Any]]) -> None:
        self.path, self.ledger = folder / "restream.keyring", folder / "restream.ledger"
        self.sinks = sinks
        self.keys: list[str] = []
        self.now = MORNING
        self.warnings: list[str] = []
        self.document = Document("restream", secrets.token_bytes(32))
        self.rotate()

    @property
    def key(self) -> str:
        """The value in use."""
        return self.keys[-1]

    def rotate(self, reason: str = "scheduled", operator: str = "mira") -> str:
        """Another value comes into use, as of now; no sink is written."""
        self.keys.append(f"live_{secrets.token_urlsafe(18)}")
        stage = Stage(
            f"r{len(self.keys)}",
            "observed",
            {"key": Secret(self.key)},
            made=self.now,
            promoted=self.now,
            reason=reason,
            operator=operator,
        )
        self.document = Document(
            "restream", self.document.salt, current=self.document.with_fingerprints(stage)
        )
        self.save()
        return self.key

    def save(self) -> None:
        """Write the keyring."""
        self.path.touch(mode=0o600)
        self.path.write_text(dump_text(self.document))

    def publish(self, check_mode: bool = False) -> dict[str, Any]:
        """Bring the sinks up to date; no value is in what is told."""
        context = Context(
            check_mode, diff=True, environ={}, now=lambda: self.now, warn=self.warnings.append
        )
        params: dict[str, Any] = {"keyring": f"ref+file://{self.path}", "credential": "restream"}
        ledger = f"ref+file://{self.ledger}"
        params.update(sinks=self.sinks, run={"run_id": "me"}, host=None, ledger=ledger)
        result: dict[str, Any] = execute(MODULE, params, context)
        told = json.dumps(result) + "".join(self.warnings)
        assert not [key for key in self.keys if key in told]
        return result

    def as_predicted(self) -> dict[str, Any]:
        """A dry run, the run, and both again: each tells the same, and the second pair has nothing to do."""
        predicted = self.publish(check_mode=True)
        done = self.publish()
        # The steps of the keyring that were only predicted.
        predicted.pop("replay", None)
        told = {"behind": [], "unknown": [], "sinks": []}
        assert {**predicted, **told} == {**done, "sinks": []}
        for before, after in zip(predicted["sinks"], done["sinks"], strict=True):
            assert {**before, "version": after["version"]} == after
        self.settled()
        return done

    def settled(self) -> None:
        """Nothing is to be done, neither in a dry run nor in a run."""
        for check_mode in (True, False):
            again = self.publish(check_mode)
            assert not again["changed"] and not again["behind"] and not again["diff"]

    def later(self, **time: float) -> None:
        """The clock goes on."""
        self.now += timedelta(**time)
