# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Roles that docs/stores.md ships: each is enough for what it is for, and no verb of it can be left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Absent, Denied
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_replace import MARK
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve
from estate.kubernetes import KubernetesServer
from k8s_rights import FewRights, rights, roles, without

ROLES = roles()
KEYRING, SINK = "keyturn-keyring", "keyturn-sink"
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
    REPLACE: ("app", (replace,)),
    READ: ("app", (read,)),
}
EACH = [
    (role, use, *right)
    for role, (_name, uses) in USES.items()
    for use in uses
    for right in rights(ROLES[role])
    if (role, *right) != (REPLACE, "get", STAND_IN)
]


def test_every_role_of_the_page_is_tried() -> None:
    assert set(ROLES) == set(USES)


@pytest.mark.parametrize(("role", "use"), [(role, use) for role in USES for use in USES[role][1]])
def test_a_role_is_enough(world: FewRights, role: str, use: Use) -> None:
    world.may(ROLES[role])
    use(world, USES[role][0])
    denied = [text for text in world.warnings if "this identity may not" in text]
    # While a Secret is not there, its stand-in is looked for.
    assert all(f"may not read '{STAND_IN}'" in text for text in denied)
    assert bool(denied) is (use is task)


@pytest.mark.parametrize(("role", "use", "verb", "name"), EACH)
def test_no_verb_can_be_left_out(
    world: FewRights, role: str, use: Use, verb: str, name: str
) -> None:
    world.may(without(ROLES[role], verb, name))
    with pytest.raises(Denied) as caught:
        use(world, USES[role][0])
    assert f"to {verb} secrets in namespace {world.namespace}" in caught.value.message


def test_a_stand_in_that_could_not_be_seen_is_not_made(world: FewRights) -> None:
    world.may(without(ROLES[REPLACE], "get", STAND_IN))
    with pytest.raises(Denied, match="verb get"):
        replace(world, "app")
    assert world.values("app")["password"] == b"second"


def test_a_task_that_may_see_the_stand_in_does_not_warn(world: FewRights) -> None:
    seen = {**ROLES[SINK][0], "resourceNames": [STAND_IN], "verbs": ["get"]}
    world.may([*ROLES[SINK], seen])
    task(world, "app")
    assert world.warnings == []


@pytest.mark.parametrize("role", USES)
def test_a_role_reaches_no_other_secret(world: FewRights, role: str) -> None:
    world.may(ROLES[role])
    world.make("other", {"password": "p"})
    with pytest.raises(Denied, match=f"Secret {world.namespace}/other"):
        USES[role][1][0](world, "other")
    assert world.values("other") == {"password": b"p"}


@pytest.mark.parametrize("role", [KEYRING, SINK])
def test_create_is_not_given_for_one_name(world: FewRights, role: str) -> None:
    [named, created] = ROLES[role]
    assert created["verbs"] == ["create"]
    limited = {**created, "resourceNames": named["resourceNames"]}
    # The review by name says yes, and a request to make one has no name that could be compared.
    world.may([named, limited])
    with pytest.raises(Denied, match="to create secrets"):
        USES[role][1][0](world, USES[role][0])


def test_an_empty_secret_spares_the_right_to_make_one(world: FewRights) -> None:
    for name in ("db", "app"):
        world.make(name, {})
    world.may([ROLES[KEYRING][0], ROLES[SINK][0]])
    keep(world, "db")
    sink(world, "app")


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
    world.may(without(ROLES[SINK], verb, name))
    with pytest.raises(Denied, match=f"to {verb} secrets"):
        use(world, "app")
    assert not world.exists("app") or world.values("app") == {"password": b"before"}
    assert world.context.check_mode
