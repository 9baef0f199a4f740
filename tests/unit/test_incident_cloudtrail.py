# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads of parameters as CloudTrail tells them: events one by one, and whole lookups against a stand-in held to botocore's model."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import _incident_reads
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import Window
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._cloudtrail import (
    CloudTrail,
    Limits,
    collect,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._cloudtrail_event import (
    Unreadable,
    Wanted,
    parameter_name,
    read_event,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from cloudtrail_api import CloudTrailApi, event, serving

NAME = "/musehub/production/DB_PASSWORD"
ARN = f"arn:aws:ssm:eu-west-1:111122223333:parameter{NAME}"
AT = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
NOW = AT + timedelta(days=2)
WINDOW = Window(AT - timedelta(hours=1), AT + timedelta(hours=1))
SECRET = "musehub/db"
SECRET_ARN = f"arn:aws:secretsmanager:eu-west-1:111122223333:secret:{SECRET}-AbC123"
OTHER_SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:api-XyZ789"
ROLE = "arn:aws:iam::111122223333:role/deploy"
SESSION = "arn:aws:sts::111122223333:assumed-role/deploy/ci"


def found(name: str, asked: Any, **told: Any) -> Any:
    text = event(name, AT, requestParameters=asked, **told)["CloudTrailEvent"]
    return read_event(text, Wanted((NAME, "PLAIN"), (SECRET, OTHER_SECRET)))


@pytest.mark.parametrize(
    ("name", "asked", "target"),
    [
        ("GetParameter", {"name": NAME, "withDecryption": True}, NAME),
        ("GetParameter", {"name": f"{NAME}:7"}, NAME),
        ("GetParameter", {"name": f"{ARN}:current"}, NAME),
        ("GetParameter", {"name": "/PLAIN"}, "PLAIN"),
        ("GetParameter", {"name": "arn:aws:ssm:eu-west-1:1:parameter/PLAIN"}, "PLAIN"),
        ("GetParameter", {"name": f"{NAME}_OLD"}, None),
        ("GetParameter", {"name": NAME.lower()}, None),
        ("GetParameter", None, "(not told)"),
        ("GetParameters", {"names": ["/x", NAME, "PLAIN"]}, f"{NAME}, PLAIN"),
        ("GetParameters", {"names": NAME}, None),
        ("GetParameterHistory", {"name": NAME}, NAME),
        ("GetParametersByPath", {"path": "/musehub/production"}, "/musehub/production (directly below it)"),
        ("GetParametersByPath", {"path": "/musehub/", "recursive": True}, "/musehub/ (all below it)"),
        ("GetParametersByPath", {"path": "/musehub"}, None),
        ("GetParametersByPath", {"path": "/musehub/prod", "recursive": True}, None),
        ("GetParametersByPath", {"path": "/", "recursive": True}, "/ (all below it)"),
        ("Decrypt", {"encryptionContext": {"PARAMETER_ARN": ARN}}, NAME),
        ("Decrypt", {"encryptionContext": {"SecretARN": ARN}}, None),
        ("Decrypt", {"encryptionContext": {"SecretARN": SECRET_ARN, "SecretVersionId": "v"}}, SECRET),
        ("Decrypt", {"encryptionContext": {"SecretARN": OTHER_SECRET}}, OTHER_SECRET),
        ("Decrypt", {"encryptionContext": {"SecretARN": f"{OTHER_SECRET[:-1]}8"}}, None),
        ("GetSecretValue", {"secretId": SECRET}, SECRET),
        ("GetSecretValue", {"secretId": SECRET_ARN, "versionStage": "AWSPREVIOUS"}, SECRET),
        ("GetSecretValue", {"secretId": SECRET_ARN[:-7]}, SECRET),
        ("GetSecretValue", {"secretId": "api"}, OTHER_SECRET),
        ("GetSecretValue", {"secretId": OTHER_SECRET[:-7]}, OTHER_SECRET),
        ("GetSecretValue", {"secretId": "musehub/db2"}, None),
        ("GetSecretValue", {"secretId": SECRET.upper()}, None),
        ("GetSecretValue", {"secretId": {"no": "text"}}, None),
        ("GetSecretValue", None, "(not told)"),
        ("BatchGetSecretValue", {"secretIdList": ["x", SECRET, "api"]}, f"{SECRET}, {OTHER_SECRET}"),
        ("BatchGetSecretValue", {"filters": [{"key": "name", "values": ["m"]}]}, None),
        ("Decrypt", {"encryptionContext": "none"}, None),
        ("Decrypt", None, None),
    ],
)  # fmt: skip
def test_which_parameters_a_request_names(name: str, asked: Any, target: str | None) -> None:
    told = found(name, asked)
    assert (told.target if told else None) == target


def test_who_and_from_where() -> None:
    identity = {"type": "AssumedRole", "arn": SESSION, "sessionContext": {"sessionIssuer": {"arn": ROLE}}}  # fmt: skip
    told = found("GetParameter", {"name": NAME, "withDecryption": False}, userIdentity=identity)
    assert (told.principal, told.via, told.address) == (SESSION, ROLE, "10.20.0.5")
    assert told.outcome == "done"
    assert told.detail == "eu-west-1, without decryption"
    service = {"type": "AWSService", "invokedBy": "backup.amazonaws.com"}
    assert found("GetParameter", {"name": NAME}, userIdentity=service).principal == "backup.amazonaws.com"  # fmt: skip
    assert found("GetParameter", {"name": NAME}, userIdentity=None).principal == "(not told)"
    of_secret = {"encryptionContext": {"SecretARN": SECRET_ARN}}
    manager = found("Decrypt", of_secret, sourceIPAddress="secretsmanager.amazonaws.com")
    assert manager.behind
    behind = found("Decrypt", {"encryptionContext": {"PARAMETER_ARN": ARN}}, sourceIPAddress="AWS Internal")  # fmt: skip
    assert behind.behind
    assert not found("GetParameter", {"name": NAME}, sourceIPAddress="AWS Internal").behind


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("AccessDenied", "denied"),
        ("AccessDeniedException", "denied"),
        ("Client.UnauthorizedOperation", "denied"),
        ("ParameterNotFound", "failed"),
        ("ThrottlingException", "failed"),
    ],
)
def test_a_read_that_was_refused_is_none_that_succeeded(code: str, outcome: str) -> None:
    assert found("GetParameter", {"name": NAME}, errorCode=code).outcome == outcome


