# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A keyring in Parameter Store and in Secrets Manager: what is particular to each, beside what every store promises."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import fault_proxy as harm
import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Corrupt,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import Store, open_store
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._ssm import pack, unpack
from aws_world import AwsWorld, count, harmed, operation, told
from estate.moto import MotoServer
from fault_proxy import Exchange, Fault

OPTION = "keyturn_keyring"
CURRENT = "AWSCURRENT"


@pytest.fixture
def aws(moto: MotoServer) -> AwsWorld:
    return AwsWorld(moto)


@pytest.fixture
def vault_of_aws(moto: MotoServer) -> AwsWorld:
    return AwsWorld(moto, "secretsmanager")


def open_at(world: AwsWorld, scheme: str, query: str = "") -> Store:
    reference = parse_reference(f"ref+{scheme}://{world.prefix}/db_app{query}", OPTION)
    return open_store(reference, world.context(), OPTION)


def parameters(world: AwsWorld, query: str = "") -> Store:
    return open_at(world, "awsssm", query)


def secret(world: AwsWorld, query: str = "") -> Store:
    return open_at(world, "awssecrets", query)


def fails(kind: type[KeyturnError], call: Callable[[], object]) -> KeyturnError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.type is kind
    return caught.value


def numbers(world: AwsWorld) -> list[int]:
    pages = world.api.get_paginator("get_parameters_by_path").paginate(Path=world.name("db_app"))
    return sorted(int(item["Name"][-10:]) for page in pages for item in page["Parameters"])


def grow(store: Store, writes: int, version: str | None = None) -> str:
    for number in range(writes):
        version = store.write(f"text {number}", version)
    assert version is not None
    return version


# --- Parameter Store


def test_each_version_is_a_parameter_of_its_own(aws: AwsWorld) -> None:
    store = parameters(aws)
    assert grow(store, 3) == "3"
    assert numbers(aws) == [1, 2, 3]
    found = aws.api.get_parameter(Name=aws.name("db_app/0000000003"), WithDecryption=True)
    assert found["Parameter"]["Type"] == "SecureString"
    assert re.match(r"keyturn1:[0-9a-f]{16}:[A-Za-z0-9+/=]+\Z", found["Parameter"]["Value"])
    assert unpack(found["Parameter"]["Value"], "") == "text 2"


def test_old_versions_are_pruned_and_no_number_is_used_again(aws: AwsWorld) -> None:
    grow(parameters(aws), 14)
    assert numbers(aws) == [6, 7, 8, 9, 10, 11, 12, 13, 14]
    assert parameters(aws).write("more", "14") == "15"
    assert numbers(aws) == [11, 12, 13, 14, 15]
    assert [item.version for item in parameters(aws).versions()] == ["15", "14", "13", "12", "11"]


def test_what_may_not_be_deleted_stays_with_a_warning(aws: AwsWorld) -> None:
    version = grow(parameters(aws), 9)
    with aws.proxy() as proxy:
        proxy.faults.append(harmed(told("AccessDeniedException"), ["DeleteParameters"], None))
        assert parameters(aws).write("ten", version) == "10"
    assert "old versions of the keyring stay" in aws.warnings[0]
    assert "ssm:DeleteParameters" in aws.warnings[0]
    assert parameters(aws).read() == ("ten", "10")


def test_a_list_that_lags_behind_is_found_out(aws: AwsWorld) -> None:
    grow(parameters(aws), 4)

    def stale(exchange: Exchange) -> None:
        answer = exchange.forward()
        body = json.loads(answer.body)
        body["Parameters"] = [item for item in body["Parameters"] if item["Name"][-1] in "12"]
        answer.body = json.dumps(body).encode()
        exchange.reply(answer)

    with aws.proxy() as proxy:
        proxy.faults.append(harmed(stale, ["GetParametersByPath"], None))
        assert parameters(aws).read() == ("text 3", "4")
        assert fails(Conflict, lambda: parameters(aws).write("x", "2"))
        assert parameters(aws).write("five", "4") == "5"
    assert parameters(aws).read() == ("five", "5")


