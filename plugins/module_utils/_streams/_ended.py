# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an attempt to publish ended, read from what the programs say. None of their words is passed on: they quote the key."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._child import Heard

ACCEPTED = "accepted"
REFUSED = "refused"
BUSY = "already_publishing"
WRONG_APPLICATION = "wrong_application"
UNREACHABLE = "unreachable"
DROPPED = "dropped"
NO_ANSWER = "no_answer"
FAILED = "failed"
OUTCOMES = (
    ACCEPTED, REFUSED, BUSY, WRONG_APPLICATION, UNREACHABLE, DROPPED, NO_ANSWER, FAILED,
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How it ended.

    :param outcome: one of :data:`OUTCOMES`.
    :param detail: in words of this collection.
    :param seconds: how long it took.
    :param frames: the pictures that were sent, as far as it is known.
    :param sent: bytes.
    :param live: the ingest's statistics show somebody who publishes with this very key, which is more than words that say so.
    """

    outcome: str
    detail: str
    seconds: float = 0.0
    frames: int = 0
    sent: int = 0
    live: bool = False


@dataclass(frozen=True)
class Said:
    """What a program that published let know.

    :param published: the ingest had taken it; what went wrong, went wrong later.
    :param text: its messages in lower case. They may quote the key.
    :param number: the error's number, where it is known.
    """

    published: bool
    text: str = ""
    number: Optional[int] = None


DETAILS = {
    REFUSED: "the ingest refused the stream. It gives the same answer to a key that it does not know and when what decides "
    "about keys there (such as an on_publish callback) is down",
    BUSY: "somebody is live with this key, so no test stream can be made with it",
    UNREACHABLE: "the way to the ingest broke before it answered: this is about the network or the ingest, not about the key",
    DROPPED: "the ingest accepted the stream, and did not take it to its end",
    NO_ANSWER: "the ingest took the connection and gave no answer in time",
    FAILED: "the program ended before it spoke to the ingest",
}
# Where they do stand for a broadcast, a test stream could harm it; but a server may say them of any key that it refuses.
_BUSY_WORDS = ("already publishing", "already being published", "already in use", "is busy")
_NO_WAY = (
    (errno.ECONNREFUSED, "connection refused"),
    (errno.EHOSTUNREACH, "no route to host"),
    (errno.ENETUNREACH, "network is unreachable"),
    (None, "failed to resolve hostname"),
    (None, "failed verification"),
    (None, "certificate verify failed"),
)
_TOO_LATE = ((errno.ETIMEDOUT, "connection timed out"), (None, "operation timed out"))
_NO = (
    (errno.EIO, "input/output error"),
    (errno.EPERM, "operation not permitted"),
    (errno.EPIPE, "broken pipe"),
    (errno.ECONNRESET, "connection reset"),
    (None, "server error:"),
)


def _one_of(said: Said, signs: Tuple[Tuple[Optional[int], str], ...]) -> bool:
    if said.number is not None and any(number == said.number for number, _words in signs):
        return True
    return any(words in said.text for _number, words in signs)


def classify(said: Said) -> str:
    """Why a program failed."""
    if any(words in said.text for words in _BUSY_WORDS):
        return BUSY
    if said.published:
        return DROPPED
    if _one_of(said, _NO_WAY):
        return UNREACHABLE
    if _one_of(said, _TOO_LATE):
        return NO_ANSWER
    return REFUSED if _one_of(said, _NO) else FAILED


def failed(heard: Heard, said: Said, frames: int, sent: int) -> Ended:
    """How a program ended that did not publish to the end."""
    in_vain = DROPPED if said.published else NO_ANSWER
    outcome = classify(said) if heard.ended else in_vain
    code = f" (exit code {heard.rc})" if outcome == FAILED else ""
    if not heard.ended:
        code = f" (it was ended here after {heard.seconds:.0f} s, when its time was up)"
    return Ended(outcome, DETAILS[outcome] + code, heard.seconds, frames, sent)
