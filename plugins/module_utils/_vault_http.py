# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP within a deadline: also an answer that comes byte by byte, and the requests that a redirect makes of one."""

from __future__ import annotations

from typing import Any, List, Protocol

try:
    import requests
    import urllib3
except ImportError:
    # Said in the client, with the name of the option.
    pass

_AT_ONCE = 1 << 16
_REDIRECTS = 3


class Owner(Protocol):
    """Who knows the deadline."""

    def left(self) -> float:
        """Seconds until then."""

    def hear(self, headers: Any) -> None:
        """The headers of each answer."""


def _read(answer: Any, owner: Owner) -> None:
    """Read the whole body, and look at the clock with each piece of it.

    :raises requests.exceptions.RequestException: when it does not come, or not in time.
    """
    pieces: List[bytes] = []
    try:
        while True:
            if owner.left() <= 0:
                raise requests.exceptions.ReadTimeout("the body")
            piece = answer.raw.read1(_AT_ONCE, decode_content=True)
            if not piece:
                break
            pieces.append(piece)
    except urllib3.exceptions.ProtocolError as error:
        answer.close()
        raise requests.exceptions.ChunkedEncodingError(str(type(error))) from None
    except urllib3.exceptions.HTTPError as error:
        answer.close()
        raise requests.exceptions.ReadTimeout(str(type(error))) from None
    except requests.exceptions.ReadTimeout:
        answer.close()
        raise
    # What requests itself does in Response.content.
    vars(answer).update(_content=b"".join(pieces), _content_consumed=True)


def in_time(owner: Owner) -> Any:
    """A session of requests that gives each request no more than what is left of the deadline."""

    class InTime(requests.Session):
        """One for each owner."""

        def send(self, request: Any, **options: Any) -> Any:
            """Send a request, or the next one that a redirect makes of it."""
            own = {"timeout": max(0.05, owner.left()), "stream": True}
            answer = super().send(request, **{**options, **own})
            owner.hear(answer.headers)
            # Before urllib3 2, a body can only be read in blocks, each of which is given the whole time.
            if not vars(answer)["_content_consumed"] and hasattr(answer.raw, "read1"):
                _read(answer, owner)
            return answer

        def get_redirect_target(self, resp: Any) -> Any:
            """Where a standby sends us, but never from TLS to plain text, where the token could be read."""
            target = super().get_redirect_target(resp)
            if target and resp.url.startswith("https:") and target.startswith("http:"):
                raise requests.exceptions.InvalidURL("from https to http")
            return target

    session = InTime()
    session.max_redirects = _REDIRECTS
    return session
