# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads of a secret by the log files of a trail in moto's S3: all of the window and nothing else, and what could not be read."""

from __future__ import annotations

import gzip
import json
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import fault_proxy as harm
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import _incident_reads
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Corrupt,
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from backends import Upstream
from cloudtrail_api import event
from fault_proxy import Asked, Fault, FaultProxy
from moto.server import ThreadedMotoServer

BUCKET, ACCOUNT, REGION = "example-trail", "111122223333", "eu-west-1"
NAME, SECRET = "/musehub/production/DB_PASSWORD", "musehub/db"
AT = datetime(2025, 3, 1, 23, tzinfo=timezone.utc)
NOW = AT + timedelta(days=300)
FOLDER = f"old/AWSLogs/{ACCOUNT}/CloudTrail/{REGION}"


def read(at: datetime, **told: Any) -> Any:
    given = {"requestParameters": {"secretId": SECRET}, **told}
    return json.loads(event("GetSecretValue", at, **given)["CloudTrailEvent"])


def packed(*events: Any) -> bytes:
    return gzip.compress(json.dumps({"Records": events}).encode())


class Trail:
    """A bucket behind a proxy, and the core of the module."""

    def __init__(self, client: Any, proxy: FaultProxy) -> None:
        self.client, self.proxy = client, proxy

    def put(self, made: datetime, data: bytes, folder: str = FOLDER, **options: Any) -> str:
        *_before, account, _trail, region = folder.split("/")
        name = f"{account}_CloudTrail_{region}_{made:%Y%m%dT%H%MZ}_{secrets.token_hex(8)}.json.gz"
        key = f"{folder}/{made:%Y/%m/%d}/{name}"
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data, **options)
        return key

    def refuse(self, part: str, code: str) -> None:
        """Answer for what has this in its path as S3 does."""
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        self.proxy.faults.append(Fault(harm.said(403, body), lambda asked: part in asked.path))

    def look(self, **options: Any) -> dict[str, Any]:
        given = {
            "type": "cloudtrail_bucket",
            "since": f"{AT:%Y-%m-%dT%H:%M:%SZ}",
            "until": f"{AT + timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ}",
            "bucket": BUCKET,
            "prefix": "old/",
            "accounts": [ACCOUNT],
            "regions": [REGION],
            "region": REGION,
            "parameters": [NAME],
            "secrets": [SECRET],
            **options,
        }
        spec = ArgumentSpecValidator(dict(_incident_reads.MODULE.argument_spec)).validate(given)
        assert not spec.error_messages, spec.error_messages
        environ = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.proxy.port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(8),
            "AWS_EC2_METADATA_DISABLED": "true",
            "KEYTURN_AWS_TIMEOUT": "20s",
        }
        context = Context(environ=environ, now=lambda: NOW)
        try:
            return execute(_incident_reads.MODULE, spec.validated_parameters, context)
        finally:
            context.close()

    def fails(self, kind: type[KeyturnError], said: str, **options: Any) -> None:
        with pytest.raises(kind) as error:
            self.look(**options)
        assert error.type is kind
        assert said in error.value.message

    def asked(self, what: Callable[[Asked], bool]) -> int:
        return sum(map(what, self.proxy.asked))


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Any, int]]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    client = boto3.client(
        "s3",
        region_name=REGION,
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="test",
        aws_secret_access_key=secrets.token_hex(8),
    )
    yield client, port
    client.close()
    server.stop()


@pytest.fixture
def trail(server: tuple[Any, int]) -> Iterator[Trail]:
    client, port = server
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    proxy = FaultProxy(Upstream("127.0.0.1", port), lambda *_asked: False)
    yield Trail(client, proxy)
    proxy.close()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    for item in [it for page in pages for it in page.get("Contents") or ()]:
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.delete_bucket(Bucket=BUCKET)