def hide(numbers: str) -> harm.Act:
    """Answers in which versions that end in these digits are not there."""

    def act(exchange: Exchange) -> None:
        answer = exchange.forward()
        body = json.loads(answer.body)
        gone = [item for item in body["Parameters"] if item["Name"][-1] in numbers]
        body["Parameters"] = [item for item in body["Parameters"] if item not in gone]
        if "InvalidParameters" in body:
            body["InvalidParameters"] += [item["Name"] for item in gone]
        answer.body = json.dumps(body).encode()
        exchange.reply(answer)

    return act


def test_a_number_that_was_pruned_is_not_used_by_a_writer_that_sees_nothing_new(
    aws: AwsWorld,
) -> None:
    grow(parameters(aws), 6)
    aws.api.delete_parameters(Names=[aws.name("db_app/0000000001")])
    with aws.proxy() as proxy:
        # Before the write the list is empty; after it, it is not: others are older than ours.
        proxy.faults.append(harmed(hide("0123456789"), ["GetParametersByPath"]))
        fails(Conflict, lambda: parameters(aws).write("first", None))
    assert numbers(aws) == [2, 3, 4, 5, 6]
    assert parameters(aws).read() == ("text 5", "6")


def test_a_write_on_a_version_that_was_pruned_meanwhile_is_a_conflict(aws: AwsWorld) -> None:
    version = grow(parameters(aws), 4)

    def meanwhile(exchange: Exchange) -> None:
        grow(parameters(aws_behind), 6, "4")
        exchange.pass_on()

    aws_behind = AwsWorld(aws.server)
    aws_behind.prefix = aws.prefix
    with aws.proxy() as proxy:
        proxy.faults.append(harmed(meanwhile, ["PutParameter"]))
        fails(Conflict, lambda: parameters(aws).write("late", version))
    assert parameters(aws).read() == ("text 5", "10")
    assert numbers(aws) == [6, 7, 8, 9, 10]


def test_one_that_is_built_upon_at_once_is_written_all_the_same(aws: AwsWorld) -> None:
    version = grow(parameters(aws), 2)

    def then(exchange: Exchange) -> None:
        answer = exchange.forward()
        aws.api.put_parameter(
            Name=aws.name("db_app/0000000004"), Value=pack("theirs", "0" * 16), Type="SecureString"
        )
        exchange.reply(answer)

    with aws.proxy() as proxy:
        proxy.faults.append(harmed(then, ["PutParameter"]))
        assert parameters(aws).write("ours", version) == "3"
    assert parameters(aws).read() == ("theirs", "4")


@pytest.mark.parametrize("act", [harm.lost, harm.malformed, harm.truncated])
def test_a_lost_answer_is_looked_up(aws: AwsWorld, act: harm.Act) -> None:
    store = parameters(aws)
    version = store.write("one", None)
    with aws.proxy() as proxy:
        proxy.faults.append(harmed(act, ["PutParameter"]))
        assert parameters(aws).write("two", version) == "2"
    assert store.read() == ("two", "2")


def test_a_lost_answer_of_a_write_that_another_won_is_none_of_ours(aws: AwsWorld) -> None:
    version = parameters(aws).write("one", None)

    def other(exchange: Exchange) -> None:
        parameters_behind.write("two", version)
        exchange.cut()

    parameters_behind = parameters(aws)
    with aws.proxy() as proxy:
        proxy.faults.append(harmed(other, ["PutParameter"]))
        error = fails(Unreachable, lambda: parameters(aws).write("two", version))
    assert error.details["uncertain"]
    assert numbers(aws) == [1, 2]


def test_large_documents(aws: AwsWorld) -> None:
    store = parameters(aws)
    body = {f"stage {number}": {"status": "observed", "field": "x" * 60} for number in range(60)}
    usual = json.dumps(body, indent=1)
    version = store.write(usual, None)
    assert len(usual) > 6000
    assert aws.described("db_app/0000000001")["Tier"] == "Standard"
    version = store.write(secrets.token_hex(4500), version)
    assert aws.described("db_app/0000000002")["Tier"] == "Advanced"
    message = fails(BadInput, lambda: store.write(secrets.token_hex(9000), version)).message
    assert "a parameter of AWS holds 8192; nothing was written" in message
    assert numbers(aws) == [1, 2]


