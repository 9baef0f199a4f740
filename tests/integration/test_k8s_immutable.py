# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Immutable Secrets of a real Kubernetes: refused, or replaced so that a killed run loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_object import KubernetesSecret
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_replace import MARK
from estate.kubernetes import KubernetesServer
from k8s_task import TaskWorld, refusal, refused

STAND_IN = "app.keyturn-stand-in"


@pytest.fixture
def world(kubernetes_server: KubernetesServer, tmp_path: Path) -> TaskWorld:
    return TaskWorld(kubernetes_server, tmp_path)


def test_an_immutable_secret_is_made_and_refused(world: TaskWorld) -> None:
    world.quartet(fields={"password": "old"}, immutable=True)
    assert "'replace_immutable: true'" in refusal(Refused, world, fields={"password": "new"})
    assert "immutable" in refusal(Refused, world, immutable=False)
    # Labels of an immutable Secret can be changed.
    world.quartet(labels={"tier": "1"})


def test_an_immutable_secret_is_replaced(world: TaskWorld) -> None:
    marks = {"labels": {"a": "b"}, "annotations": {"c": "d"}}
    world.make("app", {"password": "old", "store": b"\xff\0"}, immutable=True, metadata=marks)
    before = world.get("app")
    world.quartet(fields={"password": "new"}, replace_immutable=True)
    after = world.get("app")
    assert world.values("app") == {"password": b"new", "store": b"\xff\0"}
    assert after["immutable"] is True
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    for kind, kept in marks.items():
        assert after["metadata"][kind] == kept
    assert not world.exists(STAND_IN)
    world.quartet(immutable=False, replace_immutable=True)
    assert "immutable" not in world.get("app") or world.get("app")["immutable"] is False


class Killed(BaseException):
    """The run ended here."""


