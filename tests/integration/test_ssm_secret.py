# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ssm_secret against a server that keeps parameters, and what goes wrong on the way there."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import fault_proxy as harm
import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _ssm_batch
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from aws_world import AwsWorld, count, harmed, naming, of, operation, told
from estate.moto import MotoServer
from fault_proxy import Exchange, Fault

READS = ("GetParameters", "DescribeParameters")


@pytest.fixture
def aws(moto: MotoServer) -> AwsWorld:
    return AwsWorld(moto)


def fails(kind: type[KeyturnError], call: Callable[[], object]) -> KeyturnError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.type is kind
    return caught.value


def make(count: int) -> dict[str, str]:
    return {f"p{number}": secrets.token_urlsafe(16) for number in range(count)}


def remove(aws: AwsWorld, values: dict[str, str], **options: bool) -> dict[str, Any]:
    many = [{"name": aws.name(key)} for key in values]
    return aws.run(parameters=many, state="absent", **options)


# --- what it does


def test_the_quartet(aws: AwsWorld) -> None:
    for values in (make(3), make(3)):
        predicted = aws.bring(values, check=True)
        done = aws.bring(values)
        again = (aws.bring(values, check=True), aws.bring(values))
        assert [predicted["changed"], done["changed"]] == [True, True]
        assert [item["changed"] for item in again] == [False, False]
        names = [item["name"] for item in done["parameters"]]
        assert [item["name"] for item in predicted["parameters"]] == names
        for short, value in values.items():
            assert aws.held(short)[0] == value
            assert value not in str([predicted, done, *again])
    assert aws.held("p0")[1] == 2
    assert aws.described("p0")["Type"] == "SecureString"


def test_a_write_for_each_that_differs_and_a_read_for_ten(aws: AwsWorld) -> None:
    values = make(25)
    with aws.proxy() as proxy:
        aws.bring(values)
        assert (count(proxy, "GetParameters"), count(proxy, "PutParameter")) == (3, 25)
        assert len(proxy.asked) == 28
        proxy.asked.clear()
        aws.bring({**values, "p7": "another"})
        assert count(proxy, "GetParameters") == 3
        assert count(proxy, "DescribeParameters") <= 2
        assert count(proxy, "PutParameter") == 1
        assert len(proxy.asked) <= 6
        proxy.asked.clear()
        remove(aws, values)
        assert count(proxy, "DeleteParameters") == 3


def test_nothing_more_is_asked_where_the_key_is_named(aws: AwsWorld) -> None:
    """The fewest calls that there can be: AWS gives ten values at once, and takes one."""
    names = [f"p{number}" for number in range(60)]
    with aws.proxy() as proxy:
        for turn in range(2):
            many = [{"name": aws.name(name), "value": f"{name} {turn}"} for name in names]
            assert aws.run(diff=False, parameters=many, key_id="alias/app")["changed"]
            assert (count(proxy, "GetParameters"), count(proxy, "PutParameter")) == (6, 60)
            assert len(proxy.asked) == 66
            proxy.asked.clear()
        # Nothing differs: now its key is what may.
        assert not aws.run(diff=False, parameters=many, key_id="alias/app")["changed"]
        assert count(proxy, "GetParameters") == 6
        assert count(proxy, "PutParameter") == 0
    assert aws.described("p59")["KeyId"] == "alias/app"


def test_a_wave_is_read_while_the_one_before_is_written(
    aws: AwsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ssm_batch, "WAVE", 10)
    for turn in range(2):
        values = {f"p{number:02}": f"{turn} {number}" for number in range(25)}
        with aws.proxy() as proxy:
            done = aws.bring(values, threads=2)
            asked = [operation(request) for request in proxy.asked]
        assert [item["name"] for item in done["parameters"]] == [aws.name(name) for name in values]
        assert (asked.count("GetParameters"), asked.count("PutParameter")) == (3, 25)
        read = [place for place, name in enumerate(asked) if name == "GetParameters"]
        # Each wave's reads come before the writes of the one before it.
        assert asked[: read[1]].count("PutParameter") <= 4
        assert asked[: read[2]].count("PutParameter") <= 14
    assert aws.held("p00") == (values["p00"], 2)
    assert aws.held("p24") == (values["p24"], 2)


