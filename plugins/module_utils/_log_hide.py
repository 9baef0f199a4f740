# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of a log as they may be shown: without values that are known, and without what looks like one. Pure.

What a service writes is nobody's to vouch for. So a line is shown shortened, without every known value in every usual
encoding, and without what has the look of a key: it is better to hide a harmless word than to show a stream key once.
"""

from __future__ import annotations

import base64
import html
import json
import re
from typing import Dict, FrozenSet, Iterable, List, Set, Tuple
from urllib.parse import quote, quote_plus

from ansible_collections.keyturn.runbooks.plugins.module_utils._log_dump import (
    letters_of,
    numbers,
    read_letters,
    without_dumps,
    without_unseen,
)

HIDDEN = "(hidden)"
SHOWN = 200
LOOKED = 1 << 13
"""So many characters of a line are looked at for what may be shown; of what follows nothing is shown."""
# A part of a value that is as long as this is hidden too: services cut what they quote.
_PART = 8
_SHORT = 4
_LONG = 16

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_RTMP = re.compile(r"(?i)\b(rtmp[a-z]{0,2}://[^/\s\"']+/)([^\s\"'<>]*)")
_LOGIN = re.compile(r"(://)([^/\s@\"']+)(@)")
_NAMED = re.compile(
    r"(?i)((?<![a-z0-9./])(?:stream_?key|api_?key|key|token|secret|passw(?:or)?d|passphrase|pwd|signature|playpath)"
    r"[\"']?\s*(?:=|:(?!//))\s*[\"']?)([^\s\"',;&()]+)"
)
_SPOKEN = re.compile(
    r"(?i)(\b(?:publish|play)\b:?\s*name\s*[=:]\s*[\"']?|\b(?:bearer|basic)\s+)([^\s\"',;&()]+)"
)
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{16,}={0,2}(?![A-Za-z0-9+/=])")
_TOKEN = re.compile(r"(?<![A-Za-z0-9_%~-])[A-Za-z0-9_%~-]{16,}(?![A-Za-z0-9_%~-])")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_VOWELLESS = re.compile(r"[bcdfghjklmnpqrstvwxz]{6,}", re.IGNORECASE)


def plain(text: str) -> str:
    """A line without colours and control characters, as a pattern is compared with it."""
    return _CONTROL.sub(" ", _ESCAPES.sub("", text)).strip()


def _begin(text: str) -> str:
    """The first :data:`LOOKED` characters, without the word that is cut: what is left of a value would not be known."""
    if len(text) <= LOOKED:
        return text
    words = text[:LOOKED].rpartition(" ")
    return words[0] + words[1] or HIDDEN


def _inside_base64(data: bytes) -> Set[str]:
    """What a value looks like where it is in the middle of something that is encoded: one text for each of three places."""
    found = set()
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + data).decode()
        text = whole[(0, 2, 3)[before] : (before + len(data)) * 8 // 6]
        found |= {text, text.replace("+", "-").replace("/", "_")}
    return found


def forms(value: str) -> Set[str]:
    """What a value may look like in a log: as it is, and as URLs, JSON, shells and encoders write it."""
    texts = {value.strip(), *(line.strip() for line in value.splitlines())}
    found: Set[str] = set()
    for text in texts:
        if len(text) < _SHORT:
            continue
        data = text.encode("utf-8", "surrogatepass")
        quoted = {quote(data, safe=""), quote(data), quote_plus(data)}
        quoted |= {quote(item, safe="") for item in quoted}
        lower = {re.sub(r"%[0-9A-F]{2}", lambda it: it.group().lower(), item) for item in quoted}
        escaped = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
        escaped |= {
            repr(text)[1:-1],
            text.replace("'", "'\\''"),
            text.replace("'", "'\"'\"'"),
            html.escape(text),
        }
        hexed = {data.hex(), data.hex().upper()}
        found |= {text, *quoted, *lower, *escaped, *hexed, *_inside_base64(data)}
    return {form for form in found if len(form) >= _SHORT}


def _segment_is_odd(segment: str) -> bool:
    """Whether a part of a longer name is no word and no short number."""
    if segment.isdigit():
        return len(segment) > _PART
    if not segment.isalpha():
        return len(segment) >= _SHORT
    words = _WORDS.findall(segment)
    average = len(segment) / max(1, len(words))
    return len(max(words, key=len)) >= _LONG or average < 2.5 or bool(_VOWELLESS.search(segment))


def looks_like_a_value(token: str) -> bool:
    """Whether a word of 16 characters or more looks as if a machine had made it, and nobody had named something so."""
    segments = [segment for segment in re.split(r"[-_~]", token) if segment]
    words = _WORDS.findall(token)
    letters = sum(map(len, words))
    if token.lower() != token != token.upper() and len(words) >= 4 and letters < 3.5 * len(words):
        return True
    sizes = {len(segment) for segment in segments}
    if len(segments) >= 4 and len(sizes) == 1:
        return True
    return any(_segment_is_odd(segment) for segment in segments)


def _lower(text: str) -> str:
    """The text in small letters, each in its place: encoders and services differ in the case of what they write."""
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def _parts(text: str, size: int) -> Set[str]:
    return {text[at : at + size] for at in range(len(text) - size + 1)}


class Hider:
    """Shows lines.

    :param values: what must never be shown, in no form.
    :param kept: names that are shown although they look like a value, such as those of units.
    """

    def __init__(self, values: Iterable[str] = (), kept: Iterable[str] = ()) -> None:
        given = [value.strip() for value in values if value.strip()]
        self._tiny = tuple(value for value in given if len(value) < _SHORT)
        self._kept: FrozenSet[str] = frozenset(kept) | {
            part for name in kept for part in re.split(r"[.@/]", name)
        }
        self._short: Dict[int, Set[str]] = {}
        self._letters: Set[str] = set()
        for value in given:
            for form in forms(value) | forms(without_unseen(value)):
                size = min(len(form), _PART)
                self._short.setdefault(size, set()).update(_parts(_lower(form), size))
                self._letters |= _parts(letters_of(form), _PART)
            for form in numbers(value.encode("utf-8", "surrogatepass")):
                self._letters |= _parts(form, _PART)

    def __repr__(self) -> str:
        return "Hider()"

    def _spans(self, text: str) -> List[Tuple[int, int]]:
        """Where the text holds a known value or a part of one, in order, without overlaps."""
        found: List[Tuple[int, int]] = []
        low = _lower(text)
        letters, places = read_letters(text)
        marks = [
            (at, at + size)
            for size, parts in self._short.items()
            for at in range(len(low) - size + 1)
            if low[at : at + size] in parts
        ]
        marks += [
            (places[at][0], places[at + _PART - 1][1])
            for at in range(len(letters) - _PART + 1)
            if letters[at : at + _PART] in self._letters
        ]
        for begin, end in sorted(marks):
            if found and begin <= found[-1][1]:
                found[-1] = (found[-1][0], max(end, found[-1][1]))
            else:
                found.append((begin, end))
        return found

    def _without_known(self, text: str) -> str:
        for begin, end in reversed(self._spans(text)):
            text = f"{text[:begin]}{HIDDEN}{text[end:]}"
        return text

    def _judged(self, match: re.Match[str]) -> str:
        token = match.group()
        kept = token in self._kept or not looks_like_a_value(token)
        return token if kept else HIDDEN

    def shown(self, text: str) -> str:
        """The line on one line, with :data:`HIDDEN` in the place of values, and no longer than :data:`SHOWN`."""
        text = _begin(text)
        # Before anything is taken out of it: a value may hold a control character.
        text = plain(without_unseen(self._without_known(_ESCAPES.sub("", text))))
        text = self._without_known(without_dumps(text, HIDDEN))
        if any(value in text for value in self._tiny):
            return HIDDEN
        text = _RTMP.sub(_without_path, text)
        text = _LOGIN.sub(rf"\1{HIDDEN}\3", text)
        for named in (_NAMED, _SPOKEN):
            text = named.sub(rf"\1{HIDDEN}", text)
        text = _TOKEN.sub(self._judged, text)
        text = _BASE64.sub(_without_base64, text)
        return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _without_path(match: re.Match[str]) -> str:
    """An RTMP address: what follows the application is the key."""
    application, slash, _key = match.group(2).partition("/")
    if not slash and "?" not in application:
        return match.group()
    application = application.partition("?")[0]
    return f"{match.group(1)}{application}{'/' if slash else '?'}{HIDDEN}"


def _without_base64(match: re.Match[str]) -> str:
    """What can only be an encoding: all kinds of characters, or the signs that no path ends with."""
    text = match.group()
    kinds = sum(bool(re.search(kind, text)) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    return HIDDEN if kinds == 3 or "+" in text or text.endswith("=") else text
