# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a run could change, read as one value: files with owner, mode and time, and a server's roles.

What was read can be compared, and put back: so many runs begin in the same state without the way there being gone again.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

ATTRIBUTES = {
    "rolsuper": "SUPERUSER",
    "rolinherit": "INHERIT",
    "rolcreaterole": "CREATEROLE",
    "rolcreatedb": "CREATEDB",
    "rolcanlogin": "LOGIN",
    "rolreplication": "REPLICATION",
    "rolbypassrls": "BYPASSRLS",
}
# In the order of ATTRIBUTES.
_ROLES = (
    "SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, "
    "rolconnlimit, rolpassword, rolvaliduntil::text FROM pg_authid ORDER BY 1"
)
_SETTINGS = (
    "SELECT setrole::regrole::text, d.datname, unnest(setconfig) FROM pg_db_role_setting "
    "LEFT JOIN pg_database d ON d.oid = setdatabase ORDER BY 1, 2, 3"
)
_MEMBERS = (
    "SELECT roleid::regrole::text, member::regrole::text, grantor::regrole::text, admin_option "
    "FROM pg_auth_members ORDER BY 1, 2, 3"
)
_RIGHTS = (
    "SELECT 'class', oid::regclass::text, relowner::regrole::text, relacl::text FROM pg_class WHERE oid >= 16384 UNION ALL "
    "SELECT 'schema', nspname, nspowner::regrole::text, nspacl::text FROM pg_namespace UNION ALL "
    "SELECT 'database', datname, datdba::regrole::text, datacl::text FROM pg_database UNION ALL "
    "SELECT 'default', defaclrole::regrole::text, defaclobjtype::text, defaclacl::text FROM pg_default_acl ORDER BY 1, 2, 3"
)
_COMMENTS = "SELECT objoid::regrole::text, description FROM pg_shdescription WHERE classoid = 'pg_authid'::regclass ORDER BY 1"
QUERIES = {
    "roles": _ROLES,
    "settings": _SETTINGS,
    "members": _MEMBERS,
    "rights": _RIGHTS,
    "comments": _COMMENTS,
}
World = dict[str, Any]


def _file(path: Path, about: os.stat_result) -> dict[str, Any]:
    content = None
    if path.is_symlink():
        content = os.readlink(path)
    elif path.is_file():
        content = base64.b64encode(path.read_bytes()).decode()
    owner = [about.st_uid, about.st_gid, about.st_mode]
    return {"owner": owner, "mtime": about.st_mtime_ns, "content": content}


def read_files(places: Iterable[str]) -> World:
    """Every file and folder below these, with owner, mode, time and content."""
    found = {}
    for place in places:
        for path in [Path(place), *sorted(Path(place).rglob("*"))]:
            found[str(path)] = _file(path, path.lstat())
    return found


def read_world(
    places: Iterable[str], login: Mapping[str, Any] | None, server: World | None = None
) -> World:
    """Files and roles; what is read is JSON.

    :param login: of a superuser, as ``psycopg2.connect`` takes it; nothing is asked without one.
    :param server: an earlier world since which nothing was changed there.
    """
    world: World = {"files": read_files(places)}
    if server:
        return {**server, **world}
    if not login:
        return world
    connection = psycopg2.connect(**login)
    try:
        with connection.cursor() as cursor:
            for name, query in QUERIES.items():
                cursor.execute(query)
                world[name] = [list(row) for row in cursor.fetchall()]
    finally:
        connection.close()
    return world


def differences(before: World, after: World) -> list[str]:
    """What is not the same, by its name alone: a world holds values."""
    found = []
    for part in sorted({*before, *after}):
        one, other = before.get(part), after.get(part)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            found += [
                f"{part}: {name} ({_how(one.get(name), other.get(name))})"
                for name in sorted({*one, *other})
                if one.get(name) != other.get(name)
            ]
        else:
            rows = [row for row in [*(one or []), *(other or [])] if row not in (one or [])]
            gone = [row for row in one or [] if row not in (other or [])]
            found += [f"{part}: {row[0]}" for row in [*rows, *gone]]
    return sorted(set(found))


def _how(before: Any, after: Any) -> str:
    if before is None or after is None:
        return "made" if before is None else "gone"
    if not isinstance(before, dict):
        return "changed"
    return ", ".join(key for key in before if before[key] != after[key])


