# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Secret of a real Kubernetes as a place for sinks: what is written, what is kept, and who may."""

from __future__ import annotations

import json
import multiprocessing
import secrets
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_notes import LAST_APPLIED
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Stale
from estate.kubernetes import KubernetesServer
from k8s_world import KubernetesWorld, b64, road_to

BINARY = bytes(range(256)) + b"\xff\xfe\0"
OWNER = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "name": "owner",
    "uid": "0-1-2",
    "controller": True,
}


@pytest.fixture
def world(kubernetes_server: KubernetesServer, tmp_path: Path) -> KubernetesWorld:
    return KubernetesWorld(kubernetes_server, tmp_path)


def refusal(kind: type[KeyturnError], world: KubernetesWorld, *args: Any, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        world.bring(*args, **options)
    assert caught.type is kind
    assert f"sink '{args[0]}': " in caught.value.message
    return caught.value.message


# --- what is written and what is kept


def test_a_secret_is_made_then_changed_then_left_alone(world: KubernetesWorld) -> None:
    value = secrets.token_urlsafe(16) + "ü\n"
    made = world.bring("app", {"password": value, "tls.key": "pem", "_x-y.Z": ""})
    assert made.changed
    assert made.version == world.version("app")
    assert world.values("app") == {
        "password": value.encode(),
        "tls.key": b"pem",
        "_x-y.Z": b"",
    }
    assert world.get("app")["type"] == "Opaque"
    with road_to(world.server) as (road, address):
        world.use("admin", server=address)
        again = world.bring("app", {"password": value, "tls.key": "pem"})
    # An update that changes nothing would leave the version as it is.
    assert set(road.seen) == {"GET"}
    world.use("admin")
    assert not again.changed
    assert again.version == made.version == world.version("app")
    changed = world.bring("app", {"password": "other", "tls.key": None})
    assert set(changed.changes) == {"password", "tls.key"}
    assert world.values("app") == {"password": b"other", "_x-y.Z": b""}


def test_everything_else_is_kept_to_the_byte(world: KubernetesWorld) -> None:
    marks = {
        "labels": {"app": "musehub"},
        "annotations": {"note": "x" * 1000},
        "ownerReferences": [OWNER],
        "finalizers": ["keyturn.invalid/kept"],
    }
    world.make(
        "app", {"store": BINARY, "password": "old"}, type="example.invalid/own", metadata=marks
    )
    before = world.get("app")
    outcome = world.bring("app", {"password": "new"})
    after = world.get("app")
    assert world.values("app") == {"store": BINARY, "password": b"new"}
    for key in (
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
        "uid",
        "creationTimestamp",
    ):
        assert after["metadata"][key] == before["metadata"][key]
    assert after["type"] == "example.invalid/own"
    assert "it is made by ConfigMap owner" in " ".join(outcome.observed.notes)


def test_bytes_that_are_no_text_are_compared_and_written(world: KubernetesWorld) -> None:
    text = BINARY.decode("utf-8", "surrogateescape")
    world.bring("app", {"store": text})
    assert world.values("app") == {"store": BINARY}
    assert not world.bring("app", {"store": text}).changed
    assert "half of a character" in refusal(BadInput, world, "app", {"store": "\ud800"})


def test_the_manifest_that_kubectl_keeps_gets_no_value(world: KubernetesWorld) -> None:
    held = {"kind": "Secret", "data": {"password": b64("old")}, "stringData": {"other": "x"}}
    manifest = json.dumps(held)
    marks = {"annotations": {LAST_APPLIED: manifest}}
    world.make("app", {"password": "old"}, metadata=marks)
    value = secrets.token_urlsafe(16)
    outcome = world.bring("app", {"password": value, "mine": "1"})
    assert world.get("app")["metadata"]["annotations"] == {LAST_APPLIED: manifest}
    [note] = outcome.observed.notes
    assert "keeps password of its manifest" in note
    assert world.bring("app", {"mine": "2"}).observed.notes == ()
    world.bring("new", {"password": value})
    assert "annotations" not in world.get("new")["metadata"]


def test_a_manager_by_server_side_apply_is_named(world: KubernetesWorld) -> None:
    path = f"{world.secrets}/app?fieldManager=flux&force=true"
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "app"},
        "data": {"password": b64("theirs"), "other": b64("x")},
    }
    world.server.request("PATCH", path, body, "application/apply-patch+yaml")
    [note] = world.bring("app", {"password": "ours"}).observed.notes
    assert "flux manages password by server-side apply" in note
    fields = world.get("app")["metadata"]["managedFields"]
    assert {entry["manager"] for entry in fields} == {"flux", "keyturn"}


