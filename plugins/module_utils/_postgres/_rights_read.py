# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what roles may do, in every database that has something to do with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres import _queries
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._admin import Admin
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Row, Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._observed import (
    PEER,
    PUBLIC,
    SELF,
    DefaultKey,
    Held,
    MappingKey,
    MappingState,
    Observed,
    Owned,
    PolicyKey,
    PolicyState,
    Privilege,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._rights import (
    DEFAULT_KINDS,
    Hardwired,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._roles import (
    PARAMETER_RIGHTS,
    Membership,
    Options,
    Role,
    read_memberships,
    read_settings,
)

_ACLDEFAULT_CODES = {"r": "r", "S": "s", "f": "f", "T": "T", "n": "n"}
_LARGE_OBJECT_DEFAULTS = 180000


@dataclass
class _Draft:
    """One role's rights while they are collected."""

    grants: Dict[Privilege, Held] = field(default_factory=dict)
    defaults: Dict[DefaultKey, Dict[Tuple[str, str], bool]] = field(default_factory=dict)
    policies: Dict[PolicyKey, PolicyState] = field(default_factory=dict)
    mappings: Dict[MappingKey, MappingState] = field(default_factory=dict)
    owned: List[Owned] = field(default_factory=list)
    given: Set[str] = field(default_factory=set)


@dataclass(frozen=True)
class RightsRead:
    """What was read.

    :param observed: by role; only roles that are there.
    :param databases: the ones that were visited.
    :param closed: databases that hold rights of the roles and could not be read, with the reason.
    :param admin_in: which of the roles the administrator is a member of.
    """

    observed: Mapping[str, Observed]
    databases: Tuple[str, ...]
    closed: Tuple[str, ...]
    hardwired: Hardwired
    admin_in: Mapping[str, Options]


def read_hardwired(server: Server, admin: Admin) -> Hardwired:
    """What this version of PostgreSQL gives on new objects by itself."""
    codes = dict(_ACLDEFAULT_CODES)
    if admin.version >= _LARGE_OBJECT_DEFAULTS:
        codes["L"] = "L"
    found: Dict[str, Dict[Tuple[str, str], bool]] = {kind: {} for kind in DEFAULT_KINDS}
    parameters = {"kinds": list(codes), "codes": list(codes.values())}
    for kind, who, name, option in server.rows(_queries.HARDWIRED, parameters):
        # An owner's rights carry no mark of a grant option, and he has it all the same.
        found[kind][SELF if who == "owner" else PUBLIC, name] = option
    return found


class _Reader:
    """One reading of some roles."""

    def __init__(
        self, server: Server, admin: Admin, roles: Sequence[Role], peers: Mapping[str, str]
    ):
        self._server = server
        self._admin = admin
        self._peers = peers
        self._by_oid = {role.oid: role.name for role in roles if role.exists}
        self._parameters = {"oids": list(self._by_oid)}
        self._drafts = {name: _Draft() for name in self._by_oid.values()}

    def read(self, only: Optional[Sequence[str]]) -> RightsRead:
        """Visit the server and its databases.

        :param only: databases to stay with; none for all.
        """
        visited: List[str] = []
        closed: List[str] = []
        self._take_grants(_queries.shared_grants(self._admin.version >= PARAMETER_RIGHTS), "", "")
        self._take_owned(_queries.SHARED_OWNED, "", "")
        for name, open_to_all, open_to_us in self._server.rows(
            _queries.DATABASES, self._parameters
        ):
            if only is not None and name not in only:
                continue
            if not open_to_all or not open_to_us:
                reason = "CONNECT is missing" if open_to_all else "it takes no connections"
                closed.append(f"{name} ({reason})")
                continue
            try:
                self._read_database(name)
            except KeyturnError as error:
                closed.append(f"{name} ({error.message})")
                continue
            visited.append(name)
        if self._admin.grants_have_options:
            for oid, role, member in self._rows(_queries.GIVEN_MEMBERSHIPS, ""):
                self._drafts[self._by_oid[oid]].given.add(f"membership in {role} to {member}")
        hardwired = read_hardwired(self._server, self._admin)
        memberships = read_memberships(self._server, list(self._by_oid), self._admin)
        admin_in = {
            pair.role: kept for pair, kept in memberships.items() if pair.member == self._admin.name
        }
        observed = self._finish(memberships)
        return RightsRead(observed, tuple(visited), tuple(closed), hardwired, admin_in)

    def _read_database(self, name: str) -> None:
        self._take_grants(_queries.LOCAL_GRANTS, name, name)
        self._take_defaults(name)
        self._take_policies(name)
        self._take_mappings(name)
        self._take_owned(_queries.OWNED, name, name)

    def _rows(self, query: str, database: str) -> List[Row]:
        return self._server.rows(query, self._parameters, database)

    def _take_grants(self, query: str, label: str, database: str) -> None:
        for row in self._rows(query, database):
            kind, target, part, to_oid, to_name, name, option, owner, by_oid, by_name, ours = row
            if to_oid not in self._by_oid:
                to = to_name if to_oid else "everybody"
                self._drafts[self._by_oid[by_oid]].given.add(_given(label, row, to))
                continue
            privilege = Privilege(label, kind, target, part, name)
            grants = self._drafts[self._by_oid[to_oid]].grants
            before = grants.get(privilege)
            givers = (*before.grantors, by_name) if before else (by_name,)
            grants[privilege] = Held(
                option or bool(before and before.grantable), owner, givers, ours
            )
            if by_oid in self._by_oid and by_name not in (owner, to_name):
                self._drafts[self._by_oid[by_oid]].given.add(_given(label, row, to_name))

    def _take_defaults(self, database: str) -> None:
        for creator, schema, kind, to, name, option in self._rows(_queries.DEFAULTS, database):
            for role in {creator, to} & set(self._drafts):
                peer = self._peers.get(role, "")
                if creator == peer:
                    continue
                key = DefaultKey(database, _seen(creator, role, peer), schema, kind)
                entries = self._drafts[role].defaults.setdefault(key, {})
                if name is not None:
                    entries[_seen(to, role, peer), name] = option

    def _take_policies(self, database: str) -> None:
        for table, name, owner, oid, alone in self._rows(_queries.POLICIES, database):
            key = PolicyKey(database, table, name)
            self._drafts[self._by_oid[oid]].policies[key] = PolicyState(owner, alone)

    def _take_mappings(self, database: str) -> None:
        readable = self._admin.reads_mappings
        query = _queries.MAPPINGS if readable else _queries.VISIBLE_MAPPINGS
        for name, oid, owner, digest in self._rows(query, database):
            key = MappingKey(database, name)
            self._drafts[self._by_oid[oid]].mappings[key] = MappingState(digest, owner)

    def _take_owned(self, query: str, label: str, database: str) -> None:
        for oid, kind, identity, lacking in self._rows(query, database):
            self._drafts[self._by_oid[oid]].owned.append(Owned(label, kind, identity, lacking))

    def _finish(self, memberships: Mapping[Membership, Options]) -> Dict[str, Observed]:
        settings = read_settings(self._server, list(self._by_oid), self._admin)
        found = {}
        for name, draft in self._drafts.items():
            hidden = {self._peers.get(name, name), self._admin.name}
            found[name] = Observed(
                role=name,
                grants=draft.grants,
                defaults=draft.defaults,
                policies=draft.policies,
                mappings=draft.mappings,
                memberships={
                    pair.role: kept
                    for pair, kept in memberships.items()
                    if pair.member == name and pair.role not in hidden
                },
                members={
                    pair.member: kept
                    for pair, kept in memberships.items()
                    if pair.role == name and pair.member not in hidden
                },
                settings=settings.get(name, {}),
                owned=tuple(draft.owned),
                given=tuple(sorted(draft.given)),
            )
        return found


def _seen(name: str, role: str, peer: str) -> str:
    """A name as one role of the pair sees it."""
    if name == role:
        return SELF
    return PEER if peer and name == peer else name


def _given(label: str, row: Row, to: str) -> str:
    part = f" ({row[2]})" if row[2] else ""
    place = f" in {label}" if label else ""
    return f"{row[5]}{part} ON {row[0]} {row[1]} to {to}{place}"


def read_rights(
    server: Server,
    admin: Admin,
    roles: Sequence[Role],
    pair: Tuple[str, str],
    only: Optional[Sequence[str]] = None,
) -> RightsRead:
    """What these roles may do.

    :param pair: the two roles that stand for each other.
    :param only: databases to stay with; none for every one that names the roles.
    :raises KeyturnError: as :meth:`Server.rows`.
    """
    peers = {pair[0]: pair[1], pair[1]: pair[0]}
    read = _Reader(server, admin, roles, peers).read(only)
    missing: Dict[str, Any] = {
        role.name: Observed(role.name) for role in roles if role.name not in read.observed
    }
    return replace(read, observed={**read.observed, **missing})
