# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values from AWS's parameters and secrets: a server that keeps them, and answers that only AWS itself gives."""

from __future__ import annotations

import http.server
import json
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Corrupt,
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve, resolve_mapping
from backends import Upstream
from estate.moto import MotoServer
from fault_proxy import proxy_before

OPTION = "keyturn_issuer.login.admin"
REGION = "eu-west-1"
ROLE = "arn:aws:iam::123456789012:role/reader"


class World:
    """A prefix of its own for names, one identity, and a context that keeps its warnings."""

    def __init__(self, server: MotoServer, home: Path) -> None:
        self.prefix = f"keyturn-{secrets.token_hex(4)}"
        self.server = server
        self.home = home
        self.warnings: list[str] = []
        self.environ = {
            "HOME": str(home),
            "AWS_CONFIG_FILE": str(home / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": server.address,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": secrets.token_hex(10),
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
        }
        self.context = Context(environ=self.environ, warn=self.warnings.append)

    def client(self, service: str, region: str = REGION) -> Any:
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.server.address,
            aws_access_key_id=secrets.token_hex(10),
            aws_secret_access_key=secrets.token_hex(20),
        )

    def put(self, name: str, value: str, region: str = REGION) -> None:
        self.client("ssm", region).put_parameter(
            Name=f"/{self.prefix}/{name}", Value=value, Type="SecureString", Overwrite=True
        )

    def secret(self, name: str, value: str | bytes) -> str:
        key = "SecretString" if isinstance(value, str) else "SecretBinary"
        made = self.client("secretsmanager").create_secret(
            Name=f"{self.prefix}/{name}", **{key: value}
        )
        return str(made["ARN"])

    def value(self, scheme: str, rest: str) -> str:
        return resolve(f"ref+{scheme}://{self.prefix}{rest}", self.context, OPTION).reveal()

    def mapping(self, scheme: str, rest: str, *required: str) -> dict[str, str]:
        text = f"ref+{scheme}://{self.prefix}{rest}"
        found = resolve_mapping(text, self.context, OPTION, required)
        return {key: item.reveal() for key, item in found.items()}


@pytest.fixture
def world(moto: MotoServer, tmp_path: Path) -> World:
    return World(moto, tmp_path)


