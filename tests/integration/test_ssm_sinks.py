# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sinks in Parameter Store and Secrets Manager: what is particular to each, beside what every place promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import fault_proxy as harm
import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Corrupt,
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import (
    Outcome,
    Wanted,
    bring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import TextCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._json import JsonCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._secretsmanager import (
    SecretPlace,
    open_secret_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._ssm import (
    ParameterPlace,
    open_parameter_place,
)
from aws_world import AwsWorld, count, harmed, told
from estate.moto import MotoServer
from fault_proxy import Exchange

WHERE = "sink 'app'"
CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"


@pytest.fixture
def ssm(moto: MotoServer) -> AwsWorld:
    return AwsWorld(moto)


@pytest.fixture
def manager(moto: MotoServer) -> AwsWorld:
    return AwsWorld(moto, "secretsmanager")


def fails(kind: type[KeyturnError], call: Callable[[], object]) -> KeyturnError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.type is kind
    return caught.value


def place(world: AwsWorld, scheme: str, query: str, keys: bool) -> ParameterPlace | SecretPlace:
    reference = parse_reference(f"ref+{scheme}://{world.prefix}/app{query}", WHERE)
    codec = JsonCodec() if keys else TextCodec()
    opened: Callable[..., ParameterPlace | SecretPlace] = (
        open_parameter_place if scheme == "awsssm" else open_secret_place
    )
    return opened(reference, codec, world.context(), WHERE)


def ensure(
    world: AwsWorld, scheme: str, query: str = "", check: bool = False, **fields: str | None
) -> Outcome:
    """Bring fields of a sink to these values; ``whole`` is the one text."""
    values = {
        "" if name == "whole" else name: None if value is None else Secret(value)
        for name, value in fields.items()
    }
    target = place(world, scheme, query, "whole" not in fields)
    context = world.context(check_mode=check)
    return bring(target, Wanted(WHERE, values), lambda: None, context)


# --- Parameter Store


def test_keys_in_one_parameter_leave_the_others(ssm: AwsWorld) -> None:
    ssm.put("app", '{"other": "kept", "password": "old"}')
    assert ensure(ssm, "awsssm", password="new").version == "2"
    assert json.loads(ssm.held("app")[0]) == {"other": "kept", "password": "new"}
    assert not ensure(ssm, "awsssm", password="new").changed
    assert ensure(ssm, "awsssm", password=None).changed
    assert json.loads(ssm.held("app")[0]) == {"other": "kept"}


def test_a_text_that_is_gone_takes_the_parameter_with_it(ssm: AwsWorld) -> None:
    assert ensure(ssm, "awsssm", whole="value").version == "1"
    assert ensure(ssm, "awsssm", check=True, whole=None).changed
    assert ssm.held("app") == ("value", 1)
    assert ensure(ssm, "awsssm", whole=None).changed
    with pytest.raises(ssm.api.exceptions.ParameterNotFound):
        ssm.held("app")
    assert not ensure(ssm, "awsssm", whole=None).changed


def test_a_write_in_between_is_detected_and_not_tried_again(ssm: AwsWorld) -> None:
    ssm.put("app", "old")

    def meanwhile(exchange: Exchange) -> None:
        ssm.put("app", "theirs")
        ssm.put("app", "theirs too")
        exchange.pass_on()

    with ssm.proxy() as proxy:
        proxy.faults.append(harmed(meanwhile, ["PutParameter"]))
        error = fails(Conflict, lambda: ensure(ssm, "awsssm", whole="new"))
        assert count(proxy, "PutParameter") == 1
    assert "wrote version 2 to 3 after version 1 was read here" in error.message
    assert "version 4, stands above it" in error.message
    assert not ensure(ssm, "awsssm", whole="new").changed


def test_one_made_in_between_is_planned_anew(ssm: AwsWorld) -> None:
    def meanwhile(exchange: Exchange) -> None:
        ssm.put("app", '{"other": "kept"}')
        exchange.pass_on()

    with ssm.proxy() as proxy:
        proxy.faults.append(harmed(meanwhile, ["PutParameter"]))
        assert ensure(ssm, "awsssm", password="new").version == "2"
    assert json.loads(ssm.held("app")[0]) == {"other": "kept", "password": "new"}


@pytest.mark.parametrize("act", [harm.lost, harm.malformed])
@pytest.mark.parametrize("there", [True, False])
def test_a_lost_answer_is_looked_up(ssm: AwsWorld, act: harm.Act, there: bool) -> None:
    if there:
        ssm.put("app", "old")
    with ssm.proxy() as proxy:
        proxy.faults.append(harmed(act, ["PutParameter"]))
        assert ensure(ssm, "awsssm", whole="new").version == ("2" if there else "1")
    assert ssm.held("app")[0] == "new"


def test_a_write_that_was_never_done_is_not_taken_for_done(ssm: AwsWorld) -> None:
    ssm.put("app", "old")
    with ssm.proxy() as proxy:
        proxy.faults.append(harmed(harm.reset, ["PutParameter"], None))
        error = fails(Unreachable, lambda: ensure(ssm, "awsssm", whole="new"))
    assert error.details["uncertain"]
    assert ssm.held("app") == ("old", 1)


def test_the_key_stays_and_is_never_guessed(ssm: AwsWorld) -> None:
    ssm.put("app", "old", KeyId="alias/app", Description="of the app")
    ensure(ssm, "awsssm", whole="new")
    assert ssm.described("app")["KeyId"] == "alias/app"
    with ssm.proxy() as proxy:
        proxy.faults.append(harmed(told("AccessDeniedException"), ["DescribeParameters"], None))
        for check in (True, False):
            error = fails(Denied, lambda c=check: ensure(ssm, "awsssm", check=c, whole="third"))
            assert "ssm:DescribeParameters" in error.message
        ensure(ssm, "awsssm", "?kms_key_id=alias/other", whole="third")
    assert ssm.described("app")["KeyId"] == "alias/other"


def test_a_plain_parameter_is_told_of_and_stays_one(ssm: AwsWorld) -> None:
    ssm.put("app", "old", Type="String")
    done = ensure(ssm, "awsssm", whole="new")
    assert "AWS keeps unencrypted" in done.observed.notes[0]
    assert ssm.described("app")["Type"] == "String"


def test_check_mode_writes_nothing_and_tells_what_would_stop_it(ssm: AwsWorld) -> None:
    ssm.put("app", "old")
    assert ensure(ssm, "awsssm", check=True, whole="new").changed
    fails(BadInput, lambda: ensure(ssm, "awsssm", check=True, whole="x" * 9000))
    fails(BadInput, lambda: ensure(ssm, "awsssm", check=True, whole=""))
    assert ssm.held("app") == ("old", 1)


# --- Secrets Manager


def label(world: AwsWorld, stage: str) -> str | None:
    try:
        found: dict[str, Any] = world.api.get_secret_value(
            SecretId=f"{world.prefix}/app", VersionStage=stage
        )
    except world.api.exceptions.ResourceNotFoundException:
        return None
    return str(found["SecretString"])


def test_stages_are_labels(manager: AwsWorld) -> None:
    ensure(manager, "awssecrets", whole="one")
    pending = ensure(manager, "awssecrets", "?version_stage=AWSPENDING", whole="two")
    assert (label(manager, CURRENT), label(manager, PENDING)) == ("one", "two")
    assert not ensure(manager, "awssecrets", "?version_stage=AWSPENDING", whole="two").changed
    # What was pending becomes current without being written once more.
    current = ensure(manager, "awssecrets", whole="two")
    assert current.version == pending.version
    assert (label(manager, CURRENT), label(manager, PREVIOUS)) == ("two", "one")
    assert ensure(manager, "awssecrets", "?version_stage=AWSPENDING", whole=None).changed
    assert label(manager, PENDING) is None
    third = ensure(manager, "awssecrets", whole="three")
    assert third.version != current.version
    assert (label(manager, CURRENT), label(manager, PREVIOUS)) == ("three", "two")


def test_nothing_is_pending_before_something_is_current(manager: AwsWorld) -> None:
    query = "?version_stage=AWSPENDING"
    error = fails(BadInput, lambda: ensure(manager, "awssecrets", query, whole="x"))
    assert "write AWSCURRENT first" in error.message
    wrong = fails(BadInput, lambda: place(manager, "awssecrets", "?version_stage=NEXT", False))
    assert "must be AWSCURRENT, AWSPENDING or AWSPREVIOUS" in wrong.message


def test_what_was_before_loses_its_label_when_it_ends(manager: AwsWorld) -> None:
    query = "?version_stage=AWSPREVIOUS"
    first = ensure(manager, "awssecrets", whole="one")
    ensure(manager, "awssecrets", whole="two")
    # AWS has moved it, so there is nothing to do.
    assert not ensure(manager, "awssecrets", query, whole="one").changed
    assert ensure(manager, "awssecrets", query, check=True, whole=None).changed
    assert label(manager, PREVIOUS) == "one"
    assert ensure(manager, "awssecrets", query, whole=None).changed
    assert (label(manager, CURRENT), label(manager, PREVIOUS)) == ("two", None)
    assert not ensure(manager, "awssecrets", query, whole=None).changed
    # Ahead of the write that makes another one current: no version is made for it.
    second = ensure(manager, "awssecrets", query, whole="two")
    assert second.version != first.version
    assert label(manager, PREVIOUS) == "two"
    ensure(manager, "awssecrets", whole="three")
    assert (label(manager, CURRENT), label(manager, PREVIOUS)) == ("three", "two")
    versions = manager.api.list_secret_version_ids(
        SecretId=f"{manager.prefix}/app", IncludeDeprecated=True
    )["Versions"]
    assert len(versions) == 3
    # One that AWS has elsewhere is put right.
    assert ensure(manager, "awssecrets", query, whole="one").changed
    assert (label(manager, CURRENT), label(manager, PREVIOUS)) == ("three", "one")


def test_a_dry_run_knows_what_aws_moves_by_itself(manager: AwsWorld) -> None:
    """The sink of what was before, after that of what is current: nothing is left to write there."""
    ensure(manager, "awssecrets", whole="one")
    ensure(manager, "awssecrets", whole="two")
    for check in (True, False):
        context = manager.context(check_mode=check)
        done = []
        for query, value in (("", "three"), ("?version_stage=AWSPREVIOUS", "two")):
            reference = parse_reference(f"ref+awssecrets://{manager.prefix}/app{query}", WHERE)
            opened = open_secret_place(reference, TextCodec(), context, WHERE + query)
            wanted = Wanted(WHERE + query, {"": Secret(value)})
            done.append(bring(opened, wanted, lambda: None, context).changed)
        assert done == [True, False]
    assert (label(manager, CURRENT), label(manager, PREVIOUS)) == ("three", "two")


def test_keys_in_one_secret_and_a_writer_in_between(manager: AwsWorld) -> None:
    ensure(manager, "awssecrets", username="app", password="old")

    def meanwhile(exchange: Exchange) -> None:
        manager.api.put_secret_value(
            SecretId=f"{manager.prefix}/app",
            SecretString='{"username": "app", "password": "old", "port": 5432}',
        )
        exchange.pass_on()

    with manager.proxy() as proxy:
        proxy.faults.append(harmed(meanwhile, ["UpdateSecretVersionStage"]))
        assert ensure(manager, "awssecrets", password="new").changed
        assert count(proxy, "UpdateSecretVersionStage") == 2
    held = label(manager, CURRENT)
    assert held and json.loads(held) == {"username": "app", "password": "new", "port": 5432}


@pytest.mark.parametrize("step", ["PutSecretValue", "UpdateSecretVersionStage"])
def test_a_lost_answer_of_each_step(manager: AwsWorld, step: str) -> None:
    ensure(manager, "awssecrets", whole="one")
    with manager.proxy() as proxy:
        proxy.faults.append(harmed(harm.lost, [step]))
        assert ensure(manager, "awssecrets", whole="two").changed
    assert (label(manager, CURRENT), label(manager, PREVIOUS)) == ("two", "one")


def test_removing_a_secret_marks_it_for_deletion(manager: AwsWorld) -> None:
    ensure(manager, "awssecrets", whole="one")
    assert ensure(manager, "awssecrets", whole=None).changed
    about = manager.api.describe_secret(SecretId=f"{manager.prefix}/app")
    assert about["DeletedDate"]


def test_binary_and_what_no_name_is(manager: AwsWorld) -> None:
    manager.api.create_secret(Name=f"{manager.prefix}/app", SecretBinary=b"\xff")
    fails(Corrupt, lambda: ensure(manager, "awssecrets", password="new"))
    assert ensure(manager, "awssecrets", whole="text").changed
    assert label(manager, CURRENT) == "text"
    reference = parse_reference("ref+awssecrets://with%20blank", WHERE)
    context = manager.context()
    fails(BadInput, lambda: open_secret_place(reference, TextCodec(), context, WHERE))
