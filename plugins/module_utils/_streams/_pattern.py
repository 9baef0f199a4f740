# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test stream is, and where it goes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping, Optional
from urllib.parse import urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

PORTS: Mapping[str, int] = {"rtmp": 1935, "rtmps": 443}
_SIZE = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})\Z")
_BITRATE = re.compile(r"([1-9][0-9]{0,7})([kM]?)\Z")
_APPLICATION = re.compile(r"[A-Za-z0-9._~+-]+(/[A-Za-z0-9._~+-]+)*\Z")
_LONGEST_KEY = 255
_KEY = re.compile(r"[!-~]+\Z")
_LONGEST = 300.0
_MOST_BITS = 100_000_000


@dataclass(frozen=True)
class Pattern:
    """A synthetic picture and tone.

    :param rate: frames in a second.
    :param video_bitrate: bits in a second; so is ``audio_bitrate``.
    :param seconds: how long.
    """

    width: int = 1280
    height: int = 720
    rate: int = 30
    video_bitrate: int = 2_500_000
    audio_bitrate: int = 128_000
    seconds: float = 10.0

    @property
    def frames(self) -> int:
        """How many pictures it has."""
        return max(int(self.rate * self.seconds), 1)

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {self.rate}, {self.seconds:g} s"


@dataclass(frozen=True)
class Target:
    """An ingest's application, without a key.

    :param application: such as ``live``, or ``live/instance``.
    """

    scheme: str
    host: str
    port: int
    application: str

    @property
    def url(self) -> str:
        """Where it is; without the port that is usual."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}/{self.application}"


def read_target(url: Any, application: Any, option: str) -> Target:
    """Where a stream goes.

    Nothing of the address is quoted: people write the key behind it. So a path of several parts is taken for an application only
    where ``application`` names it, too, and there is no query.

    :param url: ``rtmp://HOST[:PORT]/APPLICATION`` or rtmps.
    :param application: what the path is, or has to be; the path can be left out then.
    :raises BadInput: for what cannot be meant.
    """
    try:
        parts = urlsplit(str(url or ""))
        port, host = parts.port, parts.hostname
    except ValueError:
        parts, port, host = urlsplit(""), None, None
    if parts.scheme not in PORTS or not host or port == 0:
        raise BadInput(
            f"{option}.url: this is no address of an ingest; expected rtmp:// or rtmps:// with a host and an application"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise BadInput(
            f"{option}.url: holds a user name, a query or a fragment, and addresses are shown; give the key by 'key' alone"
        )
    path, named = parts.path.strip("/"), str(application or "").strip("/")
    if named and path and path != named:
        raise BadInput(
            f"{option}.url: its path is not what 'application' says; the address ends with the application, and the key is given by 'key'"
        )
    if "/" in path and not named:
        raise BadInput(
            f"{option}.url: its path has several parts, so that the last may be a key. Take the key out of it, and give it by 'key' alone; "
            "an application with a slash in its name is named by 'application', too"
        )
    found = named or path
    if not _APPLICATION.match(found):
        where = "application" if named else "url"
        raise BadInput(
            f"{option}.{where}: has no application that can be meant; expected a name such as live"
        )
    return Target(parts.scheme, host, port or PORTS[parts.scheme], found)


def check_key(key: Secret, option: str) -> Secret:
    """The key, if an ingest can be told it.

    :raises BadInput: it is empty or too long, or holds other characters than the visible ones of ASCII; it is not quoted.
    """
    text = key.reveal()
    if not text:
        raise BadInput(f"{option}: the key is empty")
    if len(text) > _LONGEST_KEY:
        raise BadInput(f"{option}: the key is longer than {_LONGEST_KEY} characters")
    if not _KEY.match(text):
        raise BadInput(
            f"{option}: the key holds a blank, a line break, a letter beyond ASCII or another character that no stream key has; "
            "look how it is stored"
        )
    return key


def _number(options: Mapping[str, Any], name: str, default: int, option: str) -> int:
    given = options.get(name)
    text = str(default if given is None else given)
    if not text.isdigit() or not 1 <= int(text) <= 120:
        raise BadInput(f"{option}.{name}: expected a number from 1 to 120")
    return int(text)


def _bits(options: Mapping[str, Any], name: str, default: int, option: str) -> int:
    given = options.get(name)
    found = _BITRATE.match(str(default if given is None else given))
    bits = int(found.group(1)) * {"": 1, "k": 1000, "M": 1_000_000}[found.group(2)] if found else 0
    if not 1000 <= bits <= _MOST_BITS:
        raise BadInput(
            f"{option}.{name}: expected bits in a second, from 1k to 100M, such as 2500k"
        )
    return bits


def _even_size(given: Optional[Any], option: str) -> Any:
    found = _SIZE.match(str(given))
    # Pictures have their colours in blocks of two by two.
    if not found or int(found.group(1)) % 2 or int(found.group(2)) % 2:
        raise BadInput(f"{option}.size: expected two even numbers, such as 1280x720")
    return int(found.group(1)), int(found.group(2))


def read_pattern(options: Mapping[str, Any], option: str) -> Pattern:
    """What ``size``, ``rate``, ``video_bitrate``, ``audio_bitrate`` and ``duration`` ask for.

    :raises BadInput: naming the key.
    """
    width, height = _even_size(options.get("size") or "1280x720", option)
    given = options.get("duration")
    duration = parse_duration("10s" if given is None else given, f"{option}.duration")
    seconds = duration.total_seconds()
    if not 1 <= seconds <= _LONGEST:
        raise BadInput(f"{option}.duration: expected 1s to {_LONGEST:.0f}s")
    return Pattern(
        width,
        height,
        _number(options, "rate", 30, option),
        _bits(options, "video_bitrate", 2_500_000, option),
        _bits(options, "audio_bitrate", 128_000, option),
        seconds,
    )