def test_all_of_the_window_is_read_and_nothing_else(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute = timedelta(minutes=1)
    eve = {"arn": "arn:aws:iam::111122223333:user/eve"}
    parameter = event("GetParameter", AT + 2 * minute, requestParameters={"name": NAME})
    trail.put(AT - 30 * minute, packed(read(AT - 31 * minute)))
    trail.put(AT + 5 * minute, packed(read(AT + minute), read(AT - minute), json.loads(parameter["CloudTrailEvent"])))  # fmt: skip
    trail.put(AT + 6 * minute, packed(read(AT + minute, errorCode="AccessDenied", userIdentity=eve)))  # fmt: skip
    # The day after, and within the hour that files come late.
    trail.put(AT + 75 * minute, packed(read(AT + 29 * minute), read(AT + 31 * minute)))
    trail.put(AT + 95 * minute, packed(read(AT + 20 * minute)))
    trail.put(AT + minute, packed(read(AT + minute)), folder=FOLDER.replace(REGION, "us-east-1"))
    other = f"{FOLDER}/2025/03/01/notes.txt"
    trail.client.put_object(Bucket=BUCKET, Key=other, Body=b"x")
    # Pages of two, as S3 has them of a thousand.
    monkeypatch.setattr("moto.settings.get_s3_default_max_keys", lambda: 2)
    told = trail.look()
    assert [(item["action"], item["at"][11:16], item["outcome"]) for item in told["events"]] == [
        ("secretsmanager:GetSecretValue", "23:01", "denied"),
        ("secretsmanager:GetSecretValue", "23:01", "done"),
        ("ssm:GetParameter", "23:02", "done"),
        ("secretsmanager:GetSecretValue", "23:29", "done"),
    ]
    assert told["seen"] == 6
    assert told["gaps"] == ["1 file in the trail's folders has no name of CloudTrail's and was not read"]  # fmt: skip
    assert trail.asked(lambda it: it.path.endswith(".gz")) == 3
    days = [it.path for it in trail.proxy.asked if "list-type=2" in it.path]
    assert [it.partition("2025%2F03%2F")[2][:2] for it in days] == ["01", "01", "02"]
    everywhere = trail.look(regions=[])
    assert len(everywhere["events"]) == 5
    most = trail.look(most=1)
    assert len(most["events"]) == 1 and "raise most" in most["gaps"][0]
    few = trail.look(most_calls=2)
    assert "most_calls is used up" in few["gaps"][0]


def test_files_that_cannot_be_read_are_told_each_as_what_it_is(trail: Trail) -> None:
    minute = timedelta(minutes=1)
    good = packed(read(AT + minute))
    trail.put(AT + minute, good)
    denied = trail.put(AT + 2 * minute, good)
    gone = trail.put(AT + 3 * minute, good)
    trail.put(AT + 4 * minute, good, StorageClass="GLACIER")
    broken = trail.put(AT + 5 * minute, packed(read(AT), *({"n": it} for it in range(99)))[:-9])
    trail.refuse(denied, "AccessDenied")
    trail.refuse(gone, "NoSuchKey")
    told = trail.look()
    assert len(told["events"]) == 2
    gaps = told["gaps"]
    assert any("1 file was not read (Absent)" in it and "deleted while" in it for it in gaps)
    assert any("1 file was not read (Denied)" in it and "s3:GetObject" in it for it in gaps)
    assert any("1 file was not read (Unreachable)" in it and "archived" in it for it in gaps)
    assert any("(Corrupt)" in it and broken in it and "breaks off" in it for it in gaps)
    assert any("no log file of 2025/03/02" in it for it in gaps)


def test_what_could_not_be_looked_at_is_no_result(trail: Trail) -> None:
    trail.fails(Absent, "no log file of these days below old/AWSLogs/")
    trail.fails(Absent, "there is no such bucket", bucket="no-such-bucket")
    trail.put(AT, b"no log")
    trail.fails(Corrupt, "no gzip")
    for _file in range(12):
        trail.put(AT, packed(read(AT)), folder=FOLDER.replace(REGION, "eu-west-2"))
    trail.refuse("/eu-west-2/", "AccessDenied")
    trail.fails(Denied, "s3:GetObject", regions=["eu-west-2"])
    assert trail.asked(lambda it: it.path.endswith(".gz") and "eu-west-2" in it.path) == 10
    trail.proxy.faults = [Fault(harm.said(403, b"<Error><Code>AccessDenied</Code></Error>"))]
    trail.fails(Denied, "s3:ListBucket")
    page = b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>"
    trail.proxy.faults = [Fault(harm.said(200, page))]
    trail.fails(Unreachable, "do not come to an end")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bucket": "s3://x"}, "bucket: 's3://x' is no bucket"),
        ({"accounts": []}, "accounts: missing"),
        ({"accounts": ["1111"]}, "accounts[0]: '1111' is none; expected twelve digits"),
        ({"regions": ["Ireland"]}, "regions[0]: 'Ireland' is none"),
        ({"organization": "mine"}, "organization: 'mine' is none"),
        ({"parameters": [], "secrets": []}, "parameters: missing"),
    ],
)
def test_what_cannot_be_meant_asks_nothing(
    trail: Trail, options: dict[str, Any], said: str
) -> None:
    trail.fails(BadInput, said, **options)
    assert trail.proxy.asked == []
