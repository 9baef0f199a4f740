# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there of many parameters: a read for ten, and a description for fifty where it counts.

A wave of them is read while the one before it is written, so that no thread waits for the last read before the first write.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, TypeVar

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import (
    AT_ONCE,
    DESCRIBED_AT_ONCE,
    Parameters,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_plan import (
    CURRENT,
    Rules,
    Seen,
    Wish,
    needs_attributes,
    needs_key,
    to_be_compared,
)

Item = TypeVar("Item")
Told = Mapping[str, Any]
"""By name, what was read or the error; nothing for what is not there."""

Read = Callable[[Sequence[str]], Told]


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in groups."""
    return (items[start : start + size] for start in range(0, len(items), size))


def not_begun(where: str) -> Unreachable:
    """The error for a parameter that nothing was done with.

    :param where: how messages name it.
    """
    return Unreachable(
        f"{where}: not begun, because AWS could not be reached for another one; run again"
    )


class Looks:
    """The reads of one task.

    :param pool: makes the calls.
    :param stop: set when AWS could not be reached; then nothing more is asked.
    """

    def __init__(
        self, parameters: Parameters, rules: Rules, pool: ThreadPoolExecutor, stop: Event
    ) -> None:
        self._parameters = parameters
        self._rules = rules
        self._pool = pool
        self._stop = stop

    def begin(self, wave: Sequence[Wish], aside: ThreadPoolExecutor) -> Future[List[Seen]]:
        """Have a wave read, ahead of what is given to the pool after this; what is there, in its order.

        :param aside: a thread that waits for the pool, and makes no calls.
        """
        reads = self._ask(self._parameters.read, [wish.name for wish in wave], AT_ONCE)
        return aside.submit(self._look, wave, reads)

    def _look(self, wave: Sequence[Wish], reads: List[Future[Told]]) -> List[Seen]:
        found = _gathered(reads)
        seen = [_seen(found.get(wish.name)) for wish in wave]
        if self._rules.labels:
            there = [wish.name for wish, item in zip(wave, seen) if item.found]
            marked = _gathered(self._ask(self._read_labelled, there, AT_ONCE))
            for wish, item in zip(wave, seen):
                _add_label(item, marked.get(wish.name))
        needing = [wish.name for wish, item in zip(wave, seen) if self._needs(wish, item)]
        described = _gathered(self._ask(self._described, needing, DESCRIBED_AT_ONCE))
        for wish, item in zip(wave, seen):
            if self._needs(wish, item):
                self._add_attributes(wish, item, described.get(wish.name))
        return seen

    def _needs(self, wish: Wish, seen: Seen) -> bool:
        return seen.error is None and needs_attributes(wish, seen, self._rules)

    def _ask(self, read: Read, names: Sequence[str], size: int) -> List[Future[Told]]:
        return [self._pool.submit(self._apart, read, some) for some in chunks(names, size)]

    def _apart(self, read: Read, names: Sequence[str]) -> Told:
        """Ask for all at once; where one of them is the reason for a refusal, for each alone: AWS does not say which."""
        if self._stop.is_set():
            return {name: not_begun(self._parameters.where(name)) for name in names}
        try:
            return read(names)
        except Unreachable as error:
            self._stop.set()
            return dict.fromkeys(names, error)
        except KeyturnError as error:
            if len(names) == 1:
                return {names[0]: error}
        return {name: item for one in names for name, item in self._apart(read, [one]).items()}

    def _read_labelled(self, names: Sequence[str]) -> Told:
        return self._parameters.read([f"{name}:{CURRENT}" for name in names])

    def _described(self, names: Sequence[str]) -> Told:
        try:
            return self._parameters.attributes(names)
        except Denied as error:
            # AWS allows this for all parameters or for none, so that asking for each alone would tell nothing more.
            return dict.fromkeys(names, error)

    def _add_attributes(self, wish: Wish, seen: Seen, told: Any) -> None:
        """What DescribeParameters tells, or why the parameter cannot be written without it."""
        if isinstance(told, Denied):
            if needs_key(wish, seen, self._rules):
                seen.error = self._parameters.blind(wish.name, told)
            elif to_be_compared(wish, seen, self._rules):
                seen.error = self._parameters.not_compared(wish.name, told)
        elif isinstance(told, KeyturnError):
            seen.error = told
        elif told is not None:
            seen.attributes = told
        elif needs_key(wish, seen, self._rules):
            seen.error = self._parameters.undescribed(wish.name)


def _gathered(asked: Sequence[Future[Told]]) -> Dict[str, Any]:
    return {name: item for answer in asked for name, item in answer.result().items()}


def _seen(told: Any) -> Seen:
    return Seen(error=told) if isinstance(told, KeyturnError) else Seen(told)


def _add_label(seen: Seen, told: Any) -> None:
    if isinstance(told, KeyturnError):
        seen.error = seen.error or told
    elif told:
        seen.labelled = told.version
