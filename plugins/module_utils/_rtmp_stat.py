# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who publishes on an ingest: the statistics page of nginx-rtmp (``rtmp_stat all``), read over HTTP.

A stream's name on that page is its key: it is a :class:`Secret` from the moment that it is read. Each worker process of nginx
tells only of its own connections, so an ingest whose page is to be believed has ``worker_processes 1``; where two readings of
the page come from different workers, it is not believed. It is read several times at once for that. This is no proof: the kernel chooses
who answers, and many looks at an nginx with two workers see only one of them.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Dict, List, Mapping, Optional, Sequence, Tuple
from xml.parsers import expat

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    Denied,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import (
    Call,
    checked_url,
    send,
    shown_url,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_DEEPEST = 32
_MOST = 1 << 20
_LONGEST_NAME = 255
# Milliseconds in ten years.
_LONGEST_TIME = 10 * 366 * 86_400_000
_MOST_NAMES = 10
READINGS = 5
_ADDRESS = re.compile(r"[0-9A-Za-z.:%\[\]_-]{1,64}\Z")
_APPLICATION = re.compile(r"[0-9A-Za-z._~+/-]{1,64}\Z")


@dataclass(frozen=True)
class Publisher:
    """A stream on an ingest.

    :param name: its name, which is its key.
    :param address: where its publisher comes from; empty when there is none, or it is no address.
    :param seconds: since when it is there.
    :param bytes_in: what came in so far.
    :param publishing: whether somebody publishes; otherwise there are only viewers who wait.
    """

    application: str
    name: Secret
    address: str = ""
    seconds: float = 0.0
    bytes_in: int = 0
    width: Optional[int] = None
    height: Optional[int] = None
    frame_rate: Optional[float] = None
    publishing: bool = False

    def has(self, keys: Sequence[Secret]) -> bool:
        """Whether one of these keys is its own: by what stands before a ``?``, since nginx takes the rest for arguments, and cuts names."""
        return any(
            Secret(key.reveal()[:_LONGEST_NAME].partition("?")[0]) == self.name for key in keys
        )


@dataclass(frozen=True)
class Statistics:
    """What the page says.

    :param applications: their names, also of those without a stream.
    :param worker: the process id of the worker that answered.
    """

    applications: Tuple[str, ...]
    publishers: Tuple[Publisher, ...]
    worker: str = ""


class _Refused(ValueError):
    """The page holds what a page of statistics never does."""


def _tree(text: str) -> Element:
    """The document, without a type of its own: entities are declared there, and grow without end or read files.

    :raises ValueError: for what is no such document.
    """
    from xml.etree.ElementTree import TreeBuilder

    builder, open_elements = TreeBuilder(), [0]
    parser = expat.ParserCreate()

    def start(tag: str, attributes: Dict[str, str]) -> None:
        open_elements[0] += 1
        if open_elements[0] > _DEEPEST:
            raise _Refused
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        open_elements[0] -= 1
        builder.end(tag)

    def declared(*_what: object) -> None:
        raise _Refused

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = declared
    try:
        parser.Parse(text, True)
    except expat.ExpatError:
        raise _Refused from None
    return builder.close()


def _number(element: Element, path: str, most: int = 10**18) -> int:
    found = (element.findtext(path) or "").strip()
    number = int(found) if found.isascii() and found.isdigit() and len(found) < 19 else 0
    return number if number <= most else 0


def _rate(text: str) -> Optional[float]:
    return float(text) if re.match(r"[0-9]{1,6}(\.[0-9]{1,6})?\Z", text) else None


def _publisher(application: str, stream: Element) -> Publisher:
    clients = [one for one in stream.findall("client") if one.find("publishing") is not None]
    address = (clients[0].findtext("address") or "").strip() if clients else ""
    return Publisher(
        application=application,
        name=Secret(stream.findtext("name") or ""),
        address=address if _ADDRESS.match(address) else "",
        seconds=_number(clients[0] if clients else stream, "time", _LONGEST_TIME) / 1000,
        bytes_in=_number(stream, "bytes_in"),
        width=_number(stream, "meta/video/width") or None,
        height=_number(stream, "meta/video/height") or None,
        frame_rate=_rate((stream.findtext("meta/video/frame_rate") or "").strip()),
        publishing=stream.find("publishing") is not None or bool(clients),
    )


def statistics(text: str) -> Statistics:
    """What a page says.

    :raises Unreachable: it is no page of nginx-rtmp's statistics; nothing of it is quoted.
    """
    try:
        root = _tree(text)
    except ValueError:
        root = None
    if root is None or root.tag != "rtmp" or root.find("server") is None:
        raise Unreachable("what it answers is no page of nginx-rtmp's statistics (rtmp_stat all)")
    names: List[str] = []
    found: List[Publisher] = []
    for application in root.iterfind("server/application"):
        name = application.findtext("name") or ""
        names.append(name)
        found += [_publisher(name, stream) for stream in application.iterfind("live/stream")]
    return Statistics(tuple(dict.fromkeys(names)), tuple(found), root.findtext("pid") or "")


def publishers(text: str) -> Tuple[Publisher, ...]:
    """The streams of all applications, those without a publisher among them.

    :raises Unreachable: it is no page of nginx-rtmp's statistics.
    """
    return statistics(text).publishers


def application_told(name: str) -> str:
    """An application's name for messages: what a page says may be anything."""
    return name if _APPLICATION.match(name) else "(a strange name)"


def applications_told(names: Sequence[str]) -> str:
    """The names of an ingest's applications for a message; of many the first."""
    told = ", ".join(application_told(name) for name in names[:_MOST_NAMES]) or "none"
    return f"{told} and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else told


def described(publisher: Publisher, now: datetime) -> str:
    """A publisher for messages: application, address, since when; never its name."""
    since = format_time(now - timedelta(seconds=publisher.seconds))[:19] + "Z"
    address = publisher.address or "an unknown address"
    return f"application {application_told(publisher.application)}, from {address}, since {since}"


def _page(call: Call, option: str) -> str:
    where = f"{option} ({shown_url(call.url)})"
    try:
        answer = send(call)
    except Unreachable as error:
        raise Unreachable(
            f"{where}: {error.message}; whether somebody publishes is not known. See to the ingest's HTTP server and the way there"
        ) from None
    if answer.status in (401, 403):
        raise Denied(
            f"{where}: status {answer.status}; the statistics may not be read from here. Allow this machine, or give headers"
        )
    if answer.status == 404:
        raise Absent(
            f"{where}: status 404; there is no statistics page at this path. It is made by 'rtmp_stat all' in nginx"
        )
    if answer.status != 200:
        raise Unreachable(f"{where}: status {answer.status}, expected 200")
    if len(answer.body) >= _MOST:
        raise Unreachable(f"{where}: the page is longer than {_MOST} bytes, and was not read")
    return answer.body.decode("utf-8", "replace")


def _read(call: Call, option: str, readings: int) -> List[Statistics]:
    """Read the page, each time on a connection of its own, and all at once: one after the other, one worker often takes them all."""
    if readings == 1:
        return [statistics(_page(call, option))]
    with ThreadPoolExecutor(readings) as several:
        answers = several.map(lambda _reading: statistics(_page(call, option)), range(readings))
        return list(answers)


def read_statistics(
    url: str,
    seconds: float,
    option: str = "stat",
    headers: Optional[Mapping[str, Value]] = None,
    validate_certs: bool = True,
    ca_path: Optional[str] = None,
    readings: int = READINGS,
) -> Statistics:
    """Read the page, several times, to see whether one worker tells of all.

    :param seconds: at most so many for each reading.
    :param readings: how many times.
    :param option: how messages name the option that holds the address.
    :raises BadInput: for an address that cannot be meant.
    :raises Unreachable: no answer, or none that can be believed.
    :raises Denied: the page may not be read.
    :raises Absent: there is no page.
    """
    checked = checked_url(url, option)
    call = Call(
        checked,
        headers=headers or {},
        timeout=seconds,
        validate_certs=validate_certs,
        ca_path=ca_path,
    )
    where = f"{option} ({shown_url(checked)})"
    try:
        found = _read(call, option, readings)
    except Unreachable as error:
        if error.message.startswith(option):
            raise
        raise Unreachable(f"{where}: {error.message}") from None
    if len({one.worker for one in found}) > 1:
        raise Unreachable(
            f"{where}: the page comes from several worker processes, and each tells only of its own connections. "
            "Set 'worker_processes 1' in this nginx"
        )
    return found[-1]


def read_publishers(
    url: str,
    seconds: float,
    option: str = "stat",
    applications: Sequence[str] = (),
    headers: Optional[Mapping[str, Value]] = None,
    validate_certs: bool = True,
    ca_path: Optional[str] = None,
    readings: int = READINGS,
) -> Tuple[Publisher, ...]:
    """The streams on an ingest, those without a publisher among them.

    :param applications: only these; each of them has to be there. None: all.
    :raises Absent: the server is there and answers, and has no such application (or no page of statistics).
    :raises KeyturnError: as :func:`read_statistics` does.
    """
    found = read_statistics(url, seconds, option, headers, validate_certs, ca_path, readings)
    missing = [name for name in applications if name not in found.applications]
    if missing:
        known = applications_told(found.applications)
        raise Absent(
            f"{option} ({shown_url(url)}): the ingest has no application '{missing[0]}'; it has {known}"
        )
    return tuple(
        one for one in found.publishers if not applications or one.application in applications
    )
