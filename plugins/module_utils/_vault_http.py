# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP within a deadline, also for an answer that comes byte by byte; and nothing secret where it could be read.

What is sent to this machine stays on it: it goes through no proxy, whoever names one, and no redirect takes it elsewhere in plain
text.
"""

from __future__ import annotations

from typing import Any, List, Mapping, Protocol
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_proxies import Proxies, over

try:
    import requests
    import urllib3
except ImportError:
    # Said in the client, with the name of the option.
    pass

_AT_ONCE = 1 << 16
_REDIRECTS = 3
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(url: str) -> bool:
    """Whether what is sent to a URL stays on this machine.

    :raises ValueError: when it is no URL.
    """
    parts = urlsplit(url)
    # With an "@" or a backslash, libraries differ in which part of it is the host.
    return parts.hostname in _LOOPBACK and not {"@", "\\"} & set(parts.netloc)


def is_readable(url: str) -> bool:
    """Whether what is sent to a URL can be read on the way.

    :raises ValueError: when it is no URL.
    """
    return urlsplit(url).scheme != "https" and not is_loopback(url)


def is_proxied(url: str) -> bool:
    """Whether the environment of this process names a proxy for a URL of plain http."""
    proxies = getproxies()
    named = proxies.get("http") or proxies.get("all")
    return bool(named) and not proxy_bypass(urlsplit(url).netloc)


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


def _check_redirect(address: str, source: str, target: str) -> None:
    """Refuse to go on to where the token or the login could be read, if it could not be read so far.

    :param address: where the user wanted it sent.
    :param source: who redirects.
    :raises requests.exceptions.InvalidURL: also when the target is no URL.
    """
    try:
        url = urljoin(source, target)
        plain = urlsplit(url).scheme != "https"
        loses = plain and urlsplit(source).scheme == "https"
        refused = loses or (is_readable(url) and not is_readable(address))
    except ValueError:
        raise requests.exceptions.InvalidURL("a redirect to no URL") from None
    if refused:
        raise requests.exceptions.InvalidURL("a redirect to plain http")


def in_time(owner: Owner, address: str, proxies: Proxies = ()) -> Any:
    """A session of requests that gives each request no more than what is left of the deadline.

    :param address: where its requests go, unless they are redirected.
    :param proxies: on the way there, before those of the environment.
    """
    named = proxies

    class InTime(requests.Session):
        """One for each owner."""

        def merge_environment_settings(
            self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
        ) -> Any:
            """What the environment says, but no proxy to this machine: it would get the token, too."""
            parent: Any = super()
            merged = parent.merge_environment_settings(url, proxies, stream, verify, cert)
            merged["proxies"] = {} if is_loopback(url) else over(merged["proxies"], named)
            return merged

        def rebuild_proxies(self, prepared_request: Any, proxies: Any) -> Mapping[str, str]:
            """The same after a redirect."""
            parent: Any = super()
            rebuilt = parent.rebuild_proxies(prepared_request, over(proxies, named))
            # It may be that of another proxy; the adapter adds that of the one which it goes through.
            prepared_request.headers.pop("Proxy-Authorization", None)
            return {} if is_loopback(prepared_request.url) else over(rebuilt, named)

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
            """Where a standby sends us."""
            target = super().get_redirect_target(resp)
            if target:
                _check_redirect(address, resp.url, target)
            return target

    session = InTime()
    session.max_redirects = _REDIRECTS
    return session
