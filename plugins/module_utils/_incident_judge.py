# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a use was to be expected: an allow-list of who, from where and when. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import Event
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import refuse_unknown
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_time

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

_KEYS = ("principal", "addresses", "between", "reason")
_BETWEEN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)\Z")
_SERVICE = re.compile(r"(?:[a-z0-9-]+\.)+amazonaws\.com\Z|AWS Internal\Z|local\Z")


@dataclass(frozen=True)
class Rule:
    """What is expected.

    :param principal: a name, or a pattern with ``*`` and ``?``.
    :param networks: where from; with ``services`` empty, from anywhere.
    :param services: names that stand where an address does, such as ``lambda.amazonaws.com`` and ``local``.
    :param between: minutes of the day in UTC, the first included and the second not; none for any time.
    """

    principal: str
    reason: str
    networks: Tuple[Network, ...] = ()
    services: Tuple[str, ...] = ()
    between: Optional[Tuple[int, int]] = None

    def knows(self, event: Event) -> bool:
        """Whether it is about whoever this was."""
        names = [name for name in (event.principal, event.via) if name]
        return any(fnmatchcase(name, self.principal) for name in names)

    def has_address(self, event: Event) -> bool:
        """Whether it was from where it is expected."""
        anywhere = not self.networks and not self.services
        if anywhere or event.behind or event.address in self.services:
            return True
        try:
            given = ipaddress.ip_address(event.address.partition("%")[0])
        except ValueError:
            return False
        found = getattr(given, "ipv4_mapped", None) or given
        return any(it in network for network in self.networks for it in (found, given))

    def has_time(self, event: Event) -> bool:
        """Whether it was when it is expected."""
        if self.between is None:
            return True
        at, (first, last) = parse_time(event.at, "at"), self.between
        minute = at.hour * 60 + at.minute
        return first <= minute < last if first < last else minute >= first or minute < last


@dataclass(frozen=True)
class Verdict:
    """:param why: the rule's reason, or what was not expected."""

    expected: bool
    why: str


def _addresses(given: Any, option: str) -> Tuple[Tuple[Network, ...], Tuple[str, ...]]:
    items = [given] if isinstance(given, str) else given
    if not isinstance(items, (list, tuple)):
        raise BadInput(f"{option}: expected a list of networks, such as [10.0.0.0/8]")
    networks, services = [], []
    for number, item in enumerate(items):
        if _SERVICE.match(str(item)):
            services.append(str(item))
            continue
        try:
            networks.append(ipaddress.ip_network(str(item)))
        except ValueError:
            raise BadInput(
                f"{option}[{number}]: '{item}' is no address or network; expected such as 10.0.0.0/8 without bits behind the mask, a "
                "service such as lambda.amazonaws.com, or local"
            ) from None
    return tuple(networks), tuple(services)


def _minutes(given: Any, option: str) -> Optional[Tuple[int, int]]:
    if given is None:
        return None
    found = _BETWEEN.match(str(given))
    if not found:
        raise BadInput(
            f"{option}: '{given}' is no part of a day; expected HH:MM-HH:MM in UTC such as 22:00-06:00, in quotes"
        )
    hour, minute, last_hour, last_minute = (int(part) for part in found.groups())
    first, last = hour * 60 + minute, last_hour * 60 + last_minute
    if first == last:
        raise BadInput(f"{option}: it ends when it begins; leave it out for any time")
    return first, last


def _rule(given: Any, option: str) -> Rule:
    if not isinstance(given, Mapping):
        raise BadInput(f"{option}: expected a mapping with {', '.join(_KEYS)}")
    refuse_unknown(given, _KEYS, option)
    principal, reason = (str(given.get(key) or "").strip() for key in ("principal", "reason"))
    if not principal:
        raise BadInput(f"{option}.principal: missing; who is expected? A name, or a pattern with *")
    if not reason:
        raise BadInput(
            f"{option}.reason: missing; say why this is expected, for whoever reads the record"
        )
    networks, services = _addresses(given.get("addresses") or (), f"{option}.addresses")
    between = _minutes(given.get("between"), f"{option}.between")
    if not principal.strip("*?") and not (networks or services or between):
        raise BadInput(
            f"{option}: this expects everybody from everywhere at any time; name a principal, addresses or a part of the day"
        )
    return Rule(principal, reason, networks, services, between)


def parse_rules(given: Any, option: str) -> Tuple[Rule, ...]:
    """The allow-list.

    :raises BadInput: naming the key that cannot be meant.
    """
    if not isinstance(given, (list, tuple)):
        raise BadInput(f"{option}: expected a list")
    return tuple(_rule(item, f"{option}[{number}]") for number, item in enumerate(given))


def judge(event: Event, rules: Sequence[Rule]) -> Verdict:
    """Whether one rule expects all of this; else what no rule about this principal expects."""
    mine = [rule for rule in rules if rule.knows(event)]
    if not mine:
        return Verdict(False, "this principal is not expected")
    for rule in mine:
        if rule.has_address(event) and rule.has_time(event):
            return Verdict(True, rule.reason)
    why: List[str] = []
    if not any(rule.has_address(event) for rule in mine):
        told = "this address is not expected of it" if event.address else "no address is told"
        why.append(told)
    if not any(rule.has_time(event) for rule in mine):
        why.append("this time of day (UTC) is not expected of it")
    return Verdict(False, " and ".join(why) or "this address is not expected of it at this time")
