# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application's own log: who used it with a credential, and who was refused."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import Machine
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import (
    DONE,
    LOGINS,
    UNTOLD,
    Event,
    Looked,
    Window,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._app_entry import (
    COMBINED,
    JSON,
    REGEX,
    PatternForm,
    value_at,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._app_feed import (
    ENGINES,
    PLACES,
    Feed,
    check_place,
    feed_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._app_rules import (
    Form,
    Rules,
    clock_of,
    form_of,
    rules_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._app_time import (
    ISO,
    Clock,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._log_lines import (
    Coverage,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_hide import Hider
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

_LISTS = {"type": "list", "elements": "raw", "default": []}
APP_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "unit": {"type": "str", "default": ""},
        "container": {"type": "str", "default": ""},
        "engine": {"type": "str", "choices": list(ENGINES), "default": ENGINES[0]},
        "fields": {"type": "dict", "default": {}},
        "pattern": {"type": "str", "default": ""},
        "time_format": {"type": "str", "default": ISO},
        "match": {"type": "dict", "default": {}},
        "success": _LISTS,
        "refused": _LISTS,
    }
)
"""The options of ``incident_reads`` that are for this source alone."""
_YEAR = timedelta(days=330)
_LONGEST = 2000
_SEVERAL = "(several)"
_NOBODY = ("", "-")
Key = Tuple[str, str, str, str, str, str]


@dataclass
class _Found:
    """What was found so far. Entries of one minute that are alike are one: what is expected is told by minutes, too.

    :ivar absent: names of fields that no entry had yet.
    :ivar crowded: what was asked for is not told apart any more.
    :ivar tried: how many of those that are kept did not succeed: whoever guesses names must not take the place of who got in.
    """

    form: Form
    clock: Optional[Clock]
    rules: Rules
    window: Window
    most: int
    cover: Coverage = field(default_factory=Coverage)
    kept: Dict[Tuple[Key, str], Tuple[datetime, int]] = field(default_factory=dict)
    absent: Set[str] = field(default_factory=set)
    crowded: bool = False
    tried: int = 0
    more: int = 0

    def __post_init__(self) -> None:
        self.absent = {*self.form.fields.values(), *self.rules.match}

    def take(self, line: str, at: Optional[datetime]) -> None:
        """A line."""
        if not line.strip():
            return
        self.cover.seen += 1
        entry = self.form.read(line)
        moment = at if entry is not None else None
        if entry is not None and self.clock:
            moment = self.clock.read(self._told(entry, "time"))
        if entry is None or moment is None:
            self.cover.unreadable += 1
            return
        self.cover.add(moment)
        if self.absent:
            self._note(entry)
        if self.window.has(moment.replace(microsecond=0)):
            self._keep(entry, moment)

    def _told(self, entry: Mapping[str, Any], role: str) -> str:
        name = self.form.fields.get(role)
        return (value_at(entry, name) or "")[:_LONGEST] if name else ""

    def _note(self, entry: Mapping[str, Any]) -> None:
        """Which of the names that were asked for there are: a name that is nowhere is a mistake, or nobody was there."""
        self.absent -= {name for name in self.absent if value_at(entry, name) is not None}

    def _keep(self, entry: Mapping[str, Any], moment: datetime) -> None:
        who = self._told(entry, "principal").strip()
        who = "" if who in _NOBODY else who
        if not self.rules.counts(entry, who):
            return
        name = self.form.fields.get("outcome")
        outcome = self.rules.outcome(value_at(entry, name) if name else None)
        told = {role: self._told(entry, role) for role in ("address", "what", "agent", "outcome")}
        detail = told["outcome"] if outcome != DONE else ""
        who, where = who or UNTOLD, told["address"]
        minute = moment.strftime("%Y%m%d%H%M")
        place = (who, where, told["what"], told["agent"], outcome, detail), minute
        if place not in self.kept and len(self.kept) >= self.most // 2:
            # Who came and from where matters most: with many kinds of requests there would be no room for whoever came late.
            self.crowded = True
            place = (who, where, _SEVERAL, "", outcome, detail), minute
        known = self.kept.get(place)
        if known:
            self.kept[place] = (min(known[0], moment), known[1] + 1)
        elif len(self.kept) < self.most and (outcome == DONE or self.tried < self.most // 2):
            self.kept[place] = (moment, 1)
            self.tried += outcome != DONE
        else:
            self.more += 1

    def events(self) -> Tuple[Event, ...]:
        """The uses. What a request was for is chosen by its client, so it also loses what only looks like a value."""
        hider = Hider()
        shown: Dict[str, str] = {}
        found = []
        for (key, _minute), (at, times) in self.kept.items():
            who, address, what, agent, outcome, detail = key
            if what not in shown:
                shown[what] = hider.shown(what.partition("?")[0]) if what else UNTOLD
            found.append(
                Event(
                    at=format_time(at),
                    principal=who,
                    action="app:use",
                    target=shown[what],
                    outcome=outcome,
                    address=address,
                    agent="" if agent == "-" else agent,
                    detail=detail,
                    times=times,
                )
            )
        return tuple(found)

    def gaps(self) -> List[str]:
        """Why there may be more than was found."""
        gaps = self.cover.gaps(self.window, "this application")
        if self.cover.first:
            gaps += [
                f"no entry has '{name}': it may be called otherwise, or nobody was there whom it would name"
                for name in sorted(self.absent)
            ]
        if self.clock and self.clock.zoneless:
            gaps.append("some times have no zone and were passed over; give utc_offset")
        if isinstance(self.form, PatternForm):
            gaps += self.form.gaps()
        if self.crowded:
            gaps.append(
                f"there are more than {self.most // 2} kinds of uses: what those asked for that came later is not told; raise most"
            )
        if self.more:
            gaps.append(
                f"there are {self.more} more than the {len(self.kept)} that were kept; raise most"
            )
        return gaps


class _Enough(Exception):
    """The rest is not looked at."""


class AppLog:
    """``type: app_log``: one of ``path``, ``unit`` and ``container``; ``format`` with ``fields`` or ``pattern``; which entries count."""

    about = LOGINS

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse what cannot be meant."""
        timed = check_place(params) != PLACES[0]
        form = form_of(params)
        rules_of(params, form)
        # The year of the clock says nothing here about the format.
        clock_of(params, form, timed, datetime.max)

    def look(self, params: Mapping[str, Any], window: Window, context: Context) -> Looked:
        """See :meth:`Source.look`."""
        form, feed = form_of(params), feed_of(params, Machine(), context.environ)
        clock = clock_of(params, form, feed.timed, context.now())
        if clock and clock.yearless and window.since < context.now() - _YEAR:
            raise BadInput(
                "time_format: it has no year (%Y), and the window begins so long ago that a day may be of this year or of the last one"
            )
        rules = rules_of(params, form)
        found = _Found(form, clock, rules, window, int(params["most"]))
        gaps = _read(feed, found)
        _check_read(found, params)
        return Looked(found.events(), found.cover.seen, (*feed.gaps, *gaps, *found.gaps()))


def _read(feed: Feed, found: _Found) -> List[str]:
    """Look at every line, as long as that takes no longer than it may."""
    form = found.form

    def take(line: str, at: Optional[datetime]) -> None:
        found.take(line, at)
        if isinstance(form, PatternForm) and form.takes_too_long:
            raise _Enough

    with ExitStack() as stack:
        if isinstance(form, PatternForm):
            stack.enter_context(form)
        try:
            feed.run(take, found.window, found.cover)
        except _Enough:
            lines = f"only the first {found.cover.seen} lines were looked at"
            return [f"the regular expression takes too long: {lines}; give a simpler one"]
    return []


def _check_read(found: _Found, params: Mapping[str, Any]) -> None:
    """:raises BadInput: when not one line was understood: then the log was not looked at."""
    cover = found.cover
    if cover.unreadable < cover.seen or not cover.seen:
        return
    if found.clock and found.clock.zoneless:
        raise BadInput(
            "utc_offset: the log's times have no zone; say which one they are in, such as +00:00, in quotes"
        )
    form = str(params["format"])
    timed = f" with a time as {params['time_format']}" if found.clock and form != COMBINED else ""
    advice = {
        JSON: "correct fields and time_format, or give another format",
        REGEX: "correct pattern and time_format",
        COMBINED: "give regex with a pattern for what the web server's own format is",
    }
    raise BadInput(f"format: no line of the log is an entry as {form}{timed}; {advice[form]}")
