# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one connection to AWS: which account and region, as whom, how long to wait.

=============  ==========================================================================================
region         ``?region=``, AWS_REGION, AWS_DEFAULT_REGION, the profile's
profile        ``?profile=``, AWS_PROFILE; the first one counts before keys in the environment
role           ``?role_arn=``: assumed with the identity that is found without it
endpoint       ``?endpoint_url=``, AWS_URL, AWS_ENDPOINT_URL_SSM and so on, AWS_ENDPOINT_URL, AWS's own
identity       as for every AWS program: AWS_ACCESS_KEY_ID and the like, a web identity, the files of
               AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, the role of the container or machine;
               AWS_ACCESS_KEY and AWS_SECRET_KEY where AWS's own names are not set
deadline       KEYTURN_AWS_TIMEOUT: for one call with all its retries; 30 s
=============  ==========================================================================================

A module's options of the same meaning come before these. What else AWS's own programs read from the environment
(AWS_CA_BUNDLE, HTTPS_PROXY, AWS_USE_FIPS_ENDPOINT) counts as well: the task's environment, which need not be the one that
Ansible was started with. AWS_URL, AWS_ACCESS_KEY and AWS_SECRET_KEY are names of ``amazon.aws`` (10.1, ``module_utils/modules.py``), and
count in its order; AWS's own programs know none of them.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any, Callable, ContextManager, Dict, Iterator, Mapping, Optional, Tuple, Union
from urllib.parse import urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws_errors import (
    THROTTLED,
    TROUBLED,
    explain,
    heard,
    may_be_done,
    passing,
    too_fast,
    wished_pause,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws_pace import Pace
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import MissingLibrary
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_told import ServerClock
from ansible_collections.keyturn.runbooks.plugins.module_utils._lent_environ import lent_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration
from ansible_collections.keyturn.runbooks.plugins.module_utils._tries import Tries

TIMEOUT = "KEYTURN_AWS_TIMEOUT"

_DEADLINE = 30.0
_RETRIES = 2
"""How often a trouble of AWS's, or an answer that was lost, is tried again; what AWS did not take counts for nothing here."""

URL = "AWS_URL"
OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {"AWS_ACCESS_KEY_ID": "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY": "AWS_SECRET_KEY"}
)
"""What ``amazon.aws`` reads where AWS's own name is not set."""

_SECONDS = 5.0
_LONGEST_PAUSE = 5.0
_SESSION_NAME = "keyturn"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _boto3(option: str) -> Any:
    """The library. Imported where it is needed: it takes longer to import than most tasks take to run."""
    try:
        import boto3
    except ImportError:
        raise MissingLibrary(
            f"{option}: AWS needs the Python library boto3 where this task runs; install it: pip install boto3"
        ) from None
    return boto3


def aws_environ(environ: Mapping[str, str]) -> Dict[str, str]:
    """The environment as AWS's own library reads it, with what ``amazon.aws`` calls otherwise. Pure."""
    found = dict(environ)
    for name, other in OTHER_NAMES.items():
        if not found.get(name) and found.get(other):
            found[name] = found[other]
    return found


@dataclass(frozen=True)
class AwsSettings:
    """Where and as whom; what is empty is found as AWS's own programs find it.

    :param role_option: where the role is given, for messages.
    :param keys: ``aws_access_key_id`` and so on, as boto3 calls them.
    :param verify: whether certificates count, or the file of the authorities that do.
    :param config: further settings of botocore's ``Config``.
    :param deadline: seconds for one call with all its retries.
    :param connections: how many threads call at once.
    """

    region: str = ""
    profile: str = ""
    endpoint_url: str = ""
    role_arn: str = ""
    role_option: str = "?role_arn="
    keys: Mapping[str, Secret] = field(default_factory=dict)
    verify: Union[bool, str, None] = None
    config: Mapping[str, Any] = field(default_factory=dict)
    deadline: float = _DEADLINE
    connections: int = 1


