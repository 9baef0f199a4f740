# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a role is to what it should be: attributes, memberships, settings. Nothing here talks to a server."""

from __future__ import annotations

import hashlib
from typing import Dict, Iterator, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres import _blocks
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._admin import (
    ADMIN_OPTIONS,
    Admin,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._changes import (
    Change,
    Need,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import (
    identifier,
    literal,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._observed import Observed
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._roles import (
    ATTRIBUTES,
    Options,
    Role,
    Setting,
    SettingState,
)

_SUPERUSERS_ONLY = 160000
"""Before PostgreSQL 16, only superusers may give REPLICATION and BYPASSRLS."""

CREATE_ROLE = "CREATE ROLE"

MEMBER = Options(False, True, True)
"""A plain membership: its rights are inherited and it may act as the role."""


def _attribute_needs(name: str, admin: Admin) -> Tuple[Need, ...]:
    if name == "superuser":
        return (Need("superuser", "for SUPERUSER"),)
    if name in ("replication", "bypassrls") and admin.version < _SUPERUSERS_ONLY:
        return (Need("superuser", f"for {ATTRIBUTES[name]}"),)
    if name in ("createdb", "replication", "bypassrls") and admin.version >= ADMIN_OPTIONS:
        return (Need("attribute", ATTRIBUTES[name]),)
    return ()


def alter_needs(role: Role, admin: Admin) -> Tuple[Need, ...]:
    """What altering a role takes."""
    if role.attributes.get("superuser"):
        return (Need("superuser", "to alter a superuser"),)
    needs = (Need("attribute", "CREATEROLE"),)
    return (*needs, Need("admin", role.name)) if role.exists else needs


def plan_create(role: Role, admin: Admin) -> List[Change]:
    """Make a role that cannot log in yet."""
    if role.exists:
        return []
    statement = f"CREATE ROLE {identifier(role.name)} NOLOGIN"
    return [Change(role.name, statement, CREATE_ROLE, needs=alter_needs(role, admin))]


def plan_attributes(
    role: Role, like: Role, admin: Admin, whole: bool = True, with_limit: bool = True
) -> List[Change]:
    """Give a role the attributes of another.

    :param whole: also take away what only this one has.
    :param with_limit: also the connection limit.
    """
    have = role.attributes if role.exists else {"inherit": True}
    words: List[str] = []
    needs = list(alter_needs(role, admin))
    for name, word in ATTRIBUTES.items():
        mine, theirs = have.get(name, False), like.attributes.get(name, False)
        if mine != theirs and (theirs or whole):
            words.append(word if theirs else f"NO{word}")
            needs += _attribute_needs(name, admin)
    if with_limit and role.connection_limit != like.connection_limit:
        words.append(f"CONNECTION LIMIT {like.connection_limit}")
    if not words:
        return []
    listed = " ".join(words)
    statement = f"ALTER ROLE {identifier(role.name)} {listed}"
    return [Change(role.name, statement, listed, needs=tuple(needs))]


def _membership_grant(role: str, member: str, options: Options, with_all: bool) -> str:
    return f"GRANT {identifier(role)} TO {identifier(member)}{options.words(with_all)}"


def _membership_revokes(
    role: str, member: str, grantors: Tuple[str, ...], admin: Admin
) -> Iterator[Tuple[str, Need]]:
    """REVOKE statements, with what each takes: since PostgreSQL 16 each grantor's gift is taken back by itself."""
    statement = f"REVOKE {identifier(role)} FROM {identifier(member)}"
    if not admin.grants_have_options:
        yield statement, Need("admin", role)
        return
    for giver in grantors:
        need = Need("admin", role) if giver == admin.name else Need("owner", giver)
        yield f"{statement} GRANTED BY {identifier(giver)}", need


def _weaker(have: Options, want: Options) -> bool:
    pairs = zip(
        (have.admin, have.inherit, have.set_role), (want.admin, want.inherit, want.set_role)
    )
    return any(mine and not theirs for mine, theirs in pairs)


def plan_membership(
    role: str, member: str, have: Optional[Options], want: Options, admin: Admin, of: str
) -> List[Change]:
    """Make ``member`` a member of ``role`` with these options.

    :param of: the role whose state this belongs to.
    """
    with_all = admin.grants_have_options
    if have == want:
        return []
    statements, needs = [], [Need("admin", role)]
    if have and _weaker(have, want):
        for statement, need in _membership_revokes(role, member, have.grantors, admin):
            statements.append(statement)
            needs.append(need)
    statements.append(_membership_grant(role, member, want, with_all))
    text = f"member {identifier(member)} of {identifier(role)}{want.words(with_all)}"
    return [Change(of, "; ".join(statements), text, needs=tuple(needs))]


def plan_leave(role: str, member: str, have: Options, admin: Admin, of: str) -> List[Change]:
    """End a membership."""
    revokes = list(_membership_revokes(role, member, have.grantors, admin))
    return [
        Change(
            of,
            "; ".join(statement for statement, _need in revokes),
            f"member {identifier(member)} of {identifier(role)}",
            adds=False,
            needs=tuple(need for _statement, need in revokes),
        )
    ]


def plan_memberships(source: Observed, target: Observed, admin: Admin, whole: bool) -> List[Change]:
    """Make the target a member of the same roles, and the same roles members of it."""
    me = target.role
    changes: List[Change] = []
    for role, want in sorted(source.memberships.items()):
        changes += plan_membership(role, me, target.memberships.get(role), want, admin, me)
    for member, want in sorted(source.members.items()):
        changes += plan_membership(me, member, target.members.get(member), want, admin, me)
    if whole:
        for role in sorted(set(target.memberships) - set(source.memberships)):
            changes += plan_leave(role, me, target.memberships[role], admin, me)
        for member in sorted(set(target.members) - set(source.members)):
            changes += plan_leave(me, member, target.members[member], admin, me)
    return changes


def known_setting(name: str, value: str) -> SettingState:
    """The state of a setting whose value we choose."""
    digest = hashlib.sha256(f"{name}={value}".encode()).hexdigest()
    return SettingState(digest, value, chosen=True)


def _setting_change(
    role: str, like: str, setting: Setting, state: SettingState, needs: Tuple[Need, ...]
) -> Change:
    place = f" IN DATABASE {identifier(setting.database)}" if setting.database else ""
    text = f"setting {setting.name}{place}"
    settings = _blocks.setting_names(role, like, setting.database, setting.name)
    statement = _blocks.COPY_SETTING
    if state.chosen and setting.name == "search_path":
        settings = (("search_path", state.text),)
        statement = f"ALTER ROLE {identifier(role)}{place} SET search_path FROM CURRENT"
    elif state.chosen:
        settings = ()
        quoted = ".".join(identifier(part) for part in setting.name.split("."))
        statement = f"ALTER ROLE {identifier(role)}{place} SET {quoted} = {literal(state.text)}"
    return Change(role, statement, text, needs=needs, settings=settings)


def plan_settings(
    source: Mapping[Setting, SettingState],
    target: Observed,
    like: str,
    needs: Tuple[Need, ...],
    whole: bool,
) -> List[Change]:
    """Give the target these settings.

    :param like: the role that settings whose value we do not know are copied from.
    :param needs: what altering the target takes.
    """
    by_text: Dict[Tuple[str, str], Setting] = {(item.database, item.name): item for item in source}
    changes = []
    for _key, setting in sorted(by_text.items()):
        state = source[setting]
        if target.settings.get(setting) != state:
            guarded = (Need("superuser", f"for the parameter {setting.name}"),)
            all_needs = needs + (guarded if state.guarded else ())
            changes.append(_setting_change(target.role, like, setting, state, all_needs))
    extra = sorted(set(target.settings) - set(source), key=lambda item: (item.database, item.name))
    for setting in extra if whole else []:
        place = f" IN DATABASE {identifier(setting.database)}" if setting.database else ""
        quoted = ".".join(identifier(part) for part in setting.name.split("."))
        statement = f"ALTER ROLE {identifier(target.role)}{place} RESET {quoted}"
        text = f"setting {setting.name}{place}"
        changes.append(Change(target.role, statement, text, adds=False, needs=needs))
    return changes
