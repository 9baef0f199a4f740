# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit log of Vault tells: uses of root tokens, denied requests, and requests from addresses that are not expected.

Values, tokens and accessors are hashed there; paths, policies, names and addresses stand in clear (audit devices of Vault). Only
these are told, with counts. Each request has an entry of type ``request`` and one of type ``response``; the first is counted.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, Dict, Iterator, List, Mapping, Optional, Sequence, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_time
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_findings import (
    HIGH,
    LOW,
    MEDIUM,
    Findings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_rules import printable

_MOST_NAMES = 10_000
_SHOWN = 5
_OTHERS = "(others)"
_LONGEST_LINE = 1 << 22

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


def networks(texts: Sequence[str], option: str) -> List[Network]:
    """Addresses and networks that requests may come from.

    :raises BadInput: for what is neither.
    """
    try:
        return [ipaddress.ip_network(text, strict=False) for text in texts]
    except ValueError:
        raise BadInput(
            f"{option}: expected addresses or networks such as 10.0.0.0/8 or 192.0.2.7"
        ) from None


@dataclass
class Seen:
    """Counts of what was seen; names of no more than some thousand different things are kept."""

    entries: int = 0
    unreadable: int = 0
    last: str = ""
    root: Dict[str, int] = field(default_factory=dict)
    denied: Dict[str, int] = field(default_factory=dict)
    strangers: Dict[str, int] = field(default_factory=dict)

    def result(self) -> Dict[str, Any]:
        """For a task's result."""
        return {
            "entries": self.entries,
            "unreadable": self.unreadable,
            "last": self.last,
            "root": _top(self.root, 20),
            "denied": _top(self.denied, 20),
            "strangers": _top(self.strangers, 20),
        }


def _count(counts: Dict[str, int], name: str) -> None:
    name = printable(name)
    if name not in counts and len(counts) >= _MOST_NAMES:
        name = _OTHERS
    counts[name] = counts.get(name, 0) + 1


def _top(counts: Mapping[str, int], number: int) -> Dict[str, int]:
    return dict(Counter(counts).most_common(number))


def _line(counts: Mapping[str, int]) -> str:
    shown = [f"{name} ({count})" for name, count in _top(counts, _SHOWN).items()]
    return ", ".join(shown) + (" and others" if len(counts) > _SHOWN else "")


def count_entry(line: bytes, allowed: Sequence[Network], since: str, seen: Seen) -> None:
    """Count one line of the log.

    :param since: an RFC 3339 time in UTC; entries before it are passed over.
    """
    try:
        entry = json.loads(line)
        request, auth = entry.get("request") or {}, entry.get("auth") or {}
        if entry.get("type") != "request" or str(entry["time"]) < since:
            return
        path, operation = str(request.get("path") or ""), str(request.get("operation") or "")
    except (ValueError, AttributeError, KeyError, TypeError):
        seen.unreadable += 1
        return
    seen.entries += 1
    seen.last = str(entry["time"])
    who = str(auth.get("display_name") or "nobody known")
    if "root" in (auth.get("policies") or []):
        _count(seen.root, f"{operation} {path}")
    if "permission denied" in str(entry.get("error") or ""):
        _count(seen.denied, f"{operation} {path} by {who}")
    address = str(request.get("remote_address") or "")
    if allowed and address and not _is_allowed(address, allowed):
        _count(seen.strangers, address)


def _is_allowed(address: str, allowed: Sequence[Network]) -> bool:
    try:
        given = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(given, "ipv4_mapped", None)
    return any((mapped or given) in network for network in allowed)


def _time_at(file: BinaryIO, position: int) -> str:
    """The time of the first whole entry from a position on; empty when there is none."""
    file.seek(position)
    if position:
        file.readline(_LONGEST_LINE)
    for _attempt in range(20):
        line = file.readline(_LONGEST_LINE)
        if not line:
            return ""
        try:
            return str(json.loads(line)["time"])
        except (ValueError, KeyError, TypeError):
            continue
    return ""


def _begin_at(file: BinaryIO, size: int, since: str) -> int:
    """A position before the first entry of that time or later: entries stand in the order of their times, nearly."""
    low, high = 0, size
    while high - low > (1 << 20):
        middle = (low + high) // 2
        at = _time_at(file, middle)
        if at and at < since:
            low = middle
        else:
            high = middle
    return max(0, low - (1 << 16))


def _whole_lines(file: BinaryIO, position: int) -> Iterator[bytes]:
    """The lines from a position on; one that is still being written is left out."""
    file.seek(position)
    while True:
        line = file.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            return
        yield line


def read_log(path: str, since: str, cursor: Mapping[str, Any], allowed: Sequence[Network]) -> Any:
    """What happened since a time, or since the last look.

    :param since: an RFC 3339 time in UTC; empty for everything.
    :param cursor: where the last look ended: ``inode`` and ``offset``; empty for a first look.
    :returns: what was seen, and where this look ended.
    :raises OSError: when it cannot be read.
    """
    # Vault leaves zeros at the end of a time out: without its Z, this sorts before every such form of the same moment.
    since = since.rstrip("Z")
    seen = Seen()
    for part, offset in _parts(path, cursor):
        with open(part, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            begin = offset if offset is not None else _begin_at(file, size, since) if since else 0
            end = begin
            if begin and offset is None:
                file.seek(begin)
                begin += len(file.readline(_LONGEST_LINE))
                end = begin
            for line in _whole_lines(file, begin):
                count_entry(line, allowed, "" if offset is not None else since, seen)
                end += len(line)
            ended = {"inode": os.fstat(file.fileno()).st_ino, "offset": end}
    return seen, ended


def _parts(path: str, cursor: Mapping[str, Any]) -> List[Any]:
    """The files to read with where to begin: after the log was moved aside, the rest of the old one comes first."""
    status = os.stat(path)
    inode, offset = cursor.get("inode"), int(cursor.get("offset") or 0)
    if inode is None:
        return [(path, None)]
    if inode == status.st_ino:
        return [(path, offset if offset <= status.st_size else 0)]
    folder, name = os.path.split(path)
    for other in sorted(os.listdir(folder or ".")):
        moved = os.path.join(folder, other)
        if other.startswith(name) and moved != path and os.stat(moved).st_ino == inode:
            return [(moved, offset), (path, 0)]
    return [(path, 0)]


def judge(seen: Seen, most_denied: int, found: Findings) -> None:
    """Findings of what was seen."""
    found.begin("audit_watch")
    if seen.root:
        found.add(
            "audit_watch",
            HIGH,
            f"a root token was used {sum(seen.root.values())} times: {_line(seen.root)}",
            "find out who did; if nobody did, seal Vault and rotate what it holds",
        )
    denied = sum(seen.denied.values())
    if denied > most_denied:
        found.add(
            "audit_watch",
            MEDIUM,
            f"{denied} requests were denied, more than {most_denied}: {_line(seen.denied)}",
            "add what is missing to the policy of an application, or find out who is trying",
        )
    if seen.strangers:
        found.add(
            "audit_watch",
            HIGH,
            f"requests came from addresses that are not expected: {_line(seen.strangers)}",
            "find out who that is; bind tokens and roles to addresses (token_bound_cidrs), or add the address",
        )
    if seen.unreadable:
        found.add(
            "audit_watch",
            LOW,
            f"{seen.unreadable} lines of the log are no entries of Vault",
            "see what else writes to it, and whether its disk was full",
        )


def last_entry(path: str) -> Optional[datetime]:
    """When the last whole entry of the log was made; none in an empty one.

    :raises OSError: when it cannot be read.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _LONGEST_LINE))
        lines = file.read().splitlines()
    times = (_time_of(line) for line in reversed(lines))
    return next((found for found in times if found), None)


def _time_of(line: bytes) -> Optional[datetime]:
    with suppress(ValueError, KeyError, TypeError, KeyturnError):
        return parse_time(str(json.loads(line)["time"])[:19] + "Z", "audit_log")
    return None