def test_the_key_of_the_reference(aws: AwsWorld) -> None:
    parameters(aws, "?kms_key_id=alias/keyrings").write("x", None)
    assert aws.described("db_app/0000000001")["KeyId"] == "alias/keyrings"


def test_what_is_not_ours_is_not_taken_for_a_keyring(aws: AwsWorld) -> None:
    parameters(aws).write("one", None)
    aws.put("db_app/other", "x")
    aws.put("db_app/0000000001/below", "x")
    assert parameters(aws).read() == ("one", "1")
    value = secrets.token_urlsafe(8)
    aws.put("db_app/0000000002", value)
    assert value not in fails(Corrupt, lambda: parameters(aws).read()).message


def test_references_that_make_no_sense(aws: AwsWorld) -> None:
    assert "newest version" in fails(BadInput, lambda: parameters(aws, "?version=1")).message
    arn = parse_reference("ref+awsssm://arn:aws:ssm:eu-west-1:123456789012:parameter/a", OPTION)
    assert "ARN" in fails(BadInput, lambda: open_store(arn, aws.context(), OPTION)).message
    reserved = parse_reference("ref+awsssm://aws/x", OPTION)
    assert (
        "for itself" in fails(BadInput, lambda: open_store(reserved, aws.context(), OPTION)).message
    )
    assert "current version" in fails(BadInput, lambda: secret(aws, "?version_id=1")).message


@pytest.mark.parametrize("scheme", ["awsssm", "awssecrets"])
def test_the_services_clock(aws: AwsWorld, scheme: str) -> None:
    store = open_at(aws, scheme)
    assert store.time() is None
    store.read()
    now = store.time()
    assert now is not None
    assert abs(now - datetime.now(timezone.utc)) < timedelta(seconds=3)

    def ahead(exchange: Exchange) -> None:
        answer = exchange.forward()
        answer.headers["Date"] = "Wed, 01 Jan 2031 00:00:00 GMT"
        exchange.reply(answer)

    with aws.proxy() as proxy:
        proxy.faults.append(Fault(ahead))
        behind = open_at(aws, scheme)
        behind.read()
        then = behind.time()
    assert then is not None and then.year == 2031


# --- Secrets Manager


def stages(world: AwsWorld) -> dict[str, list[str]]:
    found = world.api.list_secret_version_ids(
        SecretId=f"{world.prefix}/db_app", IncludeDeprecated=True
    )["Versions"]
    return {item["VersionId"]: sorted(item.get("VersionStages") or []) for item in found}


def test_versions_and_their_labels(vault_of_aws: AwsWorld) -> None:
    store = secret(vault_of_aws)
    first = store.write("one", None)
    second = store.write("two", first)
    third = store.write("three", second)
    found = stages(vault_of_aws)
    assert CURRENT in found[third] and "AWSPREVIOUS" in found[second]
    assert not {CURRENT, "AWSPREVIOUS"} & set(found[first])
    listed = store.versions()
    assert (listed[0].version, listed[0].state) == (third, "current")
    assert {item.version for item in listed[1:]} == {first, second}


@pytest.mark.parametrize("step", ["PutSecretValue", "UpdateSecretVersionStage"])
def test_one_that_loses_changes_nothing_that_is_in_use(vault_of_aws: AwsWorld, step: str) -> None:
    store = secret(vault_of_aws)
    first = store.write("one", None)
    behind = secret(vault_of_aws)

    def meanwhile(exchange: Exchange) -> None:
        behind.write("theirs", first)
        exchange.pass_on()

    with vault_of_aws.proxy() as proxy:
        proxy.faults.append(harmed(meanwhile, [step]))
        fails(Conflict, lambda: secret(vault_of_aws).write("ours", first))
    found = store.read()
    assert found is not None and found[0] == "theirs"
    assert (
        sorted(label for labels in stages(vault_of_aws).values() for label in labels).count(CURRENT)
        == 1
    )


