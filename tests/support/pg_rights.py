# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a role may do in one database, asked of the server itself over all that its catalogs list.

What kinds of rights and of relations to roles there are is read from the catalogs too: :func:`left_out` names what nothing
here asks about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2 import errors

Ask = Callable[..., list[Any]]
Right = tuple[str, ...]
"""Kind of thing, the thing, and what may be done with it."""


@dataclass(frozen=True)
class Kind:
    """Things of one kind that rights are given on.

    :param letter: what ``acldefault`` calls it.
    :param function: which ``has_…_privilege`` answers for it.
    :param catalog: where their access lists are.
    :param name: of one of them, in SQL.
    :param thing: what the function calls one of them, in SQL.
    :param things: all of them, in SQL; the whole catalog.
    """

    letter: str
    function: str
    catalog: str
    name: str
    thing: str = "oid"
    things: str = ""

    @property
    def source(self) -> str:
        """All of them."""
        return self.things or self.catalog


KINDS = (
    Kind("r", "table", "pg_class", "oid::regclass"),
    Kind("c", "any_column", "pg_class", "oid::regclass"),
    Kind(
        "c",
        "column",
        "pg_attribute",
        "format('%%s.%%I', attrelid::regclass, attname)",
        "attrelid, attnum",
        "(SELECT * FROM pg_attribute WHERE NOT attisdropped OFFSET 0) a",
    ),
    Kind(
        "s",
        "sequence",
        "pg_class",
        "oid::regclass",
        things="(SELECT * FROM pg_class WHERE relkind = 'S' OFFSET 0) c",
    ),
    Kind("n", "schema", "pg_namespace", "nspname"),
    Kind("f", "function", "pg_proc", "oid::regprocedure"),
    Kind("T", "type", "pg_type", "oid::regtype"),
    Kind("l", "language", "pg_language", "lanname"),
    Kind("F", "foreign_data_wrapper", "pg_foreign_data_wrapper", "fdwname"),
    Kind("S", "server", "pg_foreign_server", "srvname"),
    Kind("d", "database", "pg_database", "datname"),
    Kind("t", "tablespace", "pg_tablespace", "spcname"),
    Kind(
        "p",
        "parameter",
        "pg_parameter_acl",
        "name",
        "name",
        "(SELECT name FROM pg_settings UNION SELECT parname FROM pg_parameter_acl) p",
    ),
    Kind("L", "largeobject", "pg_largeobject_metadata", "oid"),
)

_OLD_LARGE_OBJECT = """
((SELECT rolsuper FROM pg_roles WHERE oid = {role}) OR EXISTS (
  SELECT FROM aclexplode(coalesce(lomacl, acldefault('L', lomowner))) e
   WHERE word IN (e.privilege_type, CASE WHEN e.is_grantable OR e.grantee = lomowner
                                    THEN e.privilege_type || ' WITH GRANT OPTION' END)
     AND (e.grantee = 0 OR pg_has_role({role}, e.grantee, 'USAGE'))))
"""
"""Before PostgreSQL 18 no function answers for large objects."""

_OWN_ACCESS = ("pg_default_acl", "pg_init_privs")
"""Access lists of objects made afterwards, which :func:`defaults` reads, and what an extension gave when it was made."""

_ASKED = {
    "pg_auth_members": "memberships",
    "pg_db_role_setting": "settings",
    "pg_default_acl": "defaults",
    "pg_policy": "policies",
    "pg_user_mapping": "mappings",
}
"""Catalogs that name roles otherwise than as an owner, and who reads them here."""


