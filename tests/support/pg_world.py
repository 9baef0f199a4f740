# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An estate of every kind of right that PostgreSQL knows, and the differences between two roles in it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from estate.postgres import PostgresServer
from pg_rights import Known, Right, beside, held, settings
from pg_rows import Outcome, guarded_tables, row_results
from psycopg2 import sql

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
CREATE ROLE {keeper} NOLOGIN;
GRANT {readers} TO {a};
GRANT {writers} TO {a} WITH ADMIN OPTION;
GRANT {a} TO {auditor};
GRANT pg_read_all_settings TO {a};
ALTER ROLE {a} CREATEDB CONNECTION LIMIT 17;
ALTER ROLE {a} SET statement_timeout = '5min';
ALTER ROLE {a} SET search_path = "$user", {strange}, public;
ALTER ROLE {a} SET app.greeting = 'it''s; "quoted" \\ $keyturn$';
ALTER ROLE {a} SET log_min_duration_statement = '1h';
ALTER ROLE {a} SET temp_tablespaces = pg_default;
ALTER ROLE {a} IN DATABASE {db} SET work_mem = '7MB';
ALTER ROLE {a} IN DATABASE {db} SET datestyle = 'ISO, DMY';
GRANT CONNECT, TEMPORARY ON DATABASE {db} TO {a} WITH GRANT OPTION;
GRANT CREATE ON DATABASE {db2} TO {a};
GRANT CREATE ON DATABASE {db} TO {other};
GRANT CREATE ON TABLESPACE pg_global TO {a} WITH GRANT OPTION;
GRANT SET ON PARAMETER log_statement TO {a};
GRANT ALTER SYSTEM ON PARAMETER work_mem TO {a} WITH GRANT OPTION;
GRANT SET ON PARAMETER app.most TO {a};
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
CREATE TYPE plain.pair AS (x int, y int);
REVOKE USAGE ON TYPE plain.pair FROM PUBLIC;
GRANT USAGE ON TYPE plain.pair TO {a} WITH GRANT OPTION;
GRANT SELECT ON pg_catalog.pg_authid TO {a};
CREATE TABLE plain.hidden (id int);
GRANT SELECT (xmin) ON plain.hidden TO {a};
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpgsql TO {a};
CREATE FOREIGN DATA WRAPPER {strange};
CREATE SERVER {strange} FOREIGN DATA WRAPPER {strange};
CREATE FOREIGN TABLE plain.remote (id int) SERVER {strange};
GRANT USAGE ON FOREIGN DATA WRAPPER {strange} TO {a};
GRANT USAGE ON FOREIGN SERVER {strange} TO {a} WITH GRANT OPTION;
GRANT USAGE ON FOREIGN SERVER {strange} TO {other};
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
CREATE TABLE plain.notes (id int, tenant text);
INSERT INTO plain.notes VALUES (1, 'red'), (2, 'green'), (3, 'blue');
ALTER TABLE plain.notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY notes_read ON plain.notes FOR SELECT USING (true);
CREATE POLICY notes_add ON plain.notes FOR INSERT TO {a} WITH CHECK (tenant = 'red');
CREATE POLICY notes_edit ON plain.notes FOR UPDATE TO {a} USING (tenant <> 'blue') WITH CHECK (tenant <> 'red');
CREATE POLICY notes_drop ON plain.notes FOR DELETE TO {readers} USING (id < 3);
GRANT SELECT, INSERT, UPDATE, DELETE ON plain.notes TO {a};
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
CREATE SERVER own_server FOREIGN DATA WRAPPER {strange};
CREATE FOREIGN TABLE plain.own_remote (id int) SERVER own_server;
CREATE PUBLICATION own_publication FOR TABLE plain.own;
CREATE SCHEMA own_schema;
CREATE TABLE own_schema.{strange} (id int);
SELECT lo_create(4712);
CREATE TABLE plain.own_open AS SELECT g AS id, CASE g WHEN 1 THEN 'red' ELSE 'blue' END AS tenant FROM generate_series(1, 3) g;
CREATE TABLE plain.own_forced AS TABLE plain.own_open;
ALTER TABLE plain.own_open ENABLE ROW LEVEL SECURITY;
ALTER TABLE plain.own_forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY forced ON plain.own_forced TO {a} USING (tenant = 'red');
GRANT SELECT ON plain.own TO {other};
REVOKE EXECUTE ON FUNCTION plain.own_f(int, text) FROM PUBLIC;
RESET ROLE;
CREATE OPERATOR FAMILY plain.own_family USING btree;
ALTER OPERATOR FAMILY plain.own_family USING btree OWNER TO {a};
CREATE OPERATOR CLASS plain.own_class FOR TYPE int USING btree FAMILY plain.own_family AS
  OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int, int);