def test_only_named_fields_are_copied() -> None:
    value = secrets.token_urlsafe(20)
    told = found("GetParameter", {"name": NAME, "note": value}, errorMessage=value, more=value)
    assert value not in json.dumps(told.as_dict())


def test_an_event_of_another_service_with_the_same_name_is_none() -> None:
    assert found("GetParameter", {"name": NAME}, eventSource="other.amazonaws.com") is None


LONG_AGO = {"eventName": "GetParameter", "eventSource": "ssm.amazonaws.com", "eventTime": "0001-01-01T00:00:00+02:00"}  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "[]", "[7]", "7", "{}", '{"eventName": "GetParameter"', "[" * 100_000, json.dumps(LONG_AGO)]
)  # fmt: skip
def test_what_is_no_event_is_counted_as_such(text: str) -> None:
    with pytest.raises(Unreadable):
        read_event(text, Wanted((NAME,)))


def test_names_of_parameters() -> None:
    assert parameter_name("/a/b:3") == "/a/b"
    assert parameter_name("a") == parameter_name("/a") == "a"


def test_pages_that_do_not_end_are_an_error_and_limits_are_told() -> None:
    page = {"Events": [event("GetParameter", AT, requestParameters={"name": NAME})], "NextToken": "t"}  # fmt: skip
    with pytest.raises(Unreachable, match="do not come to an end"):
        collect(lambda _request: page, ["GetParameter"], Wanted((NAME,)), WINDOW, Limits(9, 9))
    tokens = iter(range(99))
    for limits in (Limits(1, 9), Limits(9, 1)):
        told = collect(
            lambda _request: {**page, "NextToken": str(next(tokens))}, ["GetParameter", "GetParameters"], Wanted((NAME,)), WINDOW, limits
        )  # fmt: skip
        assert told.full == "GetParameter"
        assert len(told.events) == 1


