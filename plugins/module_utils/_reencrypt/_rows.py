# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The place ``postgres_rows``: one column of a table, as a definition describes it and as the server has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import refuse_unknown
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._login import check_login
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import (
    MAX_BYTES,
    identifier,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._options import (
    COMMON,
    seconds,
    whole_number,
    yes_or_no,
)

KEYS = (
    *COMMON,
    "login",
    "schema",
    "table",
    "column",
    "key",
    "page",
    "pause",
    "lock_timeout",
    "show_keys",
)
PAGE = 500
_MOST_OF_A_PAGE = 10_000
TEXTS, BYTES = ("text", "varchar"), "bytea"


def _name(given: Any, option: str, what: str) -> str:
    if not isinstance(given, str) or not given or "\0" in given:
        raise BadInput(f"{option}: expected the name of {what}")
    if len(given.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise BadInput(f"{option}: a name in PostgreSQL has at most {MAX_BYTES} bytes")
    return given


def _key(given: Any, option: str) -> Tuple[str, ...]:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names or len(set(map(str, names))) < len(names):
        raise BadInput(
            f"{option}: expected the column that names a row, or a list of different columns"
        )
    return tuple(_name(name, option, "a column") for name in names)


@dataclass(frozen=True)
class Rows:
    """One column.

    :param key: the columns that name a row; none: those of the primary key.
    :param page: how many rows are read, and at most changed, at a time.
    :param pause: seconds after each page that something was written in.
    :param lock_timeout: seconds that a statement waits for a lock of the whole table.
    :param show_keys: results and messages name rows by any key, and not by numbers alone.
    """

    login: Mapping[str, Any]
    schema: str
    table: str
    column: str
    key: Tuple[str, ...]
    page: int
    pause: float
    lock_timeout: float
    show_keys: bool
    option: str

    on = ""

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any], option: str) -> Rows:
        """The place that a definition describes.

        :raises BadInput: naming the key and what is expected.
        """
        refuse_unknown(definition, KEYS, option)
        if definition.get("host"):
            raise BadInput(
                f"{option}.host: rows are reached from where the rotation runs; say where the server is in login.host"
            )
        given = definition.get("key")
        return cls(
            login=check_login(definition.get("login"), f"{option}.login"),
            schema=_name(definition.get("schema", "public"), f"{option}.schema", "a schema"),
            table=_name(definition.get("table"), f"{option}.table", "a table"),
            column=_name(definition.get("column"), f"{option}.column", "a column"),
            key=() if given is None else _key(given, f"{option}.key"),
            page=whole_number(definition.get("page", PAGE), f"{option}.page", _MOST_OF_A_PAGE),
            pause=seconds(definition.get("pause", 0), f"{option}.pause"),
            lock_timeout=seconds(definition.get("lock_timeout", 1), f"{option}.lock_timeout", True),
            show_keys=yes_or_no(definition.get("show_keys", False), f"{option}.show_keys"),
            option=option,
        )

    @property
    def where(self) -> str:
        """How messages and results name it."""
        database = self.login.get("dbname") or "postgres"
        return f"{self.schema}.{self.table}.{self.column} in {database}"

    @property
    def needs(self) -> Mapping[str, Any]:
        """The administrator's login."""
        return {"admin": self.login["admin"]}


_TABLE = """
SELECT c.oid, c.relkind IN ('r', 'p'), row_security_active(c.oid), pg_is_in_recovery(),
       c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid),
       current_setting('server_version_num')::int
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
"""
# A type whose operators are PostgreSQL's own: those of an extension are not found under the search path that is set here, and a page
# would begin elsewhere than the one before ended.
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, coalesce(b.typname, t.typname)::text, a.attgenerated <> '',
       coalesce(b.typnamespace, t.typnamespace) = 'pg_catalog'::regnamespace OR t.typtype = 'e',
       has_column_privilege(a.attrelid, a.attnum, 'SELECT'), has_column_privilege(a.attrelid, a.attnum, 'UPDATE')
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
 WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
"""
_INDEXES = """
SELECT i.indisprimary, (SELECT array_agg(a.attname::text ORDER BY k.place)
                          FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
                          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                         WHERE k.place <= i.indnkeyatts)
  FROM pg_index i WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
 ORDER BY i.indisprimary DESC