def test_where_aws_is_lost_half_way_it_is_told_what_became_of_each(
    aws: AwsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ssm_batch, "WAVE", 10)
    values = {f"p{number:02}": f"value {number}" for number in range(40)}
    with aws.proxy() as proxy:
        refuse = told("InternalServerError", 500)
        proxy.faults.append(Fault(refuse, naming(aws.name("p20"), "GetParameters"), None))
        error = fails(Unreachable, lambda: aws.bring(values, threads=2))
    told_of = error.details["parameters"]
    assert [item["name"] for item in told_of] == [aws.name(name) for name in values]
    assert all(item["changed"] for item in told_of[:10])
    assert not any(item["changed"] for item in told_of[20:])
    assert "not begun" in told_of[39]["error"]
    assert error.details["changed"] is True
    there = aws.api.get_parameters_by_path(Path=f"/{aws.prefix}", MaxResults=10)["Parameters"]
    assert len(there) == 10
    assert aws.bring(values)["changed"]
    assert all(aws.held(name) == (value, 1) for name, value in values.items())


def test_what_has_a_value_and_no_description_is_not_written_blindly(aws: AwsWorld) -> None:
    aws.put("p", "old", KeyId="alias/app")

    def nothing(exchange: Exchange) -> None:
        harm.said(200, b'{"Parameters": []}')(exchange)

    with aws.proxy() as proxy:
        proxy.faults.append(harmed(nothing, ["DescribeParameters"], None))
        error = fails(Conflict, lambda: aws.bring({"p": "new"}))
        assert count(proxy, "PutParameter") == 0
    assert "not its KMS key" in error.message
    assert error.details["changed"] is False


def test_what_it_has_beside_its_value_stays(aws: AwsWorld) -> None:
    about = {"KeyId": "alias/app", "Description": "of the app", "AllowedPattern": "^[a-z]+$"}
    aws.put("p", "old", Tier="Advanced", **about)
    seen = []

    def keep(exchange: Exchange) -> None:
        seen.append(exchange.asked.body)
        exchange.pass_on()

    with aws.proxy() as proxy:
        proxy.faults.append(harmed(keep, ["PutParameter"], None))
        aws.bring({"p": "new"})
    # The server fills in what is left out; AWS would take its own key.
    assert b'"KeyId": "alias/app"' in seen[0]
    now = aws.described("p")
    assert {key: now[key] for key in about} == about
    assert now["Tier"] == "Advanced"


def test_what_options_say_beside_the_value(aws: AwsWorld) -> None:
    about = {"key_id": "alias/app", "description": "ours", "tier": "Standard"}
    many = {"p": "value"}
    tags = {"owner": "platform", "n": "1"}
    assert aws.bring(many, **about, tags=tags)["changed"]
    assert not aws.bring(many, **about, tags=tags)["changed"]
    assert aws.held("p") == ("value", 1)
    again = aws.bring(many, **{**about, "description": "theirs"}, tags={"n": "2"}, check=True)
    assert "(Description, tags)" in again["diff"]["after"]
    assert aws.bring(many, **{**about, "description": "theirs"}, tags={"n": "2"})["changed"]
    name = aws.name("p")
    listed = aws.api.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"]
    assert {item["Key"]: item["Value"] for item in listed} == {"owner": "platform", "n": "2"}
    assert aws.described("p")["Description"] == "theirs"
    assert not aws.bring(many, key_id="arn:aws:kms:eu-west-1:123456789012:alias/app")["changed"]


def test_a_large_value_makes_an_advanced_parameter_and_a_larger_one_is_refused(
    aws: AwsWorld,
) -> None:
    aws.bring({"p": "small"})
    aws.bring({"p": "x" * 5000})
    assert aws.described("p")["Tier"] == "Advanced"
    message = fails(BadInput, lambda: aws.bring({"p": "x" * 8193})).message
    assert "8193 bytes" in message and "8192" in message
    assert "double braces" in fails(BadInput, lambda: aws.bring({"q": "a {{ssm:x}}"})).message
    assert "not; remove it" in fails(BadInput, lambda: aws.bring({"q": ""})).message
    fails(BadInput, lambda: aws.bring({"p": "small"}, tier="Standard"))
    assert aws.held("p") == ("x" * 5000, 2)


