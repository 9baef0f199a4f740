# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done with a folder of numbered Fernet keys, as Keystone keeps them. Pure.

Key ``0`` is *staged*: it decrypts, and is the next to encrypt. The highest number is the *primary*, which encrypts; all between are
*secondary* and decrypt. A rotation gives the staged key the next number, and makes a new ``0``. These are two writes, and a folder
tells by itself which of them was the last: while ``0`` has the same key as the primary, or is not there, a rotation was begun and
not ended, and all that is left to do is a new ``0``.

Times are the files' own. A key is written as ``0`` when the one before it is promoted, and keeps that file's time under its later
number. So a key came into use when the next one was made, which Keystone's own rotation leaves to be read as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Absent, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet import equal_keys
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_duration,
    format_time,
)

STAGED = 0
_CLOCKS = timedelta(minutes=5)
"""How far clocks of hosts that share files may be apart."""


@dataclass(frozen=True)
class Key:
    """One file.

    :param modified: the file's time.
    """

    secret: Secret
    modified: datetime


@dataclass(frozen=True)
class Keys:
    """The keys of a folder by number. An empty file ``0`` is none: no key was ever read from it."""

    by_number: Mapping[int, Key]

    @property
    def staged(self) -> Optional[Key]:
        """The next to encrypt."""
        return self.by_number.get(STAGED)

    @property
    def numbered(self) -> List[int]:
        """All but the staged one, oldest first."""
        return sorted(number for number in self.by_number if number != STAGED)

    @property
    def primary(self) -> Optional[int]:
        """The one that encrypts; the staged one, where it is alone."""
        return max(self.by_number, default=None)

    def role(self, number: int) -> str:
        """``primary``, ``staged`` or ``secondary``."""
        if number == self.primary:
            return "primary"
        return "staged" if number == STAGED else "secondary"

    @property
    def unfinished(self) -> bool:
        """A rotation, or the making of the first keys, was begun and not ended."""
        primary = self.primary
        if primary is None:
            return False
        staged = self.staged
        return (
            primary == STAGED or staged is None or staged.secret == self.by_number[primary].secret
        )

    def came_into_use(self, number: int) -> Optional[datetime]:
        """When this key began to encrypt; none for one that never did, and where it cannot be told."""
        later = [other for other in self.numbered if other > number]
        if number == STAGED or (self.unfinished and not later):
            return None
        after = self.by_number[later[0] if later else STAGED]
        # The later one of both: a copy that lost its times is never told older than it is.
        return max(self.by_number[number].modified, after.modified)

    def went_out_of_use(self, number: int) -> Optional[datetime]:
        """When another key took its place; none for one that encrypts or never did."""
        later = [other for other in self.numbered if other > number]
        return self.came_into_use(later[0]) if number != STAGED and later else None

    @property
    def duplicates(self) -> List[List[int]]:
        """Numbers that have the same key."""
        return equal_keys(
            [(number, self.by_number[number].secret) for number in sorted(self.by_number)]
        )


@dataclass(frozen=True)
class Rules:
    """What a rotation minds.

    :param most: how many keys stay, the staged one among them.
    :param keep_for: how long a key must have been out of use before it is removed.
    :param max_age: rotate only a primary that is older.
    :param from_primary: rotate only while this one is the primary.
    """

    most: int
    keep_for: timedelta
    max_age: Optional[timedelta] = None
    from_primary: Optional[int] = None


@dataclass(frozen=True)
class Plan:
    """What to do, in this order: a new key under a number, the staged one under its next number, a new staged one, and removals.

    :param first: the number of a first key, where there was none.
    :param promote: the number that the staged key gets.
    :param stage: whether a new staged key is made.
    :param finished: this only ends what an earlier run began.
    :param prune: numbers of keys that go.
    :param kept: keys beyond ``most`` that stay, and until when.
    """

    first: Optional[int] = None
    promote: Optional[int] = None
    stage: bool = False
    finished: bool = False
    prune: Tuple[int, ...] = ()
    kept: Tuple[Tuple[int, datetime], ...] = ()

    @property
    def new(self) -> List[int]:
        """Numbers of the keys that are made, in the order in which they are put in place."""
        first = [] if self.first is None else [self.first]
        return [*first, STAGED] if self.stage else first

    @property
    def writes(self) -> bool:
        """Whether anything is to be done."""
        return self.first is not None or self.stage or bool(self.prune)

    @property
    def rotates(self) -> bool:
        """Whether the staged key takes over."""
        return self.promote is not None and not self.finished

    def after(self, keys: Keys, new: Mapping[int, Secret], now: datetime) -> Keys:
        """The folder afterwards.

        :param new: the keys that are made.
        """
        found: Dict[int, Key] = dict(keys.by_number)
        if self.first is not None:
            found[self.first] = Key(new[self.first], now)
        if self.promote is not None:
            found[self.promote] = found[STAGED]
        if self.stage:
            found[STAGED] = Key(new[STAGED], now)
        return Keys({number: key for number, key in found.items() if number not in self.prune})


