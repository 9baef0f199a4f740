# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What depends on a role's name and not on its rights: policies that compare it, and schemas that are found by it."""

from __future__ import annotations

import re
from typing import Dict, List, Mapping, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres import _queries
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import identifier
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._observed import Observed
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._roles import Setting

_USER = re.compile(r'(?P<before>(?:\A|,)\s*)(?:"\$user"|\$user)(?=\s*(?:,|\Z))')
_ANY_NAME = r"""(?<!")\m(current_user|current_role|session_user|user)\M(?!")"""
_LOGIN_NAME = r"""(?<!")\msession_user\M(?!")"""


def with_schema(search_path: str, schema: str) -> str:
    """A search path in which ``"$user"`` is replaced by a schema's name."""
    return _USER.sub(lambda found: found.group("before") + identifier(schema), search_path)


def read_search_paths(
    server: Server, like: Observed, user: str, databases: Sequence[str]
) -> Dict[str, str]:
    """The search paths that find the schema named after ``user`` also for a session of another name, by database.

    Only of databases where there is such a schema and the search path finds it by ``"$user"``.
    """
    having = [name for name in databases if server.rows(_queries.HAS_SCHEMA, {"like": user}, name)]
    if not having:
        return {}
    general: Mapping[str, str] = dict(server.rows(_queries.DATABASE_SEARCH_PATHS))
    last = str(server.rows(_queries.SERVER_SEARCH_PATH)[0][0])
    found = {}
    for name in having:
        states = (
            like.settings.get(Setting(name, "search_path")),
            like.settings.get(Setting("", "search_path")),
        )
        own = [state.text for state in states if state]
        effective = [*own, *(general[key] for key in (name, "") if key in general), last][0]
        changed = with_schema(effective, user)
        if changed != effective:
            found[name] = changed
    return found


def read_name_policies(
    server: Server, like: str, databases: Sequence[str], stays_the_same: bool
) -> List[str]:
    """The row-security policies that may give other rows to a role of another name, in words.

    :param stays_the_same: sessions run as the same role before and after, so that only the login's name differs.
    """
    parameters = {"like": like, "words": _LOGIN_NAME if stays_the_same else _ANY_NAME}
    return [
        f"{identifier(policy)} on {table} in {database}"
        for database in databases
        for table, policy in server.rows(_queries.NAME_POLICIES, parameters, database)
    ]
