# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pretends to be AWS, or answers something else than was asked for."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import (
    AwsCaller,
    AwsSettings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import Parameters

ARN = "arn:aws:ssm:eu-west-1:1:parameter/app/TOKEN"
NOT_AWS = "an answer that is not AWS's"


class Page(http.server.BaseHTTPRequestHandler):
    """Answers everything with the same."""

    def do_POST(self) -> None:
        """Any request."""
        server: Any = self.server
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(server.status)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(server.body)))
        self.end_headers()
        self.wfile.write(server.body)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@contextmanager
def page(
    body: bytes, status: int = 200, headers: dict[str, str] | None = None, host: str = "127.0.0.1"
) -> Iterator[str]:
    """The address of a server that answers like this."""
    server: Any = http.server.ThreadingHTTPServer((host, 0), Page)
    server.status, server.body, server.headers = status, body, headers or {}
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def context_for(
    home: Path, address: str, warnings: list[str] | None = None, **more: str
) -> Context:
    """A task that asks this server."""
    environ = {
        "HOME": str(home),
        "AWS_ENDPOINT_URL": address,
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_EC2_METADATA_DISABLED": "true",
        "KEYTURN_AWS_TIMEOUT": "1s",
        **more,
    }
    return Context(environ=environ, warn=(warnings if warnings is not None else []).append)


def parameters(context: Context) -> Parameters:
    """The parameters there."""
    return Parameters(AwsCaller(AwsSettings(deadline=1.0), context, "x", "ssm"))


def parameter(**more: Any) -> bytes:
    """The answer to GetParameter, but for what is given."""
    told = {"Name": "/app/TOKEN", "ARN": ARN, "Type": "SecureString", "Value": "v", "Version": 3}
    return json.dumps({"Parameter": {**told, **more}}).encode()


DEEP = b"[" * 100_000 + b"]" * 100_000
PARAMETERS = [
    DEEP,
    b'{"Parameter": ["x"]}',
    b'{"Parameter": "x"}',
    parameter(Value=["x"]),
    parameter(Value={"a": "x"}),
    parameter(Name=["x"]),
    parameter(Name="/other/TOKEN", ARN="arn:aws:ssm:eu-west-1:1:parameter/other/TOKEN"),
    parameter(Name="/app/TOKEN:3x"),
    parameter(Version="soon"),
]


@pytest.mark.parametrize("body", PARAMETERS)
def test_an_answer_that_is_not_the_parameter_asked_for(tmp_path: Path, body: bytes) -> None:
    with page(body) as address:
        context = context_for(tmp_path, address)
        with pytest.raises(Unreachable, match=NOT_AWS):
            resolve("ref+awsssm://app/TOKEN?version=3", context, "x")
        with pytest.raises(Unreachable, match=NOT_AWS):
            parameters(context).read_one("/app/TOKEN")


def test_another_version_than_the_one_asked_for(tmp_path: Path) -> None:
    with page(parameter(Version=2)) as address:
        context = context_for(tmp_path, address)
        with pytest.raises(Unreachable, match=NOT_AWS):
            resolve("ref+awsssm://app/TOKEN?version=3", context, "x")
        assert resolve("ref+awsssm://app/TOKEN?version=2", context, "x").reveal() == "v"


@pytest.mark.parametrize("name", ["/app/TOKEN", ARN])
@pytest.mark.parametrize("asked", ["app/TOKEN", ARN])
def test_a_name_may_be_an_arn(tmp_path: Path, name: str, asked: str) -> None:
    with page(parameter(Name=name)) as address:
        context = context_for(tmp_path, address)
        assert resolve(f"ref+awsssm://{asked}", context, "x").reveal() == "v"
        full = asked if asked == ARN else f"/{asked}"
        found = parameters(context).read_one(full)
        assert found is not None
        assert found.version == 3


def secret(**more: Any) -> bytes:
    """The answer to GetSecretValue, but for what is given."""
    arn = "arn:aws:secretsmanager:eu-west-1:1:secret:app/db-AbCdEf"
    told = {"Name": "app/db", "ARN": arn, "VersionId": "v" * 32, "SecretString": "v"}
    return json.dumps({**told, **more}).encode()


