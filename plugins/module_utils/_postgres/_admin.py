# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the administrator that we log in as may do on this server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, FrozenSet

from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server

ADMIN_OPTIONS = 160000
"""Since PostgreSQL 16, CREATEROLE works only on roles that the creator has ADMIN OPTION on."""

_ABOUT = """
SELECT current_setting('server_version_num')::int, current_user::text, r.rolsuper, r.rolcreaterole, r.rolcreatedb,
       r.rolreplication, r.rolbypassrls,
       has_column_privilege('pg_authid', 'rolpassword', 'SELECT'),
       has_table_privilege('pg_user_mapping', 'SELECT'),
       pg_has_role('pg_signal_backend', 'USAGE'), pg_has_role('pg_read_all_stats', 'USAGE'),
       pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
       coalesce(current_setting('createrole_self_grant', true), '') <> '', r.rolinherit
  FROM pg_roles r WHERE r.rolname = current_user
"""

_FLAGS = (
    "superuser",
    "createrole",
    "createdb",
    "replication",
    "bypassrls",
    "reads_verifiers",
    "reads_mappings",
    "signals",
    "reads_stats",
    "standby",
    "self_grants",
    "inherit",
)

_ROLES = """
SELECT rolname, pg_has_role(oid, 'USAGE'), pg_has_role(oid, %s), pg_has_role(oid, 'USAGE WITH ADMIN OPTION'), rolsuper
  FROM pg_roles
"""


@dataclass(frozen=True)
class Admin:
    """One administrator's abilities.

    :param version: ``server_version_num``.
    :param inherits: roles whose rights it has without further ado.
    :param settable: roles that it may act as.
    :param administers: roles that it may alter, drop, and give to others.
    :param reads_verifiers: it may read what the server keeps of passwords.
    :param self_grants: the server makes it a member of each role that it creates.
    """

    name: str
    version: int
    superuser: bool = False
    createrole: bool = False
    createdb: bool = False
    replication: bool = False
    bypassrls: bool = False
    reads_verifiers: bool = False
    reads_mappings: bool = False
    signals: bool = False
    reads_stats: bool = False
    standby: bool = False
    self_grants: bool = False
    inherit: bool = True
    inherits: FrozenSet[str] = frozenset()
    settable: FrozenSet[str] = frozenset()
    administers: FrozenSet[str] = frozenset()

    @property
    def inherits_new(self) -> bool:
        """Whether it has the rights of a role as soon as it is made a member."""
        return self.inherit or self.grants_have_options

    @property
    def grants_have_options(self) -> bool:
        """Whether memberships have INHERIT and SET options of their own."""
        return self.version >= ADMIN_OPTIONS


def read_admin(server: Server) -> Admin:
    """Ask the server who we are there.

    :raises KeyturnError: as :meth:`Server.rows`.
    """
    about = server.rows(_ABOUT)[0]
    version, name, createrole = about[0], str(about[1]), about[3]
    roles = server.rows(_ROLES, ("SET" if version >= ADMIN_OPTIONS else "MEMBER",))
    # Before 16, CREATEROLE alone is enough for every role that is no superuser.
    every = createrole and version < ADMIN_OPTIONS
    flags: Dict[str, Any] = dict(zip(_FLAGS, about[2:]))
    return Admin(
        name,
        version,
        inherits=frozenset(row[0] for row in roles if row[1]),
        settable=frozenset(row[0] for row in roles if row[2]),
        administers=frozenset(row[0] for row in roles if row[3] or (every and not row[4])),
        **flags,
    )
