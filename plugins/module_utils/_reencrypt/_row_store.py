# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows that hold ciphertexts: read by keyset, replaced where they are unchanged and nobody works on them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Collection, Iterator, List, Mapping, Sequence, Set

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._login import (
    Login,
    open_login,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import identifier
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._port import (
    Item,
    Key,
    Replacement,
    shown,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._rows import (
    Rows,
    Table,
    may_update,
    read_table,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

_SETTINGS = (
    "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)"
)
_NUMBERS = frozenset({"int2", "int4", "int8", "oid", "uuid"})
_HIDDEN = "(not shown)"
_LONGEST = "10min"
"""To find the next page of a large table that holds little takes longer than other statements of ours."""
_READ = "SELECT {texts}, {column} FROM {table} t WHERE {column} IS NOT NULL AND octet_length({column}) > 0 {rest}"
_REPLACE = """
WITH n ({names}, old, new) AS (VALUES {values}),
     free AS (SELECT n.* FROM {table} t JOIN n ON {as_read} FOR NO KEY UPDATE OF t SKIP LOCKED)
UPDATE {table} t SET {column} = free.new FROM free WHERE {as_locked} RETURNING {keys}
"""


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts)


def _plain(text: str) -> str:
    """A part of a statement in which no percent sign is taken for a placeholder."""
    return text.replace("%", "%%")


class _Statements:
    """The three statements for one table."""

    def __init__(self, table: Table) -> None:
        self._table = _plain(table.name)
        self._set = _plain(identifier(table.column.name))
        self._column = f"t.{self._set}"
        # With the table's name: in ORDER BY, a name alone would be that of the text that is returned, and 10 come before 9.
        self._keys = [f"t.{_plain(identifier(column.name))}" for column in table.key]
        # Through their texts keys come back as they were, whatever their types.
        self._values = [f"%s::{_plain(column.type)}" for column in table.key]
        self._new = "%s::bytea" if table.holds_bytes else "%s::text"
        as_bytes = f"convert_to({self._column}::text, 'UTF8')"
        self._bytes = self._column if table.holds_bytes else as_bytes

    def _read(self, rest: str) -> str:
        texts = _listed([f"{key}::text" for key in self._keys])
        return _READ.format(texts=texts, column=self._column, table=self._table, rest=rest)

    def page(self, first: bool) -> str:
        """Rows behind a key, which are the parameters, and the number of rows."""
        keys = _listed(self._keys)
        behind = "" if first else f"AND ({keys}) > ({_listed(self._values)})"
        return self._read(f"{behind} ORDER BY {keys} LIMIT %s")

    def again(self, count: int) -> str:
        """So many rows by their keys."""
        one = f"({_listed(self._values)})"
        return self._read(f"AND ({_listed(self._keys)}) IN ({_listed([one] * count)})")

    def replace(self, count: int) -> str:
        """So many rows; the parameters of each are its key, the digest of what it holds, and what takes its place.

        It waits for nobody's row, so that it is never a part of a deadlock.
        """
        names = [f"k{number}" for number in range(len(self._keys))]
        one = f"({_listed([*self._values, '%s::bytea', self._new])})"

        def unchanged(given: str) -> str:
            pairs = zip(self._keys, names)
            same = " AND ".join(f"{key} = {given}.{name}" for key, name in pairs)
            return f"{same} AND sha256({self._bytes}) = {given}.old"

        return _REPLACE.format(
            names=_listed(names),
            values=_listed([one] * count),
            table=self._table,
            column=self._set,
            as_read=unchanged("n"),
            as_locked=unchanged("free"),
            keys=_listed([f"{key}::text" for key in self._keys]),
        )


def _login(rows: Rows, admin: Mapping[str, Secret], context: Context) -> Login:
    """The login with what was resolved; a password is never looked at as a reference.

    :raises BadInput: there is no user name.
    """
    option = f"{rows.option}.login"
    username = admin.get("username") or admin.get("user")
    if username is None:
        raise BadInput(
            f"{option}.admin: there is no key 'username'; expected username and password"
        )
    nobody = open_login({**rows.login, "admin": {"username": "nobody"}}, context, option)
    return replace(nobody, username=username.reveal(), password=admin.get("password"))


class RowStore:
    """One column, opened.

    :param admin: the username and the password of ``login.admin``, resolved.
    :raises KeyturnError: as the server and the table give cause.
    """

    def __init__(self, rows: Rows, admin: Mapping[str, Secret], context: Context) -> None:
        self._rows = rows
        self._server = Server(_login(rows, admin, context), context)
        wait = f"{int(rows.lock_timeout * 1000)}ms"
        try:
            self._server.rows(_SETTINGS, (wait, _LONGEST))
            self._table = read_table(self._server, rows)
        except KeyturnError:
            self.close()
            raise
        self._statements = _Statements(self._table)

    def close(self) -> None:
        """Close the connection."""
        self._server.close()

    def check_write(self) -> None:
        """See whether this login may change the column.

        :raises Denied: naming the right.
        """
        may_update(self._rows, self._table.column)

    def shown(self, key: Key) -> str:
        """What is no number may be a name or an address."""
        parts = zip(self._table.key, key)
        whole = self._rows.show_keys
        told = [text if whole or column.base in _NUMBERS else _HIDDEN for column, text in parts]
        return "" if set(told) == {_HIDDEN} else shown(tuple(told))

    def pages(self) -> Iterator[List[Item]]:
        """All rows that hold something, by keyset.

        :raises KeyturnError: as :meth:`Server.rows`.
        """
        size = self._rows.page
        last: Key = ()
        while True:
            page = self._read(self._statements.page(first=not last), [*last, size])
            if page:
                yield page
            if len(page) < size:
                return
            last = page[-1].key

    def again(self, keys: Collection[Key]) -> List[Item]:
        """These rows as they are by now.

        :raises KeyturnError: as :meth:`Server.rows`.
        """
        found: List[Item] = []
        wanted, size = list(keys), self._rows.page
        for at in range(0, len(wanted), size):
            part = wanted[at : at + size]
            texts = [text for key in part for text in key]
            found += self._read(self._statements.again(len(part)), texts)
        return found

    def _read(self, query: str, parameters: Sequence[Any]) -> List[Item]:
        found = self._server.rows(query, tuple(parameters))
        return [Item(tuple(row[:-1]), _bytes(row[-1])) for row in found]

    def replace(self, replacements: Sequence[Replacement]) -> Set[Key]:
        """One statement, and so one transaction, for each page.

        What a row held before is compared by its digest: a statement may come into the server's log, and what the key before opens
        has no business there.

        :raises KeyturnError: as :meth:`Server.rows`.
        """
        done: Set[Key] = set()
        size = self._rows.page
        for at in range(0, len(replacements), size):
            done |= self._replace(replacements[at : at + size])
        return done

    def _replace(self, replacements: Sequence[Replacement]) -> Set[Key]:
        parameters: List[Any] = []
        for item in replacements:
            new: Any = item.new if self._table.holds_bytes else item.new.decode()
            parameters += [*item.key, hashlib.sha256(item.old).digest(), new]
        rows = self._server.rows(self._statements.replace(len(replacements)), tuple(parameters))
        return {tuple(row) for row in rows}


def _bytes(stored: Any) -> bytes:
    return stored.encode() if isinstance(stored, str) else bytes(stored)
