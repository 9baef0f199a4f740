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
is kept (systemd ignores those lines). Of lines for one key, the last one counts to all three; where that one is exported, the last
one without ``export`` counts to systemd.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Container, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Corrupt
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_dialects import (
    NONCHARACTERS,
    Dialect,
    Word,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_spans import (
    Assigned,
    check_apart,
    check_swallowed,
    count_lines,
)

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_BARE_WRITTEN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*\Z")
_BARE_READ = re.compile(r"[^\s'\"\\$`#;&|<>()~\x00-\x1f\x7f]*\Z")
_CONTROL = re.compile(rf"[\x00-\x08\x0a-\x1f\x7f{NONCHARACTERS}]")
_ASSIGNMENT = re.compile(r"\ufeff?[ \t]*(export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)([ \t]*)=([ \t]*)")
_COMMENT = re.compile(r"[ \t]+(#.*)\Z")
_COLON = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*:")
# An assignment among the words of a command, or 'unset'; not what looks alike in the query of a URL.
_COMMAND = r"(?:\A|[\s;|(){{'\"]){name}\+?=|\bunset\b[^#\n]*[\s'\"]{name}(?!\w)"
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
            f"{where}: the value holds a line break, another control character, or one that is none to Unicode, which an env file "
            "cannot carry to every reader; encode it, as in {current.value|b64}, publish it to a file of its own, or say with 'dialect' "
            "which one reader this file is for"
        )
    raise BadInput(
        f"{where}: the value holds a backquote beside a single quote or a backslash; systemd, docker compose and shells have no "
        "quoting in common for that: encode it, as in {current.value|urlencode} or {current.value|b64}, exclude one of these characters in "
        "keyturn_generate, or say with 'dialect' which one reader this file is for"
    )


@dataclass(frozen=True)
class Entry:
    """One assignment or one other line of an env file, with its line break.

    :param key: none for a line that assigns nothing.
    :param value: what every reader takes for the value; none where readers differ.
    :param prefix: what stands before the key and is kept.
    :param comment: a comment behind the value.
    :param open: a quote that is never closed: readers take all that follows for the value.
    :param exported: ``export`` stands in front, and some readers ignore the line for that.
    """

    text: str
    line: int
    key: Optional[str] = None
    value: Optional[str] = None
    prefix: str = ""
    comment: str = ""
    open: bool = False
    exported: bool = False


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
    comment = _COMMENT.search(text.rstrip("\n"))
    # To systemd such a comment is part of a value that goes on, to all others the next line is one of its own: it must stay.
    while not comment and text.endswith("\\\n") and start + used < len(lines):
        text += lines[start + used]
        used += 1
    body = text[:-1] if text.endswith("\n") else text
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
    """Whether systemd before 254 takes the next line for more of the comment above or at its end: that ends in a backslash."""
    last = entries[-1] if entries else None
    return bool(last and (last.key is None or last.comment) and last.text.endswith("\\\n"))


def parse(text: str, dialect: Optional[Dialect] = None) -> List[Entry]:
    """The entries of an env file, as all readers or one of them take it; their texts together are the file."""
    lines = _split(text)
    entries: List[Entry] = []
    start = 0
    while start < len(lines):
        match = _ASSIGNMENT.match(lines[start])
        if not match:
            entries.append(_other(lines, start, dialect))
            start += count_lines(entries[-1].text)
            continue
        used, value, comment, is_open = _assignment(match, lines, start, dialect)
        if match.group(3) or match.group(4) or _continues(entries):
            value = None
        prefix = lines[start][: match.start(2)]
        raw = "".join(lines[start : start + used])
        skipped = match.group(1) and dialect and not dialect.exports
        key = None if skipped else match.group(2)
        exported = bool(match.group(1)) and dialect is None
        entries.append(Entry(raw, start + 1, key, value, prefix, comment, is_open, exported))
        start += used
    return entries


