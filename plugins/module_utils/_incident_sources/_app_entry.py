# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of an application's log as entries: JSON, a regular expression of the operator's, or the usual format of a web server."""

from __future__ import annotations

import json
import re
import signal
from types import MappingProxyType, TracebackType
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import refuse_unknown

JSON, REGEX, COMBINED = "json", "regex", "combined"
APP_FORMATS = (JSON, REGEX, COMBINED)
ROLES = ("time", "principal", "address", "outcome", "what", "agent")
"""What an entry can tell: when, who, from where, how it went, of what, and with which program."""
TICK = 0.25
"""Seconds of processor time that a line has at least, and twice as many that it has at most."""
PER_LOG, PER_LINE = 60.0, 0.0002
"""Seconds of processor time for a log, and for each of its lines beside that: many more than any usual pattern takes."""
_LOOKED = 1 << 13
_DIGITS = 20
# What a client chose has no quotation mark as it is: nginx writes \x22, and Apache \". So the last time before the first one is the
# server's own, whatever a user name looks like.
_QUOTED = r"[^\"\\]*(?:\\.[^\"\\]*)*"
_COMBINED = (
    rf"(?P<address>\S{{1,255}}) \S{{1,255}} (?P<principal>{_QUOTED}) "
    r"\[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    rf"\"(?:(?P<method>[A-Z]{{1,20}}) (?P<what>[^\s?\"\\]*(?:\\.[^\s?\"\\]*)*)(?=[\s?\"]))?{_QUOTED}\" (?P<outcome>\d{{3}}) (?:\d+|-)"
    rf"(?: \"{_QUOTED}\" \"(?P<agent>{_QUOTED})\")?"
)
COMBINED_TIME = "%d/%b/%Y:%H:%M:%S %z"
COMBINED_SUCCESS: Tuple[str, ...] = ("1*", "2*", "3*", "4*")
COMBINED_REFUSED: Tuple[str, ...] = ("401", "403")


def text_of(value: Any) -> Optional[str]:
    """A value as it is compared and shown; none for what is no single value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    return None


def _step(found: Any, name: str) -> Any:
    if isinstance(found, Mapping):
        return found.get(name)
    if isinstance(found, list) and name.isdigit() and len(name) < 6 and int(name) < len(found):
        return found[int(name)]
    return None


def value_at(entry: Mapping[str, Any], path: str) -> Optional[str]:
    """What stands at a path such as ``request.user``; a field whose own name has dots comes first."""
    if path in entry:
        return text_of(entry[path])
    found: Any = entry
    for name in path.split("."):
        found = _step(found, name)
    return text_of(found)


def _integer(digits: str) -> Any:
    """A number; one of many digits stays a text: reading a million of them takes minutes."""
    return int(digits) if len(digits) < _DIGITS else digits


class JsonForm:
    """One object of JSON on each line.

    :param fields: where it has what of :data:`ROLES`.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = fields

    def read(self, line: str) -> Optional[Mapping[str, Any]]:
        """The entry; none for a line that is no object."""
        try:
            entry = json.loads(line.lstrip("\ufeff"), parse_int=_integer)
        except (ValueError, RecursionError):
            return None
        return entry if isinstance(entry, dict) else None


class _TooLong(Exception):
    """A line took too much time."""


class PatternForm:
    """Lines that a regular expression matches from their beginning.

    A pattern may need more time for a line than there is. So a clock ticks while lines are compared, and a line that is still being
    compared one whole :data:`TICK` after another is given up. The clock counts the time that this process works, not what others take
    from it, and belongs to nobody else: Ansible's own limit for a task is SIGALRM.

    :ivar groups: the names of all its groups.
    :ivar slow: how many lines took too long.
    :ivar spent: about how many seconds of processor time all lines took.
    """

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self.groups: Tuple[str, ...] = tuple(pattern.groupindex)
        self.fields = {name: name for name in ROLES if name in pattern.groupindex}
        self.slow, self.spent = 0, 0.0
        self._line, self._ticked = 0, -1
        self._comparing = False

    def __enter__(self) -> PatternForm:
        try:
            self._other = signal.signal(signal.SIGVTALRM, self._tick)
        except ValueError:
            raise BadInput(
                "format: a line can be given up only in a process's main thread, so no regular expression is used elsewhere; run this task "
                "without what runs modules in threads"
            ) from None
        signal.setitimer(signal.ITIMER_VIRTUAL, TICK, TICK)
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, self._other)

    def _tick(self, _number: int, _frame: Any) -> None:
        if not self._comparing:
            return
        self.spent += TICK
        if self._ticked == self._line:
            self._comparing = False
            raise _TooLong
        self._ticked = self._line

    def read(self, line: str) -> Optional[Mapping[str, Any]]:
        """The entry; none for a line that does not match, or takes too long to compare."""
        self._line += 1
        try:
            self._comparing = True
            found = self._pattern.match(line[:_LOOKED])
            self._comparing = False
        except _TooLong:
            self.slow += 1
            return None
        return {k: v for k, v in found.groupdict().items() if v is not None} if found else None

    @property
    def takes_too_long(self) -> bool:
        """Whether the rest of the log is better left."""
        return self.spent > PER_LOG + PER_LINE * self._line

    def gaps(self) -> List[str]:
        """What the pattern's slowness cost."""
        if not self.slow:
            return []
        return [
            f"{self.slow} lines took the regular expression more than {TICK:g} s each and were passed over; give a simpler one"
        ]


def combined() -> PatternForm:
    """The format that nginx and Apache call combined, or common."""
    return PatternForm(re.compile(_COMBINED))


def pattern_form(given: str, option: str) -> PatternForm:
    """An operator's own pattern.

    :raises BadInput: for what is no regular expression, or has none of the groups.
    """
    if not given:
        raise BadInput(
            f"{option}: missing; give a regular expression with named groups: {', '.join(ROLES)}"
        )
    try:
        pattern = re.compile(given)
    except (re.error, OverflowError, RecursionError) as error:
        told = getattr(error, "msg", "it is too large")
        raise BadInput(f"{option}: '{given}' is no regular expression of Python: {told}") from None
    if not set(ROLES) & set(pattern.groupindex):
        raise BadInput(
            f"{option}: it has no named group such as (?P<principal>[^ ]+); expected some of {', '.join(ROLES)}"
        )
    return PatternForm(pattern)


def json_form(given: Any, option: str) -> JsonForm:
    """JSON with an operator's names of fields.

    :raises BadInput: without names, or with one that cannot be meant.
    """
    if not isinstance(given, Mapping) or not given:
        raise BadInput(
            f"{option}: missing; say where an entry has what, such as {{time: ts, principal: user.name, address: ip, outcome: status}}"
        )
    refuse_unknown(given, ROLES, option)
    names: Dict[str, str] = {}
    for role, name in given.items():
        if not isinstance(name, str) or not name.strip("."):
            raise BadInput(f"{option}.{role}: expected the name of a field, such as user.name")
        names[role] = name
    return JsonForm(MappingProxyType(names))
