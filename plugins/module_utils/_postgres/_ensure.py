# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings one role into a state: present, active, locked or absent. Reads, plans, and applies unless in check mode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard, no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import Outcome, Session
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres import _sessions
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._admin import (
    Admin,
    read_admin,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._changes import (
    Change,
    carry_out,
    missing_rights,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._logins import (
    login_changes,
    refuse,
    set_logins,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import identifier
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._observed import Observed
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._ownership import (
    plan_moves,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._password import (
    SAME,
    Credential,
    password_lines,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._plan import (
    DROP_ROLE,
    choose_group,
    complete,
    plan_absent,
    plan_present,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._rights_read import (
    read_rights,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._role_plan import (
    CREATE_ROLE,
    alter_needs,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._roles import (
    Role,
    read_roles,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._surroundings import (
    read_name_policies,
    read_search_paths,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._wish import (
    Facts,
    Plan,
    Wish,
)


@dataclass
class RoleJob:
    """One role on one server.

    :param databases: databases to copy rights in; none for every one that has something to do with the roles.
    :param guard: called right before each write.
    :param revoked: check mode predicts that the role was locked, its sessions ended and its password removed before.
    :param known_admin: who we are on this server, when that was read already.
    """

    server: Server
    wish: Wish
    context: Context
    guard: Guard = no_guard
    databases: Optional[Sequence[str]] = None
    revoked: bool = False
    known_admin: Optional[Admin] = None

    @property
    def admin(self) -> Admin:
        """Who we are on this server; asked once."""
        if self.known_admin is None:
            self.known_admin = read_admin(self.server)
        return self.known_admin

    def role(self, name: str) -> Role:
        """A role as it is now, or as it will be once it was revoked."""
        role = read_roles(self.server, [name], self.admin)[name]
        return replace(role, login=False, verifier=None) if self.revoked else role

    def _users(self, role: Role) -> List[Session]:
        return [] if self.revoked else _sessions.list_sessions(self.server, role.oid)

    def facts(self) -> Facts:
        """Everything that a plan needs."""
        wish, server, admin = self.wish, self.server, self.admin
        names = [name for name in (wish.name, wish.like, wish.owner_role) if name]
        roles = read_roles(server, names, admin)
        pair = (wish.name, wish.like)
        rights = read_rights(
            server, admin, [roles[name] for name in set(pair) if name], pair, self.databases
        )
        facts = Facts(admin, roles, rights)
        like = facts.observed(wish.like)
        facts = self._with_group(facts, choose_group(wish, like, facts.observed(wish.name)))
        if not wish.like or not roles[wish.like].exists:
            return facts
        now = like.acts_as or wish.like
        later = facts.group or like.acts_as or wish.name
        paths = read_search_paths(server, like, now, rights.databases) if now != later else {}
        policies = read_name_policies(server, wish.like, rights.databases, now == later)
        return replace(facts, search_paths=paths, name_policies=tuple(policies))

    def _with_group(self, facts: Facts, group: str) -> Facts:
        if not group:
            return facts
        role = self.role(group)
        facts = replace(facts, group=group, roles={**facts.roles, group: role})
        if not role.exists or group in (self.wish.name, self.wish.like):
            return facts
        own = read_rights(self.server, self.admin, [role], (group, ""), self.databases)
        observed = {**own.observed, **facts.rights.observed}
        closed = tuple(sorted({*facts.rights.closed, *own.closed}))
        admin_in = {**facts.rights.admin_in, **own.admin_in}
        rights = replace(facts.rights, observed=observed, closed=closed, admin_in=admin_in)
        return replace(facts, rights=rights)

    def present(self, wanted: Credential) -> Outcome:
        """The role is there, has its pattern's rights, and can log in with this password."""
        wish = self.wish
        if not wish.like and not wish.owner_role:
            return self._logins(wanted, create=True)
        facts = self.facts()
        plan = plan_present(facts, wish)
        refuse(f"role {wish.name}", list(plan.reasons))
        self._warn_of_end(facts)
        role = facts.roles[wish.name]
        login, state = login_changes(
            self.server, self.admin, role, wanted, self.context, endless=True
        )
        refuse(f"role {wish.name}", missing_rights(login, self.admin, frozenset()))
        self._carry_out([*plan.changes, *login], plan.joined)
        given = {
            "created": not role.exists,
            "login": True,
            "password_changed": state != SAME,
            "databases": list(facts.rights.databases),
            "owner_role": facts.group,
        }
        changed = bool(plan.changes or login)
        lines = password_lines(state, wanted)
        return self._outcome(
            role, self._as_planned(role, facts), plan.changes, changed, lines, given
        )

    def active(self, wanted: Credential) -> Outcome:
        """The role can log in with this password; its rights are left alone."""
        return self._logins(wanted, create=False)

    def _logins(self, wanted: Credential, create: bool) -> Outcome:
        name = self.wish.name
        return set_logins(
            self.server, self.admin, {name: wanted}, create, self.context, self.guard
        )[0]

    def _as_planned(self, role: Role, facts: Facts) -> Role:
        like = facts.roles.get(self.wish.like)
        after = replace(role, oid=role.oid or -1, login=True, valid_until=None)
        if like:
            return replace(
                after, attributes=like.attributes, connection_limit=like.connection_limit
            )
        return after if role.exists else replace(after, attributes={"inherit": True})

    def _outcome(
        self,
        role: Role,
        after: Role,
        changes: Sequence[Change],
        changed: bool,
        password: Tuple[List[str], List[str]],
        facts: Dict[str, Any],
    ) -> Outcome:
        own = self.admin.name
        lines = [item for item in changes if item.role != own and item.text != CREATE_ROLE]
        taken = [item.line for item in lines if not item.adds]
        given = [item.line for item in lines if item.adds]
        counts = {"role": role.name, "rights_added": len(given), "rights_removed": len(taken)}
        before = [f"role {role.name}: {role.words()}", *password[0], *taken]
        then = [f"role {role.name}: {after.words()}", *password[1], *given]
        return Outcome(changed, {**counts, **facts}, before, then)

    def _warn_of_end(self, facts: Facts) -> None:
        like = facts.roles.get(self.wish.like)
        if like and like.valid_until:
            self.context.warn(
                f"{like.name} has a password that ends at {like.valid_until.isoformat()} (VALID UNTIL); {self.wish.name} gets one "
                "without an end: its age is the rotation's concern"
            )

    def _carry_out(self, changes: Sequence[Change], joined: frozenset[str]) -> None:
        if not self.context.check_mode:
            carry_out(self.server, changes, self.admin, joined, self.guard)

    def _not_ourselves(self, role: Role, verb: str) -> None:
        if role.name == self.admin.name:
            raise Refused(
                f"role {role.name} is the administrator that this runs as and is not {verb}; use another administrator"
            )

    def locked(self, forget: bool = False, settle: bool = False) -> Outcome:
        """The role cannot log in, and nobody is logged in as it.

        :param forget: also remove its password.
        :param settle: also give what it owns to the group that it acts as.
        """
        role = self.role(self.wish.name)
        if not role.exists:
            return self._outcome(role, role, (), False, ([], []), {"terminated": 0})
        self._not_ourselves(role, "locked")
        locks = self._lock_changes(role, forget)
        moves = self._moves(role, self._rights_of(role)) if settle else Plan()
        lacking = missing_rights(locks, self.admin, frozenset())
        refuse(f"role {role.name}", [*lacking, *moves.reasons])
        sessions = len(self._users(role))
        self._carry_out(locks, frozenset())
        if not self.context.check_mode:
            sessions = _sessions.end_sessions(self.server, role.oid, role.name, self.guard)
        self._carry_out(moves.changes, moves.joined)
        forgotten = any("PASSWORD NULL" in item.statement for item in locks)
        lines = (["password: (kept)"], ["password: (none)"]) if forgotten else ([], [])
        changed = bool(locks or sessions or moves.changes)
        after = replace(role, login=False)
        return self._outcome(role, after, moves.changes, changed, lines, {"terminated": sessions})

    def _lock_changes(self, role: Role, forget: bool) -> List[Change]:
        words = ["NOLOGIN"] if role.login else []
        # Where verifiers cannot be read, a role that cannot log in is taken to have none: it was locked this way.
        kept = role.login if not self.admin.reads_verifiers else role.verifier is not None
        if forget and kept:
            words.append("PASSWORD NULL")
        if not words:
            return []
        listed = " ".join(words)
        statement = f"ALTER ROLE {identifier(role.name)} {listed}"
        return [Change(role.name, statement, listed, needs=alter_needs(role, self.admin))]

    def _rights_of(self, role: Role) -> Facts:
        rights = read_rights(self.server, self.admin, [role], (role.name, ""))
        group = rights.observed[role.name].acts_as
        roles = read_roles(self.server, {role.name, group or role.name}, self.admin)
        return Facts(self.admin, roles, rights)

    def absent(self) -> Outcome:
        """The role is not there; refused while somebody is logged in as it or something belongs to it.

        What belongs to it moves to the group that it acts as, if there is one.
        """
        role = self.role(self.wish.name)
        gone = Role(role.name)
        if not role.exists:
            return self._outcome(role, gone, (), False, ([], []), {"dropped": False})
        self._not_ourselves(role, "dropped")
        self._refuse_sessions(role)
        facts = self._rights_of(role)
        moves = self._moves(role, facts)
        plan = plan_absent(self._without_owned(facts, role) if moves.changes else facts, role.name)
        refuse(f"role {role.name}", [*moves.reasons, *plan.reasons])
        self._carry_out(self._lock_changes(role, False), frozenset())
        if not self.context.check_mode:
            # A login that was accepted meanwhile would outlive the role.
            self._refuse_sessions(role)
        self._carry_out(moves.changes, moves.joined)
        self._carry_out(plan.changes, plan.joined)
        changes = [*moves.changes, *(item for item in plan.changes if item.text != DROP_ROLE)]
        return self._outcome(role, gone, changes, True, ([], []), {"dropped": True})

    def _refuse_sessions(self, role: Role) -> None:
        sessions = self._users(role)
        if sessions:
            raise Refused(
                f"role {role.name} is in use by {len(sessions)} sessions: {_sessions.named(sessions)}; lock it (state locked) or "
                "wait for them to end",
                sessions=[str(session) for session in sessions],
            )

    def _moves(self, role: Role, facts: Facts) -> Plan:
        observed = facts.observed(role.name)
        if not observed.owned or not observed.acts_as or self.wish.ownership != "group":
            return Plan()
        return complete(facts, plan_moves(observed, observed.acts_as), [])

    @staticmethod
    def _without_owned(facts: Facts, role: Role) -> Facts:
        observed: Observed = replace(facts.observed(role.name), owned=())
        rights = replace(facts.rights, observed={**facts.rights.observed, role.name: observed})
        return replace(facts, rights=rights)
