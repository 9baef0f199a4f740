# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies for AWS that docs/stores.md ships: each is enough for what it is for, and none of its actions can be left out.

The server compares the action and the resource of every request with the policy (``demo/estate/aws_server.py``), so each request is
one that the policy names. What it does not compare are rights on KMS keys: those are as AWS documents them, and the page says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions import PUSH_OUT, _ssm
from aws_rights import Identity, Policy, actions, alone, policies, without
from aws_world import of
from estate.moto import MotoServer
from fault_proxy import Exchange, Fault

POLICIES = policies()
KEYRING, SINK = "Keyring in Systems Manager", "Sink in Systems Manager"
TASK, READ = "Task ssm_secret", "References that are only read"
LOOKED_AT = "History in Systems Manager, looked at"
PUSHED_OUT = "History in Systems Manager, pushed out"
OLD_SECRETS = "Old versions in Secrets Manager"
SECRET_KEYRING, SECRET_SINK = "Keyring in Secrets Manager", "Sink in Secrets Manager"


def lost(exchange: Exchange) -> None:
    """Do what was asked, and let no answer come."""
    exchange.forward()
    exchange.cut()


# What each policy is for. Each ends with an error at the first thing that it may not do.


def keep_in_parameters(it: Identity, below: str = "keyrings") -> None:
    """Ten writes: each fifth one removes what is too old."""
    store = it.store(f"ref+awsssm://{below}/{it.name}")
    assert store.read() is None
    version = None
    for number in range(10):
        version = store.write(f"document {number}", version)
    found = store.read()
    assert found == ("document 9", version)


def sink_in_parameters(it: Identity, below: str = "musehub") -> None:
    """Made, changed, changed without an answer, removed."""
    reference = f"ref+awsssm://{below}/{it.name}"
    for value in ("first", "second"):
        assert it.bring(reference, value).changed
        assert not it.bring(reference, value).changed
    it.proxy.faults.append(Fault(lost, of("PutParameter"), 1))
    assert it.bring(reference, "third").changed
    assert it.bring(reference, None).changed


def values_by_task(it: Identity, below: str = "musehub") -> None:
    """Made and changed."""
    for value in ("first", "second"):
        assert it.task(name=f"/{below}/{it.name}", value=value)["changed"]
    assert not it.task(name=f"/{below}/{it.name}", value="second")["changed"]


def labels_by_task(it: Identity, below: str = "musehub") -> None:
    """A label for each version, also when the oldest of 100 has one; and a change of somebody else's is found."""
    name = f"/{below}/{it.name}"
    for value in ("first", "second"):
        it.task(name=name, value=value, labels=True)
    it.server.check_rights(False)
    ssm = it.admin("ssm")
    for number in range(98):
        ssm.put_parameter(Name=name, Value=f"{number}", Type="SecureString", Overwrite=True)
    it.server.check_rights(True)
    with pytest.raises(Refused, match="somebody else changed it: version 100"):
        it.task(name=name, value="third", labels=True)
    done = it.task(name=name, value="third", labels=True, accept_drift=True)
    assert done["parameters"][0]["version"] == 101


def tags_by_task(it: Identity, below: str = "musehub") -> None:
    """Tags of a parameter that is there, and of one that is made."""
    given = {"name": f"/{below}/{it.name}", "value": "v"}
    for tags in ({}, {"team": "platform"}, {"team": "web"}):
        assert it.task(**given, tags=tags)["changed"]
    assert not it.task(**given, tags={"team": "web"})["changed"]
    made = {**given, "name": f"{given['name']}-made"}
    assert it.task(**made, tags={"team": "web"})["changed"]


def remove_by_task(it: Identity, below: str = "musehub") -> None:
    """Made, and removed."""
    it.task(name=f"/{below}/{it.name}", value="v")
    assert it.task(name=f"/{below}/{it.name}", state="absent")["changed"]


def keep_in_secret(it: Identity, below: str = "keyrings") -> None:
    """Made, read, changed."""
    store = it.store(f"ref+awssecrets://{below}/{it.name}")
    assert store.read() is None
    version = store.write("first", None)
    version = store.write("second", version)
    assert store.read() == ("second", version)


def sink_in_secret(it: Identity, below: str = "musehub") -> None:
    """Made, changed, removed."""
    reference = f"ref+awssecrets://{below}/{it.name}"
    for value in ("first", "second", None):
        assert it.bring(reference, value).changed


