# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planned changes: what each one says, what the administrator needs for it, and how all of them are carried out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Callable, Dict, FrozenSet, Iterable, List, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._admin import Admin
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import identifier

_BATCH = 50
"""Statements in one transaction: enough to make the round trips cheap, few enough to hold no lock for long."""


@dataclass(frozen=True)
class Need:
    """What a change takes, beside being superuser, which is always enough.

    :param kind: ``owner`` (the rights of a role), ``act`` (to act as it), ``set`` (to be able to act as it), ``admin``
        (ADMIN OPTION on a role), ``attribute`` (to have it oneself), ``superuser``, ``lacking`` (what the server said is
        missing) or ``met`` (the server said that nothing is).
    :param subject: the role, the attribute, or the statement that would help.
    """

    kind: str
    subject: str = ""


MET = Need("met")


@dataclass(frozen=True)
class Change:
    """One statement that brings a role nearer to what it should be.

    :param role: whose state changes.
    :param text: what changes, for a person: no values.
    :param adds: it gives something, as opposed to taking it away.
    :param database: empty for what belongs to the whole server.
    :param settings: parameters that a ``DO`` statement reads.
    :param strong_lock: it stops readers of a table while it runs, so it gets a transaction of its own.
    """

    role: str
    statement: str
    text: str
    adds: bool = True
    database: str = ""
    needs: Tuple[Need, ...] = (MET,)
    settings: Tuple[Tuple[str, str], ...] = ()
    strong_lock: bool = False

    @property
    def line(self) -> str:
        """The change as one line of a diff."""
        return f"{self.role}: {self.text}" + (f" in {self.database}" if self.database else "")


def _is_met(need: Need, admin: Admin, joined: FrozenSet[str]) -> bool:
    role = need.subject
    if need.kind == "owner":
        return role in admin.inherits or role in admin.settable or role in joined
    if need.kind in ("act", "set"):
        return role in admin.settable or role in joined
    if need.kind == "admin":
        return role in admin.administers or role in joined
    if need.kind == "attribute":
        return bool(getattr(admin, role.lower(), False))
    return need.kind == "met"


def _remedy(need: Need, admin: Admin) -> str:
    """The statement, or the words, that would help."""
    name, role = identifier(admin.name), identifier(need.subject)
    if need.kind in ("owner", "act", "set"):
        return f"GRANT {role} TO {name}"
    if need.kind == "admin" and admin.grants_have_options:
        return f"GRANT {role} TO {name} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
    if need.kind == "admin":
        return f"ALTER ROLE {name} CREATEROLE"
    if need.kind == "attribute":
        return f"ALTER ROLE {name} {need.subject}"
    if need.kind == "lacking":
        return need.subject
    return f"a superuser as administrator{need.subject and f' ({need.subject})'}"


def missing_rights(changes: Iterable[Change], admin: Admin, joined: FrozenSet[str]) -> List[str]:
    """What the administrator cannot do, each with what would help; empty when it can do everything.

    :param joined: roles that it makes itself a member of for the time of the change.
    """
    if admin.superuser:
        return []
    found: Dict[str, List[str]] = {}
    for change in changes:
        for need in change.needs:
            if not _is_met(need, admin, joined):
                found.setdefault(_remedy(need, admin), []).append(change.line)
    return [
        f"{admin.name} may not do this: {lines[0]}"
        + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else "")
        + f"; needed: {remedy}"
        for remedy, lines in found.items()
    ]


def acting_as(change: Change, admin: Admin, joined: FrozenSet[str]) -> str:
    """The role that a change must be made as; empty for the administrator itself."""
    for need in change.needs:
        if need.kind == "act" and need.subject != admin.name:
            return need.subject
        if need.kind != "owner" or admin.superuser:
            continue
        has_rights = need.subject in admin.inherits
        if not has_rights and not (need.subject in joined and admin.inherits_new):
            return need.subject
    return ""


def _batches(
    changes: Sequence[Change], admin: Admin, joined: FrozenSet[str]
) -> Iterable[Tuple[Change, List[Change], str]]:
    """Changes that may share a transaction, with the role to act as."""

    def key(item: Tuple[int, Change]) -> Tuple[object, ...]:
        number, change = item
        alone = number if change.strong_lock or change.settings else -1
        return change.database, acting_as(change, admin, joined), alone

    for (_database, run_as, _alone), group in groupby(enumerate(changes), key):
        members = [change for _number, change in group]
        for start in range(0, len(members), _BATCH):
            part = members[start : start + _BATCH]
            yield part[0], part, str(run_as)


def carry_out(
    server: Server,
    changes: Sequence[Change],
    admin: Admin,
    joined: FrozenSet[str],
    guard: Callable[[], None],
) -> None:
    """Make the changes, in their order, each batch in a short transaction of its own.

    :param guard: called right before each transaction.
    :raises KeyturnError: as :meth:`Server.write`; what was done before stays, and another run goes on from there.
    """
    for first, batch, run_as in _batches(changes, admin, joined):
        guard()
        more = f" (and {len(batch) - 1} more)" if len(batch) > 1 else ""
        server.write(
            [change.statement for change in batch],
            f"{first.line}{more}",
            first.database,
            run_as,
            first.settings,
            first.strong_lock,
        )
