# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role may do, as read from a server, in a form in which two roles can be compared.

Where a right names the role itself it says ``SELF``, and where it names the other role of the pair it says ``PEER``, so
that the rights of two interchangeable roles are equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Dict, Mapping, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._roles import (
    Options,
    Setting,
    SettingState,
)

SELF = "\0self"
PEER = "\0peer"
"""Stand-ins that no role can be called."""

PUBLIC = ""

Entries = Mapping[Tuple[str, str], bool]
"""(grantee, privilege) → whether it may be passed on."""


@dataclass(frozen=True, order=True)
class Privilege:
    """One privilege on one thing.

    :param database: empty for what belongs to the whole server.
    :param kind: as GRANT names it, such as ``TABLE`` or ``FOREIGN SERVER``.
    :param target: its name, quoted and qualified.
    :param column: a column's name, quoted; empty for the whole.
    """

    database: str
    kind: str
    target: str
    column: str
    name: str


@dataclass(frozen=True)
class Held:
    """How a privilege is held.

    :param grantable: it may be passed on.
    :param owner: of the thing; empty where only superusers count as such.
    :param grantors: who gave it.
    :param ours: the administrator may give it.
    """

    grantable: bool
    owner: str = ""
    grantors: Tuple[str, ...] = ()
    ours: bool = True


@dataclass(frozen=True, order=True)
class DefaultKey:
    """Which objects made afterwards: by whom, where, of what kind.

    :param schema: quoted; empty for all schemas.
    :param kind: the letter of ``pg_default_acl.defaclobjtype``.
    """

    database: str
    creator: str
    schema: str
    kind: str


@dataclass(frozen=True, order=True)
class PolicyKey:
    """A row-security policy.

    :param table: quoted and qualified.
    """

    database: str
    table: str
    name: str


@dataclass(frozen=True)
class PolicyState:
    """How a role is named in a policy.

    :param owner: of the table.
    :param alone: the policy names nobody else.
    """

    owner: str = ""
    alone: bool = False


@dataclass(frozen=True, order=True)
class MappingKey:
    """A user mapping for a foreign server."""

    database: str
    server: str


@dataclass(frozen=True)
class MappingState:
    """What is kept of a user mapping: its options may be secrets, so they stay on the server.

    :param digest: of the options; empty when they may not be read.
    :param owner: of the foreign server.
    """

    digest: str
    owner: str = field(default="", compare=False)


@dataclass(frozen=True, order=True)
class Owned:
    """Something that belongs to the role.

    :param kind: as ``pg_identify_object`` names it, such as ``table``.
    :param identity: as ``pg_identify_object`` quotes it.
    :param lacking: a statement without which only a superuser may move it to another owner.
    """

    database: str
    kind: str
    identity: str
    lacking: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}" + (f" in {self.database}" if self.database else "")


@dataclass(frozen=True)
class Observed:
    """Everything that a role may do, beside its attributes.

    :param memberships: the roles that it is a member of.
    :param members: the roles that are members of it.
    :param given: rights that it passed on to others, in words.
    """

    role: str
    grants: Mapping[Privilege, Held] = field(default_factory=dict)
    defaults: Mapping[DefaultKey, Entries] = field(default_factory=dict)
    policies: Mapping[PolicyKey, PolicyState] = field(default_factory=dict)
    mappings: Mapping[MappingKey, MappingState] = field(default_factory=dict)
    memberships: Mapping[str, Options] = field(default_factory=dict)
    members: Mapping[str, Options] = field(default_factory=dict)
    settings: Mapping[Setting, SettingState] = field(default_factory=dict)
    owned: Tuple[Owned, ...] = ()
    given: Tuple[str, ...] = ()

    @property
    def acts_as(self) -> str:
        """The role that its sessions run as, when it is another: everywhere, or in the databases that say so."""
        roles = {state.text for setting, state in self.settings.items() if setting.name == "role"}
        others = roles - {"", "none", self.role}
        return others.pop() if len(others) == 1 else ""

    def as_pattern_for_group(self, group: str) -> Observed:
        """These rights as a group role has to have them that acts in this role's place.

        What names the pair or the group itself is left out: it has no meaning there.
        """
        inside = (PEER, group)
        defaults: Dict[DefaultKey, Entries] = {}
        for key, entries in self.defaults.items():
            if key.creator not in inside:
                defaults[key] = {
                    pair: may for pair, may in entries.items() if pair[0] not in inside
                }
        memberships = {role: kept for role, kept in self.memberships.items() if role not in inside}
        return replace(
            self, defaults=defaults, memberships=memberships, members={}, settings={}, owned=()
        )
