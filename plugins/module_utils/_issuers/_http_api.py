# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP API that issues credentials: where it is, who asks, and what is asked again.

What was not sent, or was refused for being too much at once, is sent again. A request that takes effect anew each time is not sent
again once it may have been taken: :class:`Uncertain` says so, and whoever asked looks what came of it.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional, Protocol, Tuple, Union
from urllib.parse import urlencode, urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard, no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import (
    Answer,
    Call,
    NotSent,
    checked_url,
    send,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_told import wished_seconds
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import as_flag
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration
from ansible_collections.keyturn.runbooks.plugins.module_utils._tries import Tries

CONNECTION_KEYS = ("timeout", "validate_certs", "ca_path")
_BUSY = (429, 500, 502, 503, 504)
_ONE_REQUEST = 20.0
_LONGEST_PAUSE = 5.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Connection:
    """How an API is reached.

    :param timeout: seconds for one thing that is asked, with all its tries.
    """

    timeout: float = 30.0
    validate_certs: bool = True
    ca_path: Optional[str] = None

    @classmethod
    def from_login(cls, login: Mapping[str, Any], option: str) -> Connection:
        """What ``timeout``, ``validate_certs`` and ``ca_path`` say.

        :raises BadInput: naming the key.
        """
        seconds = parse_duration(login.get("timeout", "30s"), f"{option}.timeout").total_seconds()
        if not 0 < seconds <= 600:
            raise BadInput(f"{option}.timeout: expected more than nothing and 10m at most")
        return cls(
            timeout=seconds,
            validate_certs=as_flag(login.get("validate_certs", True), f"{option}.validate_certs"),
            ca_path=str(login["ca_path"]) if login.get("ca_path") else None,
        )


@dataclass(frozen=True)
class Ask:
    """One thing to ask.

    :param what: what is done, for messages: ``list the streams``.
    :param path: after the API's address; every part of it is quoted already.
    :param repeats: it does no harm when it takes effect twice.
    :param afterwards: what to do where it may have taken effect and must not be asked twice.
    """

    what: str
    method: str = "GET"
    path: str = ""
    query: Tuple[Tuple[str, str], ...] = ()
    body: Optional[Secret] = None
    content_type: str = JSON
    repeats: bool = True
    afterwards: str = "Run again: the next run looks what came of it first"


class Uncertain(Exception):
    """A request that must not be sent twice may have taken effect.

    :ivar problem: what to tell if nobody can find out.
    :ivar over: an answer came, so it is not under way any more.
    """

    def __init__(self, problem: Unreachable, over: bool) -> None:
        super().__init__(problem.message)
        self.problem, self.over = problem, over


class Authority(Protocol):
    """Who asks."""

    def headers(self) -> Mapping[str, Value]:
        """What shows it.

        :raises KeyturnError: there is nothing to show.
        """

    def renew(self) -> bool:
        """After it was not accepted: whether there is something else to show."""


def secure_url(url: Any, option: str) -> str:
    """An address that a login may be sent to.

    :raises BadInput: no address, one with a query, or one on whose way the login could be read.
    """
    text = checked_url(url, option).rstrip("/")
    parts = urlsplit(text)
    if parts.query or parts.fragment:
        raise BadInput(f"{option}: the address has a query or a fragment; give it without")
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise BadInput(
            f"{option}: over plain http the login and the new key could be read on the way; expected https://"
        )
    return text


def read_json(answer: Answer, where: str) -> Any:
    """The content of an answer.

    :raises Unreachable: it is no JSON.
    """
    try:
        return json.loads(answer.body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Unreachable(
            f"{where}: the answer with status {answer.status} is no JSON; is this the API's address?"
        ) from None


Came = Union[Answer, Unreachable]
"""What came back: an answer, or why there is none."""


def _is_busy(answer: Answer) -> bool:
    return answer.status in _BUSY


class Api:
    """One API, as one login sees it.

    :param where: how messages name it.
    :param busy: whether an answer only says that it was too much at once, or that the service is in trouble.
    """

    def __init__(
        self,
        address: str,
        connection: Connection,
        context: Context,
        where: str,
        authority: Optional[Authority] = None,
        busy: Callable[[Answer], bool] = _is_busy,
    ) -> None:
        self.where = where
        self._address, self._connection, self._context = address, connection, context
        self._authority, self._busy = authority, busy

    def tries(self) -> Tries:
        """Tries until the time that one thing may take is over, beginning now."""
        until = time.monotonic() + self._connection.timeout
        return Tries(
            lambda: until - time.monotonic(),
            time.sleep,
            self._context.randbytes,
            longest=_LONGEST_PAUSE,
        )

    def ask(self, ask: Ask, guard: Guard = no_guard) -> Answer:
        """Ask, and again while that makes sense.

        :param guard: asked before each try of what writes.
        :return: any answer that is not about being busy.
        :raises Uncertain: it must not be asked again, and may have taken effect.
        :raises Unreachable: no answer in time, or nothing but busy ones.
        """
        tries, renewed = self.tries(), False
        until = time.monotonic() + self._connection.timeout
        while True:
            guard()
            came = self._tried(ask, until)
            if isinstance(came, Answer):
                if came.status == 401 and not renewed and self._renew():
                    renewed = True
                    continue
                if not self._busy(came):
                    return came
            if not ask.repeats and _may_be_done(came):
                raise self._uncertain(ask, came)
            asked = _wished(came)
            if not tries.again(asked):
                raise self._given_up(ask, _told(came), asked)

    def _renew(self) -> bool:
        return self._authority is not None and self._authority.renew()

    def _given_up(self, ask: Ask, told: str, asked: float) -> Unreachable:
        later = f"; it asks to be left alone for {asked:.0f} s" if asked else ""
        return Unreachable(
            f"{self.where}: cannot {ask.what}: {told}{later}. Tried for {self._connection.timeout:.0f} s at most; run again later"
        )

    def _uncertain(self, ask: Ask, came: Came) -> Uncertain:
        problem = Unreachable(
            f"{self.where}: {_told(came)} when asked to {ask.what}: it may have been done all the same, so it is not asked twice. "
            f"{ask.afterwards}"
        )
        return Uncertain(problem, over=isinstance(came, Answer))

    def _tried(self, ask: Ask, until: float) -> Came:
        # Outside of what is caught: a token that is not to be had says nothing of this request.
        headers = dict(self._authority.headers()) if self._authority else {}
        if ask.body is not None:
            headers["Content-Type"] = ask.content_type
        query = f"?{urlencode(ask.query)}" if ask.query else ""
        call = Call(
            url=f"{self._address}{ask.path}{query}",
            method=ask.method,
            headers={"Accept": JSON, **headers},
            body=ask.body,
            timeout=min(_ONE_REQUEST, max(until - time.monotonic(), 0.1)),
            validate_certs=self._connection.validate_certs,
            ca_path=self._connection.ca_path,
        )
        try:
            return send(call)
        except Unreachable as error:
            return error


def _told(came: Came) -> str:
    return f"status {came.status}" if isinstance(came, Answer) else came.message


def _may_be_done(came: Came) -> bool:
    return came.status >= 500 if isinstance(came, Answer) else not isinstance(came, NotSent)


def _wished(came: Came) -> float:
    return wished_seconds(came.headers.get("retry-after")) if isinstance(came, Answer) else 0.0


__all__ = [
    "CONNECTION_KEYS",
    "FORM",
    "JSON",
    "Answer",
    "Api",
    "Ask",
    "Authority",
    "Connection",
    "Uncertain",
    "read_json",
    "secure_url",
]
