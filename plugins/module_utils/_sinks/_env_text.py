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
from typing import Callable, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Corrupt
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_dialects import (
    Dialect,
    Word,
)

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_BARE_WRITTEN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*\Z")
_BARE_READ = re.compile(r"[^\s'\"\\$`#;&|<>()~\x00-\x1f\x7f]*\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ASSIGNMENT = re.compile(r"\ufeff?[ \t]*(export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)([ \t]*)=([ \t]*)")
_COMMENT = re.compile(r"[ \t]+(#.*)\Z")
_DOUBLE_ESCAPE = re.compile(r'\\(["\\$])')


def common_form(value: str) -> Optional[str]:
    """The value in the form that all readers take for it; none when there is no such form."""
    if _CONTROL.search(value):
        return None
    if _BARE_WRITTEN.match(value):
        return value
    if "'" not in value and "\\" not in value:
        return f"'{value}'"
    return None if "`" in value else '"' + re.sub(r'(["\\$])', r"\\\1", value) + '"'


def quote(value: str, where: str, dialect: Optional[Dialect] = None) -> str:
    """The value as its readers take it: in the form that all of them share, else in that of the dialect.

    :param where: how a message names the line.
    :param dialect: the one reader that the file is for; without it, the file is for all.
    :raises BadInput: when there is no such form; the message does not hold the value.
    """
    form = common_form(value)
    if form is not None:
        return form
    if dialect:
        return dialect.quoted(value, where)
    if _CONTROL.search(value):
        raise BadInput(
            f"{where}: the value holds a line break or another control character, which an env file cannot carry to every "
            "reader; encode it, as in {current.value|b64}, or publish it to a file of its own"
        )
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


def _taken(scan: Callable[[str], Word], text: str) -> Tuple[int, Word]:
    """How many lines it takes to one reader, and what that takes for the value."""
    word = scan(text)
    if word.open:
        return 1, word
    taken = text[: word.end]
    return taken.count("\n") + (not taken.endswith("\n")), word


def _assignment(
    match: re.Match[str], lines: List[str], start: int, dialect: Optional[Dialect]
) -> Tuple[int, Optional[str], str, bool]:
    """How many lines it takes, its value, the comment behind it, and whether a quote stays open."""
    if dialect:
        used, word = _taken(dialect.scan, "".join(lines[start:])[match.start(4) :])
        return used, word.value, word.comment, word.open
    if lines[start][match.end() : match.end() + 1] in ("'", '"'):
        return _quoted(match, lines, start)
    return (*_bare(match, lines, start), False)


def _other(lines: List[str], start: int, dialect: Optional[Dialect]) -> Entry:
    if dialect is None:
        return Entry(lines[start], start + 1)
    used, word = _taken(dialect.skip, "".join(lines[start:]))
    return Entry("".join(lines[start : start + used]), start + 1, open=word.open)


def _continues(entries: List[Entry]) -> bool:
    """Whether systemd before 254 takes the next line for more of the comment above it: that ends in a backslash."""
    return bool(entries) and entries[-1].key is None and entries[-1].text.endswith("\\\n")


def parse(text: str, dialect: Optional[Dialect] = None) -> List[Entry]:
    """The entries of an env file, as all readers or one of them take it; their texts together are the file."""
    lines = _split(text)
    entries: List[Entry] = []
    start = 0
    while start < len(lines):
        match = _ASSIGNMENT.match(lines[start])
        if not match:
            entries.append(_other(lines, start, dialect))
            start += entries[-1].text.count("\n") or 1
            continue
        used, value, comment, is_open = _assignment(match, lines, start, dialect)
        if match.group(3) or match.group(4) or _continues(entries):
            value = None
        prefix = lines[start][: match.start(2)]
        raw = "".join(lines[start : start + used])
        skipped = match.group(1) and dialect and not dialect.exports
        key = None if skipped else match.group(2)
        entries.append(Entry(raw, start + 1, key, value, prefix, comment, is_open))
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


def _line(entry: Entry, form: str) -> str:
    above = f"{entry.comment}\n" if entry.comment else ""
    return f"{above}{entry.prefix}{entry.key}={form}\n"


def _appended(text: str, line: str) -> str:
    if text and not text.endswith("\n"):
        text += "\n"
    # systemd before 254 takes the line after a comment that ends in a backslash for more of the comment.
    if text.endswith("\\\n"):
        text += "\n"
    return text + line


def edit(
    text: str,
    changes: Mapping[str, Optional[str]],
    where: str,
    dialect: Optional[Dialect] = None,
) -> str:
    """The file with these keys set, or removed where the value is none; of several lines for a key, the last one stays.

    Everything else keeps its text and its place. New keys go to the end.

    :param where: how messages name the file.
    :param dialect: the one reader that the file is for; without it, the file is for all.
    :raises BadInput: for a value that has no form there.
    :raises Corrupt: when a quote that is never closed would swallow what is written.
    """
    entries = parse(text, dialect)
    forms = {
        key: quote(value, f"{where}, {key}", dialect)
        for key, value in changes.items()
        if value is not None
    }
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
            apart = "" if same or not _continues(entries[:index]) else "\n"
            kept.append(entry.text if same else apart + _line(entry, forms[entry.key]))
        elif entry.comment:
            kept.append(f"{entry.comment}\n")
    result = "".join(kept)
    for key, value in changes.items():
        if key not in last and value is not None:
            result = _appended(result, f"{key}={forms[key]}\n")
    return result
