# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For modules used alone, without a ledger."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import LedgerHead
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers._port import (
    Reading,
    Review,
)


class NoLedger:
    """Keeps nothing."""

    def append(self, line: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def review(
        self, credential: str, head: Optional[LedgerHead], first: bool, failed: bool
    ) -> Review:
        """Know nothing."""
        return Review()

    def check_append(self, credential: str, head: Optional[LedgerHead]) -> None:
        """Nothing stops it."""

    def read(self, credential: str) -> Reading:
        """Know nothing."""
        return Reading()