def missing(keys: Keys) -> Plan:
    """What is missing for a folder that can be used: a primary and a staged key."""
    if not keys.by_number:
        return Plan(first=1, stage=True)
    if keys.primary == STAGED:
        return Plan(promote=1, stage=True, finished=True)
    return Plan(stage=True, finished=True) if keys.unfinished else Plan()


def rotation(keys: Keys, rules: Rules, now: datetime, where: str) -> Plan:
    """A rotation that is due, or the end of one that was begun, or nothing; and what may be removed then.

    :param where: how messages name the folder.
    :raises Absent: for a folder without a key.
    :raises Refused: for a staged key that was in use before, and a primary that is not the one that was to be replaced.
    """
    primary = keys.primary
    if primary is None:
        raise Absent(f"{where}: there is no key to rotate; state 'present' makes the first ones")
    plan = missing(keys)
    if not plan.writes and is_due(keys, rules, now, where):
        _refuse_used(keys, where)
        plan = Plan(promote=primary + 1, stage=True)
    # A new key's value does not matter here.
    return _with_removals(plan, plan.after(keys, {STAGED: Secret.new()}, now), rules, now)


def is_due(keys: Keys, rules: Rules, now: datetime, where: str) -> bool:
    """Whether the primary is one to be replaced.

    :raises Refused: when it is neither the one that was named nor its successor.
    """
    primary = keys.primary or STAGED
    named = rules.from_primary
    if named is not None and primary not in (named, named + 1):
        raise Refused(
            f"{where}: from_primary is {named} and the primary is {primary}. Nothing was rotated: it is to be {named} before and "
            f"{named + 1} afterwards. See who rotated or restored the folder, then name the number that is to be replaced"
        )
    if named is not None and primary != named:
        return False
    since = keys.came_into_use(primary)
    return rules.max_age is None or since is None or now - since >= rules.max_age


def _refuse_used(keys: Keys, where: str) -> None:
    staged = keys.staged
    same = [
        number
        for number in keys.numbered
        if staged and keys.by_number[number].secret == staged.secret
    ]
    if same:
        raise Refused(
            f"{where}: the staged key is the same as number {same[0]}, which was in use before; it is not put in use again. Remove file "
            "0, have state 'present' make a new one, and copy it to every other node before you rotate"
        )


def _with_removals(plan: Plan, after: Keys, rules: Rules, now: datetime) -> Plan:
    excess = len(after.by_number) - rules.most
    oldest = [number for number in after.numbered if number != after.primary]
    prune: List[int] = []
    kept: List[Tuple[int, datetime]] = []
    for number in oldest[: max(0, excess)]:
        ended = after.went_out_of_use(number) or now
        if now - ended >= rules.keep_for:
            prune.append(number)
        else:
            kept.append((number, ended + rules.keep_for))
    return replace(plan, prune=tuple(prune), kept=tuple(kept))


def notes(keys: Keys, plan: Plan, rules: Rules, now: datetime) -> List[str]:
    """What a person should know."""
    told = [
        f"keys {' and '.join(map(str, numbers))} are the same"
        for numbers in keys.duplicates
        if not (keys.unfinished and numbers == [STAGED, keys.primary])
    ]
    ahead = [number for number, key in keys.by_number.items() if key.modified > now + _CLOCKS]
    if ahead:
        told.append(
            f"the time of file {min(ahead)} is in the future; ages are read from these times, so nothing is due or removed before then. "
            "Set the clock of the host right, then 'touch' that file"
        )
    if plan.kept:
        names = ", ".join(f"{number} until {format_time(until)}" for number, until in plan.kept)
        told.append(
            f"more than {rules.most} keys are kept: {names}. What they encrypted may be in use still: they are removed by the first run "
            f"of state 'rotated' when they have been out of use for {format_duration(rules.keep_for)} (keep_for)"
        )
    return told
