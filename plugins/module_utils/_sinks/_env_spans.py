# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far each line of an env file reaches to a reader, and which lines are inside of what another line begins.

A line that is written inside of a quote closes that quote with its own, and a shell runs what follows. So nothing is written where a
reader of the file would not begin an assignment of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Iterator, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Corrupt
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_dialects import (
    DIALECTS,
    Dialect,
)

_EXPORT = re.compile(r"[ \t]*export[ \t]+")
_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=")
_HERE_DOCUMENT = re.compile(r"(?<!<)<<(?!<)")
# Expansions whose quotes cannot be taken for those around them.
_SIMPLE = re.compile(
    r"\$\{\w+\}|\$\((?:[^\"'`()\\\n]|'[^\"'\n]*')*\)|`(?:[^\"'`\\\n]|'[^\"'`\n]*')*`"
)
# A comment without a blank in front, whose quotes are none.
_CLOSE_COMMENT = re.compile(r"[;&|()<>`]#")
_EXPANSION = re.compile(r"\$[({]|`")
_ESCAPED = re.compile(r"\\.", re.DOTALL)


@dataclass(frozen=True)
class Assigned:
    """An assignment that is to be changed, or that was written.

    :param text: all of its lines.
    :param first: its first line, counted from 1.
    :param last: its last line.
    :param commented: some versions of systemd take it for more of the comment above; it is set apart when it is written.
    """

    name: str
    text: str = field(repr=False)
    first: int
    last: int
    commented: bool = False


@dataclass(frozen=True)
class Span:
    """What a reader takes as one.

    :param first: its first line, counted from 1.
    :param last: its last line; that of the file where the end is not certain.
    :param open: a quote that is never closed.
    """

    first: int
    last: int
    open: bool = False


def count_lines(text: str) -> int:
    """How many lines a text has; the last one may have no line break."""
    return text.count("\n") + (not text.endswith("\n") and bool(text))


def _unclear(command: str, comment: str) -> bool:
    """Whether a shell may read on behind this command: a here-document, an expansion with quotes of its own, a comment without a blank."""
    posix = DIALECTS["posix"]
    if posix.skip(_EXPORT.sub("", command, count=1)).value is not None:
        return False
    text = command.rstrip()
    text = text[: len(text) - len(comment)].replace("\\\n", "")
    # An escaped sign is none of those that follow it, but a backslash in single quotes escapes nothing.
    unescaped = _ESCAPED.sub("_", text)
    if any(
        sign.search(form) for sign in (_HERE_DOCUMENT, _CLOSE_COMMENT) for form in (text, unescaped)
    ):
        return True
    text = _SIMPLE.sub("", unescaped)
    if not _EXPANSION.search(text):
        return False
    uneven = text.count("(") != text.count(")") or text.count("{") != text.count("}")
    mixed = "'" in text and '"' in text
    return uneven or mixed or "\n" in text or text.count("`") % 2 == 1


def _spans(text: str, dialect: Dialect) -> Iterator[Span]:
    """The lines of a file as this reader takes them together."""
    shell = dialect.name == "posix"
    line, position, total = 1, 0, count_lines(text)
    while position < len(text):
        rest = text[position:]
        begins = rest.lstrip(" \t")[:1]
        # What begins with a semicolon is a comment to systemd, and ends a shell.
        passed = shell and begins in ("#", ";")
        word = DIALECTS["compose" if passed else dialect.name].skip(rest)
        taken = rest[: word.end]
        if shell and not passed and not word.open and _unclear(taken, word.comment):
            yield Span(line, total)
            return
        yield Span(line, line + count_lines(taken) - 1, word.open)
        line, position = line + count_lines(taken), position + word.end


def check_apart(
    text: str, assigned: Sequence[Assigned], where: str, dialect: Optional[Dialect]
) -> None:
    """Refuse assignments that are, to a reader of the file, no lines of their own.

    :param where: how messages name the file.
    :param dialect: the one reader that the file is for; without it, the file is for all.
    :raises Corrupt: naming the lines; the message holds no value.
    """
    if dialect is None:
        apart = [item for item in assigned if not item.commented]
        _check_inside(text, apart, where, DIALECTS["systemd"])
    if dialect is None or dialect.name == "posix":
        _check_inside(text, assigned, where, DIALECTS["posix"])


def _check_inside(text: str, assigned: Sequence[Assigned], where: str, dialect: Dialect) -> None:
    waiting = sorted(assigned, key=lambda item: item.first)
    for span in _spans(text, dialect):
        while waiting and waiting[0].first <= span.last:
            item = waiting.pop(0)
            if item.first > span.first:
                raise Corrupt(
                    f"{where}: {item.name} is or would be in line {item.first}, but to {dialect.reader} that is inside of a quote, a "
                    f"here-document or a command that line {span.first} begins; expected an assignment on a line of its own: end there "
                    f"what line {span.first} begins, or put {item.name} above it"
                )
            if item.last < span.last and not span.open and dialect.name == "posix":
                raise Corrupt(
                    f"{where}: what line {item.first}, which assigns {item.name}, begins reaches beyond line {item.last} to "
                    f"{dialect.reader}; expected a value that ends where all readers take it to end: write that line so, or remove it"
                )


def check_swallowed(item: Assigned, where: str) -> None:
    """Refuse to replace an assignment that may not reach as far as it seems: lines that assign other names would be lost.

    :param where: how messages name the file.
    :raises Corrupt: naming the lines; the message holds no value.
    """
    value = DIALECTS["posix"].scan(item.text.partition("=")[2]).value
    if item.first == item.last or value is not None:
        return
    for number, line in enumerate(item.text.split("\n")[1:], item.first + 1):
        if _ASSIGNMENT.match(line):
            raise Corrupt(
                f"{where}: the value of {item.name} in line {item.first} seems to reach to line {item.last}, but line {number} looks "
                f"like an assignment of its own, which would be lost; expected a value in single quotes or on one line: write {item.name} "
                "so, or remove it"
            )