def test_names_with_dots_and_the_longest(world: KubernetesWorld) -> None:
    for name in ("a.b.c", "x" * 253, "0"):
        world.bring(name, {"k" * 253: "v"})
        assert world.values(name) == {"k" * 253: b"v"}


@pytest.mark.parametrize("key", ["a/b", "a b", "..", "..x", ".", "", "ü", "k" * 254])
def test_a_key_that_no_secret_can_have(world: KubernetesWorld, key: str) -> None:
    assert "no name of a key" in refusal(BadInput, world, "app", {key: "v"})


@pytest.mark.parametrize("name", ["App", "a_b", "-a", "a..b", "x" * 254])
def test_a_name_that_no_secret_can_have(world: KubernetesWorld, name: str) -> None:
    with pytest.raises(BadInput, match="no name of a Secret"):
        world.place(name)


def test_the_limit_of_all_values_together(world: KubernetesWorld) -> None:
    whole = "x" * (1024 * 1024)
    world.bring("full", {"a": whole})
    assert world.values("full") == {"a": whole.encode()}
    message = refusal(BadInput, world, "full", {"b": "y"})
    assert "1048577 bytes together, and Kubernetes takes 1048576" in message
    world.context.check_mode = True
    assert message == refusal(BadInput, world, "full", {"b": "y"})
    assert not world.bring("full", {"a": whole}).changed


# --- compare and set


def test_a_write_on_top_of_another_one_is_refused(world: KubernetesWorld) -> None:
    world.make("app", {"password": "old", "other": "x"})
    place = world.place("app")
    observed = place.read(("password",))
    world.set("app", other="theirs")
    with pytest.raises(Stale):
        place.write(observed, {"password": Secret("new")})
    assert world.values("app") == {"password": b"old", "other": b"theirs"}


def test_a_first_write_beside_another_one_is_refused(world: KubernetesWorld) -> None:
    place = world.place("app")
    observed = place.read(("password",))
    world.make("app", {"password": "theirs"})
    with pytest.raises(Stale):
        place.write(observed, {"password": Secret("new")})
    assert world.values("app") == {"password": b"theirs"}


def test_a_secret_that_was_removed_or_made_anew_meanwhile(world: KubernetesWorld) -> None:
    world.make("app", {"password": "old"})
    place = world.place("app")
    observed = place.read(("password",))
    world.server.request("DELETE", f"{world.secrets}/app")
    with pytest.raises(Stale):
        place.write(observed, {"password": Secret("new")})
    world.make("app", {"password": "theirs"})
    with pytest.raises(Stale):
        place.write(observed, {"password": Secret("new")})
    assert world.values("app") == {"password": b"theirs"}


def _write_four(world: KubernetesWorld, name: str) -> None:
    for number in range(4):
        world.bring("app", {name: str(number)})


