# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit source tells of one use of a credential, and how its texts are made fit to be shown. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Callable, Dict, Iterable, Mapping, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_dump import without_unseen
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_hide import (
    HIDDEN,
    Hider,
    plain,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_time,
    parse_time,
)

READS, LOGINS = "reads", "logins"
"""What a source is about: who read the value, or who logged in with it."""
DONE, DENIED, FAILED = "done", "denied", "failed"
"""How it went: it was given, it was refused, or it failed for another reason."""
OUTCOMES = (DONE, DENIED, FAILED)
UNTOLD = "(not told)"
_LONGEST = 400
_KEPT = 5000


@dataclass(frozen=True)
class Window:
    """The time in which the value was exposed, both ends included."""

    since: datetime
    until: datetime

    def has(self, moment: datetime) -> bool:
        """Whether it lies inside."""
        return self.since <= moment <= self.until


def parse_window(since: Any, until: Any) -> Window:
    """The window that two texts name.

    :raises BadInput: for what is no time, and for an end that is not after the beginning.
    """
    window = Window(
        parse_time(str(since or ""), "since").replace(microsecond=0),
        parse_time(str(until or ""), "until").replace(microsecond=0),
    )
    if window.until <= window.since:
        raise BadInput(
            f"until: {format_time(window.until)} is not after since ({format_time(window.since)}); give the time when the exposure ended"
        )
    return window


@dataclass(frozen=True)
class Event:
    """One use: only fields that are named here are ever copied from a source.

    :param at: when, RFC 3339 in UTC.
    :param principal: who, as the source names it.
    :param via: the role or display name behind the principal, where there is one.
    :param target: the parameter, path or role.
    :param address: from where; empty where the source does not tell.
    :param behind: a service did this for the principal, and another event has the principal's own address.
    :param times: how often, where a source counts what is alike within a minute; ``at`` is then the first time.
    """

    at: str
    principal: str
    action: str
    target: str
    outcome: str
    address: str = ""
    via: str = ""
    agent: str = ""
    detail: str = ""
    behind: bool = False
    times: int = 1

    def as_dict(self) -> Dict[str, Any]:
        """For a task's result."""
        return asdict(self)


_TEXTS = ("at", "principal", "action", "target", "outcome", "address", "via", "agent", "detail")


def event_of(given: Mapping[str, Any], option: str) -> Event:
    """An event that came through a task's result.

    :raises BadInput: when it is none.
    """
    if not isinstance(given, Mapping) or given.get("outcome") not in OUTCOMES:
        raise BadInput(
            f"{option}: expected events as incident_reads returns them; register its result"
        )
    parse_time(str(given.get("at") or ""), f"{option}.at")
    texts = {name: str(given.get(name) or "") for name in _TEXTS}
    times = given.get("times")
    return Event(
        behind=bool(given.get("behind")), times=times if isinstance(times, int) else 1, **texts
    )


@dataclass(frozen=True)
class Looked:
    """What a source had to say.

    :param seen: how many of its entries were looked at.
    :param gaps: why there may be more than is told, in sentences.
    """

    events: Tuple[Event, ...]
    seen: int
    gaps: Tuple[str, ...] = ()


def visible(text: str) -> str:
    """A text in which each sign that cannot be seen is written out: blanks of no width, colours, blanks at the ends. Pure."""
    inner = text.strip(" ")
    begin = len(text) - len(text.lstrip(" "))
    blanks = ("\\x20" * begin, "\\x20" * (len(text) - begin - len(inner)))
    seen = "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in inner)
    return f"{blanks[0]}{seen}{blanks[1]}"


class Known(Hider):
    """Texts of a source as they may be shown.

    Names and addresses are what an inquiry is about: they lose the values that are known, in every form and every part of them,
    and nothing else. What a caller writes as it likes, such as a user agent, also loses what only looks like a value.
    """

    def __init__(self, values: Iterable[str] = (), kept: Iterable[str] = ()) -> None:
        super().__init__(values, kept)
        # The same few names and programs are in thousands of events.
        self._before: Dict[Tuple[str, str], str] = {}

    def _once(self, kind: str, text: str, make: Callable[[str], str]) -> str:
        found = self._before.get((kind, text))
        if found is None:
            found = make(text)
            if len(self._before) < _KEPT and len(text) <= _LONGEST:
                self._before[kind, text] = found
        return found

    def named(self, text: Any) -> str:
        """A name, a path or an address."""
        return self._once("named", str(text or ""), self._named)

    def _named(self, text: str) -> str:
        clean = text.encode("utf-8", "replace").decode()[: _LONGEST * 2]
        if any(value in clean for value in self._tiny):
            return HIDDEN
        return self._without_known(self._bare(clean))[:_LONGEST]

    def identity(self, text: Any) -> str:
        """As :meth:`named`, and nothing unseen is left out of it: with that, a name could pass for another that is expected."""
        return self._once("identity", str(text or ""), self._identity)

    def _identity(self, text: str) -> str:
        hidden = self._named(text)
        clean = text.encode("utf-8", "replace").decode()[: _LONGEST * 2]
        shown = visible(self._without_known(clean))
        if any(value in clean for value in self._tiny) or hidden != self._bare(clean)[:_LONGEST]:
            # A value with unseen signs in it; whoever has such a name is told from others all the same.
            return hidden if hidden in (HIDDEN, shown) else f"{hidden[: _LONGEST - 4]} (…)"
        long = len(shown) > _LONGEST or len(text) > _LONGEST * 2
        return f"{shown[: _LONGEST - 3]}..." if long else shown

    def _bare(self, clean: str) -> str:
        return plain(without_unseen(self._without_known(clean)))

    def free(self, text: Any) -> str:
        """A text that whoever called chose."""
        given = str(text or "").encode("utf-8", "replace").decode()
        return self._once("free", given, self.shown) if given else ""

    def all_of(self, text: str) -> str:
        """A text of several lines, of any length."""
        return self._without_known(text)

    def event(self, event: Event) -> Event:
        """The event with all its texts fit to be shown."""
        names = ("principal", "action", "target", "address", "via", "detail")
        shown = {name: self.identity(getattr(event, name)) for name in names}
        return Event(
            at=event.at,
            outcome=event.outcome,
            agent=self.free(event.agent),
            behind=event.behind,
            times=event.times,
            **shown,
        )
