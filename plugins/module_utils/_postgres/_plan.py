# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole plan for one role, from what was read: nothing here talks to a server, so check mode predicts the run."""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, FrozenSet, List, Optional, Set, Tuple

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
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._reasons import (
    absent_reasons,
    reasons_against,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._rights import (
    plan_defaults,
    plan_rights,
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
    Setting,
    SettingState,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._wish import (
    Facts,
    Plan,
    Wish,
)

DROP_ROLE = "DROP ROLE"


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
        if group and self.like.acts_as != group:
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
