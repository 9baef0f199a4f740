# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the list of those affected comes from (``keyturn_affected.of``): a query, a file, a program."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._alert import (
    checked_environment,
    resolved_environment,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import read_file
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import refuse_unknown
from ansible_collections.keyturn.runbooks.plugins.module_utils._program import (
    Program,
    read_argv,
    read_program,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

Rows = Sequence[Mapping[str, Any]]
TooMany = Callable[[int], None]
_SECONDS = "60s"
_NO_SUCH_TABLE = "42P01"


def parse_json(text: str, option: str) -> Rows:
    """A JSON list of objects. Numbers stay as they are written.

    :raises BadInput: it is something else.
    """
    try:
        found = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        raise BadInput(
            f"{option}: this is no JSON; expected a list of objects, one for each user"
        ) from None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise BadInput(f"{option}: expected a JSON list of objects, one for each user")
    return found


def parse_csv(text: str, option: str) -> Rows:
    """Lines of cells below one with the columns' names.

    :raises BadInput: a line has more or fewer cells, or a name is there twice.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = next(reader, [])
        if not names or len(set(names)) < len(names):
            raise BadInput(f"{option}: expected a first line with the columns' names, each once")
        rows: List[Dict[str, Any]] = []
        for cells in reader:
            if cells and len(cells) != len(names):
                raise BadInput(
                    f"{option}: line {reader.line_num} has {len(cells)} cells, and there are {len(names)} columns; text with a comma or a "
                    "line break stands in quotes"
                )
            if cells:
                rows.append(dict(zip(names, cells)))
    except csv.Error:
        raise BadInput(f"{option}: line {reader.line_num} is no CSV; correct its quotes") from None
    return rows


_FORMATS: Mapping[str, Callable[[str, str], Rows]] = MappingProxyType(
    {"json": parse_json, "csv": parse_csv}
)


def _check_postgres(of: Mapping[str, Any], option: str) -> None:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._login import (
        check_login,
    )

    refuse_unknown(of, ("type", "login", "query"), option)
    check_login(of.get("login"), f"{option}.login")
    query = of.get("query")
    if not isinstance(query, str) or not query.strip().rstrip(";").strip():
        raise BadInput(
            f"{option}.query: expected a SELECT that gives one row for each affected user"
        )
    if ";" in query.strip().rstrip(";"):
        raise BadInput(f"{option}.query: expected one statement; leave out the semicolon")


def _from_postgres(of: Mapping[str, Any], context: Context, option: str, too_many: TooMany) -> Rows:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server

    # The query is the operator's own, in a session that only reads; on lines of its own, as it may end with a comment.
    inner = f"(\n{of['query'].strip().rstrip(';')}\n) keyturn_rows"
    count = f"SELECT count(*) FROM {inner}"  # noqa: S608 (the operator's own query)
    read = f"SELECT row_to_json(keyturn_rows)::text FROM {inner}"  # noqa: S608 (the operator's own query)
    with Server.open(of["login"], context, f"{option}.login") as server:
        server.rows("SELECT set_config('default_transaction_read_only', 'on', false)")
        try:
            too_many(int(server.rows(count)[0][0]))
            found = server.rows(read)
        except KeyturnError as error:
            code = error.details.get("sqlstate")
            if code == _NO_SUCH_TABLE:
                error.message += ". Nothing is found by its name alone: name tables and functions with their schema, such as public.users"
            if code:
                error.message = f"{option}.query: {error.message}"
            raise
    return [row for (text,) in found for row in parse_json(f"[{text}]", option)]


def _format(of: Mapping[str, Any], option: str) -> str:
    ending = os.path.splitext(str(of.get("path") or ""))[1][1:].lower()
    name = of.get("format") or ending
    if name not in _FORMATS:
        raise BadInput(
            f"{option}.format: expected json or csv, as the file does not say it by its name"
        )
    return str(name)


def _check_file(of: Mapping[str, Any], option: str) -> None:
    refuse_unknown(of, ("type", "path", "format"), option)
    path = of.get("path")
    if not isinstance(path, str) or not os.path.isabs(path) or "\0" in path:
        raise BadInput(
            f"{option}.path: expected the absolute path of a file, where the rotation runs"
        )
    _format(of, option)


def _text(data: bytes, option: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{option}: this is no UTF-8 text") from None


def _from_file(of: Mapping[str, Any], _context: Context, option: str, _too_many: TooMany) -> Rows:
    data = read_file(of["path"], f"{option}.path")
    if data is None:
        raise Absent(f"{option}.path: there is no file {of['path']}; who makes it?")
    name = f"{option}.path: {of['path']}"
    return _FORMATS[_format(of, option)](_text(data, name), name)


def _check_command(of: Mapping[str, Any], option: str) -> None:
    refuse_unknown(of, ("type", "argv", "environment", "timeout"), option)
    read_argv(of.get("argv"), f"{option}.argv")
    checked_environment(of.get("environment") or {}, f"{option}.environment")
    parse_duration(of.get("timeout", _SECONDS), f"{option}.timeout")


def _from_command(of: Mapping[str, Any], context: Context, option: str, _too_many: TooMany) -> Rows:
    argv = read_argv(of["argv"], f"{option}.argv")
    own = resolved_environment(of.get("environment") or {}, context, f"{option}.environment")
    seconds = parse_duration(of.get("timeout", _SECONDS), f"{option}.timeout").total_seconds()
    program, where = Program(argv, context.environ, own), f"{option}.argv: {argv[0]}"
    try:
        # What it says on its standard error may hold a value, and is not kept.
        code, said = read_program(program, seconds, subprocess.DEVNULL)
    except Unreachable as error:
        raise Unreachable(f"{option}.argv: {error.message}") from None
    if code:
        raise Unreachable(
            f"{where} ended with exit code {code}; its output is not shown, run it by hand to see why"
        )
    return parse_json(_text(said, where), where)


_Check = Callable[[Mapping[str, Any], str], None]
_Read = Callable[[Mapping[str, Any], Context, str, TooMany], Rows]
SOURCES: Mapping[str, Any] = MappingProxyType(
    {
        "postgres": (_check_postgres, _from_postgres),
        "file": (_check_file, _from_file),
        "command": (_check_command, _from_command),
    }
)
"""Every type of source, by name: how its definition is checked, and how it is read."""


def check_source(of: Mapping[str, Any], option: str) -> None:
    """Read the definition; nothing is resolved or asked.

    :raises BadInput: naming the key and what is expected.
    """
    kind = of.get("type")
    if kind not in SOURCES:
        said = f"'{kind}' is unknown" if kind else "missing"
        raise BadInput(f"{option}.type: {said}; expected one of {', '.join(sorted(SOURCES))}")
    check: _Check = SOURCES[str(kind)][0]
    check(of, option)


def read_source(of: Mapping[str, Any], context: Context, option: str, too_many: TooMany) -> Rows:
    """The rows. Nothing is changed there.

    :param too_many: is told how many there are, and may refuse them, where that is known before they are read.
    :raises KeyturnError: as the source gives cause.
    """
    check_source(of, option)
    read: _Read = SOURCES[str(of["type"])][1]
    return read(of, context, option, too_many)