def refusal(kind: type[KeyturnError], call: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(kind) as caught:
        call(*args)
    assert caught.type is kind
    assert OPTION in caught.value.message
    return caught.value.message


# --- parameters


def test_a_parameter_is_read_decrypted_by_its_path(world: World) -> None:
    value = secrets.token_urlsafe(16)
    world.put("db/PASSWORD", value)
    assert world.value("awsssm", "/db/PASSWORD") == value
    arn = f"arn:aws:ssm:{REGION}:123456789012:parameter/{world.prefix}/db/PASSWORD"
    assert resolve(f"ref+awsssm://{arn}", world.context, OPTION).reveal() == value


def test_an_older_version_of_a_parameter(world: World) -> None:
    world.put("token", "first")
    world.put("token", "second")
    assert world.value("awsssm", "/token?version=1") == "first"
    assert world.value("awsssm", "/token") == "second"
    assert "has no such version" in refusal(Absent, world.value, "awsssm", "/token?version=3")
    assert "a number from 1 on" in refusal(BadInput, world.value, "awsssm", "/token?version=x")


def test_keys_below_a_path_are_parameters(world: World) -> None:
    many = {f"KEY_{index:02}": f"value {index}" for index in range(13)}
    for name, value in many.items():
        world.put(f"app/{name}", value)
    world.put("app/deeper/KEY", "inner")
    assert world.mapping("awsssm", "/app", "KEY_00") == many
    assert world.value("awsssm", "/app#/KEY_12") == "value 12"
    assert "no key 'deeper'" in refusal(Absent, world.value, "awsssm", "/app#/deeper/KEY")
    assert world.value("awsssm", "/app?recursive=true#/deeper/KEY") == "inner"
    assert "there are none; if the parameter" in refusal(
        Absent, world.value, "awsssm", "/app/KEY_00#/x"
    )


def test_keys_inside_a_parameter(world: World) -> None:
    document = {"username": "admin", "password": "pé\U0001f600", "port": 5432}
    world.put("login", json.dumps(document))
    expected = {"username": "admin", "password": "pé\U0001f600", "port": "5432"}
    assert world.mapping("awsssm", "/login?mode=singleparam", "username") == expected
    assert world.value("awsssm", "/login?mode=singleparam#/port") == "5432"
    world.put("yaml", "a: {b: 0123}\n")
    assert world.value("awsssm", "/yaml?mode=singleparam&version=1#/a/b") == "0123"
    assert "must be singleparam" in refusal(BadInput, world.value, "awsssm", "/login?mode=x#/a")
    assert "has no version" in refusal(BadInput, world.value, "awsssm", "/login?version=1#/a")
    assert "leave it out" in refusal(BadInput, world.value, "awsssm", "/login?recursive=true")
    assert "true or false" in refusal(BadInput, world.value, "awsssm", "/app?recursive=1#/a")


# --- secrets


def test_a_secret_and_its_keys(world: World) -> None:
    value = secrets.token_urlsafe(16)
    arn = world.secret("db", json.dumps({"password": value, "nested": {"a": True}}))
    assert world.value("awssecrets", "/db#/password") == value
    assert world.value("awssecrets", "/db#/nested/a") == "true"
    assert json.loads(world.value("awssecrets", "/db"))["password"] == value
    assert resolve(f"ref+awssecrets://{arn}#/password", world.context, OPTION).reveal() == value
    assert "keys there: nested, password" in refusal(Absent, world.value, "awssecrets", "/db#/no")


def test_stages_and_versions_of_a_secret(world: World) -> None:
    world.secret("token", "first")
    client = world.client("secretsmanager")
    name = f"{world.prefix}/token"
    made = client.put_secret_value(SecretId=name, SecretString="second")
    pending = client.put_secret_value(
        SecretId=name, SecretString="third", VersionStages=["AWSPENDING"]
    )
    assert world.value("awssecrets", "/token") == "second"
    assert world.value("awssecrets", "/token?version_stage=AWSPREVIOUS") == "first"
    assert world.value("awssecrets", "/token?version_stage=AWSPENDING") == "third"
    assert world.value("awssecrets", f"/token?version_id={made['VersionId']}") == "second"
    assert world.value("awssecrets", f"/token?version_id={pending['VersionId']}") == "third"
    client.update_secret_version_stage(
        SecretId=name,
        VersionStage="AWSCURRENT",
        MoveToVersionId=pending["VersionId"],
        RemoveFromVersionId=made["VersionId"],
    )
    assert world.value("awssecrets", "/token") == "third"
    assert "(NEXT)" in refusal(Absent, world.value, "awssecrets", "/token?version_stage=NEXT")


def test_a_binary_secret(world: World) -> None:
    world.secret("text", "text ü".encode())
    world.secret("bytes", b"\xff\x00")
    assert world.value("awssecrets", "/text") == "text ü"
    assert "no UTF-8" in refusal(Corrupt, world.value, "awssecrets", "/bytes")


def test_a_secret_that_is_marked_for_deletion(world: World) -> None:
    world.secret("old", "value")
    world.client("secretsmanager").delete_secret(SecretId=f"{world.prefix}/old")
    assert "marked for deletion" in refusal(Absent, world.value, "awssecrets", "/old")


# --- where and as whom


def test_what_is_not_there(world: World) -> None:
    message = refusal(Absent, world.value, "awsssm", "/none")
    assert f"parameter /{world.prefix}/none at {world.server.address}" in message
    assert "no such thing in this account and region" in message
    assert "no such thing" in refusal(Absent, world.value, "awssecrets", "/none")


def test_the_region_is_that_of_the_reference_then_of_the_task(world: World) -> None:
    for region in ("eu-west-1", "us-east-2", "ap-south-1"):
        world.put("where", region, region)
    assert world.value("awsssm", "/where") == REGION
    assert world.value("awsssm", "/where?region=ap-south-1") == "ap-south-1"
    del world.environ["AWS_REGION"]
    world.environ["AWS_DEFAULT_REGION"] = "us-east-2"
    assert world.value("awsssm", "/where") == "us-east-2"
    del world.environ["AWS_DEFAULT_REGION"]
    assert "set AWS_REGION" in refusal(BadInput, world.value, "awsssm", "/where")
    (world.home / "config").write_text("[profile far]\nregion = ap-south-1\n")
    world.environ["AWS_PROFILE"] = "far"
    assert world.value("awsssm", "/where") == "ap-south-1"


def test_this_processs_own_environment_does_not_count(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("where", "here")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-gov-west-1")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert world.value("awsssm", "/where") == "here"
    del world.environ["AWS_ACCESS_KEY_ID"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", secrets.token_hex(10))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secrets.token_hex(10))
    del world.environ["AWS_SECRET_ACCESS_KEY"]
    assert "there are no credentials" in refusal(Denied, world.value, "awsssm", "/where")


def test_a_profile_counts_before_keys_in_the_environment(world: World) -> None:
    world.put("who", "x")
    assert "no such profile" in refusal(BadInput, world.value, "awsssm", "/who?profile=ops")
    (world.home / "credentials").write_text(
        f"[ops]\naws_access_key_id = {secrets.token_hex(8)}\n"
        f"aws_secret_access_key = {secrets.token_hex(8)}\n[half]\naws_access_key_id = x\n"
    )
    assert world.value("awsssm", "/who?profile=ops") == "x"
    assert "are incomplete" in refusal(Denied, world.value, "awsssm", "/who?profile=half")
    (world.home / "config").write_text("no section\n")
    # A call shares its clients; this is a further one.
    world.context.close()
    assert "cannot be read" in refusal(BadInput, world.value, "awsssm", "/who?profile=ops")


def test_an_endpoint_in_the_reference(world: World) -> None:
    world.put("who", "x")
    world.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
    assert world.value("awsssm", f"/who?endpoint_url={world.server.address}") == "x"
    assert "must be a URL" in refusal(BadInput, world.value, "awsssm", "/who?endpoint_url=nowhere")


# --- who may


@contextmanager
def identity(world: World, *actions: str) -> Iterator[None]:
    """Go on as a user who may do only this, on a server that checks."""
    client = world.client("iam")
    name = f"user-{secrets.token_hex(4)}"
    client.create_user(UserName=name)
    rules = {"Effect": "Allow", "Action": [*actions, "kms:Decrypt"], "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [rules]}
    client.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    key = client.create_access_key(UserName=name)["AccessKey"]
    world.environ["AWS_ACCESS_KEY_ID"] = key["AccessKeyId"]
    world.environ["AWS_SECRET_ACCESS_KEY"] = key["SecretAccessKey"]
    world.server.check_rights(True)
    try:
        yield
    finally:
        world.server.check_rights(False)


def test_denied_is_not_absent(world: World) -> None:
    world.put("db", "value")
    world.secret("db", "value")
    with identity(world, "ssm:GetParameter"):
        assert world.value("awsssm", "/db") == "value"
        assert "no such thing" in refusal(Absent, world.value, "awsssm", "/none")
        message = refusal(Denied, world.value, "awsssm", "#/db")
        assert "denies this identity ssm:GetParametersByPath" in message
        message = refusal(Denied, world.value, "awssecrets", "/db")
        assert "denies this identity secretsmanager:GetSecretValue" in message
        message = refusal(Denied, world.value, "awsssm", f"/db?role_arn={ROLE}")
        assert "AWS role arn:aws:iam" in message
        assert "denies this identity sts:AssumeRole" in message
        world.environ["AWS_ACCESS_KEY_ID"] = secrets.token_hex(10)
        refusal(Denied, world.value, "awsssm", "/db")


def test_a_role_is_assumed(world: World) -> None:
    client = world.client("iam")
    trust = {
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]
    }
    made = client.create_role(
        RoleName=f"reader-{world.prefix}", AssumeRolePolicyDocument=json.dumps(trust)
    )
    rules = {"Effect": "Allow", "Action": ["ssm:GetParameter"], "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [rules]}
    client.put_role_policy(
        RoleName=f"reader-{world.prefix}", PolicyName="p", PolicyDocument=json.dumps(policy)
    )
    world.put("db", "value")
    with identity(world, "sts:AssumeRole"):
        assert "denies" in refusal(Denied, world.value, "awsssm", "/db")
        assert world.value("awsssm", f"/db?role_arn={made['Role']['Arn']}") == "value"


# --- what only AWS itself answers, and what is not AWS


class Answer(http.server.BaseHTTPRequestHandler):
    """Gives the server's one answer to everybody."""

    def do_POST(self) -> None:
        server: Any = self.server
        server.asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        body = server.body.encode()
        self.send_response(server.status)
        self.send_header("Content-Type", server.content)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def answers() -> Iterator[Callable[..., Any]]:
    """Starts servers that answer with one status and body."""
    started: list[http.server.ThreadingHTTPServer] = []

    def start(status: int, body: str, content: str = "application/x-amz-json-1.1") -> Any:
        server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        server.status, server.body, server.content, server.asked = status, body, content, 0
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "kind", "problem"),
    [
        (400, "AccessDeniedException", Denied, "denies this identity ssm:GetParameter"),
        (400, "ExpiredTokenException", Denied, "have expired"),
        (400, "UnrecognizedClientException", Denied, "does not accept the credentials"),
        (400, "InvalidSignatureException", Denied, "does not accept the signature"),
        (400, "ValidationException", BadInput, "as invalid"),
        (404, "SomethingNew", Unreachable, "not AWS's"),
        (400, "ThrottlingException", Unreachable, "limits the rate"),
        (500, "InternalServerError", Unreachable, "a trouble of its own"),
    ],
)
def test_what_aws_answers(
    world: World,
    answers: Callable[..., Any],
    status: int,
    code: str,
    kind: type[KeyturnError],
    problem: str,
) -> None:
    told = secrets.token_urlsafe(12)
    server = answers(status, json.dumps({"__type": f"com.amazonaws#{code}", "message": told}))
    world.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.server_port}"
    world.environ["KEYTURN_AWS_TIMEOUT"] = "1s"
    message = refusal(kind, world.value, "awsssm", "/x")
    assert problem in message
    assert told not in message
    if code == "ThrottlingException":
        # As often as there is time.
        assert server.asked >= 3
    else:
        assert server.asked == (3 if code == "InternalServerError" else 1)


def test_a_page_in_aws_place_is_neither_absence_nor_denial(
    world: World, answers: Callable[..., Any]
) -> None:
    for status in (200, 404, 403):
        server = answers(status, "<html>not here</html>", "text/html")
        world.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.server_port}"
        assert "not here" not in refusal(Unreachable, world.value, "awsssm", "/x")
        refusal(Unreachable, world.value, "awsssm", "#/x")


