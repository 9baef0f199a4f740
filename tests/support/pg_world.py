# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An estate of every kind of right that PostgreSQL knows, and everything that a role may do in it, to compare two roles."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from estate.postgres import PostgresServer
from psycopg2 import sql

Ask = Callable[..., list[Any]]

STRANGE = 'we"ird; $keyturn$ name'
"""A name that would break out of badly quoted statements."""


def run(
    server: PostgresServer,
    text: str,
    dbname: str = "postgres",
    user: str | None = None,
    password: str | None = None,
    **names: str,
) -> list[Any]:
    """Run statements in which ``{name}`` stands for a quoted identifier; rows of the last one."""
    connection = server.connect(dbname, user, password)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                sql.SQL(text).format(**{key: sql.Identifier(name) for key, name in names.items()})
            )
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


SHARED = """
CREATE ROLE {other} NOLOGIN;
CREATE ROLE {readers} NOLOGIN;
CREATE ROLE {writers} NOLOGIN;
CREATE ROLE {auditor} NOLOGIN;
GRANT {readers} TO {a};
GRANT {writers} TO {a} WITH ADMIN OPTION;
GRANT {a} TO {auditor};
GRANT pg_read_all_settings TO {a};
ALTER ROLE {a} CREATEDB CONNECTION LIMIT 17;
ALTER ROLE {a} SET statement_timeout = '5min';
ALTER ROLE {a} SET search_path = "$user", {strange}, public;
ALTER ROLE {a} SET app.greeting = 'it''s; "quoted" \\ $keyturn$';
ALTER ROLE {a} IN DATABASE {db} SET work_mem = '7MB';
ALTER ROLE {a} IN DATABASE {db} SET datestyle = 'ISO, DMY';
GRANT CONNECT, TEMPORARY ON DATABASE {db} TO {a} WITH GRANT OPTION;
GRANT CREATE ON DATABASE {db2} TO {a};
GRANT CREATE ON TABLESPACE pg_global TO {other};
GRANT SET ON PARAMETER log_statement TO {a};
GRANT ALTER SYSTEM ON PARAMETER work_mem TO {a} WITH GRANT OPTION;
"""

