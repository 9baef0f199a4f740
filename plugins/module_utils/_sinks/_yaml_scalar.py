# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a value is written in YAML so that every reader gets the same text back."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._yaml_tree import resolved

_WORD = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+@:-]*(?<!:)\Z")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z)?\Z")
_NUMBER = re.compile(r"(?:0|[1-9]\d{0,17})\Z")
# Readers of YAML 1.1 and of 1.2 take more or fewer of these for something else than a text.
_NO_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})


def _printable(text: str) -> bool:
    return all(character == " " or character.isprintable() for character in text)


def _double(text: str) -> str:
    def one(character: str) -> str:
        if character in '"\\':
            return "\\" + character
        if character == " " or character.isprintable():
            return character
        number = ord(character)
        if number < 0x100:
            return f"\\x{number:02x}"
        return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"

    return '"' + "".join(one(character) for character in text) + '"'


def _plain(yaml: Any, text: str, means: str) -> bool:
    """Whether it may stand without quotes.

    :param means: what the value that was there is taken for: a number stays one, and a text stays a text. A day or a time is
        written as such.
    """
    if _DAY.match(text):
        return True
    if means == "int" and _NUMBER.match(text):
        return True
    if means == "bool" and text in ("true", "false"):
        return True
    free = text.lower() not in _NO_WORDS
    return free and bool(_WORD.match(text)) and resolved(yaml, text) == "str"


def written(yaml: Any, text: str, style: str = "", means: str = "") -> str:
    """A value as it is written; quotes that were there stay.

    :param style: of the value that was there; empty for none, and for a plain one.
    :param means: what that one is taken for.
    """
    if style == '"' or not _printable(text):
        return _double(text)
    if not style and _plain(yaml, text, means):
        return text
    return "'" + text.replace("'", "''") + "'"
