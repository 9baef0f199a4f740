# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a plan must not be carried out, beside what the administrator lacks; each a sentence with what to do."""

from __future__ import annotations

from typing import List

from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import identifier
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._wish import (
    Facts,
    Wish,
)


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
            "the server is a standby or set to read only, and takes no writes; name the primary in login.host, or see to its "
            "default_transaction_read_only"
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