def _split(text: str) -> List[str]:
    """Lines by line feed alone, as the readers count them."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return [line for line in lines if line]


def values(entries: List[Entry]) -> Mapping[str, Optional[str]]:
    """What counts for each key; none where it has lines that count to different readers and differ."""
    found: Dict[str, Optional[str]] = {}
    for key, lines in standing(entries).items():
        told = {entries[index].value for index in lines}
        found[key] = told.pop() if len(told) == 1 else None
    return found


def standing(entries: List[Entry]) -> Mapping[str, Tuple[int, ...]]:
    """Which entries count for each key: the last one, and before an exported one the last one that is not."""
    found: Dict[str, Tuple[int, ...]] = {}
    for index, entry in enumerate(entries):
        if entry.key is not None:
            before = found.get(entry.key, ()) if entry.exported else ()
            found[entry.key] = (*(at for at in before if not entries[at].exported), index)
    return found


def duplicates(entries: List[Entry], names: Tuple[str, ...]) -> Tuple[str, ...]:
    """Those of the names that have lines which do not count."""
    keys = [entry.key for entry in entries]
    counting = standing(entries)
    return tuple(name for name in names if keys.count(name) > len(counting.get(name, ())))


def with_colon(entries: List[Entry], names: Tuple[str, ...]) -> Mapping[str, int]:
    """Those of the names that a line of their own assigns as ``NAME: value``, and that line."""
    found: Dict[str, int] = {}
    for entry in entries:
        match = _COLON.match(entry.text) if entry.key is None else None
        if match and match.group(1) in names:
            found[match.group(1)] = entry.line
    return found


def otherwise_set(
    entries: List[Entry], names: Tuple[str, ...], shell: bool
) -> Sequence[Tuple[str, int]]:
    """Names, with lines that may set or unset them to a reader, but not in a way that is understood here.

    :param shell: whether a shell reads the file, which takes a line for a command.
    """
    found: List[Tuple[str, int]] = []
    for entry in entries:
        if entry.value is not None or entry.text.lstrip()[:1] in ("#", ";"):
            continue
        text = entry.text.rstrip()
        text = text[: len(text) - len(entry.comment)]
        for name in names:
            begins = re.match(rf"\s+(?:export\s+)?{name}\s*=", text) if entry.key is None else None
            inside = shell and re.search(_COMMAND.format(name=name), text)
            if entry.key != name and (begins or inside):
                found.append((name, entry.line))
    return found


def _above(comment: str) -> str:
    """A comment on a line of its own; see :func:`_continues` for one that ends in a backslash."""
    apart = "\n" if comment.endswith("\\") else ""
    return f"{comment}\n{apart}" if comment else ""


def _line(entry: Entry, form: str) -> str:
    return f"{_above(entry.comment)}{entry.prefix}{entry.key}={form}\n"


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
    """The file with these keys set, or removed where the value is none; of several lines for a key, those that count stay.

    Everything else keeps its text and its place. New keys go to the end.

    :param where: how messages name the file.
    :param dialect: the one reader that the file is for; without it, the file is for all.
    :raises BadInput: for a value that has no form there.
    :raises Corrupt: when a line that is changed or added is, to one of its readers, inside of what another line begins.
    """
    entries = parse(text, dialect)
    forms = {
        key: quote(value, f"{where}, {key}", dialect)
        for key, value in changes.items()
        if value is not None
    }
    _check(entries, changes, where, dialect)
    counting = standing(entries)
    kept: List[str] = []
    for index, entry in enumerate(entries):
        if entry.key is None or entry.key not in changes:
            kept.append(entry.text)
            continue
        value = changes[entry.key]
        if index in counting[entry.key] and value is not None:
            same = entry.value == value and entry.text.endswith("\n")
            apart = "" if same or not _continues(entries[:index]) else "\n"
            kept.append(entry.text if same else apart + _line(entry, forms[entry.key]))
        elif entry.comment:
            kept.append(_above(entry.comment))
    result = "".join(kept)
    for key, value in changes.items():
        if key not in counting and value is not None:
            result = _appended(result, f"{key}={forms[key]}\n")
    # What is behind a line may be read otherwise when that line has other quotes.
    _check(parse(result, dialect), changes, where, dialect)
    return result


def _assigned(entries: List[Entry], names: Container[str]) -> List[Assigned]:
    found: List[Assigned] = []
    for index, entry in enumerate(entries):
        if entry.key is not None and entry.key in names:
            last = entry.line + count_lines(entry.text) - 1
            found.append(
                Assigned(entry.key, entry.text, entry.line, last, _continues(entries[:index]))
            )
    return found


def _check(
    entries: List[Entry], names: Container[str], where: str, dialect: Optional[Dialect]
) -> None:
    """Refuse a file, as it was or as it would be, in which these names are not where they seem.

    :raises Corrupt: naming the lines.
    """
    unclosed = next((entry for entry in entries if entry.open and entry.key not in names), None)
    if unclosed:
        raise Corrupt(
            f"{where}: the quote opened in line {unclosed.line} is never closed, so readers take the rest of the file for that "
            "value; close it"
        )
    there = _assigned(entries, names)
    if dialect is None or dialect.name == "posix":
        for item in there:
            check_swallowed(item, where)
    check_apart("".join(entry.text for entry in entries), there, where, dialect)