def deadline_of(context: Context, option: str) -> float:
    """The seconds that the task's environment gives one call.

    :raises BadInput: when it is no duration.
    """
    text = context.environ.get(TIMEOUT)
    return parse_duration(text, f"{option}: {TIMEOUT}").total_seconds() if text else _DEADLINE


def aws_settings(reference: Reference, context: Context, option: str) -> AwsSettings:
    """What a reference and the environment say.

    :raises BadInput: when the deadline is no duration.
    """
    params = reference.params
    return AwsSettings(
        region=params.get("region", ""),
        profile=params.get("profile", ""),
        endpoint_url=params.get("endpoint_url", ""),
        role_arn=params.get("role_arn", ""),
        deadline=deadline_of(context, option),
    )


@dataclass(frozen=True)
class _Session:
    """What a task has of one service as one identity.

    :param clock: AWS's, which is heard with each answer that the client gets.
    :param lent: the task's environment is this process's for as long as the session is used.
    """

    client: Any
    clock: ServerClock
    lent: bool = False

    def close(self) -> None:
        """Hang up."""
        self.client.close()


class AwsCaller:
    """Calls of one service of AWS, as one identity. Threads may share it within :meth:`lent`.

    :param service: as AWS's programs name it: ``ssm``, ``secretsmanager``.
    :raises MissingLibrary: without boto3.
    """

    def __init__(
        self,
        settings: AwsSettings,
        context: Context,
        option: str,
        service: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._context = context
        self._environ = aws_environ(context.environ)
        self._option = option
        self._service = service
        self._sleep = sleep
        self._client: Optional[Any] = None
        self._address = ""
        self._lent = False
        self._until: Optional[float] = None
        self._clock = ServerClock(context.now)
        self._pace = Pace()
        self._library = _boto3(option)

    def __repr__(self) -> str:
        return f"AwsCaller({self._service})"

    def where(self, place: str) -> str:
        """How messages name a place: the option, what it is, and where it was asked for."""
        return f"{self._option}: AWS {place}{self._address}"

    @contextmanager
    def lent(self, seconds: float) -> Iterator[None]:
        """The task's environment for many calls, which may then come from several threads.

        :param seconds: for all of them together.
        :raises BadInput, Denied, Unreachable: when there is no usable client.
        """
        with lent_environ(self._environ):
            self._connected(self._option)
            self._lent, self._until = True, time.monotonic() + seconds
            try:
                yield
            finally:
                self._lent, self._until = False, None

    def call(
        self, place: str, action: str, function: Callable[[Any], Any], writes: bool = False
    ) -> Any:
        """Ask AWS something, again while it is only busy or not reached, until the deadline.

        :param place: what it is about, for messages.
        :param action: the name of the permission that it needs.
        :param function: gets the service's client of boto3.
        :param writes: the call changes something: it is sent again only where the first one took no effect.
        :raises Absent, BadInput, Conflict, Denied, Unreachable: each says which. ``details["uncertain"]`` tells that a write may
            have been done all the same, ``details["code"]`` what AWS calls the error. Nothing of what AWS says is passed on.
        """
        lent = self._lent or self._is_lent_for_all()
        around: ContextManager[None] = nullcontext() if lent else lent_environ(self._environ)
        with around:
            client = self._connected(self.where(place))
            return self._retried(place, action, lambda: function(client), writes)

    @cached_property
    def _identity(self) -> Tuple[Any, ...]:
        settings = self._settings
        about = (settings.region, settings.profile, settings.endpoint_url, settings.role_arn)
        more = (*sorted(settings.keys.items()), settings.verify, repr(settings.config))
        limits = (settings.deadline, settings.connections)
        environ = frozenset(self._environ.items())
        return ("aws", self._service, *about, *more, *limits, environ)

    def _is_lent_for_all(self) -> bool:
        """Whether somebody lent the environment to all who use this session: to do it for each call takes longer than the call."""
        session = self._context.sessions.get(self._identity)
        return session is not None and bool(session.lent)

    def _connected(self, where: str) -> Any:
        """The client, shared by all that a call asks of this service as this identity: to make one takes longer than to use it."""
        if self._client is None:
            identity, sessions = self._identity, self._context.sessions
            try:
                session = sessions.get(identity) or self._connect()
                self._address = f" at {_address(session.client.meta.endpoint_url)}"
            except Exception as error:
                raise explain(error, where, "") from None
            self._client, self._clock, sessions[identity] = session.client, session.clock, session
        return self._client

    def _retried(self, place: str, action: str, function: Callable[[], Any], writes: bool) -> Any:
        end = time.monotonic() + self._settings.deadline
        end = min(end, self._until or end)
        tries = Tries(
            lambda: end - time.monotonic(),
            self._sleep,
            self._context.randbytes,
            _RETRIES,
            _LONGEST_PAUSE,
        )
        while True:
            if not self._pace.wait(end, self._sleep):
                raise too_fast(self.where(place))
            started = time.monotonic()
            try:
                answer = heard(function)
            except Exception as error:
                caught = error
            else:
                self._pace.faster()
                return answer
            why = passing(caught, writes)
            if why == THROTTLED:
                self._pace.slower()
            takes = time.monotonic() - started
            if not why or not tries.again(wished_pause(caught), takes, why == TROUBLED):
                meant = explain(caught, self.where(place), action)
                meant.details["uncertain"] = writes and may_be_done(caught)
                raise meant from None

    def time(self) -> Optional[datetime]:
        """What AWS's clock says now, to the second; none before its first answer."""
        return self._clock.time()

    def _connect(self) -> _Session:
        environ, settings = self._environ, self._settings
        region = settings.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        keys = {name: value.reveal() for name, value in settings.keys.items()}
        session = self._library.Session(
            profile_name=settings.profile or None, region_name=region or None, **keys
        )
        identity = self._assumed(session) if settings.role_arn else {}
        client = self._open(session, self._service, settings.endpoint_url, **identity)
        clock = ServerClock(self._context.now)

        def hear(response_dict: Optional[Mapping[str, Any]] = None, **_rest: Any) -> None:
            clock.hear(((response_dict or {}).get("headers") or {}).get("Date"))

        client.meta.events.register("response-received", hear)
        return _Session(client, clock)

    def _open(self, session: Any, service: str, endpoint: Optional[str], **identity: str) -> Any:
        import botocore.config

        settings = self._settings
        seconds = min(_SECONDS, settings.deadline)
        given: Dict[str, Any] = {
            "connect_timeout": seconds,
            "read_timeout": seconds,
            "max_pool_connections": max(10, settings.connections),
            # What many are called with was looked at before: botocore would do it once more for each.
            "parameter_validation": settings.connections == 1,
            **settings.config,
        }
        # The tries are counted here, where a write whose answer was lost is known and the deadline is.
        once = {"mode": "standard", "total_max_attempts": 1}
        config = botocore.config.Config(**{**given, "retries": once})
        client = session.client(
            service,
            endpoint_url=endpoint or self._environ.get(URL) or None,
            verify=settings.verify,
            config=config,
            **identity,
        )
        parts = urlsplit(client.meta.endpoint_url)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            self._context.warn(
                f"{self._option}: the endpoint of AWS is plain http ({service}): values travel in the clear; use https"
            )
        return client

    def _assumed(self, session: Any) -> Dict[str, str]:
        """The keys of the role, for as long as AWS gives them by default."""
        role = self._settings.role_arn
        client = self._open(session, "sts", None)

        def assume() -> Dict[str, str]:
            made = client.assume_role(RoleArn=role, RoleSessionName=_SESSION_NAME)["Credentials"]
            return {
                "aws_access_key_id": made["AccessKeyId"],
                "aws_secret_access_key": made["SecretAccessKey"],
                "aws_session_token": made["SessionToken"],
            }

        found: Dict[str, str] = self._retried(
            f"role {role} ({self._settings.role_option})", "sts:AssumeRole", assume, writes=False
        )
        return found


def _address(url: str) -> str:
    """A URL without its path, and without a user and a password in it."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"
