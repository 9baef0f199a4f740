# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers behind one barrier: all are seen to be ready before one is told, all are told at once, and all are seen using the value."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError


@dataclass(frozen=True)
class Member:
    """One of them.

    :param ready: sees whether it can be told, and prepares it; nobody notices that.
    :param tell: has it pick up the value, and returns once it was seen using it.
    :param lane: those with the same one follow each other, such as services of compose, whose command does not bear another beside it.
    """

    ready: Callable[[], None]
    tell: Callable[[], Dict[str, Any]]
    lane: str = ""


@dataclass(frozen=True)
class _Told:
    """What became of one member; neither where one before it in its lane failed."""

    result: Optional[Dict[str, Any]] = None
    error: Optional[KeyturnError] = None


def _lanes(members: Sequence[Member]) -> List[List[int]]:
    """The positions of members that follow each other."""
    found: Dict[str, List[int]] = {}
    for position, member in enumerate(members):
        found.setdefault(member.lane or f" {position}", []).append(position)
    return list(found.values())


def _tried(member: Member) -> _Told:
    try:
        return _Told(member.tell())
    except KeyturnError as error:
        return _Told(error=error)


def _tell_lane(members: Sequence[Member]) -> List[_Told]:
    """Tell them one after the other, until one fails."""
    told: List[_Told] = []
    for member in members:
        failed = bool(told) and told[-1].result is None
        told.append(_Told() if failed else _tried(member))
    return told


def tell_together(members: Sequence[Member]) -> List[Dict[str, Any]]:
    """Tell all of them, in the time that the slowest lane takes.

    :return: what each one's ``tell`` returned, in order.
    :raises KeyturnError: one is not ready, and none was told; or some were not seen using the value, and the others were told, too.
    """
    try:
        for member in members:
            member.ready()
    except KeyturnError as error:
        told = f"{error.message}. Nobody behind its barrier was told"
        raise type(error)(told, **error.details) from None
    lanes = _lanes(members)
    with ThreadPoolExecutor(len(lanes)) as threads:
        done = list(
            threads.map(_tell_lane, [[members[position] for position in lane] for lane in lanes])
        )
    by_position = dict(pair for lane, told in zip(lanes, done) for pair in zip(lane, told))
    found = [by_position[position] for position in range(len(members))]
    failed = [one.error for one in found if one.error]
    if failed:
        first = failed[0]
        raise type(first)("; ".join(error.message for error in failed), **first.details)
    return [one.result or {} for one in found]