LOCAL = """
CREATE SCHEMA {strange};
CREATE SCHEMA plain;
GRANT USAGE ON SCHEMA {strange}, plain TO {a};
GRANT CREATE ON SCHEMA {strange} TO {a} WITH GRANT OPTION;
CREATE TABLE {strange}.{strange} (id int PRIMARY KEY, {strange} text, secret text);
CREATE TABLE plain.parts (id int, kind text) PARTITION BY LIST (kind);
CREATE TABLE plain.parts_x PARTITION OF plain.parts FOR VALUES IN ('x');
CREATE VIEW plain.v AS SELECT 1 AS one;
CREATE MATERIALIZED VIEW plain.mv AS SELECT 1 AS one;
CREATE SEQUENCE plain.counter;
GRANT SELECT, INSERT ON {strange}.{strange} TO {a};
GRANT UPDATE ({strange}), SELECT (id) ON {strange}.{strange} TO {a} WITH GRANT OPTION;
GRANT ALL ON plain.parts TO {a};
GRANT SELECT ON plain.parts_x, plain.v, plain.mv TO {a};
GRANT USAGE ON SEQUENCE plain.counter TO {a};
CREATE FUNCTION plain.f(a int, VARIADIC b text[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION plain.f(a {strange}.{strange}) RETURNS int LANGUAGE sql AS 'SELECT 2';
CREATE PROCEDURE plain.p(a int, INOUT b int) LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE plain.total(int) (sfunc = int4pl, stype = int);
REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA plain FROM PUBLIC;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA plain TO {a};
GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() TO {a};
CREATE TYPE plain.mood AS ENUM ('good', 'bad');
CREATE DOMAIN plain.positive AS int CHECK (VALUE > 0);
REVOKE USAGE ON TYPE plain.mood FROM PUBLIC;
REVOKE USAGE ON DOMAIN plain.positive FROM PUBLIC;
GRANT USAGE ON TYPE plain.mood, plain.positive TO {a};
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpgsql TO {a};
CREATE FOREIGN DATA WRAPPER {strange};
CREATE SERVER {strange} FOREIGN DATA WRAPPER {strange};
CREATE FOREIGN TABLE plain.remote (id int) SERVER {strange};
GRANT USAGE ON FOREIGN DATA WRAPPER {strange} TO {a};
GRANT USAGE ON FOREIGN SERVER {strange} TO {a} WITH GRANT OPTION;
GRANT SELECT ON plain.remote TO {a};
SELECT lo_create(4711);
GRANT SELECT, UPDATE ON LARGE OBJECT 4711 TO {a};
CREATE TABLE plain.rows (id int, tenant text);
INSERT INTO plain.rows SELECT g, CASE g % 3 WHEN 0 THEN 'red' WHEN 1 THEN 'green' ELSE 'blue' END FROM generate_series(1, 30) g;
ALTER TABLE plain.rows ENABLE ROW LEVEL SECURITY;
CREATE POLICY {strange} ON plain.rows FOR SELECT TO {a}, {other} USING (tenant = 'red');
CREATE POLICY only_a ON plain.rows FOR SELECT TO {a} USING (id > 28);
CREATE POLICY by_group ON plain.rows FOR SELECT TO {readers} USING (id = 1);
CREATE POLICY not_a ON plain.rows AS RESTRICTIVE FOR SELECT TO {a} USING (id <> 3);
GRANT SELECT, INSERT ON plain.rows TO {a};
ALTER DEFAULT PRIVILEGES FOR ROLE {other} GRANT SELECT, UPDATE ON TABLES TO {a};
ALTER DEFAULT PRIVILEGES FOR ROLE {other} IN SCHEMA plain GRANT INSERT ON TABLES TO {a} WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE {other} GRANT USAGE ON SEQUENCES TO {a};
ALTER DEFAULT PRIVILEGES FOR ROLE {other} REVOKE EXECUTE ON ROUTINES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE {other} GRANT EXECUTE ON ROUTINES TO {a};
ALTER DEFAULT PRIVILEGES FOR ROLE {other} REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE {other} GRANT USAGE ON TYPES TO {a};
ALTER DEFAULT PRIVILEGES FOR ROLE {other} GRANT USAGE ON SCHEMAS TO {a};
ALTER DEFAULT PRIVILEGES FOR ROLE {a} GRANT SELECT ON TABLES TO {auditor};
ALTER DEFAULT PRIVILEGES FOR ROLE {a} REVOKE EXECUTE ON ROUTINES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE {a} IN SCHEMA {strange} GRANT EXECUTE ON ROUTINES TO {auditor};
GRANT CREATE ON SCHEMA plain TO {other}, {grantor};
GRANT USAGE ON SCHEMA plain TO {other}, {grantor};
CREATE TABLE plain.passed_on (id int);
GRANT SELECT, DELETE ON plain.passed_on TO {grantor} WITH GRANT OPTION;
SET ROLE {grantor};
GRANT SELECT ON plain.passed_on TO {a};
RESET ROLE;
"""

MAPPING = """
CREATE USER MAPPING FOR {a} SERVER {strange} OPTIONS (user 'far', password 'far away')
"""

