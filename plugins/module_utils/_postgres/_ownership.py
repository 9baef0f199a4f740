# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves what belongs to a login role to a group role, so that whoever logs in next owns it as well.

``REASSIGN OWNED`` would lock every table of a database at once and until the end; here each object moves in a transaction
of its own that gives up quickly when it has to wait, and is tried again.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Sequence, Set, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._changes import (
    Change,
    Need,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import identifier
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._observed import (
    SELF,
    DefaultKey,
    Entries,
    Observed,
    Owned,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._rights import Hardwired

_WORDS: Mapping[str, str] = {
    "table": "TABLE",
    "view": "VIEW",
    "materialized view": "MATERIALIZED VIEW",
    "sequence": "SEQUENCE",
    "foreign table": "FOREIGN TABLE",
    "function": "ROUTINE",
    "procedure": "ROUTINE",
    "aggregate": "ROUTINE",
    "schema": "SCHEMA",
    "type": "TYPE",
    "domain": "TYPE",
    "database": "DATABASE",
    "language": "LANGUAGE",
    "collation": "COLLATION",
    "conversion": "CONVERSION",
    "operator": "OPERATOR",
    "operator class": "OPERATOR CLASS",
    "operator family": "OPERATOR FAMILY",
    "text search configuration": "TEXT SEARCH CONFIGURATION",
    "text search dictionary": "TEXT SEARCH DICTIONARY",
    "foreign-data wrapper": "FOREIGN DATA WRAPPER",
    "server": "SERVER",
    "event trigger": "EVENT TRIGGER",
    "publication": "PUBLICATION",
    "subscription": "SUBSCRIPTION",
    "statistics object": "STATISTICS",
    "large object": "LARGE OBJECT",
    "tablespace": "TABLESPACE",
}
"""What ``pg_identify_object`` calls a thing, and what ALTER … OWNER TO calls it; an extension has no such ALTER."""

_LOCKED = ("table", "view", "materialized view", "sequence", "foreign table")


def _lacking(item: Owned) -> Tuple[Need, ...]:
    if item.kind == "database":
        return (Need("attribute", "CREATEDB"),)
    return (Need("lacking", item.lacking),) if item.lacking else ()


def plan_moves(owner: Observed, group: str) -> List[Change]:
    """Give everything that a role owns to the group.

    In the order in which it was read: data first, then what works on data with its owner's rights (views, functions), the
    older before the younger, so that it works at every moment in between: the role has the group's rights, not the reverse.
    """
    changes: List[Change] = []
    leftover: Set[str] = set()
    needs = (Need("owner", owner.role), Need("set", group))
    for item in owner.owned:
        word = _WORDS.get(item.kind)
        if word is None:
            leftover.add(item.database)
            continue
        changes.append(
            Change(
                owner.role,
                f"ALTER {word} {item.identity} OWNER TO {identifier(group)}",
                f"owner of {item.kind} {item.identity}: {identifier(group)} instead of {identifier(owner.role)}",
                database=item.database,
                needs=(*needs, *_lacking(item)),
                strong_lock=item.kind in _LOCKED,
            )
        )
    for database in sorted(leftover):
        statement = f"REASSIGN OWNED BY {identifier(owner.role)} TO {identifier(group)}"
        changes.append(
            Change(
                owner.role, statement, statement, database=database, needs=needs, strong_lock=True
            )
        )
    return changes


def shared_defaults(
    observed: Observed, group: str, databases: Sequence[str], hardwired: Hardwired
) -> Dict[DefaultKey, Entries]:
    """The role's defaults, with everything that it may still make open to the group.

    A session that logged in before the role began to act as the group goes on making objects of its own.
    """
    defaults = dict(observed.defaults)
    for database in databases:
        for kind, base in hardwired.items():
            if not base:
                continue
            key = DefaultKey(database, SELF, "", kind)
            everything: Dict[Tuple[str, str], bool] = {
                (group, name): True for who, name in base if who == SELF
            }
            defaults[key] = {**defaults.get(key, base), **everything}
    return defaults


def named(owned: Sequence[Owned], most: int = 10) -> str:
    """Objects for a message."""
    more = f" and {len(owned) - most} more" if len(owned) > most else ""
    return ", ".join(map(str, owned[:most])) + more
