# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing one place to what is wanted there: read, plan, and one write if anything differs."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Dict, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Absent, Conflict
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import (
    Changes,
    Observed,
    Place,
    Stale,
)

TRIES = 50
"""How often a place is read and planned anew when somebody else wrote to it in between."""

_LONGEST_PAUSE = 0.6
_SHORTEST_TRY = 0.005


@dataclass(frozen=True)
class Wanted:
    """What is to be in one place.

    :param where: how messages name the place.
    :param fields: by name; none for a field that should not be there.
    :param create: whether the place is made when it is not there.
    :param missing: fields that are written only where they are not there.
    """

    where: str
    fields: Mapping[str, Optional[Secret]]
    create: bool = True
    missing: Mapping[str, Secret] = field(default_factory=dict)

    @property
    def names(self) -> Tuple[str, ...]:
        """All the fields that this is about."""
        return (*self.fields, *self.missing)


@dataclass(frozen=True)
class Outcome:
    """What was, or in check mode would be, done to one place."""

    observed: Observed
    changes: Changes
    version: Optional[str]

    @property
    def changed(self) -> bool:
        """Whether there was anything to write."""
        return bool(self.changes or self.observed.drift)


def plan(wanted: Wanted, observed: Observed) -> Changes:
    """The fields that differ. Pure. A value that check mode only predicts equals none that is there, and of those that earlier
    steps of this dry run would have written only the one that will be the same."""
    changes: Dict[str, Optional[Secret]] = {
        name: value for name, value in wanted.missing.items() if name not in observed.fields
    }
    for name, value in wanted.fields.items():
        if value is None:
            if name in observed.fields:
                changes[name] = None
        elif observed.fields.get(name) != value:
            changes[name] = value
    return changes


def _read(place: Place, wanted: Wanted) -> Outcome:
    observed = place.read(wanted.names)
    fills = wanted.missing or any(value is not None for value in wanted.fields.values())
    if fills and not observed.exists and not wanted.create:
        raise Absent(
            f"{wanted.where}: it is not there, and 'create' is false; make it first, or leave that out"
        )
    return Outcome(observed, plan(wanted, observed), observed.version)


def _write(
    place: Place, wanted: Wanted, guard: Guard, seen: Optional[Outcome] = None
) -> Optional[Outcome]:
    """One try; none when somebody else wrote in between.

    :param seen: what was read before, which counts where no lock has to be held from reading to writing.
    """
    lock = place.exclusive()
    with lock or nullcontext():
        found = _read(place, wanted) if lock or seen is None else seen
        if not found.changed:
            return found
        guard()
        try:
            version = place.write(found.observed, found.changes)
        except Stale:
            return None
    return Outcome(found.observed, found.changes, version)


def _pause(attempt: int, took: float, context: Context) -> None:
    """Wait for a time that grows, and that is measured by what a try takes: a pause that is shorter only makes others lose theirs.

    :param took: the seconds that the try took which was lost.
    """
    share = context.randbytes(1)[0] / 255
    time.sleep(min(_LONGEST_PAUSE, max(_SHORTEST_TRY, took) * 2.0 ** (attempt + 1)) * share)


def _foreseen(found: Outcome, wanted: Wanted, context: Context) -> Outcome:
    """What would be found after what earlier steps of this dry run would have written; keeps what this one would."""
    written = context.foreseen.get(wanted.where)
    if written is not None:
        gone = {name for name, value in written.items() if value is None}
        fields = {**found.observed.fields, **written}
        there = {name: value for name, value in fields.items() if name not in gone}
        observed = replace(found.observed, fields=there, exists=True, drift=())
        found = Outcome(observed, plan(wanted, observed), found.version)
    if found.changed:
        context.foreseen[wanted.where] = {**(written or {}), **found.changes, **wanted.fields}
    return found


def bring(place: Place, wanted: Wanted, guard: Guard, context: Context) -> Outcome:
    """Bring one place to what is wanted there: no write and no lock when nothing differs, else one write.

    :param guard: called right before each write; raises when this run may no longer write.
    :raises KeyturnError: as the place does; :class:`Conflict` when others keep writing in between.
    """
    place.check({**wanted.missing, **wanted.fields})
    found = _read(place, wanted)
    if context.check_mode:
        found = _foreseen(found, wanted, context)
    if found.changed and context.check_mode:
        place.check_write(found.observed, found.changes)
    if context.check_mode:
        return found
    if not found.changed:
        place.tidy()
        return found
    for attempt in range(TRIES):
        begun = time.monotonic()
        done = _write(place, wanted, guard, found if attempt == 0 else None)
        if done:
            return done
        _pause(attempt, time.monotonic() - begun, context)
    raise Conflict(
        f"{wanted.where}: somebody else wrote to it {TRIES} times in between; find out who, then run again"
    )