@pytest.mark.parametrize("step", ["stand-in made", "removed", "made"])
def test_a_replacement_that_was_killed_is_finished(
    world: TaskWorld, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    world.make("app", {"password": "old", "store": b"\xff\0"}, immutable=True)

    def cut(method: str, name: str) -> None:
        real = getattr(KubernetesSecret, method)

        def call(secret: KubernetesSecret, *args: Any) -> Any:
            done = real(secret, *args)
            if secret.name == name:
                raise Killed
            return done

        monkeypatch.setattr(KubernetesSecret, method, call)

    cut(
        *{
            "stand-in made": ("create", STAND_IN),
            "removed": ("delete", "app"),
            "made": ("create", "app"),
        }[step]
    )
    with pytest.raises(Killed):
        world.run(fields={"password": "new"}, replace_immutable=True)
    monkeypatch.undo()
    assert world.get(STAND_IN)["metadata"]["annotations"][MARK] == "app"
    assert world.exists("app") is (step != "removed")
    world.warnings.clear()
    world.run(check=True, fields={"password": "new"}, replace_immutable=True)
    assert world.exists(STAND_IN)
    world.run(fields={"password": "new"}, replace_immutable=True)
    assert world.values("app") == {"password": b"new", "store": b"\xff\0"}
    assert world.get("app")["immutable"] is True
    assert not world.exists(STAND_IN)
    told = any("from what that run left" in warning for warning in world.warnings)
    assert told is (step == "removed")


def test_a_sink_brings_back_what_a_killed_replacement_removed(
    world: TaskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.make("app", {"password": "old", "store": b"\xff\0"}, immutable=True)
    real = KubernetesSecret.delete

    def delete(secret: KubernetesSecret, body: Any) -> None:
        real(secret, body)
        raise Killed

    monkeypatch.setattr(KubernetesSecret, "delete", delete)
    with pytest.raises(Killed):
        world.run(fields={"password": "new"}, replace_immutable=True)
    monkeypatch.undo()
    world.context.check_mode = False
    world.bring("app", {"password": "newer"})
    assert world.values("app") == {"password": b"newer", "store": b"\xff\0"}
    assert not world.exists(STAND_IN)


def test_a_replacement_that_is_not_allowed_leaves_everything(world: TaskWorld) -> None:
    world.make("app", {"password": "old"}, immutable=True)
    world.allow("reader", ["get", "create", "update"])
    world.use("reader")
    options: dict[str, Any] = {"fields": {"password": "new"}, "replace_immutable": True}
    assert "to delete secrets" in refused(Denied, world, **options)
    assert world.values("app") == {"password": b"old"}


def test_what_somebody_else_wrote_in_between_is_not_replaced(
    world: TaskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.make("app", {"password": "old"}, immutable=True)
    real, raced = KubernetesSecret.delete, []

    def delete(secret: KubernetesSecret, body: Any) -> None:
        if secret.name == "app" and not raced:
            raced.append(secret.name)
            world.mark("app", theirs="yes")
        real(secret, body)

    monkeypatch.setattr(KubernetesSecret, "delete", delete)
    world.run(fields={"password": "new"}, replace_immutable=True)
    assert raced
    assert world.values("app") == {"password": b"new"}
    assert world.get("app")["metadata"]["labels"] == {"theirs": "yes"}
    assert not world.exists(STAND_IN)


def test_one_with_finalizers_is_refused(world: TaskWorld) -> None:
    marks = {"finalizers": ["keyturn.invalid/kept"]}
    world.make("app", {"password": "old"}, immutable=True, metadata=marks)
    options: dict[str, Any] = {"fields": {"password": "new"}, "replace_immutable": True}
    assert "something else decides when it goes" in refusal(Refused, world, **options)
    assert not world.exists(STAND_IN)


def killed_half_way(world: TaskWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Secret is removed, and only the stand-in keeps its keys."""
    world.make("app", {"password": "old", "store": b"\xff\0"}, immutable=True)
    real = KubernetesSecret.delete

    def delete(secret: KubernetesSecret, body: Any) -> None:
        real(secret, body)
        raise Killed

    monkeypatch.setattr(KubernetesSecret, "delete", delete)
    with pytest.raises(Killed):
        world.run(fields={"password": "new"}, replace_immutable=True)
    monkeypatch.undo()
    world.warnings.clear()


def test_who_may_not_see_the_stand_in_loses_nothing(
    world: TaskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_half_way(world, monkeypatch)
    world.allow("reader", ["create"])
    world.allow("reader", ["get", "update"], names=["app"])
    world.use("reader")
    world.run(fields={"password": "newer"}, immutable=True)
    assert any(f"may not read '{STAND_IN}'" in warning for warning in world.warnings)
    assert world.values("app") == {"password": b"newer"}
    world.use("admin")
    # What looks at no stand-in removes none.
    world.run(fields={"password": "newer"})
    assert world.exists(STAND_IN)
    world.warnings.clear()
    world.quartet(fields={"password": "newer"}, replace_immutable=True)
    assert any("are brought back" in warning for warning in world.warnings)
    assert world.values("app") == {"password": b"newer", "store": b"\xff\0"}
    assert not world.exists(STAND_IN)


@pytest.mark.parametrize("method", ["replace", "delete"])
def test_a_second_kill_loses_nothing_either(
    world: TaskWorld, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    killed_half_way(world, monkeypatch)
    world.make("app", {"password": "theirs"}, immutable=True)
    real = getattr(KubernetesSecret, method)

    def call(secret: KubernetesSecret, body: Any) -> None:
        real(secret, body)
        raise Killed

    monkeypatch.setattr(KubernetesSecret, method, call)
    with pytest.raises(Killed):
        world.run(fields={"password": "newest"}, replace_immutable=True)
    monkeypatch.undo()
    assert world.values(STAND_IN) == {"password": b"newest", "store": b"\xff\0"}
    world.run(fields={"password": "newest"}, replace_immutable=True)
    assert world.values("app") == {"password": b"newest", "store": b"\xff\0"}


def test_a_key_that_is_not_wanted_does_not_come_back(
    world: TaskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_half_way(world, monkeypatch)
    world.make("app", {"password": "new"})
    world.quartet(fields={"password": "new", "store": None}, replace_immutable=True)
    assert world.values("app") == {"password": b"new"}
    assert not world.exists(STAND_IN)


@pytest.mark.parametrize("there", [True, False])
def test_a_removed_secret_leaves_no_copy_of_its_values(
    world: TaskWorld, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    killed_half_way(world, monkeypatch)
    if there:
        world.make("app", {"password": "theirs"}, immutable=True)
    done = world.quartet(state="absent")
    assert f"the stand-in {STAND_IN} is there\n" in done["diff"]["before"]
    assert not world.exists(STAND_IN)
    assert not world.exists("app")
    # What was removed does not come back with the next task.
    world.run(fields={"other": "x"})
    assert world.values("app") == {"other": b"x"}


def test_a_removal_that_was_killed_is_finished(
    world: TaskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_half_way(world, monkeypatch)
    world.make("app", {"password": "theirs"}, immutable=True)
    real = KubernetesSecret.delete

    def delete(secret: KubernetesSecret, body: Any) -> None:
        real(secret, body)
        raise Killed

    monkeypatch.setattr(KubernetesSecret, "delete", delete)
    with pytest.raises(Killed):
        world.run(state="absent")
    monkeypatch.undo()
    # The Secret is never there again from the copy, wherever the removal was cut off.
    assert (world.exists("app"), world.exists(STAND_IN)) == (True, False)
    world.quartet(state="absent")


def test_a_secret_of_somebody_else_with_that_name_stays(world: TaskWorld) -> None:
    world.make(STAND_IN, {"theirs": "x"})
    world.make("app", {"password": "p"})
    world.quartet(state="absent")
    assert world.values(STAND_IN) == {"theirs": b"x"}


@pytest.mark.parametrize("theirs", [None, {}, {"immutable": True}])
def test_a_copy_that_may_not_be_seen_is_always_warned_of(
    world: TaskWorld, monkeypatch: pytest.MonkeyPatch, theirs: dict[str, Any] | None
) -> None:
    killed_half_way(world, monkeypatch)
    if theirs is not None:
        world.make("app", {"password": "theirs"}, **theirs)
    world.allow("reader", ["get", "delete"], names=["app"])
    world.use("reader")
    for check in (True, False):
        world.warnings.clear()
        assert world.run(check=check, state="absent")["changed"] is (theirs is not None)
        [warning] = world.warnings
        assert f"may not read '{STAND_IN}'" in warning
        assert "if there is one, it stays" in warning
    assert world.exists(STAND_IN)


def test_who_may_not_remove_the_copy(world: TaskWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_half_way(world, monkeypatch)
    world.make("app", {"password": "theirs"}, immutable=True)
    world.allow("reader", ["get", "delete"], names=["app"])
    world.use("reader")
    assert world.run(check=True, state="absent")["changed"] is True
    assert any(f"may not read '{STAND_IN}'" in warning for warning in world.warnings)
    world.allow("reader", ["get"], names=[STAND_IN])
    # A copy that is known of is never left behind.
    assert "to delete secrets" in refused(Denied, world, state="absent")
    assert world.exists("app")
    world.allow("reader", ["delete"], names=[STAND_IN])
    world.quartet(state="absent")
    assert not world.exists(STAND_IN)
