# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of every shape whose rows are re-encrypted, and those that are refused because rows could be passed over or lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt import (
    Counts,
    count,
    read_place,
    reencrypt,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from cryptography.fernet import Fernet
from estate.databases import Database
from psycopg2 import sql

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()
KEYS = (Secret(NEW.decode()), (Secret(OLD.decode()),))
KEEPER = "rows_keeper"
ODD = 'we"ird %s {table} name'
SHAPES = """
CREATE DOMAIN public.sealed AS bytea;
CREATE TABLE public.both (tenant text, number bigint, "100%" public.sealed, PRIMARY KEY (tenant, number));
CREATE TABLE public.parts (id int, kind text, secret varchar(200), PRIMARY KEY (kind, id)) PARTITION BY LIST (kind);
CREATE TABLE public.parts_a PARTITION OF public.parts FOR VALUES IN ('a');
CREATE TABLE public.parts_b PARTITION OF public.parts FOR VALUES IN ('b');
CREATE SCHEMA {odd};
GRANT USAGE ON SCHEMA {odd} TO {keeper};
CREATE TABLE {odd}.{odd} ({odd} uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(), secret text);
CREATE TABLE public.plain (id int, code text UNIQUE, twice int NOT NULL, secret text, number int,
                           made text GENERATED ALWAYS AS (secret || 'x') STORED);
CREATE VIEW public.seen AS SELECT * FROM public.both;
CREATE TABLE public.parent (id int PRIMARY KEY, secret text);
CREATE TABLE public.child () INHERITS (public.parent);
CREATE TABLE public.hidden (id int PRIMARY KEY, secret text);
ALTER TABLE public.hidden ENABLE ROW LEVEL SECURITY;
CREATE TABLE public.closed (id int PRIMARY KEY, secret text);
CREATE TABLE public.read_only (id int PRIMARY KEY, secret text);
GRANT SELECT, UPDATE ON public.both, public.parts, {odd}.{odd}, public.plain, public.seen, public.parent, public.hidden TO {keeper};
GRANT SELECT ON public.read_only TO {keeper}
"""