def test_nobody_there(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    world.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    world.environ["KEYTURN_AWS_TIMEOUT"] = "0.5"
    begun = time.monotonic()
    message = refusal(Unreachable, world.value, "awsssm", "/x")
    assert time.monotonic() - begun < 5
    assert f"at http://127.0.0.1:{port}: no connection" in message


def test_a_server_that_comes_back_is_found(world: World) -> None:
    value = secrets.token_urlsafe(16)
    world.put("db", value)
    before = Upstream("127.0.0.1", int(world.server.address.rpartition(":")[2]))
    with proxy_before(before, lambda *_about: False) as proxy:
        proxy.stop()
        world.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.port}"
        # Three tries would be over by then.
        later = threading.Timer(0.8, proxy.restart)
        later.start()
        assert world.value("awsssm", "/db") == value
        later.join()


def test_nothing_is_logged_and_no_value_is_in_a_message(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    value = secrets.token_urlsafe(16)
    world.put("db", value)
    caplog.clear()
    found = resolve(f"ref+awsssm://{world.prefix}/db", world.context, OPTION)
    assert found.reveal() == value
    assert value not in repr(found)
    assert caplog.records == []
    message = refusal(BadInput, world.value, "awsssm", "/db?mode=singleparam#/key")
    assert value not in message
    world.put("half", '{"a": "' + value)
    assert value not in refusal(Corrupt, world.value, "awsssm", "/half?mode=singleparam#/a")
