# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a call to AWS is tried again, and when not: by a clock that only waiting and the calls themselves move."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _aws, _aws_pace
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import AwsCaller, AwsSettings
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._tries import FIRST_PAUSE
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

HERE = "https://ssm.example"
NO_CONNECTION = EndpointConnectionError(endpoint_url=HERE)
NOT_IN_TIME = ConnectTimeoutError(endpoint_url=HERE)
CLOSED = ConnectionClosedError(endpoint_url=HERE)
NO_ANSWER = ReadTimeoutError(endpoint_url=HERE)
LONGEST = 5.0


def answered(status: int, code: str, **headers: str) -> ClientError:
    about = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": about}, "GetParameter")


TROUBLE = answered(500, "InternalServerError")
THROTTLED = answered(400, "ThrottlingException")


class Aws:
    """What answers a call with these errors, the last of them again and again, or with ``done`` after them.

    :ivar waits: the pauses between the calls.
    :ivar asked: when each call came.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, clients: dict[Any, Any], deadline: float
    ) -> None:
        self.now = 1000.0
        self.begun = self.now
        self.waits: list[float] = []
        self.asked: list[float] = []
        self.chance = b"\x00"
        self.takes = 0.0
        for module in (_aws, _aws_pace):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        environ = {
            "AWS_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL": HERE,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }
        context = Context(
            environ=environ, randbytes=lambda count: self.chance * count, sessions=clients
        )
        self.caller = AwsCaller(AwsSettings(deadline=deadline), context, "x", "ssm", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def call(self, *errors: Exception, ends: bool = True, writes: bool = False) -> str:
        """One call; it is done after these errors, or never."""

        def function(_client: Any) -> str:
            self.asked.append(self.now)
            self.now += self.takes
            number = len(self.asked) - 1
            if number < len(errors) or not ends:
                raise errors[min(number, len(errors) - 1)]
            return "done"

        answer: str = self.caller.call("parameter /x", "ssm:GetParameter", function, writes)
        return answer

    def refused(self, *errors: Exception, writes: bool = False) -> KeyturnError:
        with pytest.raises(Unreachable) as caught:
            self.call(*errors, ends=False, writes=writes)
        return caught.value

    @property
    def spent(self) -> float:
        return self.now - self.begun


@pytest.fixture(scope="module")
def clients() -> dict[Any, Any]:
    """The client of boto3, which takes longer to make than all that is tried here."""
    return {}


@pytest.fixture
def aws(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, clients: dict[Any, Any]
) -> Aws:
    return Aws(monkeypatch, clients, getattr(request, "param", 30.0))


@pytest.mark.parametrize("aws", [100.0], indirect=True)
@pytest.mark.parametrize(("chance", "factor"), [(b"\x00", 0.5), (b"\xff", 1.5)])
def test_the_pauses_grow_up_to_the_longest(aws: Aws, chance: bytes, factor: float) -> None:
    aws.chance = chance
    assert aws.call(*[NO_CONNECTION] * 9) == "done"
    wanted = [min(FIRST_PAUSE * 2**number, LONGEST) * factor for number in range(9)]
    assert aws.waits == pytest.approx(wanted)


def test_two_that_fail_together_do_not_come_back_together(aws: Aws) -> None:
    for number in range(0, 256, 16):
        aws.chance = bytes([number])
        aws.asked.clear()
        assert aws.call(TROUBLE) == "done"
    assert len(set(aws.waits)) == len(aws.waits) == 16


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("error", [NO_CONNECTION, NOT_IN_TIME])
def test_where_nothing_was_sent_it_is_tried_until_the_deadline(
    aws: Aws, error: Exception, writes: bool
) -> None:
    told = aws.refused(error, writes=writes)
    assert "no connection" in told.message
    assert told.details["uncertain"] is False
    assert len(aws.asked) > 8
    # The longest pause that the next one could have been.
    assert 30 - 1.5 * LONGEST < aws.spent < 30


def test_a_try_that_would_end_after_the_deadline_is_left_out(aws: Aws) -> None:
    aws.takes = 5.0
    aws.refused(NOT_IN_TIME)
    assert len(aws.asked) == 5
    assert aws.spent < 30


@pytest.mark.parametrize("error", [TROUBLE, CLOSED, NO_ANSWER])
def test_a_trouble_is_tried_again_twice(aws: Aws, error: Exception) -> None:
    aws.refused(error)
    assert len(aws.asked) == 3


@pytest.mark.parametrize("other", [THROTTLED, NO_CONNECTION])
def test_what_aws_did_not_take_uses_up_no_try(aws: Aws, other: Exception) -> None:
    errors = (other, other, TROUBLE, other, other, TROUBLE, other, other)
    assert aws.call(*errors) == "done"
    assert len(aws.asked) == 9


@pytest.mark.parametrize("error", [TROUBLE, CLOSED, NO_ANSWER])
def test_a_write_that_may_be_done_is_not_sent_again(aws: Aws, error: Exception) -> None:
    told = aws.refused(error, writes=True)
    assert told.details["uncertain"] is True
    assert len(aws.asked) == 1
    assert aws.waits == []


def test_throttling_is_answered_until_the_deadline_with_less_speed(aws: Aws) -> None:
    told = aws.refused(THROTTLED, writes=True)
    assert "limits the rate" in told.message
    assert len(aws.asked) > 8
    assert aws.spent < 30


@pytest.mark.parametrize(
    "error",
    [
        lambda wish: answered(503, "SlowDown", **{"retry-after": wish}),
        lambda wish: answered(429, "TooManyRequestsException", **{"retry-after": wish}),
        lambda wish: answered(500, "InternalServerError", **{"retry-after": wish}),
    ],
)
def test_as_long_as_the_service_asks_or_not_at_all(
    aws: Aws, error: Callable[[str], ClientError]
) -> None:
    assert aws.call(error("7"), error("9")) == "done"
    assert [came - aws.begun for came in aws.asked] == pytest.approx([0, 7, 16], abs=0.2)
    aws.asked.clear()
    aws.refused(error("30"))
    assert len(aws.asked) == 1
    assert aws.spent < 17


def test_the_environment_is_lent_for_each_call_or_once_for_all(clients: dict[Any, Any]) -> None:
    def asked(client: Any) -> str:
        return os.environ.get("AWS_ENDPOINT_URL", "")

    environ = {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": HERE, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}  # fmt: skip
    context = Context(environ=environ, sessions=dict(clients))
    assert _called(context, asked) == HERE
    identity = next(reversed(context.sessions))
    context.sessions[identity] = replace(context.sessions[identity], lent=True)
    # Whoever lent it for all has it in place, or here: nobody has.
    assert _called(context, asked) == os.environ.get("AWS_ENDPOINT_URL", "")


def _called(context: Context, function: Callable[[Any], str]) -> str:
    answer: str = AwsCaller(AwsSettings(), context, "x", "ssm").call("parameter /x", "ssm:GetParameter", function)  # fmt: skip
    return answer
