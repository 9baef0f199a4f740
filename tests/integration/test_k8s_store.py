# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A keyring in a Secret of a real Kubernetes: compare-and-set, lost answers, limits, rights."""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._json_lines import json_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve
from estate.kubernetes import KubernetesServer
from k8s_world import KubernetesWorld, road_to

KEY = "keyring.json"


@pytest.fixture
def world(kubernetes_server: KubernetesServer, tmp_path: Path) -> KubernetesWorld:
    return KubernetesWorld(kubernetes_server, tmp_path)


def document() -> str:
    return json_lines({"current": {"password": secrets.token_urlsafe(16) + "ü"}, "step": 1})


# --- compare and set


def test_write_and_read(world: KubernetesWorld) -> None:
    store, first, second = world.store("db"), document(), document()
    assert store.read() is None
    assert store.versions() == []
    version = store.write(first, None)
    assert store.read() == (first, version)
    later = store.write(second, version)
    assert later != version
    assert world.store("db").read() == (second, later)
    with pytest.raises(Conflict):
        store.write(first, version)
    with pytest.raises(Conflict):
        store.write(first, None)
    assert store.read() == (second, later)
    [present] = store.versions()
    assert (present.version, present.state) == (later, "current")
    assert present.made is not None
    assert abs(present.made - datetime.now(timezone.utc)) < timedelta(seconds=30)


def test_any_text_comes_back_to_the_letter(world: KubernetesWorld) -> None:
    store = world.store("db")
    version = None
    for text in ("", "\0 no JSON \ud800 \U0001f511\r\n", document()):
        version = store.write(text, version)
        assert world.store("db").read() == (text, version)


def test_a_part_of_it_can_be_referred_to(world: KubernetesWorld) -> None:
    text = document()
    world.store("db").write(text, None)
    found = resolve(f"{world.reference('db')}/{KEY}#/current/password", world.context, "x")
    assert found.reveal() == json.loads(text)["current"]["password"]


def test_one_who_changes_a_label_in_between_is_seen(world: KubernetesWorld) -> None:
    store, text = world.store("db"), document()
    version = store.write(text, None)
    world.mark("db", team="platform")
    with pytest.raises(Conflict):
        store.write(document(), version)
    found = store.read()
    assert found is not None
    store.write(document(), found[1])
    labels = world.get("db")["metadata"]["labels"]
    assert labels == {"app.kubernetes.io/managed-by": "keyturn.runbooks", "team": "platform"}


def test_a_keyring_that_was_removed_meanwhile(world: KubernetesWorld) -> None:
    store = world.store("db")
    version = store.write(document(), None)
    world.server.request("DELETE", f"{world.secrets}/db")
    with pytest.raises(Conflict):
        store.write(document(), version)
    store.write(document(), None)
    with pytest.raises(Conflict):
        store.write(document(), version)


# --- faults


def test_a_write_whose_answer_was_lost_is_looked_up(world: KubernetesWorld) -> None:
    with road_to(world.server) as (road, address):
        world.use("admin", server=address)
        store, first, second = world.store("db"), document(), document()
        road.plan = ["lose"]
        version = store.write(first, None)
        road.plan = ["lose"]
        later = store.write(second, version)
        assert store.read() == (second, later)
        assert (road.seen.count("POST"), road.seen.count("PUT")) == (1, 1)
        road.plan = ["503"] * 9
        with pytest.raises(Unreachable) as caught:
            store.write(first, later)
        assert caught.value.details["uncertain"]
    world.use("admin")
    assert world.store("db").read() == (second, later)


def test_the_servers_clock(world: KubernetesWorld) -> None:
    store = world.store("db")
    assert store.time() is None
    store.read()
    told = store.time()
    assert told is not None
    assert abs(told - datetime.now(timezone.utc)) < timedelta(seconds=2)


# --- what is no place for a keyring


def test_the_limit(world: KubernetesWorld) -> None:
    store = world.store("db")
    version = store.write("x" * 1024 * 1024, None)
    value = "s" * 1024 * 1024 + "t"
    with pytest.raises(BadInput, match="1048577 bytes, and Kubernetes takes 1048576") as caught:
        store.write(value, version)
    assert "sss" not in caught.value.message
    with pytest.raises(BadInput, match="1048577 bytes"):
        world.store("other").write(value, None)


def test_a_secret_of_somebody_else(world: KubernetesWorld) -> None:
    world.make("app", {"password": "x"})
    with pytest.raises(BadInput, match="has other keys and no 'keyring"):
        world.store("app").read()
    with pytest.raises(BadInput, match="has other keys"):
        world.store("app").write(document(), None)
    with pytest.raises(BadInput, match="fills its Secret alone"):
        world.store("app/key")
    world.make("fixed", {KEY: "{}"}, immutable=True)
    with pytest.raises(Refused, match="immutable"):
        world.store("fixed").write(document(), world.version("fixed"))


def test_absent_and_denied_are_told_apart(world: KubernetesWorld) -> None:
    reader = ["get", "update"]
    world.make("db", {})
    world.allow("reader", reader, ["db"])
    world.use("reader")
    store = world.store("db")
    assert store.read() is None
    version = store.write(document(), None)
    store.write(document(), version)
    with pytest.raises(Denied, match="to get secrets"):
        world.store("other").read()
    world.allow("reader", ["get"], ["other"])
    assert world.store("other").read() is None
    with pytest.raises(Denied, match="to create secrets"):
        world.store("other").write(document(), None)
    world.use("admin")
    world.namespace = "gone"
    with pytest.raises(Absent, match="there is no namespace 'gone'"):
        world.store("db").read()
    with pytest.raises(Absent, match="there is no namespace 'gone'"):
        world.store("db").write(document(), None)


def test_no_value_shows(world: KubernetesWorld) -> None:
    text = document()
    store = world.store("db")
    store.write(text, None)
    shown = repr(store) + repr(vars(store)) + repr(store.versions())
    assert json.loads(text)["current"]["password"] not in shown
