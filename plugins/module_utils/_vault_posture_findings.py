# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at a Vault finds: one line for each thing, with what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, List

HIGH, UNKNOWN, MEDIUM, LOW = "high", "unknown", "medium", "low"
LEVELS = (HIGH, UNKNOWN, MEDIUM, LOW)
"""In the order in which they want looking at. What could not be looked at may be as bad as anything."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or that could not be looked at.

    :param check: which check found it.
    :param level: one of :data:`LEVELS`.
    :param message: what is wrong and where.
    :param remedy: what to do.
    """

    check: str
    level: str
    message: str
    remedy: str


class Findings:
    """Findings as they come, and which checks were made.

    :ivar checked: the names of the checks, also of those that found nothing.
    """

    def __init__(self) -> None:
        self._found: List[Finding] = []
        self.checked: List[str] = []

    def begin(self, check: str) -> None:
        """Note that a check is made."""
        if check not in self.checked:
            self.checked.append(check)

    def add(self, check: str, level: str, message: str, remedy: str) -> None:
        """Note what a check found."""
        self.begin(check)
        self._found.append(Finding(check, level, message, remedy))

    def result(self) -> Dict[str, Any]:
        """For a task's result: what wants looking at first comes first."""
        order = sorted(self._found, key=lambda finding: LEVELS.index(finding.level))
        return {"findings": [asdict(finding) for finding in order], "checked": self.checked}