def test_writers_of_other_keys_lose_nothing(world: KubernetesWorld) -> None:
    # Processes: while the client works, the environment of its process is the task's.
    processes = multiprocessing.get_context("fork")
    names = [f"k{number}" for number in range(6)]
    writers = [processes.Process(target=_write_four, args=(world, name)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 6
    assert world.values("app") == dict.fromkeys(names, b"3")


# --- answers that are lost


def test_a_write_whose_answer_was_lost_is_looked_up(world: KubernetesWorld) -> None:
    world.make("app", {"password": "old"})
    with road_to(world.server) as (road, address):
        world.use("admin", server=address)
        road.plan = ["lose"]
        outcome = world.bring("app", {"password": "new"})
        assert outcome.version == world.version("app")
        assert road.seen == ["GET", "PUT", "GET"]
        road.plan, road.seen = ["lose"], []
        world.bring("made", {"password": "new"})
        assert road.seen.count("POST") == 1
    assert world.values("app") == world.values("made") == {"password": b"new"}


def test_a_write_that_was_surely_not_done_is_sent_again(world: KubernetesWorld) -> None:
    world.make("app", {"password": "old"})
    before = world.version("app")
    with road_to(world.server) as (road, address):
        world.use("admin", server=address)
        road.plan = ["drop", "503", "429"]
        world.bring("app", {"password": "new"})
        assert road.seen.count("PUT") == 4
    assert world.values("app") == {"password": b"new"}
    assert world.version("app") != before


def test_a_write_that_is_never_done_ends_with_an_error(world: KubernetesWorld) -> None:
    world.make("app", {"password": "old"})
    value = secrets.token_urlsafe(16)
    with road_to(world.server) as (road, address):
        world.use("admin", server=address)
        road.plan = ["drop"] * 9
        message = refusal(Unreachable, world, "app", {"password": value})
        assert road.seen.count("PUT") == 3
    assert value not in message
    assert world.values("app") == {"password": b"old"}


def test_a_lost_write_that_somebody_wrote_over_is_a_conflict_and_planned_anew(
    world: KubernetesWorld,
) -> None:
    world.make("app", {"password": "old"})
    place = world.place("app")
    observed = place.read(("password",))
    with road_to(world.server) as (road, address):
        world.use("admin", server=address)
        place = world.place("app")
        road.plan = ["lose"]
        world.set("app", other="theirs")
        # The write is refused by what was written in between, and that answer is lost too.
        with pytest.raises((Stale, Unreachable)):
            place.write(observed, {"password": Secret("new")})
    assert world.values("app") == {"password": b"old", "other": b"theirs"}


def test_reads_are_tried_again_while_the_server_is_busy(world: KubernetesWorld) -> None:
    world.make("app", {"password": "old"})
    with road_to(world.server) as (road, address):
        world.use("admin", server=address)
        road.reads = ["503", "drop", "500", "429"]
        assert not world.bring("app", {"password": "old"}).changed
        assert road.seen == ["GET"] * 5
        world.environ["KEYTURN_K8S_TIMEOUT"] = "3s"
        road.reads = ["503"] * 150
        assert "HTTP 503" in refusal(Unreachable, world, "app", {"password": "new"})


# --- immutable Secrets


def test_an_immutable_secret_is_refused_before_anything_is_written(world: KubernetesWorld) -> None:
    world.make("app", {"password": "old"}, immutable=True)
    before = world.version("app")
    message = refusal(Refused, world, "app", {"password": "new"})
    assert "the Secret is immutable" in message
    world.context.check_mode = True
    assert message == refusal(Refused, world, "app", {"password": "new"})
    world.context.check_mode = False
    assert not world.bring("app", {"password": "old"}).changed
    assert world.version("app") == before


# --- absent, denied, check mode


def test_a_namespace_that_is_not_there(world: KubernetesWorld) -> None:
    world.namespace = "gone"
    message = refusal(Absent, world, "app", {"password": "new"})
    assert "there is no namespace 'gone'; make it first" in message
    world.context.check_mode = True
    assert message == refusal(Absent, world, "app", {"password": "new"})


def test_a_namespace_that_is_going(world: KubernetesWorld) -> None:
    world.make("stays", {}, metadata={"finalizers": ["keyturn.invalid/kept"]})
    world.server.request("DELETE", f"/api/v1/namespaces/{world.namespace}")
    assert "its namespace is being deleted" in refusal(Refused, world, "app", {"password": "new"})


def test_create_false(world: KubernetesWorld) -> None:
    assert "'create' is false" in refusal(Absent, world, "app", {"a": "b"}, create=False)
    assert not world.bring("app", {"a": None}, create=False).changed
    assert not world.exists("app")


@pytest.mark.parametrize("check_mode", [True, False])
def test_one_who_may_only_read(world: KubernetesWorld, check_mode: bool) -> None:
    world.make("app", {"password": "old"})
    world.allow("reader", ["get"])
    world.use("reader")
    world.context.check_mode = check_mode
    assert not world.bring("app", {"password": "old"}).changed
    message = refusal(Denied, world, "app", {"password": "new"})
    assert f"denies this identity to update secrets in namespace {world.namespace}" in message
    message = refusal(Denied, world, "new", {"password": "new"})
    assert f"denies this identity to create secrets in namespace {world.namespace}" in message
    world.use("weak")
    assert "to get secrets" in refusal(Denied, world, "app", {"password": "new"})
    assert world.values("app") == {"password": b"old"}
    assert not world.exists("new")


def test_the_least_rights(world: KubernetesWorld) -> None:
    world.make("app", {"password": "old"})
    world.allow("reader", ["get", "update"], ["app"])
    world.use("reader")
    for check_mode in (True, False):
        world.context.check_mode = check_mode
        assert world.bring("app", {"password": "new"}).changed
    assert world.values("app") == {"password": b"new"}
    world.context.check_mode = True
    assert "to get secrets" in refusal(Denied, world, "other", {"password": "new"})


def test_a_quota_that_is_used_up(world: KubernetesWorld) -> None:
    path = f"/api/v1/namespaces/{world.namespace}/resourcequotas"
    hard = {"hard": {"secrets": "0"}}
    quota = world.server.request("POST", path, {"metadata": {"name": "q"}, "spec": hard})
    # Counting is the work of a controller, which this cluster has none of.
    body = {**quota, "status": {**hard, "used": {"secrets": "0"}}}
    world.server.request("PUT", f"{path}/q/status", body)
    assert "a quota of the namespace is used up" in refusal(Refused, world, "app", {"a": "b"})
