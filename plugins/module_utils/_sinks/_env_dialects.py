# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
r"""What one reader of env files takes more than what all of them agree on (that is in ``_env_text``).

Each dialect knows how far an assignment reaches and what its reader takes for the value, and has a quoting for what has none in
common. Sources: systemd's ``parse_env_file_internal`` (``src/basic/env-file.c``), docker compose's parser (compose-go's package
``dotenv``), and POSIX.1-2017, Shell Command Language, 2.2 and 2.3. The tests hold all three against the real readers.

==========  ====================================================================================================
dialect     how a value without common form is written
==========  ====================================================================================================
systemd     double quotes; a backslash before ``"``, ``\``, ``$`` and the backquote; a line break as it is
compose     double quotes; a backslash before ``"``, ``\`` and ``$``; line breaks as ``\n`` and ``\r``
posix       single quotes, with ``'\''`` for a single quote; a line break as it is
==========  ====================================================================================================

podman-compose reads with python-dotenv, which is not docker compose's reader: it takes ``${NAME}`` for a variable in every
quoting, and keeps the backslash of ``\$``. No form of such values is right for both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Callable, List, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput


@dataclass(frozen=True)
class Word:
    """What stands behind an assignment's equals sign.

    :param end: where the next line begins, counted in the text that was given.
    :param value: what the reader takes for the value; none where that is not certain.
    :param comment: a comment behind the value.
    :param open: a quote that is never closed.
    """

    end: int
    value: Optional[str]
    comment: str = ""
    open: bool = False


@dataclass(frozen=True)
class Dialect:
    """One reader.

    :param reader: its name for messages.
    :param scan: reads what stands behind the equals sign.
    :param skip: how far a line reaches that is no assignment.
    :param quote: writes any value that the reader can be given at all.
    :param never: characters that it cannot be given.
    :param exports: whether a line that begins with ``export`` is an assignment.
    """

    name: str
    reader: str
    scan: Callable[[str], Word]
    skip: Callable[[str], Word]
    quote: Callable[[str], str]
    never: re.Pattern[str]
    exports: bool = True

    def quoted(self, value: str, where: str) -> str:
        """The value as this reader takes it.

        :raises BadInput: for what it cannot be given; the message does not hold the value.
        """
        if self.never.search(value):
            raise BadInput(
                f"{where}: the value holds a control character, or one that is none to Unicode, that {self.reader} cannot be given in an "
                "env file; encode it, as in {current.value|b64}, or publish it to a file of its own"
            )
        return self.quote(value)


_ESCAPED = re.compile(r'\\(["\\`$])')
_COMPOSE_ESCAPED = re.compile(r'\\(["\\$nrt])')
_COMPOSE_MEANT: Mapping[str, str] = MappingProxyType({"n": "\n", "r": "\r", "t": "\t"})
_BARE = re.compile(r"[^\s'\"\\$`#;&|<>()~\x00-\x1f\x7f]+")
_REST = re.compile(r"[ \t]*(?:[ \t](#[^\n]*))?(?=\n|\Z)")
_BLANKS = " \t"


def _line_end(text: str, start: int) -> int:
    """Where the line after this one begins."""
    found = text.find("\n", start)
    return len(text) if found < 0 else found + 1


def _closing(text: str, start: int, escapes: bool) -> int:
    """Where the quote that opens at ``start`` is closed, or -1."""
    position = start + 1
    while position < len(text):
        if escapes and text[position] == "\\":
            position += 1
        elif text[position] == text[start]:
            return position
        position += 1
    return -1


def _between_quotes(inner: str, mark: str, special: str) -> Optional[str]:
    """What systemd and shells take for the text between quotes; none where that depends on more than the text.

    :param special: what has a meaning of its own between double quotes when it is not escaped.
    """
    if mark == "'":
        return inner
    plain = _ESCAPED.sub("", inner)
    return None if any(sign in plain for sign in special) else _ESCAPED.sub(r"\1", inner)


def _scan_systemd(text: str) -> Word:
    """As systemd's states go on: quotes count only where no bare text came before, blanks at the end do not count."""
    value: List[Optional[str]] = []
    position, bare, kept = 0, False, 0
    while position < len(text) and text[position] not in "\r\n":
        mark = text[position]
        if mark in "'\"" and not bare:
            end = _closing(text, position, mark == '"')
            if end < 0:
                return Word(len(text), None, open=True)
            value.append(_between_quotes(text[position + 1 : end], mark, "\\"))
            position, kept = end + 1, len(value)
            continue
        if mark == "\\":
            position, bare = position + 1, True
            value.append(text[position : position + 1].strip("\r\n"))
            kept = len(value)
        elif bare or mark not in _BLANKS:
            bare = True
            value.append(mark)
            kept = kept if mark in _BLANKS else len(value)
        position += 1
    comment = re.search(r"[ \t](#[^\n]*)\Z", text[:position]) if bare else None
    told = comment.group(1) if comment else ""
    carriage = text[position : position + 1] == "\r"
    return Word(_line_end(text, position), None if carriage else _joined(value[:kept]), told)


