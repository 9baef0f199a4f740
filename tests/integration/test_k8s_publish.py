# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A keyring in one Secret of a real Kubernetes, published to keys of others; and ``k8s_secret`` with that keyring."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Absent, BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._publish import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.kubernetes import KubernetesServer
from k8s_task import TaskWorld


@pytest.fixture
def world(kubernetes_server: KubernetesServer, tmp_path: Path) -> TaskWorld:
    return TaskWorld(kubernetes_server, tmp_path)


def keyring(world: TaskWorld) -> tuple[str, str]:
    """The reference of a keyring, and the password in it."""
    password = f"p'%:{secrets.token_urlsafe(24)}"
    document = Document("db_app", secrets.token_bytes(32))
    fields = {"username": "app_a", "password": Secret(password)}
    stage = document.with_fingerprints(Stage("r1", "observed", fields))
    text = dump_text(Document(**{**vars(document), "current": stage}))
    world.store("keyring").write(text, None)
    return world.reference("keyring"), password


def publish(world: TaskWorld, place: str, sinks: list[dict[str, Any]], check: bool) -> Any:
    """What the module tells."""
    defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
    world.context.check_mode, world.context.diff = check, True
    world.context.foreseen.clear()
    own = {"keyring": place, "credential": "db_app", "sinks": sinks, "run": {"run_id": "me"}}
    return execute(MODULE, {**defaults, **own}, world.context)


def test_a_keyring_is_published_to_secrets(world: TaskWorld) -> None:
    place, password = keyring(world)
    world.make("app", {"other": b"\xff\0"}, metadata={"labels": {"a": "b"}})
    sinks = [
        {"ref": f"{world.reference('app')}#/PASSWORD", "template": "{current.password}"},
        {"ref": f"{world.reference('app')}/USER", "template": "{current.username}"},
        {"ref": world.reference("new"), "fields": {"url": "x://{current.password|urlencode}@h"}},
    ]
    told = [publish(world, place, sinks, check) for check in (True, False, True, False)]
    assert [one["changed"] for one in told] == [True, True, False, False]
    assert told[0]["diff"] == told[1]["diff"]
    assert [len(one["behind"]) for one in told] == [3, 0, 0, 0]
    assert password not in json.dumps(told)
    encoded = password.encode()
    assert world.values("app") == {"other": b"\xff\0", "PASSWORD": encoded, "USER": b"app_a"}
    assert world.get("app")["metadata"]["labels"] == {"a": "b"}
    assert set(world.values("new")) == {"url"}
    versions = [item["version"] for item in told[3]["sinks"]]
    assert versions == [world.version(name) for name in ("app", "app", "new")]


def test_a_task_shows_the_keyrings_fingerprints(world: TaskWorld) -> None:
    place, password = keyring(world)
    done = world.quartet(
        keyring=place,
        credential="db_app",
        run={"run_id": "me"},
        fields={"PASSWORD": "keyring#/current/password"},
    )
    again = world.run(
        keyring=place, run={"run_id": "me"}, fields={"PASSWORD": "keyring#/current/password"}
    )
    assert again["fields"]["PASSWORD"]["before"] == done["fields"]["PASSWORD"]["after"]
    assert world.values("app") == {"PASSWORD": password.encode()}


def test_what_is_no_sink_or_no_keyring(world: TaskWorld) -> None:
    place, _password = keyring(world)
    whole = [{"ref": world.reference("app"), "template": "{current.password}"}]
    with pytest.raises(BadInput, match="'template' writes one field"):
        publish(world, place, whole, False)
    sinks = [{"ref": f"{world.reference('app')}/a", "template": "{current.password}"}]
    with pytest.raises(Absent):
        publish(world, world.reference("none"), sinks, False)
    assert not world.exists("app")