OWNED = """
SET ROLE {a};
CREATE TABLE plain.own (id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, body text);
CREATE INDEX ON plain.own (body);
CREATE TABLE plain.own_parts (id int) PARTITION BY RANGE (id);
CREATE TABLE plain.own_part PARTITION OF plain.own_parts FOR VALUES FROM (1) TO (10);
CREATE VIEW plain.own_view AS SELECT * FROM plain.own;
CREATE MATERIALIZED VIEW plain.own_mv AS SELECT 1 AS one;
CREATE SEQUENCE plain.own_seq;
CREATE TYPE plain.own_type AS (x int);
CREATE TYPE plain.own_range AS RANGE (subtype = float8);
CREATE DOMAIN plain.own_domain AS text;
CREATE FUNCTION plain.own_f(int, text DEFAULT 'x') RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE plain.own_p(int) LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE plain.own_total(int) (sfunc = int4pl, stype = int);
CREATE OPERATOR plain.### (leftarg = int, rightarg = int, function = int4pl);
CREATE STATISTICS plain.own_stats ON id, n FROM plain.own;
CREATE COLLATION plain.own_collation FROM "C";
CREATE TEXT SEARCH CONFIGURATION plain.own_ts (COPY = pg_catalog.simple);
CREATE TEXT SEARCH DICTIONARY plain.own_dict (TEMPLATE = simple);
CREATE CONVERSION plain.own_conversion FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE SCHEMA own_schema;
CREATE TABLE own_schema.{strange} (id int);
SELECT lo_create(4712);
GRANT SELECT ON plain.own TO {other};
REVOKE EXECUTE ON FUNCTION plain.own_f(int, text) FROM PUBLIC;
RESET ROLE;
CREATE OPERATOR FAMILY plain.own_family USING btree;
ALTER OPERATOR FAMILY plain.own_family USING btree OWNER TO {a};
"""

_ROLE_RIGHTS = """
WITH me AS (SELECT oid, rolname FROM pg_roles WHERE rolname = %(me)s),
     option(suffix) AS (VALUES (''), (' WITH GRANT OPTION'))
SELECT 'table', c.oid::regclass::text, p || suffix, has_table_privilege(me.oid, c.oid, p || suffix)
  FROM me, option, pg_class c, unnest(%(table_rights)s) p
 WHERE c.relkind IN ('r','p','v','m','f') AND (c.oid >= 16384 OR c.relname IN ('pg_authid', 'pg_class'))
UNION ALL
SELECT 'column', c.oid::regclass::text || '.' || a.attname, p || suffix, has_column_privilege(me.oid, c.oid, a.attnum, p || suffix)
  FROM me, option, pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT attisdropped,
       unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) p
 WHERE c.relkind IN ('r','p','v','m','f')
   AND c.oid >= 16384
UNION ALL
SELECT 'sequence', c.oid::regclass::text, p || suffix, has_sequence_privilege(me.oid, c.oid, p || suffix)
  FROM me, option, pg_class c, unnest('{USAGE,SELECT,UPDATE}'::text[]) p WHERE c.relkind = 'S'
UNION ALL
SELECT 'schema', n.nspname, p || suffix, has_schema_privilege(me.oid, n.oid, p || suffix)
  FROM me, option, pg_namespace n, unnest('{USAGE,CREATE}'::text[]) p WHERE nspname !~ '^pg_(toast_)?temp_'
UNION ALL
SELECT 'function', p.oid::regprocedure::text, 'EXECUTE' || suffix, has_function_privilege(me.oid, p.oid, 'EXECUTE' || suffix)
  FROM me, option, pg_proc p WHERE p.oid >= 16384 OR p.proname ~ '^pg_(ls|read)_'
UNION ALL
SELECT 'type', t.oid::regtype::text, 'USAGE' || suffix, has_type_privilege(me.oid, t.oid, 'USAGE' || suffix)
  FROM me, option, pg_type t WHERE t.typelem = 0 AND (t.oid >= 16384 OR t.typname ~ '^int')
UNION ALL
SELECT 'language', lanname, 'USAGE' || suffix, has_language_privilege(me.oid, l.oid, 'USAGE' || suffix) FROM me, option, pg_language l
UNION ALL
SELECT 'fdw', fdwname, 'USAGE' || suffix, has_foreign_data_wrapper_privilege(me.oid, f.oid, 'USAGE' || suffix)
  FROM me, option, pg_foreign_data_wrapper f
UNION ALL
SELECT 'server', srvname, 'USAGE' || suffix, has_server_privilege(me.oid, s.oid, 'USAGE' || suffix) FROM me, option, pg_foreign_server s
UNION ALL
SELECT 'database', datname, p || suffix, has_database_privilege(me.oid, d.oid, p || suffix)
  FROM me, option, pg_database d, unnest('{CREATE,CONNECT,TEMPORARY}'::text[]) p
UNION ALL
SELECT 'tablespace', spcname, 'CREATE' || suffix, has_tablespace_privilege(me.oid, t.oid, 'CREATE' || suffix)
  FROM me, option, pg_tablespace t
UNION ALL
SELECT 'parameter', name, p || suffix, has_parameter_privilege(me.oid, name, p || suffix)
  FROM me, option, pg_settings, unnest('{SET,ALTER SYSTEM}'::text[]) p WHERE name IN ('work_mem', 'log_statement', 'shared_buffers')
UNION ALL
SELECT 'large object', o.oid::text, x.privilege_type || x.is_grantable::text, pg_has_role(me.oid, x.grantee, 'USAGE')
  FROM me, pg_largeobject_metadata o, LATERAL aclexplode(coalesce(o.lomacl, acldefault('L', o.lomowner))) x WHERE x.grantee <> 0
UNION ALL
SELECT 'owner', c.oid::regclass::text, '', pg_has_role(me.oid, c.relowner, 'USAGE')
  FROM me, pg_class c WHERE c.oid >= 16384
UNION ALL
SELECT 'role', r.rolname, p, pg_has_role(me.oid, r.oid, p) FROM me, pg_roles r, unnest(%(role_rights)s) p
 WHERE r.rolname <> ALL (%(pair)s)
UNION ALL
SELECT 'member', r.rolname, '', pg_has_role(r.oid, me.oid, 'USAGE') FROM me, pg_roles r WHERE r.rolname <> ALL (%(pair)s)
"""


