# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many parameters at once: threads over one client, a read for ten, a write for each that differs.

They are handled in waves, so that no more than two waves' values are held at a time: one is read while the other is written. What
goes wrong with one parameter does not stop the others, except where AWS cannot be reached: then nothing more is begun.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Iterator, List, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import AwsCaller
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_look import (
    Looks,
    chunks,
    not_begun,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import (
    AT_ONCE,
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
    left_alone,
    plan,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_tags import Tags

WAVE = 250


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
        waves: List[Sequence[Wish]] = list(chunks(wishes, WAVE))
        with ThreadPoolExecutor(self._threads) as pool, ThreadPoolExecutor(1) as aside:
            looks = Looks(self._parameters, self._rules, pool, self._stop)
            ahead = looks.begin(waves[0], aside) if waves else None
            try:
                for wave, following in zip(waves, [*waves[1:], None]):
                    seen = ahead.result() if ahead else []
                    ahead = looks.begin(following, aside) if following else None
                    yield from self._bring(pool, wave, seen)
            finally:
                # Whoever ends it early does not wait for what was to come.
                self._stop.set()

    def _bring(
        self, pool: ThreadPoolExecutor, wave: Sequence[Wish], seen: Sequence[Seen]
    ) -> Iterator[Done]:
        if any(wish.value is not None for wish in wave):
            return pool.map(self._one, wave, seen)
        return self._remove(pool, wave, seen)

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
            raise not_begun(self._parameters.where(wish.name))

    def _carry_out(self, wish: Wish, seen: Seen, todo: Plan, done: Done) -> None:
        alone = seen.found is None or left_alone(wish, seen, self._rules)
        untagged = self._tags.missing(wish) if wish.tags and wish.value and not alone else {}
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
        if not self._dry:
            list(pool.map(self._remove_some, chunks(there, AT_ONCE)))
        return iter(done)

    def _remove_some(self, some: Sequence[Done]) -> None:
        if self._stop.is_set():
            for item in some:
                item.error = not_begun(self._parameters.where(item.wish.name))
                item.changed = False
            return
        try:
            self._guard()
            self._parameters.delete([item.wish.name for item in some])
        except KeyturnError as error:
            if isinstance(error, Unreachable):
                self._stop.set()
            if isinstance(error, Unreachable) or len(some) == 1:
                for item in some:
                    item.error, item.changed = error, False
                return
            for item in some:
                self._remove_some([item])
