# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a login of a role finds: which rows row security lets through to each kind of statement, and its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg2
from pg_rights import Ask

Outcome = Any
"""Rows, a number of rows, or the code of an error."""


_WHOLE = "SELECT * FROM {name} ORDER BY 1"
_EACH = (
    _WHOLE,
    "SELECT * FROM {name} ORDER BY 1 FOR UPDATE",
    "DELETE FROM {name}",
    "DELETE FROM {name} RETURNING *",
)
_INSERT, _UPDATE = "INSERT INTO {name} VALUES ({values})", "UPDATE {name} SET {column} = %s"


@dataclass(frozen=True)
class Guarded:
    """A table with row security.

    :param columns: quoted.
    :param rows: all of them.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def guarded_tables(ask: Ask) -> dict[str, Guarded]:
    """Every table with row security, as the superuser sees it."""
    names = ask("SELECT oid::regclass::text FROM pg_class WHERE relrowsecurity ORDER BY 1")
    found = {}
    for (name,) in names:
        columns = ask(
            "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
            "ORDER BY attnum",
            (name,),
        )
        rows = ask(_WHOLE.format(name=name))
        found[name] = Guarded(tuple(column for (column,) in columns), tuple(rows))
    return found


def _statements(name: str, table: Guarded) -> Iterator[tuple[str, tuple[Any, ...]]]:
    yield "SELECT row_security_active(%s::regclass)", (name,)
    name, column = name.replace("%", "%%"), table.columns[-1].replace("%", "%%")
    for statement in _EACH:
        yield statement.format(name=name), ()
    for row in table.rows:
        yield _INSERT.format(name=name, values=", ".join(["%s"] * len(row))), row
    for value in sorted({row[-1] for row in table.rows}):
        yield _UPDATE.format(name=name, column=column), (value,)


def row_results(session: Any, tables: Mapping[str, Guarded]) -> dict[str, Outcome]:
    """How each statement ends in a login's session; nothing is changed."""
    session.autocommit = False
    found: dict[str, Outcome] = {}
    with session.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings ORDER BY 1")
        found["parameters"] = cursor.fetchall()
        for name, table in tables.items():
            for statement, values in _statements(name, table):
                found[f"{statement} {values}"] = _attempt(cursor, statement, values)
    session.rollback()
    return found


def _attempt(cursor: Any, statement: str, values: tuple[Any, ...]) -> Outcome:
    cursor.execute("SAVEPOINT before")
    try:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else cursor.rowcount
    except psycopg2.Error as error:
        return error.pgcode
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT before")