class Tables:
    """The tables and a login that may do no more than it has to."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.database, self.connection = database, database.connect()
        password = database.create_login(KEEPER, member_of_owner=False)
        admin = folder / "keeper.json"
        admin.touch(0o600)
        admin.write_text(json.dumps({"username": KEEPER, "password": password}))
        server = database.server
        self.login = {
            "host": server.host,
            "port": server.port,
            "dbname": database.name,
            "admin": f"ref+file://{admin}",
        }
        names = {"odd": sql.Identifier(ODD), "keeper": sql.Identifier(KEEPER)}
        self.run(SHAPES, **names)

    def run(self, text: str, parameters: Any = None, **names: sql.Identifier) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql.SQL(text).format(**names), parameters)
            return cursor.fetchall() if cursor.description else []

    def do(self, dry: bool = False, **definition: Any) -> Counts:
        place = read_place(
            {"type": "postgres_rows", "login": self.login, "page": 3, **definition}, "place"
        )
        context, counts = Context(), Counts()
        with place.opened(place.resolved(context), context) as store:
            store.check_write()
            if dry:
                return count(store, place.cipher(KEYS))
            reencrypt(store, place.cipher(KEYS), no_guard, counts, sleep=lambda _seconds: None)
        return counts


@pytest.fixture
def tables(scratch: Path, database: Database) -> Iterator[Tables]:
    made = Tables(scratch, database)
    yield made
    made.connection.close()


def sealed(text: str, key: bytes = OLD) -> str:
    return Fernet(key).encrypt(text.encode()).decode()


def done(counts: Counts) -> tuple[int, int, int]:
    return counts.done, counts.to_do, counts.reencrypted


@pytest.mark.pg_versions("16")
def test_tables_of_every_shape(tables: Tables) -> None:
    old = [sealed(str(number)) for number in range(11)]
    both = [
        (tenant, number, old[number].encode()) for tenant in ("ä", "Z", "a") for number in range(11)
    ]
    for row in both:
        tables.run("INSERT INTO public.both VALUES (%s, %s, %s)", row)
    for number, text in enumerate(old):
        tables.run(
            "INSERT INTO public.parts VALUES (%s, 'a', %s), (%s, 'b', %s)",
            (number, text, number, text),
        )
        tables.run(
            "INSERT INTO {odd}.{odd} (secret) VALUES (%s)",
            (text,),
            odd=sql.Identifier(ODD.replace("%", "%%")),
        )
    log = tables.database.server.log_path
    before = log.stat().st_size
    column = {"table": "both", "column": "100%"}
    assert done(tables.do(dry=True, **column)) == (0, 33, 0)
    assert done(tables.do(**column)) == (0, 33, 33)
    assert done(tables.do(**column)) == (33, 0, 0)
    for tenant, number, text in tables.run('SELECT tenant, number, "100%" FROM public.both'):
        assert Fernet(NEW).decrypt(bytes(text)) == str(number).encode(), tenant
    assert done(tables.do(table="parts", column="secret", page=4)) == (0, 22, 22)
    assert done(tables.do(schema=ODD, table=ODD, column="secret", key=ODD)) == (0, 11, 11)
    logged = log.read_bytes()[before:].decode(errors="replace")
    assert "FOR NO KEY UPDATE OF t SKIP LOCKED" in logged, "the statements are not in the log"
    assert not [text for text in old if text in logged], "what an old key opens is in the log"


@pytest.mark.pg_versions("16")
def test_what_is_refused_and_what_is_left(tables: Tables) -> None:
    plain = {"table": "plain", "column": "secret"}
    cases: list[tuple[dict[str, Any], type[KeyturnError], str]] = [
        ({"table": "none", "column": "secret"}, Absent, "there is no table public.none"),
        (
            {"schema": "none", "table": "both", "column": "secret"},
            Absent,
            "there is no table none.both",
        ),
        ({"table": "both", "column": "none"}, Absent, "the table has no column 'none'"),
        (
            {"table": "both", "column": "100%", "key": "none"},
            Absent,
            "the table has no column 'none'",
        ),
        ({"table": "seen", "column": "secret"}, BadInput, "it is no table"),
        ({"table": "parent", "column": "secret"}, BadInput, "tables that inherit from it"),
        (plain, BadInput, "place.key: missing, and the table has no primary key"),
        (
            {**plain, "key": "twice"},
            BadInput,
            "no unique index of the whole table is on exactly twice",
        ),
        ({**plain, "key": "code"}, BadInput, "'code' may be NULL"),
        (
            {"table": "both", "column": "number"},
            BadInput,
            "'number' is bigint; expected text or bytea",
        ),
        (
            {"table": "both", "column": "tenant"},
            BadInput,
            "'tenant' is what is re-encrypted, and changes",
        ),
        (
            {"table": "plain", "column": "made", "key": "code"},
            BadInput,
            "'made' is made by the server",
        ),
        ({"table": "hidden", "column": "secret"}, Refused, "row-level security hides rows"),
        ({"table": "closed", "column": "secret"}, Denied, "GRANT SELECT on it"),
        ({"table": "read_only", "column": "secret"}, Denied, r"GRANT UPDATE \(secret\) on it"),
    ]
    for definition, kind, says in cases:
        with pytest.raises(kind, match=says):
            tables.do(**definition)
    _left_while_it_is_locked(tables)


def _left_while_it_is_locked(tables: Tables) -> None:
    """Whoever holds a row is neither waited for nor kept waiting."""
    place = {"table": "parts", "column": "secret"}
    for number in range(5):
        tables.run("INSERT INTO public.parts VALUES (%s, 'a', %s)", (number, sealed("x")))
    other = tables.database.connect()
    other.autocommit = False
    with other.cursor() as cursor:
        cursor.execute(
            "UPDATE public.parts SET secret = %s WHERE id = 2", (sealed("changed", NEW),)
        )
        counts = tables.do(**place)
        assert (done(counts), counts.left) == ((0, 5, 4), [("a", "2")])
        assert counts.result()["left_keys"] == ["(not shown), 2"]
        named = tables.do(**place, show_keys=True)
        assert (done(named), named.result()["left_keys"]) == ((4, 1, 0), ["a, 2"])
        other.commit()
    other.close()
    assert done(tables.do(**place)) == (5, 0, 0)
    ((kept,),) = tables.run("SELECT secret FROM public.parts WHERE id = 2")
    assert Fernet(NEW).decrypt(kept.encode()) == b"changed"
