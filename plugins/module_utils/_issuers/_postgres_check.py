# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every reason why a rotation of a PostgreSQL role could not work, found before anything is written."""

from __future__ import annotations

from typing import List

from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres import _sessions
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._changes import (
    Change,
    missing_rights,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._ensure import RoleJob
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import identifier
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._plan import plan_present
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._role_plan import (
    alter_needs,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._roles import Role


def _alter_reasons(job: RoleJob, role: Role) -> List[str]:
    change = Change(role.name, "", "LOGIN, password", needs=alter_needs(role, job.admin))
    return missing_rights([change], job.admin, frozenset())


def check_same(job: RoleJob) -> List[str]:
    """The reasons against giving one role another password."""
    role = job.role(job.wish.name)
    if not role.exists:
        return [f"role {role.name} is not there; check the name, or create it"]
    reasons = _alter_reasons(job, role)
    if job.admin.standby:
        reasons.append(
            "the server is a standby or set to read only, and takes no writes; name the primary in login.host, or see to its "
            "default_transaction_read_only"
        )
    if not role.login:
        reasons.append(
            f"role {role.name} cannot log in, so no password of it works; ALTER ROLE {identifier(role.name)} LOGIN first"
        )
    if role.valid_until and not role.expired:
        job.context.warn(
            f"the password of {role.name} ends at {role.valid_until.isoformat()} (VALID UNTIL), the new one as well; ALTER ROLE "
            f"{identifier(role.name)} VALID UNTIL 'infinity' if its age is the rotation's concern"
        )
    return reasons


def _ending_reasons(job: RoleJob) -> List[str]:
    """What retiring the old role will take."""
    admin, like = job.admin, job.wish.like
    if not admin.reads_stats and not admin.superuser:
        job.context.warn(
            f"{admin.name} cannot see where other sessions come from; GRANT pg_read_all_stats TO {identifier(admin.name)} to have "
            "old sessions named by their address"
        )
    old = job.role(like) if like else None
    if old is None or not old.exists:
        return []
    change = Change(like, "", "NOLOGIN, when it is retired", needs=alter_needs(old, admin))
    reasons = missing_rights([change], admin, frozenset())
    if not (admin.superuser or admin.signals or like in admin.inherits):
        remedy = f"GRANT pg_signal_backend TO {identifier(admin.name)}"
        reasons.append(
            f"{admin.name} may not end the sessions of {like} when it is retired; needed: {remedy}"
        )
    return reasons


def pattern_reasons(job: RoleJob) -> List[str]:
    """Whether the new role would get anything at all."""
    if job.wish.like or job.wish.owner_role:
        return []
    return [
        f"no role is known whose rights {job.wish.name} should get; name it in like, name an owner_role, or adopt the one in use"
    ]


def check_overlap(job: RoleJob, fresh: bool) -> List[str]:
    """The reasons against giving another role the rights of the one in use.

    :param fresh: no rotation has begun, so nobody may be using the role yet.
    """
    if pattern_reasons(job):
        return pattern_reasons(job)
    facts = job.facts()
    role = facts.roles[job.wish.name]
    reasons = list(plan_present(facts, job.wish).reasons)
    owner = job.wish.owner_role
    if owner and not facts.roles[owner].exists:
        # It would be made, own nothing, and give its members no right on anything.
        reasons.append(
            f"owner_role: there is no role {owner}; correct the name, create it and let it own what the application uses, or leave "
            "owner_role out to have the rights copied"
        )
    if role.exists:
        reasons += [reason for reason in _alter_reasons(job, role) if reason not in reasons]
    if role.name == job.admin.name:
        reasons.append(
            f"role {role.name} is the administrator itself; give login.admin another one, so that no rotation locks it out"
        )
    sessions = _sessions.list_sessions(job.server, role.oid) if fresh else []
    if sessions:
        reasons.append(
            f"role {role.name} is to be given a new password, but somebody is using it: {_sessions.named(sessions)}; let them use "
            "another role, or adopt this one"
        )
    return reasons + [reason for reason in _ending_reasons(job) if reason not in reasons]