@dataclass(frozen=True)
class Known:
    """What a server knows.

    :param rights: by the letter of the kind of thing that they are given on.
    :param functions: every ``has_…_privilege``.
    :param owners: the catalogs whose things have owners, with the column that names them.
    :param others: the other catalogs that name roles.
    :param version: its number.
    """

    rights: Mapping[str, list[str]]
    functions: frozenset[str]
    owners: tuple[tuple[str, str], ...]
    others: frozenset[str]
    version: int

    @classmethod
    def of(cls, ask: Ask) -> Known:
        """Ask a server."""
        rights: dict[str, list[str]] = {}
        for letter in dict.fromkeys(kind.letter for kind in KINDS):
            rows = ask(
                'SELECT privilege_type FROM aclexplode(acldefault(%s::"char", 10))', (letter,)
            )
            rights[letter] = sorted({name for (name,) in rows})
        rights["c"] = [name for name in rights["r"] if _of_columns(ask, name)]
        functions = ask("SELECT proname FROM pg_proc WHERE proname ~ '^has_.*_privilege$'")
        ((version,),) = ask("SELECT current_setting('server_version_num')::int / 10000")
        naming = ask(
            "SELECT fktable::text, fkcols[1], NOT is_array FROM pg_get_catalog_foreign_keys() "
            "WHERE pktable = 'pg_authid'::regclass ORDER BY 1, 2"
        )
        owners = tuple(row[:2] for row in naming if row[2] and row[0] not in _ASKED)
        others = {row[0] for row in naming} - dict(owners).keys()
        names = frozenset(name for (name,) in functions)
        return cls(rights, names, owners, frozenset(others), version)

    def condition(self, kind: Kind, role: int) -> str:
        """Whether a role holds a right on one of these things, in SQL."""
        function = f"has_{kind.function}_privilege"
        if function in self.functions:
            return f"{function}({role}::oid, {kind.thing}, word)"
        return _OLD_LARGE_OBJECT.format(role=role)


def _of_columns(ask: Ask, name: str) -> bool:
    """Nothing is given on columns by itself, so that only the function knows its words."""
    try:
        ask("SELECT has_column_privilege('pg_class', 1::int2, %s)", (name,))
    except errors.InvalidParameterValue:
        return False
    return True


def left_out(ask: Ask, known: Known, kinds: Sequence[Kind] = KINDS) -> list[str]:
    """What this server has and nothing here asks about."""
    lists = ask(
        "SELECT relname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid "
        "WHERE atttypid = 'aclitem[]'::regtype AND relkind = 'r' AND relnamespace = 'pg_catalog'::regnamespace"
    )
    asked = {f"has_{kind.function}_privilege" for kind in kinds}
    gone_over = {kind.catalog for kind in kinds} | set(_OWN_ACCESS)
    return sorted(
        (known.functions - asked)
        | ({name for (name,) in lists} - gone_over)
        | (known.others - set(_ASKED))
    )


_HELD = """
SELECT '{label}', {name}::text, word
  FROM {source}, (SELECT known || suffix AS word FROM unnest(%(rights)s) known, (VALUES (''), (' WITH GRANT OPTION')) s(suffix)) w
 WHERE {condition}
"""


def held(ask: Ask, known: Known, role: int, other: int | None = None) -> Iterator[Right]:
    """What a role may do with everything that rights are given on.

    :param role: its number.
    :param other: only that of which the server says something else for this role.
    """
    for kind in KINDS:
        condition = known.condition(kind, role)
        if other is not None:
            condition += f" IS DISTINCT FROM {known.condition(kind, other)}"
        query = _HELD.format(
            label=kind.function, name=kind.name, source=kind.source, condition=condition
        )
        yield from map(tuple, ask(query, {"rights": known.rights[kind.letter]}))


def _set(rows: Iterable[Any]) -> set[Any]:
    return set(map(tuple, rows))


_OWNED = """
SELECT 'owner', i.type || ' ' || i.identity, '{catalog}'
  FROM {catalog} c, pg_identify_object('{known_as}'::regclass, c.oid, 0) i
 WHERE c.{column} <> 10 AND pg_has_role({role}::oid, c.{column}, 'USAGE')
"""
"""What the first superuser owns came with the server: thousands of things, of which memberships in it tell as well."""

_KNOWN_AS = {"pg_largeobject_metadata": "pg_largeobject"}
"""Catalogs whose things are known by the name of another one."""


def owned(ask: Ask, known: Known, role: int) -> set[Right]:
    """What a role may do as its owner would, over every catalog whose things have owners."""
    parts = [
        _OWNED.format(
            catalog=catalog, known_as=_KNOWN_AS.get(catalog, catalog), column=column, role=role
        )
        for catalog, column in known.owners
    ]
    return _set(ask(" UNION ALL ".join(parts)))


