# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person is told before a value is replaced of which only one is accepted at a time. Pure."""

from __future__ import annotations

from typing import List, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    Consumer,
    order,
    turns,
)

_LOGINS = (
    "the issuer knows one value at a time: from the moment when it takes the new one until the last consumer was seen using it, "
    "new logins with the old one fail, while open sessions live on"
)
_CALLS = (
    "whoever checks the value knows one value at a time: from the moment when the first consumer has the new one until the last one was "
    "seen using it, calls with the other one fail"
)
_LIST = (
    ". Where whoever checks it can take a list, no call fails: give its sink {current,pending,previous.value|join:,} and say "
    "'overlap: true'"
)


def _named(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _way(consumers: Sequence[Consumer]) -> str:
    """Who is told when, as a sentence; empty where nobody is told anything."""
    told = [consumer for wave in order(consumers) for consumer in wave if consumer.type != "none"]
    steps: List[str] = []
    for turn in turns(told):
        names = _named([consumer.name for consumer in turn])
        together = f"{names} are told at once, behind the barrier {turn[0].barrier}"
        steps.append(together if len(turn) > 1 else names)
    if len(steps) < 2:
        alone = f"{''.join(steps)} alone is told, and what it restarts takes that long"
        return "" if not steps else steps[0] if "told at once" in steps[0] else alone
    return f"one after the other is told: {'; '.join(steps)}"


def interruption(
    issuer: Mapping[str, object], consumers: Sequence[Consumer], last: Optional[float]
) -> str:
    """The warning.

    :param issuer: as its user wrote it.
    :param last: seconds that it took the last time, if that is known.
    """
    measured = "" if last is None else f"; the last time that took {last:.1f} s at most"
    if issuer.get("type") != "generated":
        return f"{_LOGINS}{measured}"
    way = _way(consumers)
    return f"{_CALLS}{measured}{'. ' * bool(way)}{way}{_LIST}"
