# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As whom ssm_secret asks, in which region and where: read off the signatures of the requests that arrive."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
    Unreachable,
)
from aws_world import AwsWorld, operation
from estate.moto import MotoServer
from fault_proxy import Asked, Exchange, Fault, FaultProxy

ACCOUNT = "123456789012"


@pytest.fixture
def aws(moto: MotoServer) -> AwsWorld:
    return AwsWorld(moto)


def fails(kind: type[KeyturnError], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert caught.type is kind
    return caught.value.message


def signed(asked: Asked) -> tuple[str, str, str]:
    """The access key, region and service that a request was signed for (Signature Version 4)."""
    found = re.search(r"Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/", asked.headers["Authorization"])
    assert found
    return found.group(1), found.group(2), found.group(3)


def all_signed(proxy: FaultProxy, service: str) -> set[tuple[str, str]]:
    """Keys and regions of all requests of a service."""
    found = {signed(asked) for asked in proxy.asked}
    return {(key, region) for key, region, of in found if of == service}


def profiles(world: AwsWorld, folder: Path, **sections: dict[str, str]) -> dict[str, str]:
    """Write the files that AWS's programs read; the access keys by profile. The environment has no keys after that."""
    keys, config, credentials = {}, [], []
    for name, settings in sections.items():
        keys[name] = f"AKIA{secrets.token_hex(8).upper()}"
        config += [f"[profile {name}]", *(f"{key} = {value}" for key, value in settings.items())]
        credentials += [f"[{name}]", f"aws_access_key_id = {keys[name]}"]
        credentials.append(f"aws_secret_access_key = {secrets.token_hex(20)}")
    for variable, lines in (
        ("AWS_CONFIG_FILE", config),
        ("AWS_SHARED_CREDENTIALS_FILE", credentials),
    ):
        path = folder / variable.lower()
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n")
        world.environ[variable] = str(path)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        del world.environ[variable]
    return keys


class Token:
    """Hears the keys that AWS's token service gives."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.given: list[str] = []
        proxy.faults.append(Fault(self._hear, lambda asked: b"AssumeRole" in asked.body))

    def _hear(self, exchange: Exchange) -> None:
        answer = exchange.forward()
        self.given += re.findall(r"<AccessKeyId>([^<]+)<", answer.body.decode())
        exchange.reply(answer)


def test_an_assumed_roles_key_signs_every_request(aws: AwsWorld) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/rotation"
    own = aws.environ["AWS_ACCESS_KEY_ID"]
    with aws.proxy() as proxy:
        token = Token(proxy)
        about = {"assume_role_arn": role, "labels": True, "tags": {"owner": "platform"}}
        for value in ("one", "two"):
            assert aws.bring({"p": value}, **about)["changed"]
        assert len(token.given) == 1
        assert token.given[0] != own
        assert all_signed(proxy, "ssm") == {(token.given[0], "eu-west-1")}
        assert all_signed(proxy, "sts") == {(own, "eu-west-1")}
        names = {operation(asked) for asked in proxy.asked if signed(asked)[2] == "ssm"}
        assert {"GetParameters", "PutParameter", "LabelParameterVersion"} <= names
        sent = [asked for asked in proxy.asked if signed(asked)[2] == "ssm"]
        assert all(asked.headers.get("X-Amz-Security-Token") for asked in sent)
    assert aws.held("p") == ("two", 2)


def test_a_profile_says_as_whom_and_where(aws: AwsWorld, tmp_path: Path) -> None:
    far = {"region": "ap-south-1"}
    keys = profiles(aws, tmp_path, ops={"region": "eu-west-1"}, far=far)
    with aws.proxy() as proxy:
        assert aws.bring({"p": "x"}, profile="ops")["changed"]
        assert all_signed(proxy, "ssm") == {(keys["ops"], "eu-west-1")}
        proxy.asked.clear()
        assert aws.bring({"p": "x"}, profile="far")["changed"], "another region"
        assert all_signed(proxy, "ssm") == {(keys["far"], "ap-south-1")}
        proxy.asked.clear()
        # An option comes before the profile's own setting, and the profile before the environment.
        aws.environ["AWS_PROFILE"] = "far"
        assert not aws.bring({"p": "x"}, profile="ops", region="ap-south-1")["changed"]
        assert all_signed(proxy, "ssm") == {(keys["ops"], "ap-south-1")}


def test_a_profile_assumes_a_role_by_itself(aws: AwsWorld, tmp_path: Path) -> None:
    role = {"role_arn": f"arn:aws:iam::{ACCOUNT}:role/rotation", "source_profile": "ops"}
    keys = profiles(aws, tmp_path, ops={"region": "eu-west-1"})
    with (tmp_path / "aws_config_file").open("a") as config:
        config.write("[profile rotation]\nregion = eu-west-1\n")
        config.writelines(f"{key} = {value}\n" for key, value in role.items())
    with aws.proxy() as proxy:
        token = Token(proxy)
        assert aws.bring({"p": "x"}, profile="rotation")["changed"]
        assert all_signed(proxy, "ssm") == {(token.given[0], "eu-west-1")}
        assert {key for key, _region in all_signed(proxy, "sts")} == {keys["ops"]}


def test_a_profile_and_a_role_of_the_task(aws: AwsWorld, tmp_path: Path) -> None:
    keys = profiles(aws, tmp_path, ops={"region": "eu-west-1"})
    role = f"arn:aws:iam::{ACCOUNT}:role/rotation"
    with aws.proxy() as proxy:
        token = Token(proxy)
        assert aws.bring({"p": "x"}, profile="ops", assume_role_arn=role)["changed"]
        assert all_signed(proxy, "ssm") == {(token.given[0], "eu-west-1")}
        assert {key for key, _region in all_signed(proxy, "sts")} == {keys["ops"]}


def test_the_endpoint_of_the_option_is_asked_and_no_other(aws: AwsWorld) -> None:
    own = aws.environ["AWS_ACCESS_KEY_ID"]
    with aws.proxy() as proxy:
        address = aws.environ["AWS_ENDPOINT_URL"]
        aws.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
        assert aws.bring({"p": "x"}, endpoint_url=address, region="us-east-2")["changed"]
        assert all_signed(proxy, "ssm") == {(own, "us-east-2")}
        aws.environ["KEYTURN_AWS_TIMEOUT"] = "0.3"
        message = fails(Unreachable, lambda: aws.bring({"p": "x"}))
        assert "at http://127.0.0.1:1: no connection" in message
        assert all_signed(proxy, "ssm") == {(own, "us-east-2")}
        aws.environ["AWS_ENDPOINT_URL"] = address


def test_names_of_amazon_aws_count_in_its_order(aws: AwsWorld) -> None:
    """Of the endpoint its own before AWS's, of the keys AWS's before its own."""
    key, own = f"AKIA{secrets.token_hex(8).upper()}", aws.environ.pop("AWS_ACCESS_KEY_ID")
    aws.environ["AWS_SECRET_KEY"] = aws.environ.pop("AWS_SECRET_ACCESS_KEY")
    aws.environ["AWS_ACCESS_KEY"] = key
    with aws.proxy() as proxy:
        aws.environ["AWS_URL"] = aws.environ["AWS_ENDPOINT_URL"]
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SSM"):
            aws.environ[name] = "http://127.0.0.1:1"
        role = f"arn:aws:iam::{ACCOUNT}:role/rotation"
        assert aws.bring({"p": "x"}, assume_role_arn=role)["changed"]
        assert {one for one, _region in all_signed(proxy, "sts")} == {key}
        proxy.asked.clear()
        # What the value is looked up with is the same.
        value = f"ref+awsssm:/{aws.name('p')}"
        assert aws.run(name=aws.name("q"), value=value)["changed"]
        assert {one for one, _region in all_signed(proxy, "ssm")} == {key}
        proxy.asked.clear()
        aws.environ["AWS_ACCESS_KEY_ID"] = own
        assert not aws.bring({"p": "x"})["changed"]
        assert {one for one, _region in all_signed(proxy, "ssm")} == {own}


# --- what is wrong is named


def test_a_wrong_profile_is_named_as_the_option_is(aws: AwsWorld, tmp_path: Path) -> None:
    profiles(aws, tmp_path, ops={"region": "eu-west-1"})
    message = fails(BadInput, lambda: aws.bring({"p": "x"}, profile="oops"))
    assert "has no such profile" in message and "option 'profile'" in message
    (tmp_path / "aws_config_file").write_text("[profile half]\nregion = eu-west-1\n")
    message = fails(Denied, lambda: aws.bring({"p": "x"}, profile="half"))
    assert "no credentials for AWS" in message
    (tmp_path / "aws_config_file").write_text("no section\n")
    message = fails(BadInput, lambda: aws.bring({"p": "x"}, profile="ops"))
    assert "configuration file here cannot be read" in message


def test_a_region_that_is_missing_or_none(aws: AwsWorld, tmp_path: Path) -> None:
    profiles(aws, tmp_path, ops={})
    message = fails(BadInput, lambda: aws.bring({"p": "x"}, profile="ops"))
    assert "region of AWS is not known" in message and "option 'region'" in message
    message = fails(BadInput, lambda: aws.bring({"p": "x"}, profile="ops", region="not a region"))
    assert "no name of a region" in message and "option 'region'" in message
    there = {"profile": "ops", "region": "eu-west-1"}
    message = fails(BadInput, lambda: aws.bring({"p": "x"}, endpoint_url="nowhere", **there))
    assert "must be a URL" in message and "endpoint_url" in message


def test_a_role_that_may_not_be_assumed_is_named_with_its_option(aws: AwsWorld) -> None:
    name = f"user-{secrets.token_hex(4)}"
    client = AwsWorld(aws.server, "iam").api
    client.create_user(UserName=name)
    rules = {"Effect": "Allow", "Action": ["ssm:*", "kms:*"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [rules]})
    client.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
    key = client.create_access_key(UserName=name)["AccessKey"]
    aws.environ["AWS_ACCESS_KEY_ID"] = key["AccessKeyId"]
    aws.environ["AWS_SECRET_ACCESS_KEY"] = key["SecretAccessKey"]
    role = f"arn:aws:iam::{ACCOUNT}:role/other"
    aws.server.check_rights(True)
    try:
        for check in (True, False):
            message = fails(
                Denied, lambda c=check: aws.bring({"p": "x"}, assume_role_arn=role, check=c)
            )
            assert f"role {role} (assume_role_arn)" in message
            assert "denies this identity sts:AssumeRole" in message
        assert aws.bring({"p": "x"})["changed"], "without the role it may"
    finally:
        aws.server.check_rights(False)
