# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers behind one barrier: all are seen to be ready before one is told, all are told at once, and all are seen using the value."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError


@dataclass(frozen=True)
class Member:
    """One of them.

    :param ready: sees whether it can be told, and prepares it; nobody notices that.
    :param tell: has it pick up the value, and returns once it was seen using it.
    """

    ready: Callable[[], None]
    tell: Callable[[], Dict[str, Any]]


def _tried(member: Member) -> Tuple[Dict[str, Any], Optional[KeyturnError]]:
    try:
        return member.tell(), None
    except KeyturnError as error:
        return {}, error


def tell_together(members: Sequence[Member]) -> List[Dict[str, Any]]:
    """Tell all of them, in the time that the slowest takes.

    :return: what each one's ``tell`` returned, in order.
    :raises KeyturnError: one is not ready, and none was told; or some were not seen using the value, and the others were told, too.
    """
    try:
        for member in members:
            member.ready()
    except KeyturnError as error:
        told = f"{error.message}. Nobody behind its barrier was told"
        raise type(error)(told, **error.details) from None
    with ThreadPoolExecutor(max(1, len(members))) as threads:
        done = list(threads.map(_tried, members))
    failed = [error for _result, error in done if error]
    if failed:
        first = failed[0]
        raise type(first)("; ".join(error.message for error in failed), **first.details)
    return [result for result, _error in done]
