# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one connection to Kubernetes: deadline, retries, its clock, and answers as they are.

Objects are read and written as the JSON that Kubernetes speaks, and not as the classes of the client: what a newer server
knows of an object and the client does not would be lost on the way.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Type
from urllib.parse import quote

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_told import (
    ServerClock,
    wished_seconds,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_client import (
    Opener,
    address_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_errors import (
    answered,
    foreign,
    no_connection,
    said_absent,
    unanswered,
    was_sent,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_settings import (
    Settings,
    settings_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_shape import (
    is_object,
    is_status,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._lent_environ import lent_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._tries import Tries

_CONNECT, _ANSWER = 5.0, 10.0
"""Seconds to connect, and to wait for one answer, at most."""

_BUSY = (500, 502, 503, 504)


@dataclass(frozen=True)
class Call:
    """One thing to ask.

    :param path: of the API, by its segments.
    :param place: what it is about, for messages: ``Secret app/db``.
    :param what: what is done, for messages: ``get secrets in namespace app``.
    :param verb: the right that it takes.
    :param query: parameters, written as they are.
    """

    method: str
    path: Tuple[str, ...]
    place: str
    what: str
    verb: str
    body: Optional[Mapping[str, Any]] = None
    query: str = ""

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.verb in ("create", "update", "delete")


class Cluster:
    """Calls of one Kubernetes API, as one identity; connects at the first one.

    :param option: where the settings came from, for messages.
    :raises MissingLibrary: without the client.
    """

    def __init__(
        self,
        settings: Settings,
        context: Context,
        option: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._context = context
        self._option = option
        self._sleep = sleep
        self._opener = Opener(settings, context, option)
        self._address = ""
        self._client: Any = None
        self._clock = ServerClock(context.now)

    def __repr__(self) -> str:
        return f"Cluster({self._address or self._settings})"

    def where(self, place: str) -> str:
        """How messages name a place: the option, what it is, and in which cluster."""
        return (
            f"{self._option}: Kubernetes {place}{f' at {self._address}' if self._address else ''}"
        )

    def time(self) -> Optional[datetime]:
        """What the server's clock says now, to the second; none before its first answer."""
        return self._clock.time()

    def end(self) -> float:
        """When something that begins now must be over, by the monotonic clock."""
        return time.monotonic() + self._settings.deadline

    def find(self, call: Call, end: Optional[float] = None) -> Optional[Dict[str, Any]]:
        """Ask for an object; none where Kubernetes says that there is none.

        :param end: as :meth:`end` said, where this is a part of more.
        :raises BadInput, Denied, Unreachable: each says which.
        """
        return self._ask(call, end, none_if_absent=True)

    def send(self, call: Call, end: Optional[float] = None) -> Dict[str, Any]:
        """Ask something, again while Kubernetes is only busy, until the deadline. A write is sent again only where it took no effect.

        :param end: as :meth:`end` said, where this is a part of more.
        :raises Absent, BadInput, Conflict, Denied, Refused, Unreachable: ``details["uncertain"]`` tells that a write may have
            been done all the same.
        """
        return self._ask(call, end, none_if_absent=False) or {}

    def _ask(
        self, call: Call, end: Optional[float], none_if_absent: bool
    ) -> Optional[Dict[str, Any]]:
        end = self.end() if end is None else end
        with lent_environ(self._context.environ):
            try:
                if self._client is None:
                    self._open()
                status, body = self._retried(call, end)
            finally:
                self._opener.forget_files()
        if 200 <= status < 300:
            return dict(body)
        if none_if_absent and said_absent(status, body):
            return None
        error = answered(status, body, self.where(call.place), call.what, call.verb)
        # What stands between may have passed it on before it answered something of its own.
        foreign = status < 400 or (status != 429 and not is_status(body))
        error.details["uncertain"] = call.writes and (status in _BUSY or foreign)
        raise error

    def _open(self) -> None:
        try:
            self._client = self._opener.open()
        finally:
            # What they held is in the client's memory by now, and an answer may take long.
            self._opener.forget_files()
        self._address = address_of(self._client)

    def _retried(self, call: Call, end: float) -> Tuple[int, Any]:
        tries = Tries(lambda: end - time.monotonic(), self._sleep, self._context.randbytes)
        while True:
            try:
                status, body, told = self._sent(call, end)
            except self._trouble() as error:
                if self._is_passing(error, call) and tries.again():
                    continue
                meant = unanswered(error, self.where(call.place))
                meant.details["uncertain"] = call.writes and was_sent(error)
                raise meant from None
            passing = status == 429 or (status in _BUSY and not call.writes)
            if not passing or not tries.again(told):
                return status, body

    @staticmethod
    def _trouble() -> Tuple[Type[Exception], ...]:
        import urllib3

        return (urllib3.exceptions.HTTPError, OSError)

    @staticmethod
    def _is_passing(error: Exception, call: Call) -> bool:
        """Whether the same call may succeed in a moment, and could not have taken effect if it writes."""
        if "SSLError" in {kind.__name__ for kind in type(getattr(error, "reason", error)).__mro__}:
            return False
        return no_connection(error) or not call.writes

    def _sent(self, call: Call, end: float) -> Tuple[int, Any, float]:
        """One request: its status, its body as JSON, and for how many seconds not to ask again."""
        import urllib3
        from urllib3._collections import HTTPHeaderDict

        client = self._client
        headers = HTTPHeaderDict(client.default_headers)
        headers["Accept"] = headers["Content-Type"] = "application/json"
        client.update_params_for_auth(headers, [], ["BearerToken"])
        for group in self._settings.login.impersonate_groups:
            # One line for each.
            headers.add("Impersonate-Group", group)
        # A write leaves time to look whether it was done.
        left = max(0.05, (end - time.monotonic()) / (2 if call.writes else 1))
        path = "/".join(quote(segment, safe="") for segment in call.path)
        answer = client.rest_client.pool_manager.request(
            call.method,
            f"{client.configuration.host}/{path}{call.query and '?' + call.query}",
            headers=headers,
            redirect=False,
            body=None if call.body is None else json.dumps(call.body).encode(),
            timeout=urllib3.Timeout(connect=min(_CONNECT, left), read=min(_ANSWER, left)),
        )
        self._clock.hear(answer.headers.get("Date"))
        body = self._parsed(answer.data)
        if 200 <= answer.status < 300 and not is_object(body):
            error = foreign(self.where(call.place), f"HTTP {answer.status}")
            error.details["uncertain"] = call.writes
            raise error
        return int(answer.status), body, wished_seconds(answer.headers.get("Retry-After"))

    @staticmethod
    def _parsed(data: bytes) -> Any:
        try:
            return json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError):
            return None


def open_cluster(reference: Reference, context: Context, option: str) -> Cluster:
    """The cluster that a reference and the environment name; nothing is asked yet.

    :raises BadInput, Denied: when no cluster is named, or its kubeconfig or token is not there.
    :raises MissingLibrary: without the client.
    """
    return Cluster(settings_of(reference, context, option), context, option)
