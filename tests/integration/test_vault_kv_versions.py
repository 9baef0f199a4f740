# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``vault_kv`` on a real Vault: metadata and versions, and the engine that has neither."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Refused,
)
from estate.vault import VaultServer
from kv_world import ASKING, NO_PATCH, VALUES, KvWorld, refusal


@pytest.fixture
def world(vault: VaultServer, vault_mount: str) -> Iterator[KvWorld]:
    made = KvWorld(vault, vault_mount)
    yield made
    made.context.close()


@pytest.fixture
def old(vault: VaultServer) -> Iterator[KvWorld]:
    """A mount of version 1."""
    mount = vault.mount_kv(f"kv1-{secrets.token_hex(4)}", version=1)
    yield KvWorld(vault, mount)
    vault.unmount(mount)


# --- metadata


def test_metadata_beside_that_of_others(world: KvWorld) -> None:
    world.put("app", a="1")
    theirs = {"custom_metadata": {"team": "theirs", "old": "x"}}
    world.server.request("POST", f"{world.mount}/metadata/app", theirs)
    options = {"fields": {"a": "2"}, "owner": "platform", "max_age": "90d", "keep": 4}
    done = world.quartet(**options, rotation_id="r1", metadata={"runbook": 2, "old": None})
    custom = world.custom()
    made = world.state()["versions"]["2"]["created_time"]  # type: ignore[index]
    assert custom.pop("last_rotated") == made[:19] + "Z"
    expected = {"team": "theirs", "owner": "platform", "max_age": "90d", "rotation_id": "r1"}
    assert custom == {**expected, "runbook": "2"}
    assert world.state()["max_versions"] == 4  # type: ignore[index]
    assert "metadata owner: (absent)" in done["diff"]["before"]
    assert "metadata owner: platform" in done["diff"]["after"]
    assert done["metadata"]["owner"] == {"before": None, "changed": True}
    assert world.run(fields={"a": "2"}, metadata={"runbook": "3"})["version"] == "2"


def test_only_the_metadata(world: KvWorld) -> None:
    assert "'create' is false" in refusal(Absent, world.run, owner="x", create=False)
    world.quartet(owner="platform", keep=7)
    assert world.custom() == {"owner": "platform"}
    world.put("app", a="1")
    done = world.quartet(owner="other")
    assert done["version"] == "1"
    assert set(world.custom()) == {"owner", "last_rotated"}


def test_a_run_that_was_killed_before_the_metadata_is_made_up_for(world: KvWorld) -> None:
    world.run(fields={"a": "1"}, rotation_id="r1")
    first = world.custom()["last_rotated"]
    world.put("app", a="2")
    done = world.quartet(fields={"a": "2"}, rotation_id="r2")
    assert done["version"] == "2"
    custom = world.custom()
    assert custom["rotation_id"] == "r2"
    assert custom["last_rotated"] >= first
    assert done["metadata"]["last_rotated"]["changed"] is True


@pytest.mark.parametrize("further", [NO_PATCH, NO_PATCH + ASKING])
def test_metadata_without_the_right_to_patch(world: KvWorld, further: str) -> None:
    world.put("app", a="1")
    theirs = {"custom_metadata": {"team": "theirs"}}
    world.server.request("POST", f"{world.mount}/metadata/app", theirs)
    world.limit(VALUES + further)
    world.quartet(fields={"a": "2"}, owner="platform")
    assert set(world.custom()) == {"team", "owner", "last_rotated"}


# --- versions


def test_versions(world: KvWorld) -> None:
    for number in range(4):
        world.put("app", a=str(number))
    assert world.quartet(state="deleted")["versions"] == {"4": ["live", "deleted"]}
    assert world.version_states()["4"] == "deleted"
    world.quartet(state="undeleted")
    world.quartet(state="deleted", versions=[1, 2])
    done = world.quartet(state="destroyed", versions=[2, 3])
    assert done["versions"] == {"2": ["deleted", "destroyed"], "3": ["live", "destroyed"]}
    states = {"1": "deleted", "2": "destroyed", "3": "destroyed", "4": "live"}
    assert world.version_states() == states
    assert "nothing brings it back" in refusal(Refused, world.run, state="undeleted", versions=[2])
    assert "the newest is version 4" in refusal(Absent, world.run, state="deleted", versions=[9])
    assert world.data() == {"a": "3"}
    done = world.quartet(state="absent")
    assert (done["version_before"], done["version"]) == ("4", None)
    assert world.state() is None
    assert "nothing to bring back" in refusal(Absent, world.run, state="undeleted")
    assert world.run(state="deleted")["changed"] is False
    assert world.run(state="destroyed", versions=[1])["changed"] is False


