# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A synthetic test stream to an RTMP ingest: does it take this key?

The key is in no command line, no environment, no file and no message. What the programs that publish say is read and never repeated:
it quotes the key.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Callable, Dict, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    MissingLibrary,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._rtmp_stat import Publisher
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams import _ffmpeg, _pyav
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._ended import (
    ACCEPTED,
    BUSY,
    DETAILS,
    REFUSED,
    WRONG_APPLICATION,
    Ended,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._pattern import (
    Pattern,
    Target,
    check_key,
    read_pattern,
    read_target,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._reach import look
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._received import (
    Wanted,
    Watch,
    busy,
    read_wanted,
    says_yes,
)

METHODS = ("auto", "ffmpeg", "pyav")
SPARE = 5.0
"""Seconds that a test stream may take longer than it is: to connect, and to be answered."""
_TO_LOOK = 5.0

_TRUSTING = "PyAV verifies no certificate"

_Publish = Callable[[Secret, float, Callable[[bool], None]], Ended]


@dataclass(frozen=True)
class Streamed:
    """What became of a test stream.

    :param method: ``ffmpeg`` or ``pyav``; empty when none was started.
    :param received: what the ingest's statistics showed; empty when they were not asked, or did not show it.
    """

    ended: Ended
    method: str = ""
    received: str = ""

    def as_dict(self) -> Dict[str, object]:
        """For a task's result."""
        return {
            "outcome": self.ended.outcome,
            "detail": self.ended.detail,
            "method": self.method or None,
            "seconds": round(self.ended.seconds, 1),
            "frames": self.ended.frames,
            "bytes": self.ended.sent,
            "received": self.received or None,
        }


def not_received(seen: Streamed, wanted: Wanted) -> str:
    """Why an accepted stream is no proof; empty when it is one, or a person's word is all that is asked for."""
    if wanted.asked and not seen.received:
        return (
            "the stream was accepted, and the issuer did not tell of anybody who sends with this key: a platform may need longer to see it "
            "than the test stream lasts; give it more duration"
        )
    if wanted.stat and not seen.received:
        return (
            "the stream was accepted, and the statistics of the ingest never showed it growing: they are those of another ingest or "
            "application, or the stream never arrived. Check that received.stat belongs to this url"
        )
    return ""


def read_method(value: object, option: str) -> str:
    """Which way to publish.

    :raises BadInput: it is unknown.
    """
    method = str(value or "auto")
    if method not in METHODS:
        raise BadInput(f"{option}.method: '{method}' is unknown; expected {', '.join(METHODS)}")
    return method


def choose(
    method: str, environ: Mapping[str, str], target: Target, pattern: Pattern
) -> Tuple[str, _Publish]:
    """The way that is there: ffmpeg in a fit version, else PyAV; for rtmps PyAV only where it is named.

    :param method: one of :data:`METHODS`.
    :raises MissingLibrary: there is none.
    """
    program, why = _ffmpeg.find(environ) if method != "pyav" else ("", "")
    if program:
        return "ffmpeg", lambda key, seconds, watch: _ffmpeg.publish(
            program, environ, target, key, pattern, seconds, watch
        )
    absent = _pyav.missing() if method != "ffmpeg" else ""
    if method == "auto" and target.scheme == "rtmps":
        absent = absent or f"{_TRUSTING}, so for rtmps it is used only where 'method: pyav' says so"
    if method == "ffmpeg" or absent:
        both = "; ".join(one for one in (why, absent) if one)
        raise MissingLibrary(
            f"no test stream can be made here: {both}. Install ffmpeg in a version from 5.1 to 7, or PyAV, where the task runs"
        )
    return "pyav", lambda key, seconds, watch: _pyav.publish(
        environ, target, key, pattern, seconds, watch
    )


def trusting(target: Target, method: str, option: str) -> str:
    """What to warn of: the stream's own connection would trust any certificate; empty where it would not.

    :param method: as it is given.
    """
    if method != "pyav" or target.scheme != "rtmps":
        return ""
    return (
        f"{option}.method: {_TRUSTING}, and the key goes to whoever answers on the stream's own connection to {target.url}. "
        "Install ffmpeg in a version from 5.1 to 7, and leave 'method' out"
    )


def published(seen: Streamed, target: Target) -> str:
    """That it was published, in words."""
    said = f"published {seen.ended.frames} frames in {seen.ended.seconds:.0f} s by {seen.method}"
    return f"{said}, which verified no certificate" if trusting(target, seen.method, "") else said


def _before(
    target: Target, watch: Watch, wanted: Wanted, seconds: float
) -> Tuple[Optional[Ended], bool]:
    """Why nothing is to be published: somebody is live with this key, or there is nothing to publish to.

    :raises KeyturnError: the statistics that were asked for cannot be read.
    """
    ended, known = look(target, min(seconds, _TO_LOOK))
    if ended or not wanted.stat:
        return ended, known
    try:
        live = watch.live()
    except Absent as error:
        return Ended(WRONG_APPLICATION, error.message), known
    return (_shown(live) if live else None), known


def _shown(live: Publisher) -> Ended:
    return Ended(BUSY, f"{DETAILS[BUSY]} ({busy(live)})", live=True)


def foreseen(
    target: Target,
    key: Secret,
    pattern: Pattern,
    method: str,
    wanted: Wanted,
    environ: Mapping[str, str],
    seconds: float,
    option: str,
) -> Tuple[str, Optional[Ended]]:
    """What :func:`stream` would do, found out without publishing: the way, and what hinders it.

    :raises MissingLibrary: there is nothing to publish with.
    :raises KeyturnError: the ingest's statistics cannot be read.
    """
    name, _publish = choose(method, environ, target, pattern)
    return name, _before(target, Watch(wanted, target.application, key, option), wanted, seconds)[0]


def stream(
    target: Target,
    key: Secret,
    pattern: Pattern,
    method: str,
    wanted: Wanted,
    environ: Mapping[str, str],
    seconds: float,
    option: str,
) -> Streamed:
    """Make a test stream, once.

    :param seconds: at most so many, for all of it; what was started is killed then.
    :param option: how messages name ``received``.
    :raises MissingLibrary: there is nothing to publish with.
    :raises KeyturnError: the ingest's statistics cannot be read.
    """
    until = time.monotonic() + seconds
    name, publish = choose(method, environ, target, pattern)
    watch = Watch(wanted, target.application, key, option)
    ended, known = _before(target, watch, wanted, seconds)
    if ended:
        return Streamed(ended)
    ended = publish(key, max(until - time.monotonic(), 0.1), watch.look)
    if ended.outcome == BUSY and wanted.stat:
        # Somebody may have gone live since the first look.
        live = watch.live()
        return Streamed(_shown(live) if live else ended, name)
    if ended.outcome == REFUSED and known:
        there = f"the ingest is there and takes connections to application {target.application}"
        ended = replace(ended, detail=f"{there}; {ended.detail}")
    if ended.outcome == ACCEPTED and watch.missing:
        if watch.error:
            raise watch.error
        return Streamed(ended, name)
    return Streamed(ended, name, watch.told())


__all__ = [
    "METHODS",
    "SPARE",
    "Ended",
    "Pattern",
    "Streamed",
    "Target",
    "Wanted",
    "check_key",
    "choose",
    "foreseen",
    "not_received",
    "published",
    "read_method",
    "read_pattern",
    "read_target",
    "read_wanted",
    "says_yes",
    "stream",
    "trusting",
]