def read_references(it: Identity, below: str = "musehub") -> None:
    """A parameter, those below a path, and a secret; one that is not there is absent and not denied."""
    it.server.check_rights(False)
    place = f"{below}/{it.name}"
    it.admin("ssm").put_parameter(Name=f"/{place}/key", Value="v", Type="SecureString")
    it.admin("secretsmanager").create_secret(Name=place, SecretString="v")
    it.server.check_rights(True)
    for reference in (f"awsssm://{place}/key", f"awsssm://{place}#/key", f"awssecrets://{place}"):
        assert it.value(f"ref+{reference}") == "v"
    for reference in (
        f"awsssm://{place}/no",
        f"awsssm://{place}/no#/key",
        f"awssecrets://{place}no",
    ):
        with pytest.raises(Absent):
            it.value(f"ref+{reference}")


def history_of(it: Identity, below: str) -> str:
    """A parameter whose first version, which has a label, carries a value; its reference."""
    it.server.check_rights(False)
    name, ssm = f"/{below}/{it.name}", it.admin("ssm")
    for value in ("refused", "in use"):
        ssm.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
    ssm.label_parameter_version(Name=name, ParameterVersion=1, Labels=["golden"])
    it.server.check_rights(True)
    return f"ref+awsssm:/{name}"


def look_at_history(it: Identity, below: str = "musehub") -> None:
    """What carries the value is told."""
    assert it.ended(history_of(it, below)) == ()


def push_out_history(it: Identity, below: str = "musehub") -> None:
    """The label is taken off, and two further versions are written: as many as it takes where AWS keeps three."""
    reference = history_of(it, below)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ssm, "KEPT", 3)
        assert it.ended(reference, PUSH_OUT) == ("1",)
    assert (
        it.admin_sees(lambda: it.admin("ssm").get_parameter(Name=f"/{below}/{it.name}"))[
            "Parameter"
        ]["Version"]
        == 4
    )


def end_in_secret(it: Identity, below: str = "musehub") -> None:
    """The version before loses its label."""
    it.server.check_rights(False)
    name, api = f"{below}/{it.name}", it.admin("secretsmanager")
    api.create_secret(Name=name, SecretString="refused")
    api.put_secret_value(SecretId=name, SecretString="in use")
    it.server.check_rights(True)
    assert len(it.ended(f"ref+awssecrets://{name}")) == 1


Use = Callable[..., None]
USES: dict[str, dict[str, Use]] = {
    KEYRING: {"": keep_in_parameters},
    SINK: {"": sink_in_parameters},
    TASK: {
        "": values_by_task,
        "Labels": labels_by_task,
        "Tags": tags_by_task,
        "Remove": remove_by_task,
    },
    LOOKED_AT: {"": look_at_history},
    PUSHED_OUT: {"": push_out_history},
    OLD_SECRETS: {"": end_in_secret},
    SECRET_KEYRING: {"": keep_in_secret},
    SECRET_SINK: {"": sink_in_secret},
    READ: {"": read_references},
}
"""What a policy is for; where a statement of its own allows something more, that by the statement's name."""

EACH = [
    (name, action, USES[name].get(statement["Sid"], USES[name][""]))
    for name in USES
    for statement in POLICIES[name]["Statement"]
    for action in statement["Action"]
]
# These do not stop what they are for. Their tests are below.
WARNED = (KEYRING, "ssm:DeleteParameters")
LOST = (SINK, "ssm:GetParameters")
FULL = (TASK, "ssm:GetParameterHistory")
# Without its one action a policy is none; the same one of another policy is tried.
ALONE = (LOOKED_AT, "ssm:GetParameterHistory")


@pytest.fixture(scope="module")
def user(moto: MotoServer) -> Iterator[Identity]:
    made = Identity(moto)
    yield made
    made.close()


@pytest.fixture
def identity(user: Identity) -> Identity:
    user.begin()
    return user


def refused(identity: Identity, policy: Policy, use: Use, **where: str) -> str:
    """What the error says when something is done with less rights."""
    with identity.may(policy), pytest.raises(KeyturnError) as caught:
        use(identity, **where)
    assert caught.type is Denied
    return caught.value.message


def test_every_policy_of_the_page_is_tried() -> None:
    assert set(POLICIES) == set(USES)


@pytest.mark.parametrize("name", USES)
def test_a_policy_is_enough_and_allows_nothing_that_is_not_used(
    identity: Identity, name: str
) -> None:
    """Without what is for other options: those statements are only there where they are used."""
    asked = set()
    for more, use in USES[name].items():
        others = [sid for sid in USES[name] if sid not in ("", more)]
        identity.begin()
        with identity.may(without(POLICIES[name], *others)):
            use(identity)
        asked |= identity.asked()
        assert identity.warnings == []
    assert asked == {action.partition(":")[2] for action in actions(POLICIES[name])}


