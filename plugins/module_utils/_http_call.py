# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request whose headers may hold a credential: no redirect takes it elsewhere, and no error quotes it."""

from __future__ import annotations

import json
import ssl
import threading
import time
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from typing import Any, Dict, List, Mapping, Optional, Tuple
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin, urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value, reveal

_LONGEST_BODY = 1 << 20
_PIECE = 1 << 16
_MOST_REDIRECTS = 5
_GRACE = 0.2
_REDIRECTS = (301, 302, 303, 307, 308)
AGENT = "keyturn.runbooks"


@dataclass(frozen=True)
class Call:
    """One request.

    :param url: http or https, without a user name in it.
    :param headers: values that may be secret.
    :param timeout: seconds for all of it.
    :param ca_path: a file with the certificates to trust, instead of the system's.
    :param follow: whether redirects are followed, to the same scheme, host and port only.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, Value] = field(default_factory=dict)
    body: Optional[Secret] = None
    timeout: float = 10.0
    validate_certs: bool = True
    ca_path: Optional[str] = None
    follow: bool = False


class NotSent(Unreachable):
    """No connection came about: nothing was sent."""


@dataclass(frozen=True)
class Answer:
    """What came back: the status, at most 1 MiB of the body, and the headers by their names in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def checked_url(url: Any, option: str) -> str:
    """The address, if a request to it can be meant.

    :raises BadInput: not http(s), no host, or a user name or password in it: addresses are written to logs.
    """
    text = str(url)
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host:
        raise BadInput(f"{option}: this is no address; expected http:// or https:// with a host")
    if parts.username is not None or parts.password is not None:
        raise BadInput(
            f"{option}: the address holds a user name or a password, and addresses are written to logs; use headers with a reference"
        )
    return text


def shown_url(url: str) -> str:
    """The address without its query and fragment, which may hold a token."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def origin(url: str) -> Tuple[str, Optional[str], Optional[int]]:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _read(response: Any, until: float) -> bytes:
    found = bytearray()
    while len(found) < _LONGEST_BODY:
        if time.monotonic() > until:
            raise Unreachable("the answer took too long")
        # What is there, and not all that was asked for: that may come one byte at a time, without end.
        piece = response.read1(min(_PIECE, _LONGEST_BODY - len(found)))
        if not piece:
            break
        found += piece
    return bytes(found)


def _unanswered(error: BaseException) -> Unreachable:
    """What went wrong, by its kind alone: the text of such an error may quote a header or the address."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return NotSent(f"its certificate is not trusted ({cause.verify_message})")
    if isinstance(cause, ssl.SSLError):
        return Unreachable("TLS failed")
    if isinstance(cause, TimeoutError) or "timed out" in str(cause):
        return Unreachable("no answer in time")
    if isinstance(cause, ConnectionRefusedError):
        return NotSent("nothing listens there")
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno < 0:
        return NotSent("its name is not known")
    return Unreachable(f"no answer ({type(cause).__name__})")


def _no_tls(call: Call) -> Optional[ssl.SSLContext]:
    """What trusts nobody, for a request that needs no TLS: loading the system's certificates takes ten times as long as the request."""
    if call.url.lower().startswith("https:"):
        return None
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _once(call: Call, until: float) -> Tuple[Answer, str]:
    # Imported where it is used: it takes longer than all that a task without a request does.
    from ansible.module_utils.urls import Request

    headers: Dict[str, str] = {name: reveal(value) for name, value in call.headers.items()}
    try:
        response = Request().open(
            call.method,
            call.url,
            data=call.body.reveal().encode() if call.body is not None else None,
            headers=headers,
            timeout=max(until - time.monotonic(), 0.1),
            validate_certs=call.validate_certs,
            ca_path=call.ca_path,
            context=_no_tls(call),
            follow_redirects="none",
            http_agent=AGENT,
            use_netrc=False,
            force=True,
        )
    except HTTPError as error:
        response = error
    except Exception as error:
        raise _unanswered(error) from None
    try:
        told = {str(name).lower(): str(value) for name, value in response.headers.items()}
        answer = Answer(int(response.code), _read(response, until), told)
        return answer, told.get("location") or ""
    except (OSError, HTTPException, ValueError) as error:
        raise _unanswered(error) from None
    finally:
        response.close()


def _in_time(call: Call, until: float) -> Tuple[Answer, str]:
    """One exchange that is not waited for beyond its time.

    The timeout of a socket is one for each piece: a name that is looked up, and a head that comes one byte at a time, know no other
    end. So another thread waits for them. It is left behind when the time is over, and ends with the connection or the process.

    :raises Unreachable: as :func:`send`. The server may have the request, or may still get it.
    """
    answers: List[Tuple[Answer, str]] = []
    errors: List[BaseException] = []

    def exchange() -> None:
        try:
            answers.append(_once(call, until))
        except BaseException as error:
            errors.append(error)

    waiting = threading.Thread(target=exchange, name="keyturn-http", daemon=True)
    waiting.start()
    # A little longer: what ends by itself in time says more.
    waiting.join(max(until - time.monotonic(), 0.1) + _GRACE)
    if errors:
        raise errors[0]
    if not answers:
        raise Unreachable("no answer in time")
    return answers[0]


def send(call: Call) -> Answer:
    """Make the request.

    :raises Unreachable: no answer; NotSent where nothing was sent.
    :raises BadInput: a redirect leads to another host; following it would hand the headers over.

    No message names the address: its caller knows how much of it may be shown.
    """
    until = time.monotonic() + call.timeout
    for _hop in range(_MOST_REDIRECTS + 1):
        answer, location = _in_time(call, until)
        if answer.status not in _REDIRECTS or not call.follow or not location:
            return answer
        target = urljoin(call.url, location)
        if origin(target) != origin(call.url):
            raise BadInput(
                "it redirects to another host, and headers are not sent there: name the final address"
            )
        method = call.method if answer.status in (307, 308) else "GET"
        call = replace(
            call, url=target, method=method, body=call.body if method == call.method else None
        )
    raise BadInput(f"more than {_MOST_REDIRECTS} redirects")


def pointed(content: Any, pointer: str) -> Tuple[bool, Any]:
    """What a JSON pointer (RFC 6901) finds: whether it is there, and what it is."""
    found = content
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return False, None
    return True, found


def json_at(body: bytes, pointer: str) -> Tuple[bool, Any]:
    """What a JSON pointer finds in a body; see :func:`pointed`.

    :raises ValueError: the body is no JSON.
    """
    return pointed(json.loads(body.decode("utf-8")), pointer)
