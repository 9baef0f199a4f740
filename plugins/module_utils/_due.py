# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How old a credential is, measured against its policy, and what people should hear about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Dict, List, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import SOON, Policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_duration,
    format_time,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._windows import window_state

LATE = 1.1
STATES = ("never_rotated", "fresh", "soon", "due", "overdue", "on_demand")
NOTICE_BEFORE = timedelta(hours=24)


@dataclass(frozen=True)
class DueStatus:
    """Where a credential stands against its policy.

    :param state: ``never_rotated`` (no value, or one whose age nobody knows), ``fresh``, ``soon`` (from 90 % of the maximum
        age), ``due``, ``overdue`` (over 110 %, ended or compromised), or ``on_demand`` where the policy knows no age.
    :param age: since the value was made.
    :param due_at: when it reaches its maximum age.
    :param under_way: a rotation was begun and is not observed yet.
    :param ended: when the issuer ended the value in use.
    :param compromised: an emergency named the value in use, or took it out of use.
    """

    state: str
    age: Optional[timedelta] = None
    max_age: Optional[timedelta] = None
    due_at: Optional[datetime] = None
    under_way: bool = False
    ended: Optional[datetime] = None
    compromised: bool = False

    @property
    def due(self) -> bool:
        """Whether a scheduled run has something to do."""
        return self.under_way or self.state in ("never_rotated", "due", "overdue")

    def describe(self) -> str:
        """One line for people, such as ``12d 4h old of 180d, due at 2026-…``."""
        parts = [f"{format_duration(self.age)} old" if self.age is not None else "of unknown age"]
        if self.max_age is not None:
            parts[0] += f" of at most {format_duration(self.max_age)}"
        if self.due_at is not None:
            parts.append(f"due at {format_time(self.due_at)}")
        if self.ended:
            parts.append(ended_at_issuer(self.ended))
        if self.compromised:
            parts.append("compromised")
        if self.under_way:
            parts.append("a rotation is under way")
        return ", ".join(parts)

    def as_dict(self) -> Dict[str, Any]:
        """For results; ages in whole seconds."""
        return {
            "state": self.state,
            "due": self.due,
            "age_seconds": None if self.age is None else int(self.age.total_seconds()),
            "max_age_seconds": None if self.max_age is None else int(self.max_age.total_seconds()),
            "due_at": None if self.due_at is None else format_time(self.due_at),
            "under_way": self.under_way,
            "ended": None if self.ended is None else format_time(self.ended),
            "compromised": self.compromised,
            "text": self.describe(),
        }


def ended_at_issuer(moment: datetime) -> str:
    """What is the matter with a value that a reset ended."""
    return f"the value in use ended at its issuer on {format_time(moment)}: nobody can log in or go live with it"


def born(stage: Optional[Stage]) -> Optional[datetime]:
    """When the value was made, as far as anybody knows: of an adopted one, which may have been returned to since, it may be unknown."""
    if stage is None:
        return None
    return stage.made if stage.adopted else stage.made or stage.promoted


def under_way(document: Optional[Document]) -> bool:
    """Whether a rotation was begun and is neither observed nor being undone."""
    if document is None:
        return False
    pending, current = document.pending, document.current
    return bool(pending and pending.status != "abandoning") or bool(
        current and current.status in ("cutover", "promoted")
    )


def cut_over(document: Optional[Document]) -> bool:
    """Whether consumers may already hold the new value while the rotation is not observed: stopping there helps nobody."""
    current = document.current if document else None
    return bool(current and current.status in ("cutover", "promoted"))


def exposed(document: Optional[Document]) -> bool:
    """Whether an emergency asks for a new value: the one in use is compromised, or was taken out of use for that."""
    if document is None:
        return False
    current, previous = document.current, document.previous
    return current.compromised if current else bool(previous and previous.compromised)


def taken_out(document: Optional[Document]) -> bool:
    """Whether the value that was in use was taken out of use before there is another."""
    return exposed(document) and bool(document and document.current is None)


def in_emergency(document: Optional[Document]) -> bool:
    """Whether a compromised value is not ended yet, or not replaced."""
    previous = document.previous if document else None
    return exposed(document) or bool(previous and previous.compromised)


