# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which runs need no trial of their own, because one that was tried saw all that they would see.

What a run does follows from what it looks at. Where two states differ only in parts that a run of a playbook from one of them never
looked at, it takes the same way from the other. It also leaves the same behind, unless it changes what other parts are named by.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Facts = Mapping[str, Any]
# Facts that no other fact is told by; after a change of any other the run from another state has to be tried.
ALONE = frozenset({"claim", "ledger"})


def digest(facts: Facts) -> str:
    """Names a state by its facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Tried:
    """A run that was tried.

    :param seen: the facts that it looked at, with what they were.
    :param left: for each state on its way, the facts that were others then.
    :param ended: how it ended.
    """

    seen: Facts
    left: tuple[Facts, ...]
    ended: str

    def sees(self, facts: Facts) -> bool:
        """Whether it would see the same in that state."""
        return all(facts[name] == value for name, value in self.seen.items())

    def leaves(self, facts: Facts) -> set[str]:
        """The states that it would come through from that one."""
        return {digest({**facts, **changed}) for changed in self.left}


@dataclass
class Likeness:
    """The runs that were tried, by their playbooks."""

    _tried: dict[str, list[Tried]] = field(default_factory=dict)
    _from: dict[tuple[str, str], int] = field(default_factory=dict)

    def keep(
        self, playbook: str, facts: Facts, seen: Iterable[str], way: Iterable[Facts], ended: str
    ) -> None:
        """Keep one, if runs from other states can be known by it.

        :param seen: the names of the facts that it looked at.
        :param way: the facts of every state on its way.
        """
        left = [{name: now[name] for name in now if now[name] != facts[name]} for now in way]
        if all(changed.keys() <= ALONE for changed in left):
            tried = Tried({name: facts[name] for name in seen}, tuple(left), ended)
            self._tried.setdefault(playbook, []).append(tried)

    def like(
        self, playbook: str, key: str, facts: Facts, known: Callable[[str], bool]
    ) -> Tried | None:
        """One that saw all that a run from this state would see, and after which no new state is left to be found.

        :param key: the state's name.
        :param known: whether a state was found already.
        """
        tried = self._tried.get(playbook, [])
        first = None
        for number in range(self._from.get((playbook, key), 0), len(tried)):
            if tried[number].sees(facts):
                if all(known(left) for left in tried[number].leaves(facts)):
                    return tried[number]
                first = number if first is None else first
        self._from[playbook, key] = len(tried) if first is None else first
        return None
