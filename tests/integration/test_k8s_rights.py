# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Roles that docs/stores.md ships: each is enough for what it is for, and no verb of it can be left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_object import KubernetesSecret
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_replace import MARK
from ansible_collections.keyturn.runbooks.plugins.module_utils._kubernetes import open_cluster
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve
from estate.kubernetes import KubernetesSaysNo, KubernetesServer
from estate.processes import wait_until
from k8s_rights import FewRights, Rule, policy, rights, roles, without

ROLES = roles()
KEYRING, SINK, CREATE = "keyturn-keyring", "keyturn-sink", "keyturn-create"
REPLACE, READ = "keyturn-replace", "keyturn-reference"
STAND_IN = "app.keyturn-stand-in"


@pytest.fixture
def world(kubernetes_server: KubernetesServer, tmp_path: Path) -> FewRights:
    return FewRights(kubernetes_server, tmp_path)


# What each Role is for: with a name, and after what the administrator did.


def keep(world: FewRights, name: str) -> None:
    """Made, read, changed."""
    store = world.store(name)
    assert store.read() is None
    version = store.write("first", None)
    version = store.write("second", version)
    assert store.read() == ("second", version)
    assert [item.version for item in store.versions()] == [version]


def sink(world: FewRights, name: str) -> None:
    """Made and changed, each with a dry run before it."""
    for value in ("first", "second"):
        for world.context.check_mode in (True, False):
            world.context.foreseen.clear()
            assert world.bring(name, {"password": value}).changed
    assert world.values(name) == {"password": b"second"}


def task(world: FewRights, name: str) -> None:
    """The same by ``k8s_secret``."""
    for value in ("first", "second"):
        for check in (True, False):
            assert world.run(check, name=name, fields={"password": value})["changed"]
    assert world.values(name) == {"password": b"second"}


def replace(world: FewRights, name: str) -> None:
    """Made, made immutable, replaced by way of its stand-in; and with what a killed run left in that one; removed."""
    options: dict[str, Any] = {"name": name, "replace_immutable": True}
    for value in ("first", "second", "third", "fourth"):
        if value == "fourth":
            marks = {MARK: name, "keyturn.runbooks/metadata": "{}"}
            world.make(STAND_IN, {"store": "kept"}, metadata={"annotations": marks})
        for check in (True, False):
            wanted = {"fields": {"password": value}, "immutable": value != "first"}
            assert world.run(check, **wanted, **options)["changed"]
        assert not world.exists(STAND_IN)
    assert world.values(name) == {"password": b"fourth", "store": b"kept"}
    assert world.run(name=name, state="absent")["changed"]


def read(world: FewRights, name: str) -> None:
    """The key of a Secret that somebody made."""
    if not world.exists(name):
        world.make(name, {"password": "p"})
    assert resolve(f"{world.reference(name)}#/password", world.context, "value").reveal() == "p"


Use = Callable[[FewRights, str], None]
USES: dict[str, tuple[str, tuple[Use, ...]]] = {
    KEYRING: ("db", (keep,)),
    SINK: ("app", (sink, task)),
    f"{KEYRING} {CREATE}": ("db", (keep,)),
    f"{SINK} {CREATE}": ("app", (sink, task)),
    REPLACE: ("app", (replace,)),
    READ: ("app", (read,)),
}
"""What is tried with one Role or two together."""


def rules_of(which: str) -> list[Rule]:
    """All rules of these Roles."""
    return [rule for role in which.split() for rule in ROLES[role]]


EACH = [
    (which, use, *right)
    for which, (_name, uses) in USES.items()
    for use in uses
    for right in rights(rules_of(which))
    if (which, *right) != (REPLACE, "get", STAND_IN)
]


def ready(world: FewRights, which: str) -> str:
    """The name for these Roles; somebody made an empty Secret of it where they are not to make one."""
    name = USES[which][0]
    if which in (KEYRING, SINK):
        world.make(name, {})
    return name


def test_every_role_of_the_page_is_tried() -> None:
    assert set(ROLES) == {role for which in USES for role in which.split()}


@pytest.mark.parametrize(
    ("which", "use"), [(which, use) for which in USES for use in USES[which][1]]
)
def test_a_role_is_enough(world: FewRights, which: str, use: Use) -> None:
    name = ready(world, which)
    world.may(rules_of(which))
    use(world, name)
    denied = [text for text in world.warnings if "this identity may not" in text]
    # While a Secret is not there, its stand-in is looked for.
    assert all(f"may not read '{STAND_IN}'" in text for text in denied)
    assert bool(denied) is (use is task and CREATE in which)


