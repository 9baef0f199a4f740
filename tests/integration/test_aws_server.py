# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server that is AWS here serves programs that have an identity, and nobody shows or changes it past that."""

from __future__ import annotations

import http.client
import secrets
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from estate.aws import AwsAccount
from estate.moto import MotoServer


def status(server: MotoServer, method: str, path: str, **headers: str) -> int:
    """What a request without an identity gets."""
    host, port = server.address.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, "inf" if method == "POST" else None, sent)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/moto-api/data.json"),
        ("GET", "/moto-api/"),
        ("POST", "/moto-api/reset-auth"),
        ("POST", "/moto-api/reset"),
        ("GET", "/"),
        ("GET", "/latest/meta-data/"),
    ],
)
def test_nothing_is_shown_or_changed_without_the_token(
    moto: MotoServer, method: str, path: str
) -> None:
    assert status(moto, method, path) == 403
    assert status(moto, method, path, X_Keyturn_Token="") == 403
    assert status(moto, method, path, X_Keyturn_Token=secrets.token_urlsafe(24)) == 403


def test_the_token_is_in_no_command_line(moto: MotoServer) -> None:
    token = moto.token
    assert status(moto, "GET", "/moto-api/data.json", X_Keyturn_Token=token) == 200
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = path.read_bytes()
        except OSError:
            continue  # it ended
        assert token.encode() not in argv


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "shop.example"},
        {"Host": "127.0.0.1.shop.example:80"},
        {"Origin": "https://shop.example"},
        {"Origin": "null"},
    ],
)
def test_no_page_of_a_browser_is_served(moto: MotoServer, headers: dict[str, str]) -> None:
    path = "/moto-api/data.json"
    assert status(moto, "GET", path, X_Keyturn_Token=moto.token, **headers) == 403


@pytest.mark.parametrize(
    ("service", "operation", "served"),
    [
        ("ssm", "describe_parameters", True),
        ("secretsmanager", "list_secrets", True),
        ("iam", "list_users", True),
        ("sts", "get_caller_identity", True),
        ("s3", "list_buckets", False),
        ("lambda", "list_functions", False),
    ],
)
def test_only_what_is_used_is_served(
    moto: MotoServer, service: str, operation: str, served: bool
) -> None:
    client: Any = boto3.client(
        service,
        region_name="eu-west-1",
        endpoint_url=moto.address,
        aws_access_key_id="test",
        aws_secret_access_key=secrets.token_hex(8),
    )
    if served:
        getattr(client, operation)()
        return
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_the_account_goes_by_nobodys_own_settings(
    moto: MotoServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("no section\n")
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.setenv(name, "somebodys")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "config"))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    # The server is shared: rights are not to count for the other tests.
    server: Any = SimpleNamespace(address=moto.address, check_rights=bool)
    assert "Parameters" in AwsAccount(server).client("ssm").describe_parameters()