class Clock:
    """Time that only waiting moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Trail:
    """The core against the stand-in."""

    def __init__(self, address: str, api: CloudTrailApi, clock: Clock) -> None:
        self.address, self.api, self.clock = address, api, clock
        self.sessions: dict[Any, Any] = {}

    def look(self, **options: Any) -> dict[str, Any]:
        given = {
            "type": "cloudtrail",
            "since": "2026-03-01T11:00:00Z",
            "until": "2026-03-01T13:00:00Z",
            "parameters": [NAME],
            "region": "eu-west-1",
            **options,
        }
        spec = ArgumentSpecValidator(dict(_incident_reads.MODULE.argument_spec)).validate(given)
        assert not spec.error_messages, spec.error_messages
        environ = {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(8),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        context = Context(environ=environ, now=lambda: NOW, sessions=self.sessions)
        return execute(_incident_reads.MODULE, spec.validated_parameters, context)


@pytest.fixture
def trail(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trail]:
    clock = Clock()
    api = CloudTrailApi(clock=clock)
    monkeypatch.setattr(_incident_reads, "SOURCES", {"cloudtrail": CloudTrail(clock, clock.sleep)})
    with serving(api) as address:
        made = Trail(address, api, clock)
        yield made
        Context(sessions=made.sessions).close()


def test_all_pages_of_all_names_within_two_requests_a_second(trail: Trail) -> None:
    hidden = secrets.token_urlsafe(24)
    asked = {"name": NAME}
    trail.api.page = 3
    trail.api.events = [
        *(event("GetParameter", AT + timedelta(minutes=n), requestParameters=asked) for n in range(8)),
        event("GetParameter", AT - timedelta(hours=3), requestParameters=asked),
        event("GetParameter", AT, requestParameters={"name": "/other"}),
        event("GetParameters", AT, requestParameters={"names": [NAME]}, errorCode="AccessDenied"),
        event("Decrypt", AT, requestParameters={"encryptionContext": {"PARAMETER_ARN": ARN}}),
        event("GetParametersByPath", AT, requestParameters={"path": f"/{hidden}/../musehub", "recursive": True}),
        event("GetParameterHistory", AT, requestParameters=asked, userAgent=f"x {hidden}"),
    ]  # fmt: skip
    # While events come in, a page may begin with what the one before ended with.
    trail.api.events.insert(1, trail.api.events[0])
    trail.api.refused = 1
    told = trail.look(redact=[hidden])
    assert trail.api.faults == []
    assert [item["outcome"] for item in told["events"]].count("denied") == 1
    assert len(told["events"]) == 11
    assert told["seen"] == 13
    assert told["gaps"] == []
    assert hidden not in json.dumps(told)
    # 8 pages, of which one was throttled and asked for again: no two of them within half a second.
    assert len(trail.api.times) == 9
    assert min(b - a for a, b in zip(trail.api.times, trail.api.times[1:], strict=False)) >= 0.5


def test_reads_of_secrets_are_looked_up_where_secrets_are_named(trail: Trail) -> None:
    trail.api.events = [
        event("GetSecretValue", AT, requestParameters={"secretId": SECRET}),
        event("BatchGetSecretValue", AT, requestParameters={"secretIdList": [SECRET_ARN]}),
        event("Decrypt", AT, requestParameters={"encryptionContext": {"SecretARN": SECRET_ARN}}),
        event("GetParameter", AT, requestParameters={"name": NAME}),
    ]
    told = trail.look(parameters=[], secrets=[SECRET])
    assert trail.api.faults == []
    assert [item["action"] for item in told["events"]] == [
        "kms:Decrypt", "secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue",
    ]  # fmt: skip
    assert {item["target"] for item in told["events"]} == {SECRET}
    assert len(trail.api.asked) == 3


def test_who_may_not_look_is_told_so(trail: Trail) -> None:
    trail.api.denied = True
    with pytest.raises(Denied, match="cloudtrail:LookupEvents"):
        trail.look()


def test_what_the_history_cannot_know_is_a_gap(trail: Trail) -> None:
    old = trail.look(since="2025-11-01T00:00:00Z", decrypt=False)
    assert len(trail.api.asked) == 4
    assert "90 days" in old["gaps"][0]
    fresh = trail.look(until="2026-03-03T11:59:00Z")
    assert "15 minutes late" in fresh["gaps"][0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"parameters": []}, "parameters: missing"),
        ({"parameters": ["/a b"]}, "parameters[0]: '/a b' is no name"),
        ({"parameters": [ARN]}, "parameters[0]"),
        ({"secrets": ["a b"]}, "secrets[0]: 'a b' is no secret"),
        ({"secrets": [ARN]}, "secrets[0]"),
        ({"until": "2026-03-04T00:00:00Z"}, "until: 2026-03-04T00:00:00.000000Z is still to come"),
        ({"most": 0}, "most: expected 1 or more"),
        ({"most_calls": -1}, "most_calls: expected 1 or more"),
        ({"access_key": "x"}, "access_key, secret_key: they belong together"),
    ],
)
def test_what_cannot_be_meant_asks_nothing(
    trail: Trail, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput) as error:
        trail.look(**options)
    assert said in error.value.message
    assert trail.api.asked == []
