# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets roles log in with their passwords, many of them at once; rights are left alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Callable, List, Mapping, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import Outcome
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._admin import Admin
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._changes import (
    Change,
    carry_out,
    missing_rights,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._password import (
    SAME,
    Credential,
    password_lines,
    password_state,
    plan_login,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._role_plan import (
    plan_create,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._roles import (
    Role,
    read_roles,
)

_THREADS = 4


def refuse(what: str, reasons: List[str]) -> None:
    """:raises Refused: when there are reasons, naming all of them."""
    if reasons:
        raise Refused(f"{what}: {'; '.join(reasons)}", reasons=reasons)


def login_changes(
    server: Server,
    admin: Admin,
    role: Role,
    wanted: Credential,
    context: Context,
    endless: bool = False,
) -> Tuple[List[Change], str]:
    """What lets a role log in with this password, and how its password was before.

    :param endless: as :func:`plan_login`.
    """
    state = password_state(server, admin, role, wanted)
    return plan_login(role, state, wanted, admin, context, endless), state


def _in_parallel(
    function: Callable[[str], Tuple[List[Change], str]], names: List[str]
) -> List[Tuple[List[Change], str]]:
    """Call it for each name: a verifier takes milliseconds of one core, and a login waits for the server."""
    if len(names) == 1:
        return [function(names[0])]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(function, names))


def _outcome(role: Role, changes: List[Change], state: str, wanted: Credential) -> Outcome:
    until = None if role.expired else role.valid_until
    after = replace(role, oid=role.oid or -1, login=True, valid_until=until)
    if not role.exists:
        after = replace(after, attributes={"inherit": True})
    was, now = password_lines(state, wanted)
    facts = {
        "role": role.name,
        "created": not role.exists,
        "login": True,
        "password_changed": state != SAME,
    }
    before = [f"role {role.name}: {role.words()}", *was]
    return Outcome(bool(changes), facts, before, [f"role {role.name}: {after.words()}", *now])


def set_logins(
    server: Server,
    admin: Admin,
    wanted: Mapping[str, Credential],
    create: bool,
    context: Context,
    guard: Callable[[], None],
) -> List[Outcome]:
    """Let each of these roles log in with its password; one reading for all, and short transactions for many.

    :param create: make the roles that are not there; else that is refused.
    :raises Refused: naming every reason, before anything is written.
    """
    roles = read_roles(server, wanted, admin)
    absent = [name for name in wanted if not roles[name].exists and not create]
    refuse(
        "nothing was changed",
        [f"role {name} is not there; create it first (state present)" for name in absent],
    )
    everything: List[Change] = []
    outcomes = []
    logins = _in_parallel(
        lambda name: login_changes(server, admin, roles[name], wanted[name], context), list(wanted)
    )
    for (name, credential), (login, state) in zip(wanted.items(), logins):
        own = plan_create(roles[name], admin)
        everything += [*own, *login]
        outcomes.append(_outcome(roles[name], [*own, *login], state, credential))
    refuse("nothing was changed", missing_rights(everything, admin, frozenset()))
    if not context.check_mode:
        carry_out(server, everything, admin, frozenset(), guard)
    return outcomes