@pytest.mark.parametrize(
    "body",
    [
        DEEP,
        secret(SecretString={"a": "x"}),
        secret(SecretString=["x"]),
        secret(Name="other", ARN="arn:aws:secretsmanager:eu-west-1:1:secret:other-AbCdEf"),
        secret(VersionId="w" * 32),
    ],
)
def test_an_answer_that_is_not_the_secret_asked_for(tmp_path: Path, body: bytes) -> None:
    with page(body) as address:
        context = context_for(tmp_path, address)
        with pytest.raises(Unreachable, match=NOT_AWS):
            resolve(f"ref+awssecrets://app/db?version_id={'v' * 32}", context, "x")


@pytest.mark.parametrize("body", [DEEP, b'{"Version": "soon"}', b'{"Version": ["x"]}', b"[1]"])
def test_a_write_with_a_strange_answer_may_be_done(tmp_path: Path, body: bytes) -> None:
    with page(body) as address, pytest.raises(Unreachable, match=NOT_AWS) as caught:
        parameters(context_for(tmp_path, address)).create("/app/TOKEN", "v", "SecureString")
    assert caught.value.details["uncertain"] is True


@pytest.mark.parametrize(
    ("status", "body"),
    [(403, b"<html>Please log in</html>"), (401, b""), (400, b'{"message": "Forbidden"}')],
)
def test_a_page_in_between_denies_nothing(tmp_path: Path, status: int, body: bytes) -> None:
    role = "?role_arn=arn:aws:iam::123456789012:role/reader"
    with page(body, status) as address:
        context = context_for(tmp_path, address, AWS_ENDPOINT_URL_STS=address)
        for reference in ("awsssm://app/TOKEN", "awssecrets://app/db", f"awsssm://app/TOKEN{role}"):
            with pytest.raises(Unreachable, match=NOT_AWS):
                resolve(f"ref+{reference}", context, "x")
        with pytest.raises(Unreachable, match=NOT_AWS) as caught:
            parameters(context).create("/app/TOKEN", "v", "SecureString")
    assert caught.value.details["uncertain"] is True


def test_an_error_in_xml_is_awss(tmp_path: Path) -> None:
    body = (
        b"<ErrorResponse><Errors><Error><Code>AccessDenied</Code></Error></Errors></ErrorResponse>"
    )
    with page(body, 403) as address:
        context = context_for(tmp_path, address)
        with pytest.raises(Denied, match="denies this identity ssm:GetParameter"):
            resolve("ref+awsssm://app/TOKEN", context, "x")


@pytest.mark.parametrize("pause", ["\u00b2", "-1", "soon", "9" * 400])
def test_a_pause_that_is_none(tmp_path: Path, pause: str) -> None:
    with (
        page(b"{}", 429, {"Retry-After": pause}) as address,
        pytest.raises(Unreachable, match="limits the rate"),
    ):
        resolve("ref+awsssm://app/TOKEN", context_for(tmp_path, address), "x")


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("SomethingNew", "SomethingNew"),
        ("com.amazonaws#SomethingNew", "SomethingNew"),
        ("a value: s3cr3t", None),
        ("s3cr3t", None),
        ("A" * 65, None),
        (["s3cr3t"], None),
    ],
)
def test_only_what_looks_like_a_code_is_told(tmp_path: Path, code: Any, kept: str | None) -> None:
    body = json.dumps({"__type": code, "message": "no"}).encode()
    with page(body, 400) as address, pytest.raises(KeyturnError) as caught:
        resolve("ref+awsssm://app/TOKEN", context_for(tmp_path, address), "x")
    assert caught.value.details.get("code") == kept
    assert "s3cr3t" not in str(caught.value)


ASSUMED = (
    b'<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
    b"<AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken>"
    b"<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
)


def test_plain_http_to_the_token_service_is_told(tmp_path: Path) -> None:
    role = "?role_arn=arn:aws:iam::123456789012:role/reader"
    warnings: list[str] = []
    with page(parameter()) as address, page(ASSUMED, host="127.0.0.2") as tokens:
        context = context_for(tmp_path, address, warnings, AWS_ENDPOINT_URL_STS=tokens)
        assert resolve(f"ref+awsssm://app/TOKEN{role}", context, "x").reveal() == "v"
    assert ["plain http" in warning for warning in warnings] == [True]


def test_an_address_of_the_token_service_that_is_none(tmp_path: Path) -> None:
    role = "?role_arn=arn:aws:iam::123456789012:role/reader"
    context = context_for(tmp_path, "http://127.0.0.1:1", AWS_ENDPOINT_URL_STS="no address")
    with pytest.raises(BadInput, match="the endpoint must be a URL"):
        resolve(f"ref+awsssm://app/TOKEN{role}", context, "x")
