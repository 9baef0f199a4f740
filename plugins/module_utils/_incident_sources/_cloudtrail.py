# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudTrail's event history (``LookupEvents``): who read parameters and secrets, 90 days back.

AWS takes two requests a second in each account and region.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import AwsCaller
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import (
    READS,
    Event,
    Looked,
    Window,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._cloudtrail_event import (
    Unreadable,
    Wanted,
    read_event,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_names import (
    check_parameter_name,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_options import with_aws_options

OPTION = "cloudtrail"
ACTION = "cloudtrail:LookupEvents"
GAP = 0.5
"""Seconds between two requests: AWS takes two in a second for an account and region."""
KEPT = timedelta(days=90)
LATE = timedelta(minutes=15)
PAGE = 50
_SECRET = re.compile(r"(?:arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:)?[A-Za-z0-9/_+=.@-]{1,512}\Z")  # fmt: skip

Request = Mapping[str, Any]
Ask = Callable[[Request], Mapping[str, Any]]


class Turns:
    """Requests at least so many seconds apart, those that are tried again as well."""

    def __init__(
        self, gap: float, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._gap, self._clock, self._sleep = gap, clock, sleep
        self._next: Optional[float] = None

    def wait(self) -> None:
        """Wait for the next one."""
        now = self._clock()
        if self._next is not None and self._next > now:
            self._sleep(self._next - now)
            # It may have slept for longer.
            now = self._clock()
        self._next = now + self._gap


@dataclass
class Collected:
    """What was found so far in one region."""

    events: List[Event]
    ids: Set[str]
    seen: int = 0
    unreadable: int = 0
    calls: int = 0
    full: str = ""


@dataclass(frozen=True)
class Limits:
    """How much is kept, and how many requests are made in a region."""

    events: int
    calls: int


def request_of(name: str, window: Window) -> Dict[str, Any]:
    """A request for events of one name: AWS takes one attribute with each."""
    attribute = {"AttributeKey": "EventName", "AttributeValue": name}
    times = {"StartTime": window.since, "EndTime": window.until}
    return {"LookupAttributes": [attribute], **times, "MaxResults": PAGE}


def _take(page: Mapping[str, Any], wanted: Wanted, window: Window, found: Collected) -> None:
    for item in page.get("Events") or ():
        identity = str(item.get("EventId") or "")
        if identity and identity in found.ids:
            continue
        found.ids.add(identity)
        found.seen += 1
        try:
            event = read_event(str(item.get("CloudTrailEvent") or ""), wanted)
        except Unreadable:
            found.unreadable += 1
            continue
        if event:
            found.events.append(event)


def collect(
    ask: Ask, names: Sequence[str], wanted: Wanted, window: Window, limits: Limits
) -> Collected:
    """All events of these names about what is wanted.

    :raises Unreachable: when the pages do not come to an end.
    """
    found = Collected([], set())
    for name in names:
        request, token = request_of(name, window), ""
        while True:
            if len(found.events) >= limits.events or found.calls >= limits.calls:
                found.full = name
                return found
            page = ask({**request, **({"NextToken": token} if token else {})})
            found.calls += 1
            _take(page, wanted, window, found)
            following = str(page.get("NextToken") or "")
            if following and following == token:
                raise Unreachable(
                    f"{OPTION}: the pages of {name} do not come to an end; check what stands before the endpoint"
                )
            if not following:
                break
            token = following
    return found


def gaps_of(found: Collected, region: str, limits: Limits) -> List[str]:
    """Why there may be more than was found."""
    gaps = []
    if found.full:
        gaps.append(
            f"{region}: there is more than {limits.events} events or {limits.calls} requests: not all of {found.full} and what comes after "
            "it was looked at; take a shorter window, or raise most or most_calls"
        )
    if found.unreadable:
        gaps.append(f"{region}: {found.unreadable} events are not as CloudTrail writes them")
    return gaps


def wanted_of(params: Mapping[str, Any]) -> Wanted:
    """What the options name."""
    names = ("parameters", "secrets")
    parameters, secrets = (tuple(str(it) for it in params.get(name) or ()) for name in names)
    return Wanted(parameters, secrets)


def check_wanted(params: Mapping[str, Any]) -> None:
    """Refuse what names nothing, and what is no name.

    :raises BadInput: naming the option.
    """
    wanted = wanted_of(params)
    if not wanted.parameters and not wanted.secrets:
        raise BadInput(
            "parameters: missing; name the parameters that hold the credential, such as [/musehub/production/DB_PASSWORD], or with "
            "'secrets' those of Secrets Manager"
        )
    for number, name in enumerate(wanted.parameters):
        check_parameter_name(name, f"parameters[{number}]")
    for number, name in enumerate(wanted.secrets):
        if not _SECRET.match(name):
            raise BadInput(
                f"secrets[{number}]: '{name}' is no secret of Secrets Manager; expected its name, such as musehub/db, or its ARN"
            )


class CloudTrail:
    """``type: cloudtrail``: ``parameters``, ``secrets``, ``regions``, ``decrypt``, and the options of a login to AWS."""

    about = READS

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse what cannot be meant."""
        check_wanted(params)

    def look(self, params: Mapping[str, Any], window: Window, context: Context) -> Looked:
        """See :meth:`Source.look`."""
        wanted = wanted_of(params)
        names = wanted.names(params["decrypt"])
        limits = Limits(int(params["most"]), int(params["most_calls"]))
        events: List[Event] = []
        seen, gaps = 0, list(self._of_time(window, context))
        for region in params.get("regions") or [params.get("region") or ""]:
            ask, shown = self._asking(params, str(region), context)
            found = collect(ask, names, wanted, window, limits)
            events += found.events
            seen += found.seen
            gaps += gaps_of(found, shown, limits)
        return Looked(tuple(events), seen, tuple(gaps))

    def _of_time(self, window: Window, context: Context) -> Tuple[str, ...]:
        gaps = []
        if window.since < context.now() - KEPT:
            gaps.append(
                "the window begins before the 90 days that the event history keeps: look in the trail's own bucket for what was before "
                "(type cloudtrail_bucket)"
            )
        if window.until > context.now() - LATE:
            gaps.append(
                "events come up to 15 minutes late: the end of the window may lack some; run again later"
            )
        return tuple(gaps)

    def _asking(self, params: Mapping[str, Any], region: str, context: Context) -> Tuple[Ask, str]:
        changed, settings = with_aws_options({**params, "region": region}, context, 1)
        caller = AwsCaller(settings, changed, OPTION, "cloudtrail", self._sleep)
        turns = Turns(GAP, self._clock, self._sleep)
        place = f"event history{f' of {region}' if region else ''}"

        def ask(request: Request) -> Mapping[str, Any]:
            def call(client: Any) -> Mapping[str, Any]:
                turns.wait()
                answer: Mapping[str, Any] = client.lookup_events(**request)
                return answer

            return dict(caller.call(place, ACTION, call))

        return ask, region or "the region"