ALTER OPERATOR CLASS plain.own_class USING btree OWNER TO {a};
"""


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
            for key in ("a", "b", "other", "readers", "writers", "auditor", "grantor", "keeper")
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

    @functools.cached_property
    def known(self) -> Known:
        """What rights this server knows."""
        return Known.of(self.ask)

    def number(self, role: str) -> int:
        """A role's number; 0 when it is not there."""
        found = self.ask("SELECT oid FROM pg_roles WHERE rolname = %s", (role,))
        return found[0][0] if found else 0

    def rights(self, role: str, dbname: str, pair: tuple[str, ...] = ()) -> set[Right]:
        """Everything that a role may do in one database."""
        ask, number = functools.partial(self.ask, dbname=dbname), self.number(role)
        others = beside(ask, self.known, number, pair or (self.a, self.b))
        return others | set(held(ask, self.known, number))

    def attributes(self, role: str) -> list[Any]:
        """Whether a role can log in; nothing when it is not there."""
        return self.ask("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", (role,))

    def each_difference(self, databases: Sequence[str]) -> Iterator[str]:
        """Where the two roles differ: attributes and settings, then what there is in these databases."""
        a, b = self.number(self.a), self.number(self.b)
        yield from map(str, settings(self.ask, a) ^ settings(self.ask, b))
        for dbname in databases:
            ask = functools.partial(self.ask, dbname=dbname)
            one, other = (beside(ask, self.known, number, (self.a, self.b)) for number in (a, b))
            yield from map(str, one ^ other)
            yield from map(str, held(ask, self.known, a, b))

    def differences(self) -> list[str]:
        """Where the two roles differ, over both databases, the attributes and the settings."""
        return sorted(self.each_difference(self.databases))

    def results(self, role: str, password: str) -> dict[str, Outcome]:
        """What a login of this role finds: its settings, and what row security lets through."""
        tables = {
            name: guarded_tables(functools.partial(self.ask, dbname=name))
            for name in self.databases
        }
        found: dict[str, Outcome] = {}
        for dbname, guarded in tables.items():
            session = self.server.connect(dbname, role, password)
            try:
                found |= {
                    f"{dbname}: {key}": it for key, it in row_results(session, guarded).items()
                }
            finally:
                session.close()
        return found

    def build(self, owned: bool) -> None:
        """Make everything.

        :param owned: the role in use also owns things.
        """
        self.run("CREATE ROLE {grantor}")
        self.run(SHARED)
        for dbname in self.databases:
            self.run(LOCAL, dbname)
            self.run(MAPPING, dbname)
        # Asked here, as long as no transaction is under way that a question without an answer would end.
        version = self.known.version
        if version >= 16:
            self.run("GRANT {grantor} TO {a} WITH INHERIT FALSE, SET TRUE")
            self.run("GRANT {keeper} TO {grantor} WITH ADMIN OPTION")
            self.run("GRANT {keeper} TO {a} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
            self.run("GRANT {keeper} TO {a} WITH INHERIT TRUE, SET FALSE GRANTED BY {grantor}")
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