def test_when_to_overwrite(aws: AwsWorld) -> None:
    aws.put("p", "theirs")
    assert not aws.bring({"p": "ours"}, overwrite_value="never")["changed"]
    assert aws.bring({"q": "ours"}, overwrite_value="never")["changed"]
    assert aws.held("p") == ("theirs", 1)
    tagged = {"tags": {"owner": "us"}, "description": "ours"}
    assert not aws.bring({"p": "ours"}, overwrite_value="never", **tagged)["changed"]
    assert aws.bring({"p": "theirs"}, overwrite_value="always")["changed"]
    assert aws.held("p") == ("theirs", 2)


def test_the_type_of_a_parameter_is_not_changed(aws: AwsWorld) -> None:
    aws.put("p", "a", Type="String")
    assert "say type: String" in fails(BadInput, lambda: aws.bring({"p": "b"})).message
    assert aws.bring({"p": "b"}, type="String")["changed"]
    assert aws.described("p")["Type"] == "String"


def test_lists_that_make_no_sense_are_refused_before_anything_is_asked(aws: AwsWorld) -> None:
    aws.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
    name = aws.name("p")
    twice = [{"name": name, "value": "a"}, {"name": name, "value": "b"}]
    assert "twice" in fails(BadInput, lambda: aws.run(parameters=twice)).message
    assert "value: missing" in fails(BadInput, lambda: aws.run(name=name)).message
    for wrong in ("/with blank", "/aws/x", "ssm-x", "a//b", "/a/", "arn:aws:ssm:x:1:parameter/a"):
        assert "name" in fails(BadInput, lambda n=wrong: aws.run(name=n, value="x")).message
    fails(BadInput, lambda: aws.run(name=name, value="x", profile="a", access_key="b"))
    fails(BadInput, lambda: aws.run(name=name, value="x", access_key="b"))
    fails(BadInput, lambda: aws.run(name=name, value="x", threads=0))
    no_values = ({"value": "x"}, {"generate": {"type": "hex"}}, {"tags": {"a": "b"}})
    for extra in no_values:
        only = f"{next(iter(extra))}: it has no meaning with state=absent"
        gone = {"parameters": [{"name": name, **extra}], "state": "absent"}
        one = fails(BadInput, lambda e=extra: aws.run(name=name, state="absent", **e))
        assert one.message.startswith(only)
        listed = fails(BadInput, lambda g=gone: aws.run(**g))
        assert listed.message.startswith(f"parameters[0].{only}")
    shared = {"parameters": [{"name": name}], "state": "absent", "resource_tags": {"a": "b"}}
    assert "tags: it has no" in fails(BadInput, lambda: aws.run(**shared)).message
    fails(BadInput, lambda: aws.run(name=name, value="x", aws_config={"nothing": 1}))


def test_options_come_before_the_environment(aws: AwsWorld) -> None:
    name, server = aws.name("p"), aws.environ["AWS_ENDPOINT_URL"]
    for key in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del aws.environ[key]
    keys = {"aws_access_key_id": "a" * 20, "aws_secret_key": "b" * 30}
    aws.run(name=name, value="x", endpoint_url=server, aws_region="eu-west-1", **keys)
    assert aws.held("p") == ("x", 1)
    # A value is looked up as the same identity.
    value = f"ref+awsssm:/{name}"
    aws.run(name=aws.name("q"), value=value, endpoint_url=server, region="eu-west-1", **keys)
    assert aws.held("q") == ("x", 1)


# --- first values


