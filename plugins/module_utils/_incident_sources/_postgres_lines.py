# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of PostgreSQL's log, in its three formats, as rows of the fields that matter. Pure."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Callable, Iterable, Iterator, List, Mapping, Optional, Pattern, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._log_lines import (
    to_moment,
)

JSONLOG, CSVLOG, STDERR = "jsonlog", "csvlog", "stderr"
FORMATS = (JSONLOG, CSVLOG, STDERR)
_LOOKED = 1 << 13
_ZONED = re.compile(r"(\S+ \S+) ([A-Za-z]{2,5})\Z")
_ESCAPE = re.compile(r"%(-?\d+)?(.)")
_NAME = r"[^\r\n]{0,128}?"
_HOST = r"\[local\]|[^\s()]*"
_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \S+"
_PARTS: Mapping[str, str] = {
    "a": rf"(?P<app>{_NAME})",
    "u": rf"(?P<user>{_NAME})",
    "d": rf"(?P<database>{_NAME})",
    "r": rf"(?P<host>{_HOST})(?:\(\d+\))?",
    "h": rf"(?P<host>{_HOST})",
    "m": rf"(?P<time>{_TIME})",
    "t": rf"(?P<time>{_TIME})",
    "n": r"(?P<epoch>\d{1,11}(?:\.\d+)?)",
    "e": r"(?P<state>[0-9A-Z]{5})",
    "s": _TIME,
    "i": _NAME,
    "b": _NAME,
    "%": "%",
}
_OTHERS = "pPlcvxQL"


@dataclass(frozen=True)
class Row:
    """One entry.

    :param at: none where its time is not understood, ``zone`` then says why.
    """

    at: Optional[datetime]
    message: str
    severity: str = ""
    state: str = ""
    user: str = ""
    host: str = ""
    database: str = ""
    app: str = ""
    zone: str = ""


def moment_of(text: str, offset: Optional[timezone]) -> Tuple[Optional[datetime], str]:
    """The time of an entry, and the name of its zone where that is not known.

    :param offset: what a name of a zone stands for.
    """
    found = to_moment(text)
    zoned = None if found else _ZONED.match(text)
    if zoned is None:
        return found, ""
    return (to_moment(zoned[1], offset), "") if offset else (None, zoned[2])


def _row(told: Mapping[str, Any], offset: Optional[timezone]) -> Row:
    texts = {name: str(value or "") for name, value in told.items()}
    at, zone = moment_of(texts.pop("time", ""), offset)
    host = texts.pop("host", "")
    return Row(at, zone=zone, host="local" if host == "[local]" else host, **texts)


_JSON_NAMES = {
    "time": "timestamp", "message": "message", "severity": "error_severity", "state": "state_code",
    "user": "user", "host": "remote_host", "database": "dbname", "app": "application_name",
}  # fmt: skip


def _json_row(line: bytes, offset: Optional[timezone]) -> Optional[Row]:
    try:
        told = json.loads(line)
        return _row({name: told.get(key) for name, key in _JSON_NAMES.items()}, offset)
    except (ValueError, AttributeError, RecursionError):
        return None


def _json_rows(lines: Iterable[bytes], offset: Optional[timezone]) -> Iterator[Optional[Row]]:
    return (_json_row(line, offset) for line in lines)


def _csv_rows(lines: Iterable[bytes], offset: Optional[timezone]) -> Iterator[Optional[Row]]:
    columns = {"time": 0, "user": 1, "database": 2, "severity": 11, "state": 12, "message": 13}
    reader = csv.reader(f"{line.decode('utf-8', 'replace')}\n" for line in lines)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error:
            yield None
            continue
        if cells is None:
            return
        if len(cells) < 23:
            yield None
            continue
        told = {name: cells[number] for name, number in columns.items()}
        # An address of IPv6 has colons itself.
        host = cells[4] if cells[4] == "[local]" else cells[4].rpartition(":")[0] or cells[4]
        yield _row({**told, "host": host, "app": cells[22]}, offset)


def prefix_pattern(prefix: str, option: str) -> Pattern[str]:
    """A pattern for the lines that are written with a ``log_line_prefix``.

    :raises BadInput: without a time, or with an escape that PostgreSQL has not.
    """
    text, at, optional = "", 0, 0
    seen: List[str] = []
    for found in _ESCAPE.finditer(prefix):
        text += re.escape(prefix[at : found.start()])
        at, sign = found.end(), found[2]
        if sign == "q":
            text, optional = f"{text}(?:", optional + 1
            continue
        if sign not in _PARTS and sign not in _OTHERS:
            raise BadInput(
                f"{option}: PostgreSQL has no %{sign}; give log_line_prefix as it is set"
            )
        part = _PARTS.get(sign, r"\S*")
        name = re.match(r"\(\?P<(\w+)>", part)
        if name and name[1] in seen:
            part = part.replace(f"?P<{name[1]}>", "?:", 1)
        seen += [name[1]] if name else []
        text += rf"\s*{part}\s*" if found[1] else part
    if not {"time", "epoch"} & set(seen):
        raise BadInput(
            f"{option}: it has no time (%m, %t or %n): nobody can know what of this log is in the window"
        )
    text += re.escape(prefix[at:]) + ")?" * optional
    return re.compile(rf"{text}\s*(?P<severity>[A-Z]+\d?):\s+(?P<message>.*)", re.DOTALL)


def _stderr_rows(
    pattern: Pattern[str], lines: Iterable[bytes], offset: Optional[timezone]
) -> Iterator[Optional[Row]]:
    for line in lines:
        found = pattern.match(line[:_LOOKED].decode("utf-8", "replace"))
        if not found:
            # The rest of an entry of several lines begins with a tab.
            if not line.startswith(b"\t"):
                yield None
            continue
        told = dict(found.groupdict())
        epoch = told.pop("epoch", None)
        if epoch:
            told["time"] = datetime.fromtimestamp(int(float(epoch)), timezone.utc).isoformat()
        for name in ("user", "database", "app"):
            told[name] = "" if told.get(name) == "[unknown]" else told.get(name)
        yield _row(told, offset)


def rows_of(
    form: str, prefix: str, offset: Optional[timezone]
) -> Callable[[Iterable[bytes]], Iterator[Optional[Row]]]:
    """What turns lines into rows, and into none what is no entry.

    :raises BadInput: for a prefix that cannot be meant.
    """
    if form == JSONLOG:
        return lambda lines: _json_rows(lines, offset)
    if form == CSVLOG:
        return lambda lines: _csv_rows(lines, offset)
    pattern = prefix_pattern(prefix, "log_line_prefix")
    return lambda lines: _stderr_rows(pattern, lines, offset)
