# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a place that keeps one document must offer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import List, Optional, Protocol, Tuple


@dataclass(frozen=True)
class StoredVersion:
    """One version of a document that the store knows of.

    :param version: as :meth:`Store.read` gives it.
    :param state: ``current``, ``old``, ``deleted`` (can be brought back) or ``destroyed``.
    :param made: when it was written, if the store knows.
    """

    version: str
    state: str
    made: Optional[datetime] = None


class Store(Protocol):
    """One document with versions and an atomic compare-and-set.

    A version is a text that only the store understands: to be compared and given back, not to be counted with. Every method
    raises ``Denied``, ``Sealed`` or ``Unreachable`` where it is so; none of these is ever read as "absent".
    """

    def read(self) -> Optional[Tuple[str, str]]:
        """The document's text and its version; none when the store says that there is none."""

    def write(self, text: str, expected: Optional[str]) -> str:
        """Write a version, if the present one is the expected one.

        :param expected: the version that :meth:`read` gave; none: there must be no document.
        :return: the new version.
        :raises Conflict: somebody else wrote meanwhile; nothing was written.
        """

    def check_write(self, expected: Optional[str]) -> None:
        """Find out, without a write, what would stop :meth:`write`, as far as the store tells it to whoever asks.

        :param expected: as :meth:`write` would get it.
        :raises Absent, Conflict, Refused, BadInput, MissingLibrary: as :meth:`write` would.
        """

    def time(self) -> Optional[datetime]:
        """What the store's own clock said when it was last asked something; none where it has none of its own, or tells no time."""

    def versions(self) -> List[StoredVersion]:
        """What the store still has or knows of, newest first; empty when there is no document."""
