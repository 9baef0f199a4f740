# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a place that keeps older versions of itself must offer, so that those with a compromised value can be destroyed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List, Protocol, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard

UNDECIDED, LEAVE, PUSH_OUT = "undecided", "leave", "push_out"
"""What becomes of the history of parameters."""
Carries = Callable[[str], bool]
"""Whether a text has the value in it. The text is real content: it is shown to nobody."""


@dataclass(frozen=True)
class Seen:
    """What was found in a place.

    :param carrying: what the place calls the older versions that carry the value and can be ended.
    :param looked: how many older versions were looked into.
    :param left: in sentences, what carries it, or may, and stays.
    :param told: what is to be said once those that carry it are ended: what the service keeps all the same.
    :param state: whatever the place needs to end exactly these.
    """

    carrying: Tuple[str, ...] = ()
    looked: int = 0
    left: Tuple[str, ...] = ()
    told: Tuple[str, ...] = ()
    state: object = None


class OldVersions(Protocol):
    """The older versions of one place. What is in use there is never among them.

    Each method raises ``Denied``, ``Sealed`` or ``Unreachable`` where it is so; none of these is read as "nothing is kept".

    :ivar where: how messages name the place.
    """

    where: str

    def look(self, carries: Carries, replaced: bool) -> Seen:
        """Read each older version, and find those that carry the value.

        :param carries: tells it of a text.
        :param replaced: in a dry run, what is in use there now would be an older version by the time that it is looked at.
        """

    def end(self, seen: Seen, guard: Guard) -> None:
        """Destroy what was found. To be repeated after a kill: it is looked at anew then.

        :param guard: called right before each write.
        """


def numbered(versions: Tuple[str, ...]) -> str:
    """Versions for a sentence: neighbours as a range."""
    numbers = sorted(int(version) for version in versions)
    runs: List[List[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in runs)