def test_a_first_value_is_made_once(aws: AwsWorld) -> None:
    aws.put("there", "theirs", KeyId="alias/app")
    wish = {"type": "password", "length": 31}
    many = [
        {"name": aws.name("made"), "generate": wish},
        {"name": aws.name("there"), "generate": {"type": "hex"}},
        {"name": aws.name("given"), "value": "a value"},
    ]
    about = {"tags": {"owner": "platform"}, "labels": True}
    predicted = aws.run(parameters=many, check=True, **about)
    assert [item["changed"] for item in predicted["parameters"]] == [True, False, True]
    assert predicted["parameters"][0]["fingerprint"] == "(new)"
    assert f"{aws.name('made')}: (new)" in predicted["diff"]["after"]
    done = aws.run(parameters=many, **about)
    assert [item["changed"] for item in done["parameters"]] == [True, False, True]
    value, version = aws.held("made")
    assert (len(value), version) == (31, 1)
    assert aws.held("there") == ("theirs", 1)
    # Left alone: neither its tags nor its labels are ours to set.
    assert aws.labels("there") == {}
    tags = {"ResourceType": "Parameter", "ResourceId": aws.name("there")}
    assert aws.api.list_tags_for_resource(**tags)["TagList"] == []
    again = (aws.run(parameters=many, check=True, **about), aws.run(parameters=many, **about))
    assert [item["changed"] for item in again] == [False, False]
    assert aws.held("made") == (value, 1)
    assert value not in str((predicted, done, *again))
    one = aws.run(name=aws.name("one"), generate={"type": "fernet"})
    assert one["changed"] and len(aws.held("one")[0]) == 44
    assert not aws.run(name=aws.name("one"), generate={"type": "fernet"})["changed"]


def test_wishes_for_a_first_value_that_make_no_sense(aws: AwsWorld) -> None:
    name = aws.name("p")
    for check in (True, False):
        both = [{"name": name, "value": "a", "generate": {"type": "hex"}}]
        error = fails(BadInput, lambda c=check, b=both: aws.run(parameters=b, check=c))
        assert "parameters[0].generate" in error.message and "give one of them" in error.message
        strange = [{"name": name, "generate": {"type": "dice"}}]
        error = fails(BadInput, lambda c=check, b=strange: aws.run(parameters=b, check=c))
        assert "parameters[0].generate" in error.message
    assert aws.api.get_parameters(Names=[name])["Parameters"] == []


def test_two_that_make_a_first_value_at_once(aws: AwsWorld) -> None:
    """What somebody else made in between is not written over: it would be in use already."""

    def meanwhile(exchange: Exchange) -> None:
        aws.put("p", "theirs", Overwrite=False)
        exchange.pass_on()

    with aws.proxy() as proxy:
        proxy.faults.append(harmed(meanwhile, ["PutParameter"]))
        wish = {"type": "hex"}
        fails(Conflict, lambda: aws.run(name=aws.name("p"), generate=wish))
    assert aws.held("p") == ("theirs", 1)
    assert not aws.run(name=aws.name("p"), generate=wish)["changed"]


# --- labels and drift


def test_labels_move_after_each_write(aws: AwsWorld) -> None:
    for number, expected in enumerate(
        [{1: ["current"]}, {1: ["previous"], 2: ["current"]}, {2: ["previous"], 3: ["current"]}]
    ):
        value = {"p": f"value {number}"}
        assert aws.bring(value, labels=True, check=True)["changed"]
        assert aws.bring(value, labels=True)["changed"]
        assert not aws.bring(value, labels=True)["changed"]
        assert aws.labels("p") == expected


def test_labels_of_one_that_was_there_without(aws: AwsWorld) -> None:
    aws.put("p", "theirs")
    assert aws.bring({"p": "ours"}, labels=True)["changed"]
    assert aws.labels("p") == {1: ["previous"], 2: ["current"]}


@pytest.mark.parametrize("nth", [1, 2])
def test_a_run_that_ended_before_its_labels_is_made_up_for(aws: AwsWorld, nth: int) -> None:
    aws.bring({"p": "one"}, labels=True)
    seen = iter(range(1, 9))

    def deny(exchange: Exchange) -> None:
        if next(seen) < nth:
            exchange.pass_on()
        else:
            told("AccessDeniedException")(exchange)

    with aws.proxy() as proxy:
        proxy.faults.append(harmed(deny, ["LabelParameterVersion"], None))
        error = fails(Denied, lambda: aws.bring({"p": "two"}, labels=True))
    assert error.details["changed"] is True
    assert aws.held("p") == ("two", 2)
    assert aws.bring({"p": "two"}, labels=True)["changed"]
    assert aws.labels("p") == {1: ["previous"], 2: ["current"]}
    assert aws.held("p") == ("two", 2)