def test_old_versions_go_and_the_newest_that_can_be_read_stay(world: KvWorld) -> None:
    assert world.run(state="destroyed", keep=1)["changed"] is False
    for number in range(5):
        world.put("app", a=str(number))
    world.run(state="deleted", versions=[2, 5])
    done = world.quartet(state="destroyed", keep=2)
    assert done["versions"] == {"1": ["live", "destroyed"], "2": ["deleted", "destroyed"]}
    world.quartet(state="deleted", keep=1)
    states = {"1": "destroyed", "2": "destroyed", "3": "deleted", "4": "live", "5": "deleted"}
    assert world.version_states() == states
    # The last one that can be read stays, whatever is asked for.
    assert world.run(state="destroyed", keep=2)["changed"] is False


def test_versions_that_are_kept_no_more(world: KvWorld) -> None:
    world.run(fields={"a": "0"}, keep=2)
    for number in range(1, 4):
        world.put("app", a=str(number))
    assert set(world.version_states()) == {"3", "4"}
    assert world.run(state="destroyed", versions=[1])["changed"] is False
    assert "the oldest is version 3" in refusal(Absent, world.run, state="undeleted", versions=[1])


@pytest.mark.parametrize("kind", ["world", "old"])
def test_names_that_mean_something_in_a_url(kind: str, request: pytest.FixtureRequest) -> None:
    place: KvWorld = request.getfixturevalue(kind)
    path = "team a/größe #1?x=%41&y"
    more = {"owner": "platform"} if kind == "world" else {}
    assert place.run(path=path, fields={"a": "1"}, **more)["changed"] is True
    assert place.run(path=path, fields={"a": "1"}, **more)["changed"] is False
    if kind == "world":
        assert place.value("team%20a/gr%C3%B6%C3%9Fe%20%231%3Fx=%2541%26y#/a") == "1"
        for state in ("deleted", "undeleted"):
            assert place.run(path=path, state=state)["changed"] is True
    assert place.run(path=path, state="absent")["changed"] is True
    assert place.run(path=path, state="absent")["changed"] is False


# --- version 1


def test_an_engine_of_version_1(old: KvWorld) -> None:
    path = f"{old.mount}/app"
    old.server.request("POST", path, {"kept": "x", "number": 3, "gone": "y"})

    def data() -> Any:
        return old.server.request("GET", path)["data"]

    for check in (True, False):
        done = old.run(check=check, fields={"KEY": "v", "gone": None})
        assert (done["changed"], done["version"], done["kv_version"]) == (True, None, 1)
    assert data() == {"kept": "x", "number": 3, "KEY": "v"}
    assert old.run(fields={"KEY": "v"})["changed"] is False
    assert old.run(fields={"KEY": "v"}, kv_version="1")["changed"] is False
    for options in ({"owner": "x"}, {"keep": 2}, {"state": "deleted"}):
        said = refusal(BadInput, lambda given=options: old.run(**given))
        assert "KV version 1, which has no versions and no metadata" in said
    for check, changed in ((True, True), (False, True), (False, False)):
        assert old.run(check=check, state="absent")["changed"] is changed
    assert old.run(fields={"new": "1"})["changed"] is True
    assert data() == {"new": "1"}


def test_version_1_sees_who_wrote_after_it(old: KvWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._vault_v1 import (
        UnversionedPlace,
    )

    path, send = f"{old.mount}/app", UnversionedPlace._send
    old.server.request("POST", path, {"a": "1"})

    def raced(self: UnversionedPlace, data: Any) -> None:
        send(self, data)
        old.server.request("POST", path, {"theirs": "2"})

    monkeypatch.setattr(UnversionedPlace, "_send", raced)
    assert "KV version 1) cannot prevent it" in refusal(Conflict, old.run, fields={"a": "3"})


def test_the_version_that_the_task_says(world: KvWorld, old: KvWorld) -> None:
    said = refusal(BadInput, world.run, fields={"a": "1"}, kv_version="1")
    assert "is kv version 2; expected a KV engine of version 1" in said
    said = refusal(BadInput, old.run, fields={"a": "1"}, kv_version="2")
    assert "is kv version 1; expected a KV engine of version 2" in said
    world.mount = "cubbyhole"
    assert "expected a KV engine of version 1 or 2" in refusal(
        BadInput, world.run, fields={"a": "1"}
    )


def test_a_mount_that_is_not_there(world: KvWorld) -> None:
    world.mount = "not-there"
    assert "nothing is mounted there" in refusal(Absent, world.run, fields={"a": "1"})