def write_files(files: Mapping[str, Any], places: Iterable[str]) -> None:
    """Put files and folders back as they were read; what was not there is removed."""
    for place in places:
        for path in sorted(Path(place).rglob("*"), reverse=True):
            if str(path) not in files:
                path.rmdir() if path.is_dir() else path.unlink()
    for name, kept in files.items():
        _write_file(Path(name), kept)
    for name, kept in sorted(files.items(), reverse=True):
        os.utime(name, ns=(kept["mtime"], kept["mtime"]))


def _write_file(path: Path, kept: Mapping[str, Any]) -> None:
    user, group, mode = kept["owner"]
    if kept["content"] is None:
        path.mkdir(exist_ok=True)
    else:
        content = base64.b64decode(kept["content"])
        if not path.exists() or path.read_bytes() != content:
            path.touch(mode=0o600)
            path.write_bytes(content)
    about = path.stat()
    if (about.st_uid, about.st_gid) != (user, group):
        os.chown(path, user, group)
    if about.st_mode != mode:
        path.chmod(mode & 0o7777)


class Roles:
    """The roles of one estate on a server.

    :param prefix: what their names begin with.
    """

    def __init__(self, login: Mapping[str, Any], prefix: str) -> None:
        self._login = login
        self._prefix = prefix

    def _own(self, rows: Iterable[list[Any]], column: int = 0) -> list[list[Any]]:
        return [row for row in rows if str(row[column]).strip('"').startswith(self._prefix)]

    def put_back(self, world: World, now: World) -> None:
        """Make them what they were when a world was read; sessions of theirs are ended.

        :param now: the world as it is.
        """
        connection = psycopg2.connect(**self._login)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE starts_with(usename, %s)",
                    (self._prefix,),
                )
                self._names(cursor, world, now)
                for row in self._own(world["roles"]):
                    self._attributes(cursor, row)
                self._settings(cursor, world)
                self._members(cursor, world, now)
        finally:
            connection.close()

    def _names(self, cursor: Any, world: World, now: World) -> None:
        kept = {row[0] for row in self._own(world["roles"])}
        there = {row[0] for row in self._own(now["roles"])}
        for name in sorted(there - kept):
            cursor.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
        for name in sorted(kept - there):
            cursor.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))

    def _attributes(self, cursor: Any, row: list[Any]) -> None:
        name, flags, (limit, password, until) = row[0], row[1 : 1 + len(ATTRIBUTES)], row[-3:]
        words = " ".join(
            word if on else f"NO{word}" for word, on in zip(ATTRIBUTES.values(), flags, strict=True)
        )
        statement = sql.SQL("ALTER ROLE {} {} CONNECTION LIMIT {} PASSWORD {} VALID UNTIL {}")
        cursor.execute(
            statement.format(
                sql.Identifier(name),
                sql.SQL(words),
                sql.Literal(limit),
                sql.Literal(password),
                sql.Literal(until or "infinity"),
            )
        )
        if until is None:
            # No statement takes a date away; the catalog holds none where a role was made without.
            cursor.execute("UPDATE pg_authid SET rolvaliduntil = NULL WHERE rolname = %s", (name,))

    def _settings(self, cursor: Any, world: World) -> None:
        for row in self._own(world["roles"]):
            cursor.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(sql.Identifier(row[0])))
        for name, database, setting in self._own(world["settings"]):
            key, _equals, value = setting.partition("=")
            where = (
                sql.SQL(" IN DATABASE {}").format(sql.Identifier(database))
                if database
                else sql.SQL("")
            )
            statement = sql.SQL("ALTER ROLE {}{} SET {} = {}")
            cursor.execute(
                statement.format(
                    sql.Identifier(name), where, sql.Identifier(key), sql.Literal(value)
                )
            )

    def _members(self, cursor: Any, world: World, now: World) -> None:
        kept, there = (self._own(item["members"], 1) for item in (world, now))
        names = {row[0] for row in world["roles"]}
        for role, member, _grantor, _admin in there:
            if member in names and not any(row[:2] == [role, member] for row in kept):
                statement = sql.SQL("REVOKE {} FROM {}")
                cursor.execute(statement.format(sql.Identifier(role), sql.Identifier(member)))
        for role, member, _grantor, admin in kept:
            statement = sql.SQL("GRANT {} TO {}" + " WITH ADMIN OPTION" * admin)
            cursor.execute(statement.format(sql.Identifier(role), sql.Identifier(member)))
