# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that a log shows as numbers, in escapes, or with something between their letters. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import List, Set, Tuple

_ESCAPE = (
    r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\[ux]\{[0-9a-f]{1,6}\}|\\[0-3][0-7]{2}"
    r"|&\#x[0-9a-f]{1,6};?|&\#[0-9]{1,7};?|%[0-9a-f]{2}"
)
_WRITTEN = re.compile(
    r"(?i)\\x(?P<x>[0-9a-f]{2})|\\u(?P<u>[0-9a-f]{4})|\\[ux]\{(?P<braces>[0-9a-f]{1,6})\}|\\(?P<octal>[0-3][0-7]{2})"
    r"|&\#x(?P<html>[0-9a-f]{1,6});?|&\#(?P<decimal>[0-9]{1,7});?|%(?P<url>[0-9a-f]{2})|0x(?P<list>[0-9a-f]{2})(?![0-9a-f])"
)
_BYTE = "(?:0x)?(?:[0-9]{3}|[0-9a-f]{2})"
_GROUP = "(?:0x)?(?:[0-9a-f]{4}|[0-9]{3}|[0-9a-f]{2})"
# The same sign between all of them: a date and a time of day are not one run.
_RUNS = tuple(
    re.compile(f"(?i){pattern}")
    for pattern in (
        rf"(?:{_ESCAPE}){{4,}}",
        rf"(?<![0-9a-z]){_GROUP}(?: {{1,3}}{_GROUP}){{5,}}(?![0-9a-z])",
        rf"(?<![0-9a-z]){_BYTE} {{0,3}}([-:,;.|]) {{0,3}}{_BYTE}(?: {{0,3}}\1 {{0,3}}{_BYTE}){{4,}}(?![0-9a-z])",
        r"(?<![0-9a-z])[0-9a-f]{4}(?: {1,3}[0-9a-f]{4}){3,}(?![0-9a-z])",
    )
)


def without_unseen(text: str) -> str:
    """A text without what takes no room: NULs, and signs such as blanks of no width."""
    return "".join(it for it in text if it != "\0" and unicodedata.category(it) != "Cf")


def without_dumps(text: str, instead: str) -> str:
    """A text in which no run of numbers or of escapes stands that letters could be."""
    for run in _RUNS:
        text = run.sub(instead, text)
    return text


def _is_letter(letter: str) -> bool:
    return letter.isascii() and letter.isalnum()


def numbers(data: bytes) -> Set[str]:
    """What is left of a dump of a value when all but its letters and digits is taken out: bytes, and words the other way round."""
    words = (data[at:] for at in range(2))
    pairs = ([word[at : at + 2][::-1] for at in range(0, len(word), 2)] for word in words)
    return {data.hex(), "".join(map(str, data)), *(b"".join(found).hex() for found in pairs)}


def letters_of(text: str) -> str:
    """The letters and digits of ASCII in a text, in small letters."""
    return "".join(filter(_is_letter, text)).lower()


def read_letters(text: str) -> Tuple[str, List[Tuple[int, int]]]:
    """Its letters and digits as :func:`letters_of`, with escapes read; and where each of them begins and ends."""
    found: List[str] = []
    places: List[Tuple[int, int]] = []
    at = 0
    while at < len(text):
        escape = _WRITTEN.match(text, at) if text[at] in "\\&%0" else None
        letter, end = (_meant(escape), escape.end()) if escape else (text[at], at + 1)
        if _is_letter(letter):
            found.append(letter.lower())
            places.append((at, end))
        at = end
    return "".join(found), places


def _meant(escape: re.Match[str]) -> str:
    kind = str(escape.lastgroup)
    base = {"octal": 8, "decimal": 10}.get(kind, 16)
    number = int(escape.group(kind), base)
    return chr(number) if number < 128 else ""
