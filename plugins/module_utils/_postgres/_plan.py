# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole plan for one role, from what was read: nothing here talks to a server, so check mode predicts the run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Dict, FrozenSet, List, Mapping, Optional, Set, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._admin import Admin
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._changes import (
    Change,
    missing_rights,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import identifier
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._observed import Observed
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._ownership import (
    plan_moves,
    shared_defaults,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._rights import (
    plan_defaults,
    plan_rights,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._rights_read import (
    RightsRead,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._role_plan import (
    CREATE_ROLE,
    MEMBER,
    alter_needs,
    known_setting,
    plan_attributes,
    plan_create,
    plan_leave,
    plan_membership,
    plan_memberships,
    plan_settings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._roles import (
    Options,
    Role,
    Setting,
    SettingState,
)

DROP_ROLE = "DROP ROLE"


@dataclass(frozen=True)
class Wish:
    """What a role should be.

    :param like: the role whose rights it should have; empty for none.
    :param owner_role: a group role that owns what the login roles make; empty for none.
    :param default_group: the group role to make when one is needed and none is named.
    :param ownership: ``group`` or ``refuse``: what to do about objects that belong to a login role.
    :param name_policies: ``refuse`` or ``allow``: what to do about policies that depend on a role's name.
    """

    name: str
    like: str = ""
    owner_role: str = ""
    default_group: str = ""
    ownership: str = "group"
    name_policies: str = "refuse"


@dataclass(frozen=True)
class Facts:
    """What was read.

    :param roles: by name; the wished one, its pattern and the group.
    :param group: the group role that the login roles act as; empty for none.
    :param search_paths: by database, for sessions that would not find a schema named after the pattern.
    :param name_policies: policies that depend on a role's name, in words.
    """

    admin: Admin
    roles: Mapping[str, Role]
    rights: RightsRead
    group: str = ""
    search_paths: Mapping[str, str] = field(default_factory=dict)
    name_policies: Tuple[str, ...] = ()

    def observed(self, name: str) -> Observed:
        """What a role may do; nothing when it is not there."""
        return self.rights.observed.get(name, Observed(name))


@dataclass(frozen=True)
class Plan:
    """What to do.

    :param reasons: why it must not be done, each a sentence with what to do.
    :param joined: roles that the administrator makes itself a member of meanwhile.
    """

    changes: Tuple[Change, ...] = ()
    reasons: Tuple[str, ...] = ()
    joined: FrozenSet[str] = frozenset()


def choose_group(wish: Wish, like: Observed, name: Observed) -> str:
    """The group role that is needed; empty for none.

    :param like: the pattern.
    :param name: the wished role.
    """
    if wish.owner_role:
        return wish.owner_role
    if wish.like and wish.ownership == "group" and (like.owned or name.owned):
        return like.acts_as or wish.default_group
    return ""


def needs_group_rights(facts: Facts, wish: Wish) -> bool:
    """Whether the group has to get the pattern's rights: its sessions are about to act as the group, or its objects move."""
    like = facts.observed(wish.like)
    return bool(facts.group and wish.like and (like.acts_as != facts.group or like.owned))


class _Present:
    """The plan that makes a role equal to its pattern."""

    def __init__(self, facts: Facts, wish: Wish) -> None:
        self.facts = facts
        self.wish = wish
        self.admin = facts.admin
        self.role = facts.roles[wish.name]
        self.target = facts.observed(wish.name)
        self.like = facts.observed(wish.like) if wish.like else Observed("")
        self.has_pattern = bool(wish.like)
        self.source = self._source()

    def _source(self) -> Observed:
        """The pattern's rights as they will be once the group is in place."""
        facts, group = self.facts, self.facts.group
        if not group:
            return replace(self.like, settings=self._settings(""))
        memberships: Dict[str, Options] = {
            **self.like.memberships,
            group: self._plain(self.like.memberships.get(group)),
        }
        databases = sorted({item.database for item in self.like.owned if item.database})
        defaults = shared_defaults(self.like, group, databases, facts.rights.hardwired)
        return replace(
            self.like, memberships=memberships, defaults=defaults, settings=self._settings(group)
        )

    @staticmethod
    def _plain(have: Optional[Options]) -> Options:
        return have if have and have.inherit and have.set_role else MEMBER

    def _settings(self, group: str) -> Dict[Setting, SettingState]:
        settings = dict(self.like.settings)
        if group:
            settings[Setting("", "role")] = known_setting("role", group)
        for database, path in self.facts.search_paths.items():
            settings[Setting(database, "search_path")] = known_setting("search_path", path)
        return settings

    def group_changes(self) -> List[Change]:
        """Make the group, and let both roles be members of it."""
        group, admin, me = self.facts.group, self.admin, self.wish.name
        if not group:
            return []
        role = self.facts.roles[group]
        changes = plan_create(role, admin)
        if needs_group_rights(self.facts, self.wish):
            pattern = self.facts.roles[self.wish.like]
            changes += plan_attributes(role, pattern, admin, whole=False, with_limit=False)
        for member, observed in ((self.wish.like, self.like), (me, self.target)):
            if member:
                have = observed.memberships.get(group)
                changes += plan_membership(group, member, have, self._plain(have), admin, member)
        return changes

    def group_rights(self) -> List[Change]:
        """Give the group what the pattern has, and what the login roles own."""
        group, hardwired = self.facts.group, self.facts.rights.hardwired
        if not group:
            return []
        changes: List[Change] = []
        if needs_group_rights(self.facts, self.wish):
            pattern = self.like.as_pattern_for_group(group)
            target = self.facts.observed(group)
            changes += plan_memberships(pattern, target, self.admin, whole=False)
            changes += plan_rights(pattern, target, hardwired, whole=False)
        if self.has_pattern:
            changes += plan_defaults(self.source, self.like, hardwired, whole=False)
            changes += plan_moves(self.like, group)
        return changes + plan_moves(self.target, group)

    def own_rights(self) -> Tuple[List[Change], List[Change]]:
        """What the role itself gets, and what it loses."""
        admin, whole = self.admin, self.has_pattern
        hardwired = self.facts.rights.hardwired
        needs = alter_needs(self.role, admin)
        source, target = self.source, self.target
        if self.facts.group:
            target = replace(target, memberships={**target.memberships, self.facts.group: MEMBER})
            source = replace(source, memberships={**source.memberships, self.facts.group: MEMBER})
        changes = plan_memberships(source, target, admin, whole)
        if whole:
            changes += plan_rights(source, target, hardwired, whole)
        like = self.like.role
        changes += plan_settings(source.settings, target, like, needs, whole)
        return [item for item in changes if item.adds], [item for item in changes if not item.adds]

    def pattern_settings(self) -> List[Change]:
        """Let the pattern's next sessions act as the group, too."""
        group, like = self.facts.group, self.like
        if not group or not self.has_pattern or like.acts_as == group:
            return []
        needs = alter_needs(self.facts.roles[like.role], self.admin)
        return plan_settings(self.source.settings, like, like.role, needs, whole=False)

    def changes(self) -> List[Change]:
        """All of it, in an order in which a run that dies anywhere leaves nothing that is open too far."""
        changes = plan_create(self.role, self.admin)
        if self.has_pattern:
            changes += plan_attributes(self.role, self.facts.roles[self.wish.like], self.admin)
        changes += self.group_changes()
        gets, loses = self.own_rights()
        return [*changes, *self.group_rights(), *gets, *self.pattern_settings(), *loses]


def _pattern_reasons(facts: Facts, wish: Wish) -> List[str]:
    like, observed = facts.roles[wish.like], facts.observed(wish.like)
    if not like.exists:
        return [
            f"the role {wish.like}, whose rights are to be copied, is not there; check the name, or create it"
        ]
    reasons = []
    if facts.name_policies and wish.name_policies == "refuse":
        listed = ", ".join(facts.name_policies[:5])
        more = f" and {len(facts.name_policies) - 5} more" if len(facts.name_policies) > 5 else ""
        reasons.append(
            f"row-security policies depend on the user's name, so that {wish.name} may see other rows than {wish.like}: "
            f"{listed}{more}; let them ask for a membership (pg_has_role) instead, or set name_policies: allow if they do not matter"
        )
    if observed.acts_as and facts.group and observed.acts_as != facts.group:
        reasons.append(
            f"{wish.like} acts as {observed.acts_as} (ALTER ROLE … SET role), not as the owner role {facts.group}; name that one "
            "in owner_role"
        )
    owned = (*observed.owned, *facts.observed(wish.name).owned)
    if owned and wish.ownership == "refuse" and not facts.group:
        reasons.append(
            f"{len(owned)} objects belong to a login role, such as {owned[0]}; give them to a group role, or set ownership: group"
        )
    return reasons


def _group_reasons(facts: Facts, wish: Wish) -> List[str]:
    group = facts.group
    if not group:
        return []
    role, like = facts.roles[group], facts.roles.get(wish.like)
    reasons = []
    if group in (wish.name, wish.like):
        reasons.append(f"{group} cannot be its own owner role; name another one in owner_role")
    if role.login:
        reasons.append(
            f"the owner role {group} can log in; an owner role must be NOLOGIN: name another one in owner_role"
        )
    if like and like.attributes.get("superuser"):
        reasons.append(
            f"{wish.like} is a superuser, and sessions that act as {group} would not be; use strategy same_role, or give the "
            "application a role that is no superuser"
        )
    if (
        like
        and like.exists
        and not like.attributes.get("inherit")
        and not facts.admin.grants_have_options
    ):
        reasons.append(
            f"{wish.like} is NOINHERIT, so its sessions would lose what it owns; ALTER ROLE {identifier(wish.like)} INHERIT first"
        )
    known = {wish.name, wish.like} & set(facts.observed(group).members)
    if role.exists and group == wish.default_group and not wish.owner_role and not known:
        reasons.append(
            f"a role {group} is there already and has nothing to do with {wish.like}; say owner_role: {group} if it is meant, or "
            "name another one"
        )
    return reasons


def reasons_against(facts: Facts, wish: Wish) -> List[str]:
    """Why the wish cannot or must not be fulfilled, beside rights that the administrator lacks."""
    reasons = []
    if facts.admin.standby:
        reasons.append(
            "the server is a standby and takes no writes; name the primary in login.host"
        )
    if wish.name == wish.like:
        reasons.append(f"{wish.name} cannot be like itself; the roles must be two")
    elif wish.like:
        reasons += _pattern_reasons(facts, wish)
    if facts.rights.closed:
        listed = ", ".join(facts.rights.closed)
        reasons.append(
            f"these databases hold rights of the role and cannot be read: {listed}; let {facts.admin.name} connect to them"
        )
    return reasons + _group_reasons(facts, wish)


def _with_created(admin: Admin, changes: List[Change], facts: Facts) -> Admin:
    """The administrator as it will be: it may give away the roles that it makes."""
    made = {change.role for change in changes if not facts.roles[change.role].exists}
    return replace(admin, administers=admin.administers | made)


def _joins(facts: Facts, changes: List[Change], admin: Admin) -> Tuple[Set[str], Set[str]]:
    """Roles to become a member of, and roles to leave at the end, for an administrator that is no superuser."""
    if admin.superuser:
        return set(), set()
    subjects: Dict[str, FrozenSet[str]] = {
        "owner": admin.inherits | admin.settable,
        "act": admin.settable,
    }
    subjects["set"] = admin.settable
    join = {
        need.subject
        for change in changes
        for need in change.needs
        if need.kind in subjects
        and need.subject in facts.roles
        and need.subject in admin.administers
        and need.subject not in subjects[need.kind]
    }
    # What a run that died left behind: only we make ourselves a member in our own name.
    left = {
        role
        for role, options in facts.rights.admin_in.items()
        if admin.name in options.grantors and role in facts.roles and not admin.self_grants
    }
    return join, join | left


def complete(facts: Facts, changes: List[Change], reasons: List[str], dropped: str = "") -> Plan:
    """Put the administrator's own temporary memberships around the changes, and name what it lacks.

    :param dropped: a role that is gone in the end, and every membership in it.
    """
    admin = _with_created(facts.admin, changes, facts)
    join, leave = _joins(facts, changes, admin)
    creates = [change for change in changes if change.text == CREATE_ROLE]
    rest = [change for change in changes if change.text != CREATE_ROLE]
    entering = [
        change
        for role in sorted(join)
        for change in plan_membership(role, admin.name, None, MEMBER, admin, admin.name)
    ]
    own = Options(grantors=(admin.name,))
    leaving = [
        change
        for role in sorted(leave - {dropped})
        for change in plan_leave(role, admin.name, own, admin, admin.name)
    ]
    joined = frozenset(join)
    lacking = missing_rights([*creates, *rest], admin, joined)
    return Plan((*creates, *entering, *rest, *leaving), (*reasons, *lacking), joined)


def plan_present(facts: Facts, wish: Wish) -> Plan:
    """Make the role equal to its pattern; it cannot log in by this alone."""
    reasons = reasons_against(facts, wish)
    if reasons:
        return Plan(reasons=tuple(reasons))
    return complete(facts, _Present(facts, wish).changes(), [])


def plan_absent(facts: Facts, name: str) -> Plan:
    """Take every right from a role and drop it.

    Rights are taken back from whoever gave them, and never with CASCADE: ``DROP OWNED`` leaves those that somebody else
    than the owner gave, and takes from others what the role gave them.
    """
    role, observed = facts.roles[name], facts.observed(name)
    if not role.exists:
        return Plan()
    reasons = absent_reasons(facts, name)
    changes = plan_rights(Observed(""), observed, facts.rights.hardwired, whole=True)
    needs = alter_needs(role, facts.admin)
    changes.append(Change(name, f"DROP ROLE {identifier(name)}", DROP_ROLE, False, needs=needs))
    return complete(facts, changes, reasons, dropped=name)


def absent_reasons(facts: Facts, name: str) -> List[str]:
    """Why a role must not be dropped now, beside its sessions."""
    observed = facts.observed(name)
    reasons = []
    if facts.rights.closed:
        reasons.append(
            f"these databases hold rights of {name} and cannot be read: {', '.join(facts.rights.closed)}; let "
            f"{facts.admin.name} connect to them"
        )
    if observed.owned:
        listed = ", ".join(map(str, observed.owned[:10]))
        more = f" and {len(observed.owned) - 10} more" if len(observed.owned) > 10 else ""
        reasons.append(
            f"objects belong to {name}: {listed}{more}; give them to another role (ALTER … OWNER TO, REASSIGN OWNED) first"
        )
    if observed.given:
        listed = "; ".join(observed.given[:5])
        more = f" and {len(observed.given) - 5} more" if len(observed.given) > 5 else ""
        reasons.append(
            f"{name} gave rights to others, who would lose them: {listed}{more}; let the owner give them first"
        )
    alone = [key for key, state in sorted(observed.policies.items()) if state.alone]
    if alone:
        listed = ", ".join(
            f"{identifier(key.name)} on {key.table} in {key.database}" for key in alone[:5]
        )
        reasons.append(
            f"row-security policies name nobody but {name}: {listed}; name another role in them, or drop them"
        )
    return reasons