def _joined(parts: Sequence[Optional[str]]) -> Optional[str]:
    """The parts as one text; none when one of them is uncertain."""
    certain = [part for part in parts if part is not None]
    return "".join(certain) if len(certain) == len(parts) else None


def _skip_systemd(text: str) -> Word:
    """A line with an equals sign holds quotes, whatever its name is; a name has one character at least."""
    end = _line_end(text, 0)
    first = end - len(text[:end].lstrip(" \t\n\r"))
    equals = text.find("=", first + 1, end) + 1
    if not equals or text[first] in "#;":
        return Word(end, None)
    word = _scan_systemd(text[equals:])
    return Word(equals + word.end, None, open=word.open)


def _skip_posix(text: str) -> Word:
    """Any command may hold quotes; a comment holds none."""
    comment = text.lstrip(_BLANKS)[:1] == "#"
    return Word(_line_end(text, 0), None) if comment else _scan_posix(text)


def _skip_compose(text: str) -> Word:
    """What is no assignment is one line, or docker compose refuses the file."""
    return Word(_line_end(text, 0), None)


def _scan_posix(text: str) -> Word:
    """The first word, and how far quotes and joined lines reach behind it."""
    value: List[Optional[str]] = []
    position = 0
    while position < len(text) and text[position] != "\n":
        mark = text[position]
        rest = _REST.match(text, position)
        if rest and mark in _BLANKS:
            return Word(_line_end(text, rest.end()), _joined(value), rest.group(1) or "")
        if mark in "'\"":
            end = _closing(text, position, mark == '"')
            # To bash, and to POSIX from 2024 on, a backslash is an escape in $'…'.
            unsure = mark == "'" and text[position - 1 : position] == "$"
            if end < 0 or (unsure and end != _closing(text, position, escapes=True)):
                return Word(len(text), None, open=True)
            value.append(_between_quotes(text[position + 1 : end], mark, "\\$`"))
            position = end + 1
        elif mark == "\\":
            value.append(text[position + 1 : position + 2].replace("\n", ""))
            position += 2
        else:
            value.append(mark if _BARE.match(mark) else None)
            position += 1
    return Word(_line_end(text, position), _joined(value))


def _scan_compose(text: str) -> Word:
    """Quotes count only at the beginning; a bare value is one line."""
    start = len(text) - len(text.lstrip(_BLANKS))
    if text[start : start + 1] in ("'", '"'):
        end = _closing(text, start, escapes=True)
        if end < 0:
            return Word(len(text), None, open=True)
        value, position = _compose_value(text[start + 1 : end], text[start]), end + 1
    else:
        bare = _BARE.match(text)
        value, position = (bare.group(), bare.end()) if bare else ("", 0)
    rest = _REST.match(text, position)
    line_end = _line_end(text, position)
    if rest:
        return Word(line_end, value, rest.group(1) or "")
    comment = re.search(r"[ \t](#.*)\n?\Z", text[position:line_end])
    return Word(line_end, None, comment.group(1) if comment else "")


def _compose_value(inner: str, mark: str) -> Optional[str]:
    if mark == "'":
        return None if "\\" in inner else inner
    if any(sign in _COMPOSE_ESCAPED.sub("", inner) for sign in "\\$"):
        return None
    return _COMPOSE_ESCAPED.sub(
        lambda match: _COMPOSE_MEANT.get(match.group(1), match.group(1)), inner
    )


def _double(characters: str, value: str) -> str:
    return '"' + re.sub(f"([{re.escape(characters)}])", r"\\\1", value) + '"'


def _quote_systemd(value: str) -> str:
    return _double('"\\`$', value)


def _quote_compose(value: str) -> str:
    return _double('"\\$', value).replace("\n", "\\n").replace("\r", "\\r")


def _quote_posix(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    chr(plane + 0xFFFE) + chr(plane + 0xFFFF) for plane in range(0, 0x110000, 0x10000)
)
"""Of a character class: what Unicode assigns to nothing, and what systemd refuses, with the value in its journal."""
_CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f"
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "systemd": Dialect(
            "systemd",
            "systemd",
            _scan_systemd,
            _skip_systemd,
            _quote_systemd,
            re.compile(f"[{_CONTROLS}\r{NONCHARACTERS}]"),
            exports=False,
        ),
        "compose": Dialect(
            "compose",
            "docker compose",
            _scan_compose,
            _skip_compose,
            _quote_compose,
            re.compile(f"[{_CONTROLS}]"),
        ),
        "posix": Dialect(
            "posix",
            "a shell",
            _scan_posix,
            _skip_posix,
            _quote_posix,
            re.compile(f"[{_CONTROLS}\r]"),
        ),
    }
)
"""Every dialect but the common one."""