def can_return_to(stage: Optional[Stage]) -> bool:
    """Whether a rollback may make this stage current again, where its issuer can."""
    return bool(stage and stage.status == "grace" and not stage.failed and not stage.compromised)


def being_rolled_back(document: Optional[Document]) -> bool:
    """Whether a rollback was written and is not observed yet."""
    previous = document.previous if document else None
    return bool(previous and previous.failed) and cut_over(document)


def was_rolled_back(document: Optional[Document], rotation_id: str = "") -> bool:
    """Whether a rollback was written and observed, and nothing was begun since.

    :param rotation_id: only the rollback of this rotation, when one is named.
    """
    if document is None or document.current is None or document.pending:
        return False
    previous = document.previous
    done = previous is not None and previous.failed and document.current.status == "observed"
    return bool(done and previous and rotation_id in ("", previous.rotation_id))


def _state(policy: Policy, age: Optional[timedelta], max_age: timedelta) -> str:
    if age is None:
        return "never_rotated"
    if age >= max_age * LATE:
        return "overdue"
    if age >= max_age:
        return "due"
    return "soon" if age >= max_age * SOON else "fresh"


def measure(document: Optional[Document], policy: Policy, now: datetime) -> DueStatus:
    """Measure a credential's age against its policy.

    :param now: aware, by the same clock that wrote the document.
    """
    made = born(document.current if document else None)
    age = max(now - made, timedelta(0)) if made else None
    going, current = under_way(document), document.current if document else None
    ended, named = current.ended if current else None, exposed(document)
    late = bool(ended or named)
    if policy.max_age is None:
        state = "on_demand" if current else "never_rotated"
        return DueStatus("overdue" if late else state, age, None, None, going, ended, named)
    due_at = made + policy.max_age if made else None
    state = "overdue" if late else _state(policy, age, policy.max_age)
    return DueStatus(state, age, policy.max_age, due_at, going, ended, named)


@dataclass(frozen=True)
class Notice:
    """Something that people should hear once.

    :param event: ``window_opens``, ``age_90`` or ``grace_24h_in_use``.
    :param mark: what the keyring's ``noticed`` holds for the event once it was told, so that it is told once.
    """

    event: str
    mark: str
    message: str


def _age_notice(document: Document, policy: Policy, now: datetime) -> Optional[Notice]:
    status, current = measure(document, policy, now), document.current
    if current is None or status.state in ("fresh", "never_rotated", "on_demand"):
        return None
    return Notice(
        "age_90", current.rotation_id, f"{document.credential} is {status.describe()}: rotate it"
    )


def _grace_notice(document: Document, now: datetime, in_use: Optional[int]) -> Optional[Notice]:
    previous = document.previous
    if (
        previous is None
        or previous.retire_after is None
        or not in_use
        or previous.retire_after - now > NOTICE_BEFORE
    ):
        return None
    ends = format_time(previous.retire_after)
    message = f"{document.credential}: the previous value is still used by {in_use} client(s), and its grace ends at {ends}"
    return Notice("grace_24h_in_use", previous.rotation_id, message)


def _window_notice(
    document: Optional[Document], policy: Policy, now: datetime, credential: str
) -> Optional[Notice]:
    if not policy.windows:
        return None
    state = window_state(policy.windows, now)
    if state.is_open or state.opens is None or state.opens - now > NOTICE_BEFORE:
        return None
    if not measure(document, policy, state.opens).due:
        return None
    mark = format_time(state.opens)
    return Notice(
        "window_opens",
        mark,
        f"{credential}: the maintenance window opens at {mark}, and a rotation is due in it",
    )


def notices(
    document: Optional[Document],
    policy: Policy,
    now: datetime,
    in_use: Optional[int] = None,
    credential: str = "",
) -> List[Notice]:
    """What people should hear now and were not told yet.

    :param in_use: how many clients still use the previous value; none when nobody counted.
    """
    found = [
        _window_notice(
            document, policy, now, credential or (document.credential if document else "")
        )
    ]
    if document is not None:
        found += [_age_notice(document, policy, now), _grace_notice(document, now, in_use)]
    told = document.noticed if document else {}
    return [item for item in found if item and told.get(item.event) != item.mark]


def due_status(document: Optional[Document], policy: Policy, now: datetime) -> Dict[str, Any]:
    """:func:`measure` as plain data, for results."""
    return measure(document, policy, now).as_dict()
