# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
r"""Env files as systemd's ``EnvironmentFile=``, docker compose's dotenv and POSIX shells read them alike.

The three agree on less than it seems, and only the common part is written:

* bare: what none of them treats specially. Excluded are white space, quotes, backslash, ``$``, backquote, ``#`` (a comment to
  compose and shells, not to systemd), ``~`` and ``;&|<>()`` (shells);
* single quotes: all literal. Not with a quote inside, and not with a backslash: compose takes one before the closing quote, and
  systemd before 240 any one, as an escape;
* double quotes: backslash before ``"``, ``\`` and ``$`` is an escape to all three. Not with a backquote, which compose does not
  unescape.

A value that would need a single quote or backslash beside a backquote has no common form, nor has one with a line break.
A comment behind a value is part of the value to systemd, so such a comment moves to a line of its own. ``export`` in front
is kept (systemd ignores those lines). Of lines for one key, the last one counts to all three.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Corrupt

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_BARE_WRITTEN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*\Z")
_BARE_READ = re.compile(r"[^\s'\"\\$`#;&|<>()~\x00-\x1f\x7f]*\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ASSIGNMENT = re.compile(r"\ufeff?[ \t]*(export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)([ \t]*)=([ \t]*)")
_COMMENT = re.compile(r"[ \t]+(#.*)\Z")
_DOUBLE_ESCAPE = re.compile(r'\\(["\\$])')


def quote(value: str, where: str) -> str:
    """The value in the form that all readers take for it.

    :param where: how a message names the line.
    :raises BadInput: when there is no such form; the message does not hold the value.
    """
    if _CONTROL.search(value):
        raise BadInput(
            f"{where}: the value holds a line break or another control character, which an env file cannot carry to every "
            "reader; encode it, as in {current.value|b64}, or publish it to a file of its own"
        )
    if _BARE_WRITTEN.match(value):
        return value
    if "'" not in value and "\\" not in value:
        return f"'{value}'"
    if "`" not in value:
        return '"' + re.sub(r'(["\\$])', r"\\\1", value) + '"'
    raise BadInput(
        f"{where}: the value holds a backquote beside a single quote or a backslash; systemd, docker compose and shells have no "
        "quoting in common for that: encode it, as in {current.value|urlencode} or {current.value|b64}, or exclude one of these "
        "characters in keyturn_generate"
    )


@dataclass(frozen=True)
class Entry:
    """One assignment or one other line of an env file, with its line break.

    :param key: none for a line that assigns nothing.
    :param value: what every reader takes for the value; none where readers differ.
    :param prefix: what stands before the key and is kept.
    :param comment: a comment behind the value.
    :param open: a quote that is never closed: readers take all that follows for the value.
    """

    text: str
    line: int
    key: Optional[str] = None
    value: Optional[str] = None
    prefix: str = ""
    comment: str = ""
    open: bool = False


def _closing(text: str, quote_mark: str) -> int:
    position = 1
    while position < len(text):
        if text[position] == "\\" and quote_mark == '"':
            position += 1
        elif text[position] == quote_mark:
            return position
        position += 1
    return -1


def _decode(inner: str, quote_mark: str) -> Optional[str]:
    if _CONTROL.search(inner):
        return None
    if quote_mark == "'":
        return None if "\\" in inner else inner
    plain = _DOUBLE_ESCAPE.sub("", inner)
    return None if re.search(r"[\\$`]", plain) else _DOUBLE_ESCAPE.sub(r"\1", inner)


def _quoted(
    match: re.Match[str], lines: List[str], start: int
) -> Tuple[int, Optional[str], str, bool]:
    """How many lines a quoted value takes, its value, the comment behind it, and whether its quote stays open."""
    mark = lines[start][match.end()]
    text = lines[start][match.end() :]
    used = 1
    while _closing(text, mark) < 0:
        if start + used == len(lines):
            return 1, None, "", True
        text += lines[start + used]
        used += 1
    end = _closing(text, mark)
    rest = text[end + 1 :]
    comment = _COMMENT.match(rest.rstrip("\r\n"))
    alone = rest in ("", "\n")
    return (
        used,
        _decode(text[1:end], mark) if alone else None,
        comment.group(1) if comment else "",
        False,
    )


def _bare(match: re.Match[str], lines: List[str], start: int) -> Tuple[int, Optional[str], str]:
    used = 1
    text = lines[start][match.end() :]
    while text.endswith("\\\n") and start + used < len(lines):
        text += lines[start + used]
        used += 1
    body = text[:-1] if text.endswith("\n") else text
    comment = _COMMENT.search(body) if used == 1 else None
    return used, body if _BARE_READ.match(body) else None, comment.group(1) if comment else ""


def parse(text: str) -> List[Entry]:
    """The entries of an env file; their texts together are the file."""
    lines = _split(text)
    entries: List[Entry] = []
    start = 0
    while start < len(lines):
        match = _ASSIGNMENT.match(lines[start])
        if not match:
            entries.append(Entry(lines[start], start + 1))
            start += 1
            continue
        is_open = False
        if lines[start][match.end() : match.end() + 1] in ("'", '"'):
            used, value, comment, is_open = _quoted(match, lines, start)
        else:
            used, value, comment = _bare(match, lines, start)
        if match.group(3) or match.group(4):
            value = None
        prefix = lines[start][: match.start(2)]
        raw = "".join(lines[start : start + used])
        entries.append(Entry(raw, start + 1, match.group(2), value, prefix, comment, is_open))
        start += used
    return entries


def _split(text: str) -> List[str]:
    """Lines by line feed alone, as the readers count them."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return [line for line in lines if line]