@pytest.mark.parametrize("act", [harm.lost, harm.malformed, harm.reset])
@pytest.mark.parametrize("step", ["PutSecretValue", "UpdateSecretVersionStage", "CreateSecret"])
def test_a_lost_answer_of_each_step(vault_of_aws: AwsWorld, act: harm.Act, step: str) -> None:
    store = secret(vault_of_aws)
    first = None if step == "CreateSecret" else store.write("one", None)
    with vault_of_aws.proxy() as proxy:
        proxy.faults.append(harmed(act, [step]))
        if step == "CreateSecret" and act is harm.reset:
            error = fails(Unreachable, lambda: secret(vault_of_aws).write("two", first))
            assert error.details["uncertain"]
            return
        version = secret(vault_of_aws).write("two", first)
    assert store.read() == ("two", version)
    assert len(stages(vault_of_aws)) == (1 if first is None else 2)


@pytest.mark.parametrize("act", [harm.lost, harm.reset_in_reply])
def test_a_version_whose_answer_was_lost_is_asked_for_by_the_same_token(
    vault_of_aws: AwsWorld, act: harm.Act
) -> None:
    first = secret(vault_of_aws).write("one", None)
    with vault_of_aws.proxy() as proxy:
        proxy.faults.append(harmed(act, ["PutSecretValue"], 2))
        second = secret(vault_of_aws).write("two", first)
        puts = [one for one in proxy.asked if operation(one) == "PutSecretValue"]
    asked = [json.loads(one.body) for one in puts]
    assert len(asked) == 3
    assert asked[0] == asked[1] == asked[2]
    assert asked[0]["ClientRequestToken"] == second != first
    found = stages(vault_of_aws)
    assert set(found) == {first, second}
    assert CURRENT in found[second]


def test_a_secret_that_is_there_without_a_value(vault_of_aws: AwsWorld) -> None:
    vault_of_aws.api.create_secret(Name=f"{vault_of_aws.prefix}/db_app", Description="by hand")
    store = secret(vault_of_aws)
    assert store.read() is None
    version = store.write("one", None)
    assert store.read() == ("one", version)
    fails(Conflict, lambda: secret(vault_of_aws).write("two", None))


def test_one_that_is_marked_for_deletion_is_not_absent(vault_of_aws: AwsWorld) -> None:
    store = secret(vault_of_aws)
    store.write("one", None)
    vault_of_aws.api.delete_secret(SecretId=f"{vault_of_aws.prefix}/db_app")
    assert "restore-secret" in fails(Absent, store.read).message


def test_limits_of_a_secret(vault_of_aws: AwsWorld) -> None:
    store = secret(vault_of_aws, "?kms_key_id=alias/keyrings")
    first = store.write("x" * 65536, None)
    about = vault_of_aws.api.describe_secret(SecretId=f"{vault_of_aws.prefix}/db_app")
    assert about["KmsKeyId"] == "alias/keyrings"
    assert "65537 bytes" in fails(BadInput, lambda: store.write("x" * 65537, first)).message
    with vault_of_aws.proxy() as proxy:
        proxy.faults.append(harmed(told("LimitExceededException"), ["PutSecretValue"], None))
        error = fails(Refused, lambda: secret(vault_of_aws).write("two", first))
        assert count(proxy, "PutSecretValue") == 1
    assert "100 of them at most" in error.message


def test_binary_is_corrupt(vault_of_aws: AwsWorld) -> None:
    vault_of_aws.api.create_secret(Name=f"{vault_of_aws.prefix}/db_app", SecretBinary=b"\xff")
    fails(Corrupt, secret(vault_of_aws).read)


def test_denied_is_no_conflict(vault_of_aws: AwsWorld) -> None:
    first = secret(vault_of_aws).write("one", None)
    with vault_of_aws.proxy() as proxy:
        refuse = told("InvalidParameterException")
        proxy.faults.append(harmed(refuse, ["UpdateSecretVersionStage"], None))
        # AWS refuses it for a reason of its own: the label is where it was.
        fails(BadInput, lambda: secret(vault_of_aws).write("two", first))
    assert secret(vault_of_aws).read() == ("one", first)