_RELATED = """
WITH others AS (SELECT oid, rolname FROM pg_roles WHERE rolname <> ALL (%(pair)s)),
     flags AS (SELECT roleid, member, option.key, bool_or(option.value::bool) AS yes FROM pg_auth_members m,
               jsonb_each_text(to_jsonb(m) - '{oid,roleid,member,grantor}'::text[]) option GROUP BY 1, 2, 3)
SELECT 'may act as', rolname::text, word FROM others, unnest(%(words)s) word WHERE pg_has_role(%(me)s::oid, oid, word)
UNION ALL
SELECT 'may be acted as by', rolname::text, word FROM others, unnest(%(words)s) word WHERE pg_has_role(oid, %(me)s::oid, word)
UNION ALL
SELECT 'is a member of', rolname::text, key FROM flags JOIN others ON oid = roleid WHERE member = %(me)s::oid AND yes
UNION ALL
SELECT 'has a member', rolname::text, key FROM flags JOIN others ON oid = member WHERE roleid = %(me)s::oid AND yes
"""


def memberships(ask: Ask, known: Known, role: int, pair: tuple[str, ...]) -> set[Right]:
    """What roles a role may act as, and who as it; and the options of its memberships, whatever options there are.

    :param pair: roles whose relation to each other is left out.
    """
    words = ["MEMBER", "USAGE"] + (["SET"] if known.version >= 16 else [])
    words += [f"{word} WITH ADMIN OPTION" for word in words]
    return _set(ask(_RELATED, {"me": role, "pair": list(pair), "words": words}))


_DEFAULTS = """
SELECT 'made by ' || CASE d.defaclrole WHEN %(me)s::oid THEN 'itself' ELSE pg_get_userbyid(d.defaclrole)::text END
         || coalesce(' in ' || nspname, ''),
       d.defaclobjtype::text || ' to ' || CASE e.grantee WHEN 0 THEN 'everybody' WHEN %(me)s::oid THEN 'itself'
                                           ELSE pg_get_userbyid(e.grantee)::text END,
       e.privilege_type || CASE WHEN e.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
  FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) e
 WHERE d.defaclrole = %(me)s::oid OR (e.grantee = %(me)s::oid AND pg_get_userbyid(d.defaclrole) <> ALL (%(pair)s))
"""


def defaults(ask: Ask, role: int, pair: tuple[str, ...]) -> set[Right]:
    """To whom objects are open that will be made: by this role, and by others to this role."""
    return _set(ask(_DEFAULTS, {"me": role, "pair": list(pair)}))


def policies(ask: Ask, role: int) -> set[Right]:
    """The row-security policies that apply to a role."""
    return _set(
        ask(
            "SELECT 'policy', polrelid::regclass::text, polname::text FROM pg_policy "
            "WHERE EXISTS (SELECT FROM unnest(polroles) r WHERE r = 0 OR pg_has_role(%s::oid, r, 'USAGE'))",
            (role,),
        )
    )


def mappings(ask: Ask, role: int) -> set[Right]:
    """The user mappings of a role for foreign servers, with their options."""
    return _set(
        ask(
            "SELECT 'mapping', srvname::text, umoptions::text FROM pg_user_mappings WHERE umuser = %s",
            (role,),
        )
    )


def settings(ask: Ask, role: int) -> set[Any]:
    """The role's own settings, in each database, and its attributes, whatever attributes there are.

    Its name, number and password are its own; of the password's end only whether there is one.
    """
    kept = ask(
        "SELECT 'setting', coalesce(d.datname, 'everywhere'), unnest(setconfig) FROM pg_db_role_setting s "
        "LEFT JOIN pg_database d ON d.oid = s.setdatabase WHERE setrole = %s",
        (role,),
    )
    attributes = ask(
        "SELECT 'attribute', key, value FROM pg_authid a, "
        "jsonb_each_text(to_jsonb(a) - '{oid,rolname,rolpassword,rolvaliduntil}'::text[]) WHERE a.oid = %s "
        "UNION ALL SELECT 'attribute', 'ends', coalesce(isfinite(rolvaliduntil), false)::text FROM pg_authid WHERE oid = %s",
        (role, role),
    )
    return _set(kept) | _set(attributes)


def beside(ask: Ask, known: Known, role: int, pair: tuple[str, ...]) -> set[Right]:
    """What a role may do that is in no access list of things that are there.

    :param pair: as in :func:`memberships`.
    """
    return (
        owned(ask, known, role)
        | memberships(ask, known, role, pair)
        | defaults(ask, role, pair)
        | policies(ask, role)
        | mappings(ask, role)
    )
