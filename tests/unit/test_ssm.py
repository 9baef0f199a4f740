# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs no server of ssm_secret and AWS's stores: plans, names, packing, the pace of calls, which errors pass."""

from __future__ import annotations

import secrets
import time

import botocore.exceptions as told
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws_errors import (
    THROTTLED,
    TROUBLED,
    UNSENT,
    may_be_done,
    passing,
    wished_pause,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws_pace import Pace
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Corrupt,
    Denied,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_names import (
    IN_PARAMETERS,
    IN_SECRETS,
    check_parameter_name,
    escape,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_options import with_aws_options
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import (
    Found,
    tier_for,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_plan import (
    ALWAYS,
    CREATE,
    DELETE,
    LABEL,
    NEVER,
    NOTHING,
    WRITE,
    Rules,
    Seen,
    Wish,
    needs_attributes,
    plan,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_secret import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._secretsmanager import (
    token_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._ssm import pack, unpack

OLD, NEW = Secret("old"), Secret("new")


def found(version: int = 3, kind: str = "SecureString") -> Found:
    return Found(OLD, version, kind)


@pytest.mark.parametrize(
    ("wish", "seen", "rules", "action"),
    [
        (Wish("/a", NEW), Seen(), Rules(), CREATE),
        (Wish("/a", NEW), Seen(), Rules(NEVER), CREATE),
        (Wish("/a", OLD), Seen(found()), Rules(), NOTHING),
        (Wish("/a", NEW), Seen(found()), Rules(), WRITE),
        (Wish("/a", NEW), Seen(found()), Rules(NEVER), NOTHING),
        (Wish("/a", OLD), Seen(found()), Rules(ALWAYS), WRITE),
        (Wish("/a", Secret.new()), Seen(found()), Rules(), WRITE),
        (Wish("/a", NEW, first=True), Seen(), Rules(), CREATE),
        (Wish("/a", NEW, first=True), Seen(found()), Rules(), NOTHING),
        (Wish("/a", NEW, first=True), Seen(found()), Rules(ALWAYS, labels=True), NOTHING),
        (Wish("/a", None), Seen(found()), Rules(), DELETE),
        (Wish("/a", None), Seen(), Rules(), NOTHING),
        (Wish("/a", OLD), Seen(found()), Rules(labels=True), LABEL),
        (Wish("/a", OLD), Seen(found(), 3), Rules(labels=True), NOTHING),
        (Wish("/a", OLD), Seen(found(), 2), Rules(labels=True), LABEL),
        (Wish("/a", NEW), Seen(found(), 3), Rules(labels=True), WRITE),
        (Wish("/a", NEW), Seen(found(), 2), Rules(labels=True, accept_drift=True), WRITE),
        (Wish("/a", OLD, given={"KeyId": "alias/x"}), Seen(found()), Rules(), WRITE),
        (Wish("/a", OLD, given={"DataType": "text"}), Seen(found()), Rules(), NOTHING),
        (Wish("/a", OLD, given={"Tier": "Intelligent-Tiering"}), Seen(found()), Rules(), NOTHING),
    ],
)
def test_plans(wish: Wish, seen: Seen, rules: Rules, action: str) -> None:
    assert plan(wish, seen, rules, "it").action == action


def test_plans_that_are_refused() -> None:
    with pytest.raises(Refused, match="somebody else changed it"):
        plan(Wish("/a", NEW), Seen(found(), 2), Rules(labels=True), "it")
    with pytest.raises(BadInput, match="type: String"):
        plan(Wish("/a", NEW), Seen(found(kind="String")), Rules(), "it")
    advanced = Seen(found(), attributes={"Tier": "Advanced"})
    with pytest.raises(BadInput, match="no standard one"):
        plan(Wish("/a", NEW, given={"Tier": "Standard"}), advanced, Rules(), "it")
    with pytest.raises(Denied):
        plan(Wish("/a", NEW), Seen(error=Denied("no")), Rules(), "it")


@pytest.mark.parametrize(
    ("wanted", "there", "same"),
    [
        ("alias/a", "alias/a", True),
        ("arn:aws:kms:eu-west-1:1:alias/a", "alias/a", True),
        ("arn:aws:kms:eu-west-1:1:key/7-8", "7-8", True),
        ("7-8", "arn:aws-cn:kms:cn-north-1:1:key/7-8", True),
        ("alias/a", "alias/b", False),
        ("alias/a", "a", False),
    ],
)
def test_a_key_is_the_same_however_it_is_written(wanted: str, there: str, same: bool) -> None:
    wish = Wish("/a", OLD, given={"KeyId": wanted})
    action = plan(wish, Seen(found(), attributes={"KeyId": there}), Rules(), "it").action
    assert (action == NOTHING) is same


def test_attributes_are_asked_for_only_where_they_count() -> None:
    assert not needs_attributes(Wish("/a", NEW), Seen(), Rules())
    assert not needs_attributes(Wish("/a", OLD), Seen(found()), Rules())
    assert needs_attributes(Wish("/a", NEW), Seen(found()), Rules())
    assert not needs_attributes(Wish("/a", NEW), Seen(found(kind="String")), Rules())
    assert needs_attributes(Wish("/a", OLD, given={"Description": "x"}), Seen(found()), Rules())
    assert not needs_attributes(Wish("/a", NEW), Seen(found()), Rules(NEVER))
    assert not needs_attributes(Wish("/a", NEW, first=True), Seen(found()), Rules())
    named = Wish("/a", NEW, given={"KeyId": "alias/x", "Description": "x"})
    assert not needs_attributes(named, Seen(found()), Rules())
    # Beside the new value, a diff tells that the key is another one.
    assert needs_attributes(named, Seen(found()), Rules(explain=True))
    assert needs_attributes(Wish("/a", OLD, given=named.given), Seen(found()), Rules())
    # It is written again, and its key must stay.
    assert needs_attributes(Wish("/a", OLD, given={"DataType": "x"}), Seen(found()), Rules())
    tiered = Wish("/a", NEW, given={"KeyId": "alias/x", "Tier": "Standard"})
    assert needs_attributes(tiered, Seen(found()), Rules())


def test_tiers() -> None:
    assert [tier_for("x" * 4096, tier) for tier in ("", "Standard", "Advanced")] == [
        "",
        "Standard",
        "Advanced",
    ]
    assert [tier_for("é" * 2049, tier) for tier in ("", "Standard")] == ["Advanced", "Advanced"]
    assert tier_for("x" * 5000, "Intelligent-Tiering") == "Intelligent-Tiering"


# --- names and texts


def test_names_are_kept_or_escaped_to_another_one_each() -> None:
    paths = ["a/b", "a.b-c_d", "with blank", "ü", "100%", "a_.20.b", "a b", "a_b", "a_.b"]
    for refused in (IN_PARAMETERS, IN_SECRETS):
        written = [escape(path, refused) for path in paths]
        assert len(set(written)) == len(paths)
        assert written[:2] == paths[:2]
    assert escape("with blank", IN_PARAMETERS) == "with_.20.blank"
    assert check_parameter_name("/" + escape("ü 100%/a", IN_PARAMETERS), "it")
    assert escape("a+b=c@d", IN_SECRETS) == "a+b=c@d"


@pytest.mark.parametrize("text", ["", "x" * 9000, "é\ud800\x00", '{"a": "{{b}}"}'])
def test_packing(text: str) -> None:
    value = pack(text, "0011223344556677")
    assert unpack(value, "it") == text
    assert "{{" not in value


@pytest.mark.parametrize("value", ["", "keyturn1:", "keyturn1:a:%%%", "keyturn1:a:YWJj", "{}"])
def test_what_was_not_packed(value: str) -> None:
    with pytest.raises(Corrupt):
        unpack(value, "it")


def test_the_token_of_a_write_is_its_own() -> None:
    assert token_of("v1", "text") == token_of("v1", "text")
    assert (
        len({token_of(*pair) for pair in (("v1", "a"), ("v1", "b"), ("v2", "a"), (None, "a"))}) == 4
    )
    assert 32 <= len(token_of(None, "x")) <= 64


# --- errors and pace


def answered(code: str, status: int, **headers: str) -> told.ClientError:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    return told.ClientError({"Error": {"Code": code}, "ResponseMetadata": metadata}, "PutParameter")


@pytest.mark.parametrize(
    ("error", "read", "write", "done"),
    [
        (answered("ThrottlingException", 400), THROTTLED, THROTTLED, False),
        (answered("TooManyUpdates", 400), THROTTLED, THROTTLED, False),
        (answered("Anything", 429), THROTTLED, THROTTLED, False),
        (answered("InternalServerError", 500), TROUBLED, "", True),
        (answered("ServiceUnavailable", 503), TROUBLED, "", True),
        (answered("AccessDeniedException", 400), "", "", False),
        (answered("403", 403), "", "", True),
        (answered("429", 429), THROTTLED, THROTTLED, False),
        (told.ReadTimeoutError(endpoint_url="x"), TROUBLED, "", True),
        (told.ConnectionClosedError(endpoint_url="x"), TROUBLED, "", True),
        (told.EndpointConnectionError(endpoint_url="x"), UNSENT, UNSENT, False),
        (told.ConnectTimeoutError(endpoint_url="x"), UNSENT, UNSENT, False),
        (told.SSLError(endpoint_url="x", error="y"), "", "", False),
        (told.NoCredentialsError(), "", "", False),
        (KeyError("Version"), TROUBLED, "", True),
    ],
)
def test_what_may_be_sent_again(error: Exception, read: str, write: str, done: bool) -> None:
    assert passing(error, writes=False) == read
    assert passing(error, writes=True) == write
    assert may_be_done(error) is done


def test_how_long_the_service_asks_to_wait() -> None:
    assert wished_pause(answered("ThrottlingException", 400)) == 0
    assert wished_pause(answered("ThrottlingException", 400, **{"retry-after": "3"})) == 3
    assert wished_pause(answered("X", 503, **{"retry-after": "tomorrow"})) == 0
    assert wished_pause(answered("X", 503, **{"retry-after": "9999"})) == 60
    assert wished_pause(KeyError()) == 0


def test_the_pace_slows_down_once_for_many_and_recovers() -> None:
    pace = Pace()
    waits: list[float] = []
    end = time.monotonic() + 60
    assert pace.wait(end, waits.append) and not waits
    for _call in range(12):
        pace.slower()
    for _call in range(4):
        assert pace.wait(end, waits.append)
    assert waits[-1] == pytest.approx(0.06, abs=0.02)
    assert not pace.wait(time.monotonic(), waits.append)
    for _call in range(100):
        pace.faster()
    waits.clear()
    assert pace.wait(end, waits.append) and not waits


# --- options


def test_options_are_laid_over_the_environment() -> None:
    environ = {"AWS_PROFILE": "ops", "AWS_SESSION_TOKEN": "t", "AWS_REGION": "us-east-1"}
    key = secrets.token_hex(8)
    given = {"access_key": "AKIA", "secret_key": key, "region": "eu-west-1"}
    context, settings = with_aws_options(given, Context(environ=environ), 4)
    assert context.environ == {
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": key,
    }
    assert key not in repr(settings)
    environ = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    context, settings = with_aws_options({"profile": "ops"}, Context(environ=environ), 4)
    assert context.environ == {"AWS_PROFILE": "ops"}
    assert settings.profile == "ops"


def test_a_secret_option_may_be_a_reference() -> None:
    environ = {"THE_KEY": "value"}
    given = {"access_key": "AKIA", "secret_key": "ref+envsubst://$THE_KEY"}
    context, _settings = with_aws_options(given, Context(environ=environ), 4)
    assert context.environ["AWS_SECRET_ACCESS_KEY"] == "value"


def test_options_have_the_names_and_choices_that_others_give_them() -> None:
    many = MODULE.argument_spec["parameters"]["options"]
    for options in (MODULE.argument_spec, many):
        assert options["type"]["aliases"] == ["string_type"]
        assert options["tags"]["aliases"] == ["resource_tags"]
    strange = {"parameters": [{"name": "/a", "string_type": "Text", "tier": "Large"}]}
    told = ArgumentSpecValidator(MODULE.argument_spec).validate(strange).error_messages
    assert [text.split(" must be one of: ")[1].split(",")[0] for text in told] == [
        "SecureString",
        "Standard",
    ]