def rights(ask: Ask, version: int, role: str, pair: tuple[str, ...]) -> set[tuple[Any, ...]]:
    """Everything that the server says this role may do in one database; large objects by what reaches them.

    :param ask: runs a query in that database.
    :param pair: roles whose relation to each other is left out.
    """
    new = version >= 16
    tables = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]
    parameters = {
        "me": role,
        "pair": list(pair),
        "table_rights": tables + (["MAINTAIN"] if version >= 17 else []),
        "role_rights": ["MEMBER", "USAGE", "USAGE WITH ADMIN OPTION"] + (["SET"] if new else []),
    }
    found = set(ask(_ROLE_RIGHTS, parameters))
    # Of a large object's access list, an entry of the role itself stands for the role.
    reach = {
        (kind, name, right) for kind, name, right, yes in found if kind == "large object" and yes
    }
    return {row for row in found if row[0] != "large object"} | {(*item, True) for item in reach}


def settings(ask: Ask, role: str) -> set[tuple[Any, ...]]:
    """The role's own settings and attributes, apart from its name and number."""
    rows = ask(
        "SELECT coalesce(d.datname, ''), unnest(setconfig) FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase "
        "WHERE setrole = (SELECT oid FROM pg_roles WHERE rolname = %s)",
        (role,),
    )
    attributes = ask(
        "SELECT rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, "
        "rolvaliduntil = 'infinity' OR rolvaliduntil IS NULL FROM pg_roles WHERE rolname = %s",
        (role,),
    )
    return {*map(tuple, rows), *map(tuple, attributes)}


def visible_rows(server: PostgresServer, dbname: str, role: str, password: str) -> list[Any]:
    """The rows of a table with row security that a session of this role sees."""
    return run(server, "SELECT * FROM plain.rows ORDER BY 1", dbname, role, password)