"""
_GENERATED_SINCE = 120000


@dataclass(frozen=True)
class Column:
    """A column as the server has it.

    :param type: with what a text is cast to it.
    :param base: the name of its type, of a domain that of what it is made from.
    """

    name: str
    type: str
    not_null: bool
    base: str
    generated: bool
    ordered: bool
    readable: bool
    writable: bool


@dataclass(frozen=True)
class Table:
    """What the statements are made of.

    :param name: quoted.
    :param key: the columns that name a row.
    """

    name: str
    column: Column
    key: Tuple[Column, ...]

    @property
    def holds_bytes(self) -> bool:
        """Whether the column is of bytes, and not of text."""
        return self.column.base == BYTES


def read_table(server: Server, rows: Rows) -> Table:
    """Find out how the table is made, and whether all of its rows can be seen.

    :raises Absent, BadInput, Denied, Refused: naming the option, and what to do.
    """
    found = server.rows(_TABLE, (rows.schema, rows.table))
    if not found:
        raise Absent(f"{rows.option}.table: there is no table {rows.schema}.{rows.table} there")
    oid, is_table, hidden, standby, inherited, version = found[0]
    if version < _GENERATED_SINCE:
        raise BadInput(f"{rows.option}.login: the server is older than PostgreSQL 12; upgrade it")
    if not is_table or inherited:
        what = "it has tables that inherit from it" if is_table else "it is no table"
        raise BadInput(f"{rows.option}.table: {what}; name each table of its own")
    if hidden:
        raise Refused(
            f"{rows.option}.login: row-level security hides rows of {rows.schema}.{rows.table} from this login, and what it does not see "
            "would be lost; name a role with BYPASSRLS in login.admin, or the table's owner where it is not forced on that one"
        )
    if standby:
        raise Refused(
            f"{rows.option}.login: the server is a standby; name the primary in login.host"
        )
    columns = {row[0]: Column(*row) for row in server.rows(_COLUMNS, (oid,))}
    indexes = [(primary, tuple(names or ())) for primary, names in server.rows(_INDEXES, (oid,))]
    names = _key_names(rows, columns, indexes)
    return Table(
        f"{identifier(rows.schema)}.{identifier(rows.table)}",
        _stored_in(rows, columns),
        tuple(_key_column(rows, columns[name]) for name in names),
    )


def _stored_in(rows: Rows, columns: Mapping[str, Column]) -> Column:
    column = columns.get(rows.column)
    option = f"{rows.option}.column"
    if column is None:
        raise Absent(f"{option}: the table has no column '{rows.column}'")
    if column.base not in (*TEXTS, BYTES):
        raise BadInput(f"{option}: '{rows.column}' is {column.type}; expected text or bytea")
    if column.generated:
        raise BadInput(f"{option}: '{rows.column}' is made by the server from other columns")
    _readable(rows, column)
    return column


def _readable(rows: Rows, column: Column) -> None:
    if not column.readable:
        raise Denied(
            f"{rows.option}.login: this login may not read {rows.schema}.{rows.table}.{column.name}; GRANT SELECT on it"
        )


def may_update(rows: Rows, column: Column) -> None:
    """Refuse a login that may only read.

    :raises Denied: naming the right.
    """
    if not column.writable:
        raise Denied(
            f"{rows.option}.login: this login may not change {rows.schema}.{rows.table}.{column.name}; GRANT UPDATE ({column.name}) on it"
        )


Indexes = List[Tuple[bool, Tuple[str, ...]]]


def _key_names(rows: Rows, columns: Mapping[str, Column], indexes: Indexes) -> Tuple[str, ...]:
    option = f"{rows.option}.key"
    if not rows.key:
        primary: Optional[Tuple[str, ...]] = next(
            (names for is_primary, names in indexes if is_primary), None
        )
        if primary is None:
            raise BadInput(
                f"{option}: missing, and the table has no primary key; name columns that are unique and NOT NULL"
            )
        return primary
    strange = [name for name in rows.key if name not in columns]
    if strange:
        raise Absent(f"{option}: the table has no column '{strange[0]}'")
    if not any(set(names) == set(rows.key) for _primary, names in indexes):
        raise BadInput(
            f"{option}: no unique index of the whole table is on exactly {', '.join(rows.key)}; rows could be passed over. Name those "
            "of one, or leave 'key' out for the primary key"
        )
    return rows.key


def _key_column(rows: Rows, column: Column) -> Column:
    option = f"{rows.option}.key"
    if column.name == rows.column:
        raise BadInput(f"{option}: '{column.name}' is what is re-encrypted, and changes")
    if not column.not_null:
        raise BadInput(
            f"{option}: '{column.name}' may be NULL, and such rows would be passed over; name columns that are NOT NULL"
        )
    if not column.ordered:
        raise BadInput(
            f"{option}: '{column.name}' is of the type {column.type}, whose order is an extension's; name a column of another type"
        )
    _readable(rows, column)
    return column
