# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must not, and what must, be in a log: the patterns, and what was found of them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Pattern, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_hide import Hider, plain
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

# Not "0 errors", "no error", "errors=0", "error_log" or "error.log": these are in every healthy log.
_NONE = r"(?<!\bno )(?<!\b0 )(?<!without )(?<![-/.])"
_NOT_ZERO = r"(?![-_/.]\w)(?![\"']?\s*[=:]\s*[\"']?(?:0|no|none|null|nil|false)\b)"
USUAL: Tuple[str, ...] = (
    rf"{_NONE}\berrors?\b{_NOT_ZERO}",
    rf"{_NONE}\bfail(?:ed|s|ing|ures?)?\b{_NOT_ZERO}",
    r"\b(?:fatal|panic|traceback|segfault)\b|\[(?:emerg|alert|crit)\]",
    r"\b(?:denied|forbidden|unauthori[sz]ed|refused|rejected)\b|\bnot (?:permitted|allowed|authori[sz]ed)\b",
    r"\b(?:cannot|can't|could not|couldn't|unable to|timed out|no such file)\b",
    r"\b(?:invalid|unknown|bad|wrong|expired|revoked|missing|empty)\b[^.;]{0,24}\b(?:key|token|credentials?|password)\b",
    r"\b(?:key|token|credentials?|password)\b[^.;]{0,24}\b(?:invalid|unknown|wrong|expired|revoked|missing|empty|not found)\b",
    r"\b(?:http(?:/[\d.]+)?|status(?: code)?|code|returned)\b\W{1,3}40[13]\b|\b40[13] (?:unauthori[sz]ed|forbidden)",
)
"""What must not be there if nobody says otherwise: what an operator would search for after a reload, without what is in any log."""

SINCE = "10m"
KEYS = ("forbid", "require", "allow", "since")
_SHOWN = 5
_MATCHED = 1 << 16


@dataclass(frozen=True)
class Wanted:
    """Compiled patterns.

    :param allow: a line that one of them matches is never forbidden.
    """

    forbid: Tuple[Pattern[str], ...] = ()
    require: Tuple[Pattern[str], ...] = ()
    allow: Tuple[Pattern[str], ...] = ()


def _patterns(given: Any, where: str) -> Tuple[Pattern[str], ...]:
    items = [given] if isinstance(given, str) else given
    if not isinstance(items, (list, tuple)):
        raise BadInput(f"{where}: expected a list of regular expressions")
    found = []
    for number, item in enumerate(items):
        if not isinstance(item, str) or not item:
            raise BadInput(
                f"{where}[{number}]: expected a regular expression that is not empty: an empty one matches every line"
            )
        try:
            found.append(re.compile(item, re.IGNORECASE))
        except (re.error, OverflowError, RecursionError) as error:
            told = getattr(error, "msg", "it is too large")
            raise BadInput(
                f"{where}[{number}]: '{item}' is no regular expression of Python: {told}"
            ) from None
    return tuple(found)


def read_wanted(given: Mapping[str, Any], where: str) -> Wanted:
    """Read ``forbid``, ``require`` and ``allow``.

    :param where: how messages name the mapping.
    :raises BadInput: naming the option and its item.
    """
    texts: Dict[str, Any] = {"forbid": USUAL, "require": (), "allow": ()}
    texts.update({key: given[key] for key in texts if given.get(key) is not None})
    return Wanted(**{key: _patterns(item, f"{where}{key}") for key, item in texts.items()})


def check_log(given: Any, where: str) -> None:
    """Refuse a consumer's ``log`` that cannot be meant.

    :raises BadInput: naming what is wrong.
    """
    if not isinstance(given, Mapping):
        raise BadInput(f"{where}: expected a mapping with some of {', '.join(KEYS)}")
    strange = sorted(str(key) for key in given if key not in KEYS)
    if strange:
        raise BadInput(f"{where}: unknown key '{strange[0]}'; expected some of {', '.join(KEYS)}")
    read_wanted(given, f"{where}.")
    if given.get("since") is not None:
        parse_duration(given["since"], f"{where}.since")


@dataclass(frozen=True)
class Line:
    """One line of a log.

    :param source: the unit or file that it is from.
    :param time: when it was written, as it can be shown; empty when that is not known.
    """

    text: str
    source: str = ""
    time: str = ""


@dataclass
class Look:
    """What was found so far.

    :ivar lines: how many lines were looked at.
    :ivar forbidden: how many of them must not be there.
    :ivar gaps: why some may be missing, as sentences.
    """

    wanted: Wanted
    hider: Hider
    lines: int = 0
    forbidden: int = 0
    met: Dict[str, int] = field(default_factory=dict)
    matches: List[Dict[str, str]] = field(default_factory=list)
    gaps: List[str] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Look at a line."""
        text = plain(line.text[:_MATCHED])
        self.lines += 1
        for pattern in self.wanted.require:
            if pattern.search(text):
                self.met[pattern.pattern] = self.met.get(pattern.pattern, 0) + 1
        found = next((it for it in self.wanted.forbid if it.search(text)), None)
        if found is None or any(it.search(text) for it in self.wanted.allow):
            return
        self.forbidden += 1
        if len(self.matches) < _SHOWN:
            # Not what was compared: a value may hold what was taken out of it, and what is cut off first may be half of one.
            shown = self.hider.shown(line.text)
            match = {"line": shown, "pattern": found.pattern}
            self.matches.append({**match, "source": line.source, "time": line.time})

    def tell_gap(self, sentence: str) -> None:
        """Remember why lines may be missing, once."""
        if sentence not in self.gaps:
            self.gaps.append(sentence)

    @property
    def missing(self) -> List[str]:
        """The patterns that must occur and did not yet."""
        return [it.pattern for it in self.wanted.require if it.pattern not in self.met]

    def facts(self) -> Dict[str, Any]:
        """What the result says of it."""
        return {
            "lines": self.lines,
            "forbidden": self.forbidden,
            "matches": list(self.matches),
            "required": {it.pattern: self.met.get(it.pattern, 0) for it in self.wanted.require},
            "gaps": list(self.gaps),
        }

    def complaint(self) -> str:
        """What is wrong with it, as the end of a sentence about the log; empty when nothing is."""
        if self.forbidden:
            lines = "a line" if self.forbidden == 1 else f"{self.forbidden} lines"
            first = self.matches[0]
            return f"has {lines} that must not be there, such as: {first['line']}"
        if self.missing:
            return f"has no line that matches '{self.missing[0]}', in {self.lines} new lines"
        return ""