def test_what_somebody_else_changed_is_refused_unless_told(aws: AwsWorld) -> None:
    aws.bring({"p": "one"}, labels=True)
    aws.put("p", "theirs")
    for check in (True, False):
        error = fails(Refused, lambda c=check: aws.bring({"p": "two"}, labels=True, check=c))
        assert "version 2 is not from here, where version 1 was the last" in error.message
    assert aws.held("p") == ("theirs", 2)
    assert aws.bring({"p": "two"}, labels=True, accept_drift=True)["changed"]
    assert aws.held("p") == ("two", 3)
    assert aws.labels("p") == {1: ["previous"], 3: ["current"]}


def test_a_hundred_versions_with_a_label_in_the_way(aws: AwsWorld) -> None:
    for number in range(100):
        aws.put("p", f"value {number}")
    label = {"Name": aws.name("p"), "ParameterVersion": 1}
    aws.api.label_parameter_version(**label, Labels=["release-7"])
    error = fails(Refused, lambda: aws.bring({"p": "new"}))
    assert "does not drop the oldest, 1, because of its label release-7" in error.message
    aws.api.unlabel_parameter_version(**label, Labels=["release-7"])
    # Ours is moved out of the way, as it would be after the write.
    aws.api.label_parameter_version(**label, Labels=["previous"])
    here = {"Name": aws.name("p"), "ParameterVersion": 100}
    aws.api.label_parameter_version(**here, Labels=["current"])
    aws.bring({"p": "new"}, labels=True)
    assert aws.held("p") == ("new", 101)
    assert aws.labels("p") == {100: ["previous"], 101: ["current"]}


# --- others, and what goes wrong


def test_a_write_in_between_is_detected_and_told(aws: AwsWorld) -> None:
    aws.bring({"p": "one", "q": "one"})

    def meanwhile(exchange: Exchange) -> None:
        aws.put("p", "theirs")
        exchange.pass_on()

    with aws.proxy() as proxy:
        proxy.faults.append(Fault(meanwhile, naming("/p", "PutParameter"), 1))
        error = fails(Conflict, lambda: aws.bring({"p": "two", "q": "two"}))
    assert "somebody else wrote version 2 after version 1 was read here" in error.message
    assert "this write, version 3, stands above it" in error.message
    assert error.details["changed"] is True
    assert [item.get("kind") for item in error.details["parameters"]] == ["Conflict", None]
    assert aws.held("p") == ("two", 3)
    assert aws.held("q") == ("two", 2)
    assert not aws.bring({"p": "two", "q": "two"})["changed"]


def test_one_made_in_between_is_a_conflict(aws: AwsWorld) -> None:
    def meanwhile(exchange: Exchange) -> None:
        aws.put("p", "theirs")
        exchange.pass_on()

    with aws.proxy() as proxy:
        proxy.faults.append(harmed(meanwhile, ["PutParameter"]))
        error = fails(Conflict, lambda: aws.bring({"p": "ours"}))
    assert error.details["changed"] is False
    assert aws.held("p") == ("theirs", 1)


def test_absent_and_denied_are_kept_apart_in_a_batch(aws: AwsWorld) -> None:
    values = make(12)
    aws.put("p3", "theirs")
    with aws.proxy() as proxy:
        deny = told("AccessDeniedException")
        proxy.faults.append(Fault(deny, naming(f'{aws.prefix}/p3"', "GetParameters")))
        error = fails(Denied, lambda: aws.bring(values))
    told_of = {item["name"]: item for item in error.details["parameters"]}
    denied = told_of.pop(aws.name("p3"))
    assert denied["kind"] == "Denied" and "ssm:GetParameters" in denied["error"]
    assert all(item["changed"] and "error" not in item for item in told_of.values())
    assert aws.held("p3") == ("theirs", 1)
    assert aws.bring(values)["changed"]
    assert aws.held("p3") == (values["p3"], 2)


def test_a_key_that_cannot_be_seen_is_not_changed_to_another(aws: AwsWorld) -> None:
    aws.put("p", "old", KeyId="alias/app")
    with aws.proxy() as proxy:
        proxy.faults.append(harmed(told("AccessDeniedException"), ["DescribeParameters"], None))
        for check in (True, False):
            error = fails(Denied, lambda c=check: aws.bring({"p": "new"}, check=c))
            assert "its KMS key cannot be seen" in error.message
        assert aws.held("p") == ("old", 1)
        assert aws.bring({"q": "new"})["changed"]
        # One that is named is written, unless all else is the same and only that could differ.
        assert aws.bring({"p": "new"}, key_id="alias/app")["changed"]
        assert aws.held("p") == ("new", 2)
        error = fails(Denied, lambda: aws.bring({"p": "new"}, key_id="alias/other"))
        assert "whether its key, tier and description are those of the options" in error.message
    assert aws.described("p")["KeyId"] == "alias/app"