def values(entries: List[Entry]) -> Mapping[str, Optional[str]]:
    """What counts for each key: its last line."""
    return {entry.key: entry.value for entry in entries if entry.key is not None}


def duplicates(entries: List[Entry], names: Tuple[str, ...]) -> Tuple[str, ...]:
    """Those of the names that have more than one line."""
    keys = [entry.key for entry in entries]
    return tuple(name for name in names if keys.count(name) > 1)


def _line(entry: Entry, value: str, where: str) -> str:
    above = f"{entry.comment}\n" if entry.comment else ""
    return f"{above}{entry.prefix}{entry.key}={quote(value, where)}\n"


def _appended(text: str, key: str, value: str, where: str) -> str:
    if text and not text.endswith("\n"):
        text += "\n"
    # systemd before 254 takes the line after a comment that ends in a backslash for more of the comment.
    if text.endswith("\\\n"):
        text += "\n"
    return f"{text}{key}={quote(value, where)}\n"


def edit(text: str, changes: Mapping[str, Optional[str]], where: str) -> str:
    """The file with these keys set, or removed where the value is none; of several lines for a key, the last one stays.

    Everything else keeps its text and its place. New keys go to the end.

    :param where: how messages name the file.
    :raises BadInput: for a value that has no common form.
    :raises Corrupt: when a quote that is never closed would swallow what is written.
    """
    entries = parse(text)
    unclosed = next((entry for entry in entries if entry.open and entry.key not in changes), None)
    if unclosed:
        raise Corrupt(
            f"{where}: the quote opened in line {unclosed.line} is never closed, so readers take the rest of the file for that "
            "value; close it"
        )
    last = {entry.key: index for index, entry in enumerate(entries)}
    kept: List[str] = []
    for index, entry in enumerate(entries):
        if entry.key is None or entry.key not in changes:
            kept.append(entry.text)
            continue
        value = changes[entry.key]
        if index == last[entry.key] and value is not None:
            same = entry.value == value and entry.text.endswith("\n")
            kept.append(entry.text if same else _line(entry, value, f"{where}, {entry.key}"))
        elif entry.comment:
            kept.append(f"{entry.comment}\n")
    result = "".join(kept)
    for key, value in changes.items():
        if key not in last and value is not None:
            result = _appended(result, key, value, f"{where}, {key}")
    return result
