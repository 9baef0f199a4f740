# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a catalog of secrets: tables in a Markdown page, a CSV file with headings, or a YAML list.

A Markdown page may hold other text and other tables; those with headings for a place, its keys and a frequency are taken. What a
heading may be called is in :data:`HEADINGS`; further columns are not read.
"""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    MissingLibrary,
)

HEADINGS: Mapping[str, Tuple[str, ...]] = MappingProxyType(
    {
        "place": ("vault path", "path", "location"),
        "keys": ("keys", "key", "secret"),
        "owner": ("owner",),
        "frequency": ("rotation frequency", "rotation schedule", "frequency", "schedule"),
        "name": ("name", "credential"),
    }
)
NEEDED = ("place", "keys", "frequency")
FORMATS = ("auto", "csv", "markdown", "yaml")
_SUFFIXES = MappingProxyType({".csv": "csv", ".yml": "yaml", ".yaml": "yaml"})
_RULE = re.compile(r"\s*:?-+:?\s*\Z")
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Row:
    """One row as it was written.

    :param line: where it is in the file, counted from 1.
    :param cells: by the names of :data:`HEADINGS`.
    """

    line: int
    cells: Mapping[str, str]


def expected_headings() -> str:
    """The columns for a message."""
    return ", ".join("/".join(HEADINGS[name]) for name in NEEDED)


def _columns(titles: Sequence[str]) -> Dict[int, str]:
    """Which column is what."""
    names = {title: name for name, titles in HEADINGS.items() for title in titles}
    plain = [title.strip().strip("*`").replace("_", " ").lower() for title in titles]
    found: Dict[int, str] = {}
    for index, title in enumerate(plain):
        name = names.get(title)
        if name and name not in found.values():
            found[index] = name
    return found


def _row(line: int, columns: Mapping[int, str], cells: Sequence[str]) -> Row:
    return Row(
        line,
        {name: cells[index].strip() for index, name in columns.items() if index < len(cells)},
    )


def _split(line: str) -> List[str]:
    inner = line.strip()
    inner = inner[1:] if inner.startswith("|") else inner
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return [cell.strip().replace("\\|", "|") for cell in _CELL.split(inner)]


def _is_rule(line: str) -> bool:
    return "-" in line and "|" in line and all(_RULE.match(cell) for cell in _split(line))


def _markdown(text: str) -> Iterator[Row]:
    """The rows of all tables that have the needed headings."""
    lines = text.splitlines()
    columns: Optional[Dict[int, str]] = None
    for index, line in enumerate(lines):
        if "|" not in line:
            columns = None
        elif index + 1 < len(lines) and _is_rule(lines[index + 1]):
            found = _columns(_split(line))
            columns = found if set(NEEDED) <= set(found.values()) else None
        elif columns and not _is_rule(line):
            yield _row(index + 1, columns, _split(line))


def _csv(text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""))
    columns = _columns(next(reader, []))
    if not set(NEEDED) <= set(columns.values()):
        return
    start = reader.line_num + 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield _row(start, columns, cells)
        start = reader.line_num + 1


def _yaml(text: str, where: str) -> Iterator[Row]:
    try:
        import yaml
    except ImportError:
        raise MissingLibrary(
            f"{where}: reading YAML needs the Python library PyYAML; install it"
        ) from None
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f": the mistake is at line {mark.line + 1}" if mark else ""
        raise BadInput(f"{where}: no YAML{place}") from None
    if not isinstance(tree, yaml.SequenceNode):
        raise BadInput(f"{where}: expected a list of mappings with {expected_headings()}")
    for item in tree.value:
        line = item.start_mark.line + 1
        if not isinstance(item, yaml.MappingNode):
            raise BadInput(f"{where}: line {line}: expected a mapping")
        titles = [str(key.value) for key, _value in item.value]
        yield _row(line, _columns(titles), [_scalar(value) for _key, value in item.value])


def _scalar(node: Any) -> str:
    return (
        ", ".join(_scalar(item) for item in node.value)
        if isinstance(node.value, list)
        else str(node.value)
    )


def read_rows(text: str, path: str, form: str) -> List[Row]:
    """The rows of a catalog.

    :param path: for messages, and for its suffix where the format is ``auto``.
    :raises BadInput: when it is not of that format, or holds no such table.
    :raises MissingLibrary: for YAML without PyYAML.
    """
    suffix = os.path.splitext(path)[1].lower()
    chosen = _SUFFIXES.get(suffix, "markdown") if form == "auto" else form
    where = f"src: {path}"
    plain = text.lstrip("\ufeff")
    found = {"csv": _csv, "markdown": _markdown}.get(chosen)
    rows = list(found(plain) if found else _yaml(plain, where))
    if not rows:
        raise BadInput(
            f"{where}: there is no table with the columns {expected_headings()} in this {chosen}"
        )
    return rows