@pytest.mark.parametrize(("which", "use", "verb", "name"), EACH)
def test_no_verb_can_be_left_out(
    world: FewRights, which: str, use: Use, verb: str, name: str
) -> None:
    made = ready(world, which)
    world.may(without(rules_of(which), verb, name))
    with pytest.raises(Denied) as caught:
        use(world, made)
    assert f"to {verb} secrets in namespace {world.namespace}" in caught.value.message


def test_a_stand_in_that_could_not_be_seen_is_not_made(world: FewRights) -> None:
    world.may(without(ROLES[REPLACE], "get", STAND_IN))
    with pytest.raises(Denied, match="verb get"):
        replace(world, "app")
    assert world.values("app")["password"] == b"second"


def test_a_task_that_may_see_the_stand_in_does_not_warn(world: FewRights) -> None:
    seen = {**ROLES[SINK][0], "resourceNames": [STAND_IN], "verbs": ["get"]}
    world.may([*ROLES[SINK], *ROLES[CREATE], seen])
    task(world, "app")
    assert world.warnings == []


@pytest.mark.parametrize("which", USES)
def test_a_role_reaches_no_other_secret(world: FewRights, which: str) -> None:
    world.may(rules_of(which))
    world.make("other", {"password": "p"})
    with pytest.raises(Denied, match=f"Secret {world.namespace}/other"):
        USES[which][1][0](world, "other")
    assert world.values("other") == {"password": b"p"}


@pytest.mark.parametrize("role", [KEYRING, SINK])
def test_create_is_not_given_for_one_name(world: FewRights, role: str) -> None:
    [named, created] = rules_of(f"{role} {CREATE}")
    assert created["verbs"] == ["create"]
    limited = {**created, "resourceNames": named["resourceNames"]}
    # The review by name says yes, and a request to make one has no name that could be compared.
    world.may([named, limited])
    with pytest.raises(Denied, match="to create secrets"):
        USES[role][1][0](world, USES[role][0])


def token_secret(world: FewRights) -> dict[str, Any]:
    """A Secret into which Kubernetes puts a token of an account of the namespace."""
    accounts = f"/api/v1/namespaces/{world.namespace}/serviceaccounts"
    world.server.request("POST", accounts, {"metadata": {"name": "powerful"}})
    about = {"name": "db", "annotations": {"kubernetes.io/service-account.name": "powerful"}}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": about,
        "type": "kubernetes.io/service-account-token",
    }


def test_what_create_beside_get_gives_and_what_refuses_it(world: FewRights) -> None:
    """The page's warning is true, what it leads with has none of it, and its policy helps."""
    body = token_secret(world)
    world.make("db", {})
    rules = rules_of(f"{KEYRING} {CREATE}")
    world.may(rules)
    reference = parse_reference(world.reference("db"), "x")
    secret = KubernetesSecret(
        open_cluster(reference, world.context, "x"), world.namespace, "db", "x"
    )
    there = secret.read() or {}
    with pytest.raises(BadInput):
        secret.replace({**body, "metadata": {**body["metadata"], **there["metadata"]}})
    with pytest.raises(Conflict):
        secret.create(body)
    world.server.request("DELETE", f"{world.secrets}/db")
    secret.create(body)
    assert (secret.read() or {})["type"] == body["type"]
    world.server.request("DELETE", f"{world.secrets}/db")
    with policy(world.server, [world.namespace]):
        wait_until(lambda: is_refused(world, body), 20, "the policy is in force")
        with pytest.raises(BadInput, match="as invalid"):
            secret.create(body)
        keep(world, "db")


def is_refused(world: FewRights, body: dict[str, Any]) -> bool:
    """Whether not even the administrator may make it; nothing is made."""
    try:
        world.server.request("POST", f"{world.secrets}?dryRun=All", body)
    except KubernetesSaysNo:
        return True
    return False


def test_a_secret_that_is_not_there_is_absent_for_who_may_read_it(world: FewRights) -> None:
    world.may(ROLES[READ])
    with pytest.raises(Absent):
        resolve(f"{world.reference('app')}#/password", world.context, "value")
    with pytest.raises(Denied):
        resolve(f"{world.reference('other')}#/password", world.context, "value")


@pytest.mark.parametrize(("use", "verb"), [(sink, "update"), (sink, "create"), (task, "update")])
def test_a_dry_run_finds_what_is_missing(world: FewRights, use: Use, verb: str) -> None:
    name = "" if verb == "create" else "app"
    if name:
        world.make(name, {"password": "before"})
    world.may(without(rules_of(f"{SINK} {CREATE}"), verb, name))
    with pytest.raises(Denied, match=f"to {verb} secrets"):
        use(world, "app")
    assert not world.exists("app") or world.values("app") == {"password": b"before"}
    assert world.context.check_mode
