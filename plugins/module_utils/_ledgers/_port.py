# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a place that keeps the audit log must offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional, Protocol, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import LedgerHead
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import Line


@dataclass(frozen=True)
class Reading:
    """One credential's lines, oldest first, and what is wrong that only the place can know.

    :param lines: a line that was written twice with the same content is here once.
    :param faults: sentences, such as that a line's version was deleted.
    """

    lines: Tuple[Line, ...] = ()
    faults: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Review:
    """What a run finds before it writes its next line.

    :param lost: the line that the keyring remembers and the ledger lacks, marked as recovered.
    :param faults: what else is wrong, in sentences.
    """

    lost: Optional[Line] = None
    faults: Tuple[str, ...] = ()


class Ledger(Protocol):
    """A place for lines that are only ever added.

    Every method raises ``Denied``, ``Sealed`` or ``Unreachable`` where it is so; none of these is ever read as "no lines".
    """

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line. The same line again is no error, and counts once.

        :raises Corrupt: when the place already has another line of that number.
        """

    def review(
        self, credential: str, head: Optional[LedgerHead], first: bool, failed: bool
    ) -> Review:
        """Look whether the lines so far are there.

        :param head: the last line as the keyring remembers it; none when it knows of no line.
        :param first: this run writes its first line: look at everything that costs little.
        :param failed: the line to come tells of a failure, which may have been that of an append.
        :raises Corrupt: when no line can be added without hiding what is wrong.
        """

    def check_append(self, credential: str, head: Optional[LedgerHead]) -> None:
        """Find out, without a line, what would stop the next one, as far as the place tells it to whoever asks.

        :raises BadInput, Refused: as :meth:`append` would.
        """

    def read(self, credential: str) -> Reading:
        """All lines of a credential.

        :raises BadInput: for a place that cannot be read back.
        """
