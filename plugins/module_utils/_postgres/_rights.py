# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the rights of two roles to the statements that make them equal. Nothing here talks to a server."""

from __future__ import annotations

from itertools import groupby
from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Set, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres import _blocks
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._changes import (
    MET,
    Change,
    Need,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import (
    grantee,
    identifier,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._observed import (
    PEER,
    SELF,
    DefaultKey,
    Entries,
    Held,
    MappingKey,
    Observed,
    PolicyKey,
    Privilege,
)

Hardwired = Mapping[str, Entries]
"""What PostgreSQL itself gives on new objects, by the letter of their kind."""

DEFAULT_KINDS: Mapping[str, str] = {
    "r": "TABLES",
    "S": "SEQUENCES",
    "f": "ROUTINES",
    "T": "TYPES",
    "n": "SCHEMAS",
    "L": "LARGE OBJECTS",
}


def _thing(kind: str, target: str, column: str, names: Iterable[str]) -> str:
    """``SELECT, INSERT ON TABLE public.t``, as GRANT has it."""
    listed = ", ".join(f"{name} ({column})" if column else name for name in sorted(names))
    return f"{listed} ON {kind} {target}"


def _owner_need(held: Held) -> Need:
    return Need("owner", held.owner) if held.owner else Need("superuser", "for parameters")


def _grants(wanted: Mapping[Privilege, Held], role: str) -> Iterator[Change]:
    """GRANT statements, one for each thing."""

    def key(privilege: Privilege) -> Tuple[str, str, str, str, bool]:
        held = wanted[privilege]
        return (
            privilege.database,
            privilege.kind,
            privilege.target,
            privilege.column,
            held.grantable,
        )

    for (database, kind, target, column, grantable), group in groupby(sorted(wanted, key=key), key):
        members = list(group)
        option = " WITH GRANT OPTION" if grantable else ""
        thing = _thing(kind, target, column, (privilege.name for privilege in members))
        closed = [wanted[privilege] for privilege in members if not wanted[privilege].ours]
        yield Change(
            role,
            f"GRANT {thing} TO {identifier(role)}{option}",
            f"{thing}{option}",
            database=database,
            needs=(_owner_need(closed[0]),) if closed else (MET,),
        )


def _revokes(unwanted: Mapping[Privilege, Held], role: str, option: str = "") -> Iterator[Change]:
    """REVOKE statements: a right goes only when whoever gave it takes it back.

    :param option: ``GRANT OPTION FOR `` when the right itself stays.
    """
    pairs = [
        ((item.database, item.kind, item.target, item.column, giver, held.owner), item.name)
        for item, held in unwanted.items()
        for giver in held.grantors
    ]
    for key, group in groupby(sorted(pairs), lambda pair: pair[0]):
        database, kind, target, column, giver, owner = key
        thing = _thing(kind, target, column, {name for _key, name in group})
        own = not owner or giver == owner
        need = _owner_need(Held(False, owner)) if own else Need("act", giver)
        yield Change(
            role,
            f"REVOKE {option}{thing} FROM {identifier(role)}",
            f"{option}{thing}",
            adds=False,
            database=database,
            needs=(need,),
        )


def plan_grants(source: Observed, target: Observed, whole: bool) -> List[Change]:
    """Make the target hold the privileges that the source holds.

    :param whole: also take away what only the target holds.
    """
    have, want = target.grants, source.grants
    add = {
        item: held
        for item, held in want.items()
        if item not in have or (held.grantable and not have[item].grantable)
    }
    changes = list(_grants(add, target.role))
    if whole:
        changes += _revokes({i: held for i, held in have.items() if i not in want}, target.role)
        weaker = {
            item: held
            for item, held in have.items()
            if item in want and held.grantable and not want[item].grantable
        }
        changes += _revokes(weaker, target.role, "GRANT OPTION FOR ")
    return changes


class _Defaults:
    """The plan for rights on objects made afterwards."""

    def __init__(self, source: Observed, target: Observed, hardwired: Hardwired) -> None:
        self._source = source
        self._target = target
        self._hardwired = hardwired

    def _name(self, name: str) -> str:
        return {SELF: self._target.role, PEER: self._source.role}.get(name, name)

    def base(self, key: DefaultKey) -> Entries:
        """What holds when nobody said anything."""
        return self._hardwired.get(key.kind, {}) if key.creator == SELF and not key.schema else {}

    def change(
        self, key: DefaultKey, pair_grantee: str, names: Set[str], verb: str, option: bool
    ) -> Change:
        """One ALTER DEFAULT PRIVILEGES.

        :param verb: ``GRANT``, ``REVOKE`` or ``REVOKE GRANT OPTION FOR``.
        """
        creator = self._name(key.creator)
        place = f" IN SCHEMA {key.schema}" if key.schema else ""
        listed = ", ".join(sorted(names))
        adds = verb == "GRANT"
        tail = " WITH GRANT OPTION" if adds and option else ""
        who = grantee(self._name(pair_grantee))
        what = (
            f"{verb} {listed} ON {DEFAULT_KINDS[key.kind]} {'TO' if adds else 'FROM'} {who}{tail}"
        )
        return Change(
            self._target.role,
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {identifier(creator)}{place} {what}",
            f"objects made by {identifier(creator)}{place}: {what}",
            adds=adds,
            database=key.database,
            needs=(Need("owner", creator),),
        )

    def changes(self, key: DefaultKey, whole: bool) -> Iterator[Change]:
        """The changes for one kind of objects."""
        base = self.base(key)
        want = self._source.defaults.get(key, base)
        have = self._target.defaults.get(key, base)
        give: Dict[Tuple[str, bool], Set[str]] = {}
        take: Dict[Tuple[str, str], Set[str]] = {}
        for (who, name), option in want.items():
            if (who, name) not in have or (option and not have[who, name]):
                give.setdefault((who, option), set()).add(name)
        for (who, name), option in have.items():
            # A group keeps what others gave it, but not what PostgreSQL gives and the source took back.
            if (who, name) not in want and (whole or (who, name) in base):
                take.setdefault((who, "REVOKE"), set()).add(name)
            elif whole and option and (who, name) in want and not want[who, name]:
                take.setdefault((who, "REVOKE GRANT OPTION FOR"), set()).add(name)
        for (who, option), names in sorted(give.items()):
            yield self.change(key, who, names, "GRANT", option)
        for (who, verb), names in sorted(take.items()):
            yield self.change(key, who, names, verb, False)


def plan_defaults(
    source: Observed, target: Observed, hardwired: Hardwired, whole: bool
) -> List[Change]:
    """Make new objects open to the target, and those that the target makes open to others, as for the source."""
    plan = _Defaults(source, target, hardwired)
    keys = set(source.defaults) | (set(target.defaults) if whole else set())
    return [change for key in sorted(keys) for change in plan.changes(key, whole)]


def _policy_change(key: PolicyKey, role: str, owner: str, adds: bool) -> Change:
    word, preposition = ("add", "TO") if adds else ("remove", "FROM")
    return Change(
        role,
        _blocks.CHANGE_POLICY,
        f"row-security policy {identifier(key.name)} on {key.table} {preposition} {identifier(role)}",
        adds=adds,
        database=key.database,
        needs=(Need("owner", owner),),
        settings=_blocks.policy_names(key.table, key.name, **{word: role}),
        strong_lock=True,
    )


def plan_policies(source: Observed, target: Observed, whole: bool) -> List[Change]:
    """Make the policies that name the source name the target as well."""
    missing = sorted(set(source.policies) - set(target.policies))
    extra = sorted(set(target.policies) - set(source.policies)) if whole else []
    changes = [
        _policy_change(key, target.role, source.policies[key].owner, True) for key in missing
    ]
    return changes + [
        _policy_change(key, target.role, target.policies[key].owner, False) for key in extra
    ]


def _mapping_change(key: MappingKey, role: str, like: Optional[str], owner: str) -> Change:
    server = identifier(key.server)
    text = f"user mapping for server {server}"
    if like is None:
        statement = f"DROP USER MAPPING FOR {identifier(role)} SERVER {server}"
        return Change(role, statement, text, False, key.database, (Need("owner", owner),))
    return Change(
        role,
        _blocks.COPY_MAPPING,
        text,
        database=key.database,
        needs=(Need("superuser", "only it reads the options of user mappings"),),
        settings=_blocks.mapping_names(role, like, key.server),
    )


def plan_mappings(source: Observed, target: Observed, whole: bool) -> List[Change]:
    """Give the target the user mappings of the source, options included."""
    changes = [
        _mapping_change(key, target.role, source.role, state.owner)
        for key, state in sorted(source.mappings.items())
        if target.mappings.get(key) != state
    ]
    extra = sorted(set(target.mappings) - set(source.mappings)) if whole else []
    return changes + [
        _mapping_change(key, target.role, None, target.mappings[key].owner) for key in extra
    ]


def plan_rights(
    source: Observed, target: Observed, hardwired: Hardwired, whole: bool
) -> List[Change]:
    """Every change inside of databases and to the server's own rights that makes the target equal to the source.

    :param whole: also take away what only the target has; otherwise it keeps it.
    """
    return [
        *plan_grants(source, target, whole),
        *plan_defaults(source, target, hardwired, whole),
        *plan_policies(source, target, whole),
        *plan_mappings(source, target, whole),
    ]