@dataclass
class World:
    """One estate: the role in use (``a``), its stand-in (``b``), and two databases with every kind of right."""

    server: PostgresServer
    name: str
    second: str
    password: str
    sessions: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> dict[str, str]:
        """What the statements of this file call things."""
        made = {
            key: f"{self.name}_{key}"
            for key in ("a", "b", "other", "readers", "writers", "auditor", "grantor")
        }
        return {
            **made,
            "db": self.name,
            "db2": self.second,
            "strange": STRANGE,
            "group": f"{self.name}_grp",
        }

    @property
    def a(self) -> str:
        """The role in use."""
        return self.names["a"]

    @property
    def b(self) -> str:
        """Its stand-in."""
        return self.names["b"]

    @property
    def databases(self) -> tuple[str, str]:
        """Both databases."""
        return self.name, self.second

    def run(
        self,
        text: str,
        dbname: str | None = None,
        user: str | None = None,
        password: str | None = None,
    ) -> list[Any]:
        """Run statements in one of the databases, as the superuser unless told otherwise."""
        if user:
            return run(self.server, text, dbname or self.name, user, password, **self.names)
        names = {key: sql.Identifier(name) for key, name in self.names.items()}
        found = self.ask(sql.SQL(text).format(**names), None, dbname or self.name)
        self.ask("RESET ROLE", None, dbname or self.name)
        return found

    def ask(self, query: Any, parameters: Any = None, dbname: str = "") -> list[Any]:
        """Run one query as the superuser, over a connection that is kept."""
        dbname = dbname or self.name
        if dbname not in self.sessions:
            self.sessions[dbname] = self.server.connect(dbname)
        with self.sessions[dbname].cursor() as cursor:
            cursor.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """End the kept connections."""
        for session in self.sessions.values():
            session.close()
        self.sessions.clear()

    def rights(self, role: str, dbname: str, pair: tuple[str, ...] = ()) -> set[tuple[Any, ...]]:
        """Everything that a role may do in one database."""
        ask = functools.partial(self.ask, dbname=dbname)
        return rights(ask, int(self.server.version), role, pair or (self.a, self.b))

    def mappings(self, role: str, dbname: str) -> set[tuple[Any, ...]]:
        """The user mappings of a role for foreign servers, with their options."""
        query = "SELECT srvname, umoptions::text FROM pg_user_mappings WHERE usename = %s"
        return set(self.ask(query, (role,), dbname))

    def attributes(self, role: str) -> list[Any]:
        """Whether a role can log in; nothing when it is not there."""
        return self.ask("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", (role,))

    def differences(self) -> list[str]:
        """Where the two roles differ, over both databases, the attributes and the settings."""
        found = settings(self.ask, self.a) ^ settings(self.ask, self.b)
        for dbname in self.databases:
            found |= self.rights(self.a, dbname) ^ self.rights(self.b, dbname)
            found |= self.mappings(self.a, dbname) ^ self.mappings(self.b, dbname)
        return sorted(map(str, found))

    def build(self, owned: bool) -> None:
        """Make everything.

        :param owned: the role in use also owns things.
        """
        self.run("CREATE ROLE {grantor}")
        self.run(SHARED)
        for dbname in self.databases:
            self.run(LOCAL, dbname)
            self.run(MAPPING, dbname)
        version = int(self.server.version)
        if version >= 16:
            self.run("GRANT {grantor} TO {a} WITH INHERIT FALSE, SET TRUE")
        if version >= 18:
            self.run(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {other} GRANT SELECT ON LARGE OBJECTS TO {a}"
            )
            self.run("GRANT MAINTAIN ON plain.parts_x TO {a}")
        if owned:
            self.run("ALTER DATABASE {db2} OWNER TO {a}")
            self.run("GRANT CREATE ON SCHEMA plain TO {a}; GRANT CREATE ON DATABASE {db} TO {a}")
            self.run(OWNED)


@contextlib.contextmanager
def second_database(server: PostgresServer, name: str) -> Iterator[str]:
    """Another database on the same server."""
    run(server, "CREATE DATABASE {db}", db=name)
    try:
        yield name
    finally:
        run(server, "DROP DATABASE IF EXISTS {db} WITH (FORCE)", db=name)
