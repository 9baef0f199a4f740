# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real pod sees of a Secret that changes: what the documentation says of volumes, variables, subPath and immutable Secrets."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_secret import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from estate.errors import Missing
from estate.kubernetes_pods import PodCluster
from estate.processes import wait_until
from k8s_world import KubernetesWorld

FILE = "etc/secret/password"
VOLUME = [{"name": "v", "secret": {"secretName": "app"}}]
WHOLE = {"name": "v", "mountPath": "/etc/secret"}
ONE_FILE = {"name": "v", "mountPath": "/etc/secret/password", "subPath": "password"}
VARIABLE = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "app", "key": "password"}}}


@pytest.fixture
def pod_cluster(run_dir: Path) -> Iterator[PodCluster]:
    """A Kubernetes with a node of its own."""
    place = run_dir / "pods"
    place.mkdir(mode=0o700)
    try:
        found = PodCluster(place)
    except Missing as error:
        if os.environ.get("KEYTURN_REQUIRE_REAL") == "1":
            raise
        pytest.skip(f"real part missing: {error}")
    with found:
        yield found


def run(world: KubernetesWorld, value: str, **options: Any) -> dict[str, Any]:
    """Set the key by the module."""
    defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
    named = {"name": "app", "namespace": world.namespace, "fields": {"password": value}}
    return execute(MODULE, {**defaults, **named, **options}, world.context)


def file_in(pod: Path) -> str:
    """The file that a pod's process sees."""
    return (pod / "root" / FILE).read_text()


def variable_in(pod: Path) -> str:
    """The variable that a pod's process has."""
    pairs = dict(
        item.split(b"=", 1) for item in (pod / "environ").read_bytes().split(b"\0") if item
    )
    return pairs[b"PASSWORD"].decode()


def only_a_volume_follows(cluster: PodCluster, world: KubernetesWorld) -> None:
    """A Secret that changes reaches a mounted folder, and neither a variable nor a file by subPath."""
    old, new = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    run(world, old)
    for name, spec in {
        "volume": {"volumeMounts": [WHOLE], "volumes": VOLUME},
        "subpath": {"volumeMounts": [ONE_FILE], "volumes": VOLUME},
        "variable": {"env": [VARIABLE]},
    }.items():
        cluster.start_pod(world.namespace, name, spec)
    volume, subpath, variable = (
        cluster.wait_for_pod(world.namespace, name) for name in ("volume", "subpath", "variable")
    )
    assert [file_in(volume), file_in(subpath), variable_in(variable)] == [old, old, old]
    done = run(world, new)
    assert done["pods_to_restart"] == ["subpath", "variable"]
    wait_until(lambda: file_in(volume) == new, 30, "the new value in the volume")
    time.sleep(2)
    assert [file_in(subpath), variable_in(variable)] == [old, old]
    # None was restarted for it.
    assert all(process.exists() for process in (volume, subpath, variable))


def a_node_keeps_an_immutable_secret(cluster: PodCluster, world: KubernetesWorld) -> None:
    """One that was replaced reaches neither running pods nor new ones, until the last of the old pods has gone from the node."""
    old, new = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    run(world, old, immutable=True)
    spec = {"volumeMounts": [WHOLE], "volumes": VOLUME}
    cluster.start_pod(world.namespace, "before", spec)
    before = cluster.wait_for_pod(world.namespace, "before")
    done = run(world, new, replace_immutable=True)
    assert done["pods_to_restart"] == ["before"]
    cluster.start_pod(world.namespace, "beside", spec)
    beside = cluster.wait_for_pod(world.namespace, "beside")
    assert [file_in(before), file_in(beside)] == [old, old]
    for name in ("before", "beside"):
        cluster.remove_pod(world.namespace, name)
    cluster.start_pod(world.namespace, "after", spec)
    assert file_in(cluster.wait_for_pod(world.namespace, "after")) == new


def test_what_pods_see_of_a_secret_that_changes(pod_cluster: PodCluster, tmp_path: Path) -> None:
    only_a_volume_follows(pod_cluster, KubernetesWorld(pod_cluster, tmp_path))
    a_node_keeps_an_immutable_secret(pod_cluster, KubernetesWorld(pod_cluster, tmp_path))
    pod_cluster.close()
    assert pod_cluster.left() == []
