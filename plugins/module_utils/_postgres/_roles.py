# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles as they are: attributes, verifier, memberships, settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Dict, Iterable, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._admin import Admin
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

PARAMETER_RIGHTS = 150000
"""Since PostgreSQL 15, rights on parameters can be given."""

ATTRIBUTES: Mapping[str, str] = {
    "superuser": "SUPERUSER",
    "inherit": "INHERIT",
    "createrole": "CREATEROLE",
    "createdb": "CREATEDB",
    "replication": "REPLICATION",
    "bypassrls": "BYPASSRLS",
}
"""The attributes of a role that are rights, as ALTER ROLE names them."""


@dataclass(frozen=True)
class Role:
    """One role.

    :param oid: 0 for a role that is not there.
    :param connection_limit: -1 for none.
    :param valid_until: when its password ends; none for never.
    :param verifier: what the server keeps of its password; none when it has none or when it may not be read.
    """

    name: str
    oid: int = 0
    login: bool = False
    attributes: Mapping[str, bool] = field(default_factory=dict)
    connection_limit: int = -1
    valid_until: Optional[datetime] = None
    expired: bool = False
    verifier: Optional[Secret] = None

    @property
    def exists(self) -> bool:
        """Whether it is there."""
        return self.oid != 0

    def words(self) -> str:
        """Its attributes as CREATE ROLE would have them, without the password."""
        if not self.exists:
            return "absent"
        flags = ["LOGIN" if self.login else "NOLOGIN"]
        flags += [
            word if self.attributes.get(name) else f"NO{word}"
            for name, word in ATTRIBUTES.items()
            if self.attributes.get(name) != (name == "inherit")
        ]
        if self.connection_limit != -1:
            flags.append(f"CONNECTION LIMIT {self.connection_limit}")
        if self.valid_until:
            flags.append(f"VALID UNTIL {self.valid_until.isoformat()}")
        return " ".join(flags)


_SELECT = """
SELECT r.rolname, r.oid, r.rolcanlogin, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolreplication,
       r.rolbypassrls, r.rolconnlimit, CASE WHEN isfinite(r.rolvaliduntil) THEN r.rolvaliduntil END,
       coalesce(r.rolvaliduntil < now(), false), {verifier}
  FROM {relation} r WHERE r.rolname = ANY(%s)
"""


def read_roles(server: Server, names: Iterable[str], admin: Admin) -> Dict[str, Role]:
    """The roles of these names, also those that are not there."""
    wanted = sorted(set(names))
    query = _SELECT.format(
        relation="pg_authid" if admin.reads_verifiers else "pg_roles",
        verifier="r.rolpassword" if admin.reads_verifiers else "NULL",
    )
    found = {name: Role(name) for name in wanted}
    for row in server.rows(query, (wanted,)):
        found[row[0]] = Role(
            name=row[0],
            oid=row[1],
            login=row[2],
            attributes=dict(zip(ATTRIBUTES, row[3:9])),
            connection_limit=row[9],
            valid_until=row[10],
            expired=row[11],
            verifier=None if row[12] is None else Secret(row[12]),
        )
    return found


@dataclass(frozen=True)
class Options:
    """The options of a membership.

    :param grantors: who gave it; since PostgreSQL 16 the same membership may be given more than once.
    """

    admin: bool = False
    inherit: bool = True
    set_role: bool = True
    grantors: Tuple[str, ...] = field(default=(), compare=False)

    def words(self, with_all: bool) -> str:
        """As GRANT has them.

        :param with_all: the server knows INHERIT and SET options (PostgreSQL 16).
        """
        if not with_all:
            return " WITH ADMIN OPTION" if self.admin else ""
        flags = (("ADMIN", self.admin), ("INHERIT", self.inherit), ("SET", self.set_role))
        return " WITH " + ", ".join(f"{word} {str(value).upper()}" for word, value in flags)


@dataclass(frozen=True)
class Membership:
    """``member`` is a member of ``role``."""

    role: str
    member: str


_MEMBERSHIPS = """
SELECT pg_get_userbyid(m.roleid), pg_get_userbyid(m.member), bool_or(m.admin_option), bool_or({inherit}), bool_or({set}),
       array_agg(pg_get_userbyid(m.grantor)::text ORDER BY m.grantor)
  FROM pg_auth_members m
 WHERE m.roleid = ANY(%(oids)s) OR m.member = ANY(%(oids)s)
 GROUP BY 1, 2
"""


def read_memberships(server: Server, oids: List[int], admin: Admin) -> Dict[Membership, Options]:
    """The memberships of these roles and in these roles."""
    if not oids:
        return {}
    new = admin.grants_have_options
    query = _MEMBERSHIPS.format(
        inherit="m.inherit_option" if new else "true", set="m.set_option" if new else "true"
    )
    return {
        Membership(row[0], row[1]): Options(row[2], row[3], row[4], tuple(row[5]))
        for row in server.rows(query, {"oids": oids})
    }


@dataclass(frozen=True)
class Setting:
    """A parameter that a role sets for itself.

    :param database: empty for every database.
    """

    database: str
    name: str


_SETTINGS = """
SELECT pg_get_userbyid(s.setrole), coalesce(d.datname::text, ''), split_part(c.line, '=', 1),
       encode(sha256(convert_to(c.line, 'UTF8')), 'hex'),
       CASE WHEN split_part(c.line, '=', 1) IN ('role', 'search_path')
            THEN substr(c.line, strpos(c.line, '=') + 1) END,
       NOT (split_part(c.line, '=', 1) = 'role' OR coalesce(p.context, '') = 'user' OR {allowed})
  FROM pg_db_role_setting s
  LEFT JOIN pg_database d ON d.oid = s.setdatabase
 CROSS JOIN LATERAL unnest(s.setconfig) c(line)
  LEFT JOIN pg_settings p ON p.name = split_part(c.line, '=', 1)
 WHERE s.setrole = ANY(%s)
"""


@dataclass(frozen=True)
class SettingState:
    """What is kept of a setting: values may be secrets, so they stay on the server.

    :param digest: of its value.
    :param text: its value, only of ``role`` and ``search_path``.
    :param guarded: not everybody may set it.
    :param chosen: the value is ours, not another role's.
    """

    digest: str
    text: str = field(default="", compare=False)
    guarded: bool = field(default=False, compare=False)
    chosen: bool = field(default=False, compare=False)


def read_settings(
    server: Server, oids: List[int], admin: Admin
) -> Dict[str, Dict[Setting, SettingState]]:
    """The settings of these roles, by role."""
    found: Dict[str, Dict[Setting, SettingState]] = {}
    allowed = "has_parameter_privilege(split_part(c.line, '=', 1), 'SET')"
    query = _SETTINGS.format(allowed=allowed if admin.version >= PARAMETER_RIGHTS else "false")
    for row in server.rows(query, (oids,)) if oids else ():
        state = SettingState(row[3], row[4] or "", row[5])
        found.setdefault(row[0], {})[Setting(row[1], row[2])] = state
    return found
