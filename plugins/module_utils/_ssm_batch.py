# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many parameters at once: threads over one client, a read for ten, a write for each that differs.

They are handled in waves, so that no more than one wave's values are held at a time. What goes wrong with one parameter does not
stop the others, except where AWS cannot be reached: then nothing more is begun.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, TypeVar

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import AwsCaller
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import (
    AT_ONCE,
    DESCRIBED_AT_ONCE,
    SECURE,
    Found,
    Parameters,
    check_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_plan import (
    CREATE,
    CURRENT,
    DELETE,
    LABEL,
    NOTHING,
    PREVIOUS,
    WRITE,
    Plan,
    Rules,
    Seen,
    Wish,
    needs_attributes,
    plan,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_tags import Tags

WAVE = 500
Item = TypeVar("Item")


@dataclass
class Done:
    """What was, or in check mode would be, done with one parameter."""

    wish: Wish
    before: Optional[Found] = None
    action: str = NOTHING
    version: Optional[int] = None
    why: Tuple[str, ...] = ()
    changed: bool = False
    error: Optional[KeyturnError] = None


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in groups."""
    return (items[start : start + size] for start in range(0, len(items), size))


class Batch:
    """One task's parameters.

    :param guard: called before each write; raises when this run may no longer write.
    :param dry: read for real, write nothing.
    """

    def __init__(
        self, caller: AwsCaller, rules: Rules, threads: int, guard: Guard, dry: bool
    ) -> None:
        self._parameters = Parameters(caller)
        self._tags = Tags(caller)
        self._rules = rules
        self._threads = threads
        self._guard = guard
        self._dry = dry
        self._stop = Event()

    def run(self, wishes: Sequence[Wish]) -> Iterator[Done]:
        """Bring all of them to what is wished; each one's end, in their order."""
        with ThreadPoolExecutor(self._threads) as pool:
            for wave in chunks(wishes, WAVE):
                seen = self._look(pool, wave)
                if any(wish.value is not None for wish in wave):
                    yield from pool.map(self._one, wave, seen)
                else:
                    yield from self._remove(pool, wave, seen)

    def _look(self, pool: ThreadPoolExecutor, wave: Sequence[Wish]) -> List[Seen]:
        names = [wish.name for wish in wave]
        found = self._ask(pool, self._read, names, AT_ONCE)
        seen = [_seen(found.get(name)) for name in names]
        if self._rules.labels:
            there = [name for name, item in zip(names, seen) if item.found]
            marked = self._ask(pool, self._read_labelled, there, AT_ONCE)
            for name, item in zip(names, seen):
                _add_label(item, marked.get(name))
        needing = [
            wish.name for wish, item in zip(wave, seen) if needs_attributes(wish, item, self._rules)
        ]
        described = self._ask(pool, self._attributes, needing, DESCRIBED_AT_ONCE)
        for wish, item in zip(wave, seen):
            self._add_attributes(wish, item, described.get(wish.name))
        return seen

    def _ask(
        self,
        pool: ThreadPoolExecutor,
        read: Callable[[Sequence[str]], Dict[str, Any]],
        names: Sequence[str],
        size: int,
    ) -> Dict[str, Any]:
        """By name, what was read or the error; nothing for what is not there.

        :raises Unreachable: before anything of this wave is written.
        """
        answers = pool.map(lambda some: self._apart(read, some), chunks(names, size))
        return {name: item for answer in answers for name, item in answer.items()}

    def _apart(
        self, read: Callable[[Sequence[str]], Dict[str, Any]], names: Sequence[str]
    ) -> Dict[str, Any]:
        """Ask for all at once; where one of them is the reason for a refusal, for each alone: AWS does not say which."""
        try:
            return read(names)
        except Unreachable:
            raise
        except KeyturnError as error:
            if len(names) == 1:
                return {names[0]: error}
        return {name: item for one in names for name, item in self._apart(read, [one]).items()}

    def _read(self, names: Sequence[str]) -> Dict[str, Any]:
        return dict(self._parameters.read(names))

    def _read_labelled(self, names: Sequence[str]) -> Dict[str, Any]:
        return dict(self._parameters.read([f"{name}:{CURRENT}" for name in names]))

    def _attributes(self, names: Sequence[str]) -> Dict[str, Any]:
        try:
            return dict(self._parameters.attributes(names))
        except Denied as error:
            # AWS allows this for all parameters or for none, so that asking for each alone would tell nothing more.
            return dict.fromkeys(names, error)

    def _add_attributes(self, wish: Wish, seen: Seen, told: Any) -> None:
        if isinstance(told, Denied) and seen.found and not seen.error:
            blind = seen.found.kind == SECURE and "KeyId" not in wish.given
            if blind or {"Tier", "Description", "KeyId"} & set(wish.given):
                seen.error = self._parameters.blind(wish.name, told)
        elif isinstance(told, KeyturnError):
            seen.error = seen.error or told
        elif told:
            seen.attributes = told

    def _one(self, wish: Wish, seen: Seen) -> Done:
        done = Done(wish, seen.found, version=seen.found.version if seen.found else None)
        try:
            todo = plan(wish, seen, self._rules, self._parameters.where(wish.name))
            done.action, done.why = todo.action, todo.why
            self._check(wish, todo)
            self._carry_out(wish, seen, todo, done)
        except KeyturnError as error:
            done.error = error
            done.changed = bool(not self._dry and (done.changed or error.details.get("written")))
            if isinstance(error, Unreachable):
                self._stop.set()
        return done

    def _check(self, wish: Wish, todo: Plan) -> None:
        if todo.action in (CREATE, WRITE) and wish.value is not None and wish.value.known:
            check_text(wish.value.reveal(), self._parameters.where(wish.name))
        if todo.action and self._stop.is_set():
            raise Unreachable(
                f"{self._parameters.where(wish.name)}: not begun, because AWS could not be reached for another one; run again"
            )

    def _carry_out(self, wish: Wish, seen: Seen, todo: Plan, done: Done) -> None:
        untagged = self._tags.missing(wish) if wish.tags and seen.found and wish.value else {}
        if untagged:
            done.why += ("tags",)
        if self._dry:
            done.changed = bool(todo.action or untagged)
            return
        if todo.action or untagged:
            self._guard()
        if todo.action == DELETE:
            self._parameters.delete([wish.name])
        elif todo.action in (CREATE, WRITE):
            done.version = self._put(wish, seen)
        done.changed = bool(todo.action)
        if untagged:
            self._tags.add(wish.name, untagged)
            done.changed = True
        if self._rules.labels and todo.action in (CREATE, WRITE, LABEL):
            self._label(wish.name, seen, int(done.version or 0))

    def _put(self, wish: Wish, seen: Seen) -> int:
        text = wish.value.reveal() if wish.value else ""
        before = seen.found
        given = dict(wish.given)
        if before is None:
            if wish.kind != SECURE:
                given.pop("KeyId", None)
            return self._parameters.create(
                wish.name, text, wish.kind, **given, **Tags.argument(wish.tags)
            )
        given = {**(seen.attributes or {}), **given}
        try:
            return self._parameters.overwrite(wish.name, text, before, **given)
        except Refused as error:
            # The label is ours, and about to move there anyway.
            if not self._rules.labels or error.details.get("labels") != [PREVIOUS]:
                raise
            self._parameters.label(wish.name, seen.labelled or before.version, PREVIOUS)
            return self._parameters.overwrite(wish.name, text, before, **given)

    def _label(self, name: str, seen: Seen, version: int) -> None:
        """Move the labels, ``previous`` first: a run that is ended in between finds by ``current`` what to do."""
        last = seen.labelled
        if last is None and seen.found and seen.found.version != version:
            last = seen.found.version
        if last not in (None, version):
            self._parameters.label(name, int(last or 0), PREVIOUS)
        self._parameters.label(name, version, CURRENT)

    def _remove(
        self, pool: ThreadPoolExecutor, wave: Sequence[Wish], seen: Sequence[Seen]
    ) -> Iterator[Done]:
        """Remove ten with one call."""
        done = [
            Done(wish, item.found, DELETE if item.found else NOTHING, error=item.error)
            for wish, item in zip(wave, seen)
        ]
        there = [item for item in done if item.action and not item.error]
        for item in there:
            item.changed = True
        if not self._dry and there:
            self._guard()
            list(pool.map(self._remove_some, chunks(there, AT_ONCE)))
        return iter(done)

    def _remove_some(self, some: Sequence[Done]) -> None:
        try:
            self._parameters.delete([item.wish.name for item in some])
        except KeyturnError as error:
            if isinstance(error, Unreachable) or len(some) == 1:
                for item in some:
                    item.error, item.changed = error, False
                return
            for item in some:
                self._remove_some([item])


def _seen(told: Any) -> Seen:
    return Seen(error=told) if isinstance(told, KeyturnError) else Seen(told)


def _add_label(seen: Seen, told: Any) -> None:
    if isinstance(told, KeyturnError):
        seen.error = seen.error or told
    elif told:
        seen.labelled = told.version