@pytest.mark.parametrize(
    ("name", "action", "use"),
    [item for item in EACH if item[:2] not in (WARNED, LOST, FULL, ALONE)],
)
def test_no_action_can_be_left_out(identity: Identity, name: str, action: str, use: Use) -> None:
    message = refused(identity, without(POLICIES[name], action), use)
    assert f"AWS denies this identity {action}" in message


@pytest.mark.parametrize("name", USES)
def test_a_policy_reaches_nothing_elsewhere(identity: Identity, name: str) -> None:
    message = refused(identity, POLICIES[name], USES[name][""], below="elsewhere")
    assert f"elsewhere/{identity.name}" in message


def test_a_parameter_is_not_made_with_tags_that_may_not_be_set(identity: Identity) -> None:
    name = f"/musehub/{identity.name}"
    with identity.may(without(POLICIES[TASK], "ssm:AddTagsToResource")):
        with pytest.raises(Denied, match=name):
            identity.task(name=name, value="v", tags={"team": "web"})
        assert identity.task(name=name, value="v")["changed"]


def test_old_versions_of_a_keyring_that_cannot_be_deleted_are_told(identity: Identity) -> None:
    with identity.may(without(POLICIES[KEYRING], WARNED[1])):
        keep_in_parameters(identity)
    [warning] = identity.warnings
    assert "old versions of the keyring stay" in warning
    assert f"AWS denies this identity {WARNED[1]}" in warning


def test_a_write_whose_answer_was_lost_is_not_known_without_looking(identity: Identity) -> None:
    with identity.may(without(POLICIES[SINK], LOST[1])):
        with pytest.raises(Unreachable) as caught:
            sink_in_parameters(identity)
        assert caught.value.details["uncertain"] is True
        assert not identity.bring(f"ref+awsssm://musehub/{identity.name}", "third").changed


def test_a_label_in_the_way_of_the_next_version_is_not_found_without_the_history(
    identity: Identity,
) -> None:
    with identity.may(without(POLICIES[TASK], FULL[1])), pytest.raises(Refused) as caught:
        labels_by_task(identity)
    assert "100 versions" in caught.value.message


@pytest.mark.parametrize("name", [KEYRING, SECRET_KEYRING])
def test_a_keyring_is_read_with_the_first_statement_alone(identity: Identity, name: str) -> None:
    scheme = "awsssm" if name == KEYRING else "awssecrets"
    store = identity.store(f"ref+{scheme}://keyrings/{identity.name}")
    with identity.may(POLICIES[name]):
        version = store.write("document", None)
    with identity.may(alone(POLICIES[name], "Read")):
        assert store.read() == ("document", version)
        with pytest.raises(Denied):
            store.write("another", version)


def test_a_key_that_is_named_need_not_be_seen(identity: Identity) -> None:
    with identity.may(without(POLICIES[SINK], "Keep")):
        for value in ("first", "second"):
            reference = f"ref+awsssm://musehub/{identity.name}?kms_key_id=alias/app"
            assert identity.bring(reference, value).changed
            assert not identity.bring(reference, value).changed


def test_a_secret_that_somebody_made_without_a_value_needs_no_right_to_make_one(
    identity: Identity,
) -> None:
    made = identity.admin("secretsmanager").create_secret(Name=f"keyrings/{identity.name}")
    with identity.may(without(POLICIES[SECRET_KEYRING], "Make")):
        store = identity.store(f"ref+awssecrets://{made['ARN']}")
        version = store.write("first", None)
        store.write("second", version)


def test_a_secret_that_is_there_needs_no_right_to_make_one(identity: Identity) -> None:
    place = f"musehub/{identity.name}"
    identity.admin("secretsmanager").create_secret(Name=place, SecretString="before")
    with identity.may(alone(POLICIES[SECRET_SINK], "Write")):
        assert identity.bring(f"ref+awssecrets://{place}", "after").changed


def test_a_kind_of_reference_that_is_not_used_needs_no_right(identity: Identity) -> None:
    kinds = {
        "Parameters": f"ref+awsssm://musehub/{identity.name}/key",
        "Below": f"ref+awsssm://musehub/{identity.name}#/key",
        "Secrets": f"ref+awssecrets://musehub/{identity.name}",
    }
    with identity.may(POLICIES[READ]):
        read_references(identity)
    for name, reference in kinds.items():
        with identity.may(alone(POLICIES[READ], name)):
            assert identity.value(reference) == "v"