@pytest.mark.parametrize("headers", [{}, {"Retry_After": "1"}])
def test_throttling_is_waited_out(aws: AwsWorld, headers: dict[str, str]) -> None:
    values = make(6)
    throttle = told("ThrottlingException", **headers)
    with aws.proxy() as proxy:
        proxy.faults += [
            harmed(throttle, ["GetParameters"], 2),
            harmed(throttle, ["PutParameter"], 4),
            harmed(told("TooManyUpdates"), ["PutParameter"], 2),
        ]
        started = time.monotonic()
        aws.bring(values, threads=3)
        took = time.monotonic() - started
    assert all(aws.held(short) == (value, 1) for short, value in values.items())
    assert took >= (2.0 if headers else 0.2)


def test_the_deadline_of_all_is_the_users(aws: AwsWorld) -> None:
    values = make(30)
    with aws.proxy() as proxy:
        proxy.faults.append(harmed(told("ThrottlingException"), ["PutParameter"], None))
        started = time.monotonic()
        error = fails(Unreachable, lambda: aws.bring(values, timeout="2s"))
        assert time.monotonic() - started < 8
        # What was not begun any more asked for nothing.
        assert count(proxy, "PutParameter") < 120
    assert "limits the rate" in error.message
    assert "not begun" in str(error.details["parameters"])
    assert error.details["changed"] is False


@pytest.mark.parametrize(
    "act", [harm.lost, harm.truncated, harm.malformed, harm.reset, told("InternalServerError", 500)]
)
@pytest.mark.parametrize("there", [False, True])
def test_a_write_whose_answer_was_lost_is_looked_up(
    aws: AwsWorld, act: harm.Act, there: bool
) -> None:
    if there:
        aws.put("p", "old")
    with aws.proxy() as proxy:
        proxy.faults.append(harmed(act, ["PutParameter"]))
        if act in (harm.lost, harm.truncated, harm.malformed):
            changed = aws.bring({"p": "new"})["changed"]
        else:
            error = fails(Unreachable, lambda: aws.bring({"p": "new"}))
            assert error.details["changed"] is False
            changed = aws.bring({"p": "new"})["changed"]
    assert changed
    assert aws.held("p") == ("new", 2 if there else 1)


def test_reads_are_repeated(aws: AwsWorld) -> None:
    with aws.proxy() as proxy:
        for act in (harm.reset, harm.truncated):
            proxy.faults.append(harmed(act, ["GetParameters"]))
        assert aws.bring({"p": "x"})["changed"]
        proxy.faults.append(harmed(told("InternalServerError", 500), ["GetParameters"], None))
        fails(Unreachable, lambda: aws.bring({"p": "y"}))
    assert aws.held("p") == ("x", 1)


def test_removing(aws: AwsWorld) -> None:
    values = make(13)
    aws.bring(values)
    both = {**values, "never": "there"}
    predicted = remove(aws, both, check=True)
    assert aws.held("p0")[1] == 1
    with aws.proxy() as proxy:
        proxy.faults.append(harmed(harm.lost, ["DeleteParameters"]))
        done = remove(aws, both)
    assert [item["changed"] for item in done["parameters"]] == [True] * 13 + [False]
    assert done["diff"] == predicted["diff"] or done["diff"]["after"] == predicted["diff"]["after"]
    assert not remove(aws, both)["changed"]


def test_nothing_of_what_aws_says_is_passed_on(aws: AwsWorld) -> None:
    value = secrets.token_urlsafe(20)

    def echo(exchange: Exchange) -> None:
        text = exchange.asked.body.replace(b'"', b"")
        harm.said(400, b'{"__type": "ValidationException", "message": "%s"}' % text)(exchange)

    with aws.proxy() as proxy:
        proxy.faults.append(Fault(echo, of("PutParameter")))
        error = fails(BadInput, lambda: aws.bring({"p": value}))
    assert value not in str((error.message, error.details))
