# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``k8s_secret`` on a real Kubernetes: what it sets, what it refuses, and as whom it speaks."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import kubernetes.config.incluster_config
import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve
from estate.kubernetes import KubernetesServer
from k8s_task import TaskWorld, refusal, refused
from k8s_world import road_to


@pytest.fixture
def world(kubernetes_server: KubernetesServer, tmp_path: Path) -> TaskWorld:
    return TaskWorld(kubernetes_server, tmp_path)


# --- present


def test_keys_labels_and_annotations(world: TaskWorld) -> None:
    value = secrets.token_urlsafe(16)
    done = world.quartet(
        fields={"password": value, "port": 5432},
        labels={"app": "musehub"},
        annotations={"keyturn.example/owner": "platform"},
        type="example.invalid/own",
    )
    found = world.get("app")
    assert world.values("app") == {"password": value.encode(), "port": b"5432"}
    assert found["metadata"]["labels"] == {"app": "musehub"}
    assert found["metadata"]["annotations"] == {"keyturn.example/owner": "platform"}
    assert found["type"] == "example.invalid/own"
    assert done["version"] == found["metadata"]["resourceVersion"]
    assert done["version_before"] is None
    assert value not in json.dumps(done)
    world.mark("app", other="kept")
    world.quartet(labels={"app": None, "tier": "1"}, fields={"port": None})
    assert world.get("app")["metadata"]["labels"] == {"other": "kept", "tier": "1"}
    assert world.values("app") == {"password": value.encode()}


def test_only_a_label_differs(world: TaskWorld) -> None:
    world.make("app", {"password": "p"})
    done = world.quartet(labels={"tier": "1"})
    assert "label tier: not there" in done["diff"]["before"]
    assert done["fields"] == {}
    assert world.values("app") == {"password": b"p"}


def test_an_empty_secret_is_made(world: TaskWorld) -> None:
    assert world.quartet()["diff"]["before"] == "not there\n"
    assert world.exists("app")


def test_a_value_is_made_once(world: TaskWorld) -> None:
    world.quartet(generate={"key": {"type": "hex", "bytes": 16}})
    assert len(world.values("app")["key"]) == 32


def test_the_type_cannot_be_changed(world: TaskWorld) -> None:
    world.make("app", {"password": "p"})
    message = refusal(Refused, world, type="example.invalid/own", fields={"password": "q"})
    assert "of type Opaque, which nobody can change" in message
    world.quartet(type="Opaque", fields={"password": "q"})


def test_a_type_that_lacks_its_keys(world: TaskWorld) -> None:
    with pytest.raises(BadInput, match="has the keys of that type"):
        world.run(type="kubernetes.io/tls", fields={"x": "y"})
    world.quartet(type="kubernetes.io/tls", fields={"tls.crt": "c", "tls.key": "k"})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"labels": {"a b": "x"}}, "labels: 'a b'"),
        ({"labels": {"a": "x y"}}, "labels.a: expected"),
        ({"labels": {"a": True}}, "labels.a: put it in quotes"),
        (
            {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "kubectl keeps a whole manifest",
        ),
        ({"fields": {"a/b": "x"}}, "no name of a key"),
        ({"name": "A"}, "no name of a Secret"),
        ({"namespace": "a.b"}, "no name of a namespace"),
        ({"in_cluster": True, "context": "x"}, "takes no 'kubeconfig'"),
        ({"in_cluster": True, "host": "https://h"}, "no 'host'"),
        ({"state": "absent", "fields": {"a": "b"}}, "fields: with 'state: absent' the Secret goes"),
        ({"state": "absent", "type": "Opaque"}, "type: with 'state: absent'"),
        ({"state": "absent", "immutable": False}, "immutable: with 'state: absent'"),
        ({"state": "absent", "replace_immutable": True}, "replace_immutable: with 'state: absent'"),
        ({"impersonate_groups": ["system:masters"]}, "'impersonate_groups'"),
    ],
)
def test_what_cannot_be_meant(world: TaskWorld, options: dict[str, Any], problem: str) -> None:
    assert problem in refusal(BadInput, world, **options)


# --- absent


def test_removed(world: TaskWorld) -> None:
    world.make("app", {"password": "p"}, metadata={"labels": {"a": "b"}})
    done = world.quartet(state="absent")
    assert (
        done["diff"]["before"]
        == "the Secret is there\npassword: (removed with the Secret)\nlabel a\n"
    )
    assert not world.exists("app")


def test_one_who_may_not_remove(world: TaskWorld) -> None:
    world.make("app", {"password": "p"})
    world.allow("reader", ["get", "update"], ["app"])
    world.use("reader")
    assert "to delete secrets" in refused(Denied, world, state="absent")


# --- pods


def pod(name: str, container: dict[str, Any], volumes: Any = ()) -> dict[str, Any]:
    """A pod that nobody runs."""
    one = {"name": "c", "image": "none", **container}
    return {"metadata": {"name": name}, "spec": {"containers": [one], "volumes": list(volumes)}}


def test_pods_that_keep_the_old_value(world: TaskWorld) -> None:
    key = {"secretKeyRef": {"name": "app", "key": "password"}}
    mount = {"name": "v", "mountPath": "/x"}
    volume = {"name": "v", "secret": {"secretName": "app"}}
    path = f"/api/v1/namespaces/{world.namespace}/pods"
    for body in (
        pod("by-env", {"env": [{"name": "P", "valueFrom": key}]}),
        pod("by-env-from", {"envFrom": [{"secretRef": {"name": "app"}}]}),
        pod("by-subpath", {"volumeMounts": [{**mount, "subPath": "password"}]}, [volume]),
        pod("by-volume", {"volumeMounts": [mount]}, [volume]),
        pod("of-another", {"envFrom": [{"secretRef": {"name": "other"}}]}),
    ):
        world.server.request("POST", path, body)
    for check in (True, False):
        done = world.run(check=check, fields={"password": "new"})
        assert done["pods_to_restart"] == ["by-env", "by-env-from", "by-subpath"]
    assert "3 pods have got it as an environment variable or by subPath" in world.warnings[-1]
    assert world.run(fields={"password": "new"})["pods_to_restart"] == []
    assert world.run(fields={"other": "x"})["pods_to_restart"] == ["by-env-from", "by-subpath"]
    world.allow("reader", ["get", "update"], ["app"])
    world.use("reader")
    assert world.run(fields={"password": "newer"})["pods_to_restart"] == []


# --- which cluster, as whom


def test_options_and_environment_of_kubernetes_core(world: TaskWorld) -> None:
    world.make("app", {"password": "old"})
    kubeconfig = world.environ.pop("KUBECONFIG")
    with pytest.raises(BadInput, match="no Kubernetes cluster is named"):
        world.run(fields={"password": "new"})
    world.run(kubeconfig=kubeconfig, context="admin", fields={"password": "1"})
    ca, token = str(world.server.tls.certificate), world.server.tokens
    login = {"host": f"{world.server.address}/", "ca_cert": ca}
    world.environ["TOKEN"] = token["admin"]
    world.run(**login, api_key="ref+envsubst://$TOKEN", fields={"password": "2"})
    with pytest.raises(Denied):
        world.run(**login, api_key=token["weak"], fields={"password": "x"})
    world.environ.update(
        K8S_AUTH_HOST=world.server.address, K8S_AUTH_API_KEY=token["admin"], K8S_AUTH_SSL_CA_CERT=ca
    )
    world.run(fields={"password": "3"})
    world.bring("app", {"more": "4"})
    with pytest.raises(Denied):
        world.run(impersonate_user="weak", impersonate_groups=["nobodies"], fields={"a": "x"})
    world.run(impersonate_user="weak", impersonate_groups=["system:masters", "nobodies"])
    world.environ["K8S_AUTH_IMPERSONATE_USER"] = "weak"
    with pytest.raises(Denied):
        world.run(fields={"a": "x"})
    del world.environ["K8S_AUTH_IMPERSONATE_USER"]
    world.environ["K8S_AUTH_VERIFY_SSL"] = "no"
    world.run(fields={"password": "5"})
    assert any("is not checked" in warning for warning in world.warnings)
    assert world.values("app") == {"password": b"5", "more": b"4"}


def test_the_environment_moves_no_pod_to_another_server(
    world: TaskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = world.home / "token"
    token.write_text(world.server.tokens["admin"])
    pod = kubernetes.config.incluster_config
    monkeypatch.setattr(pod, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(pod, "SERVICE_CERT_FILENAME", str(world.server.tls.certificate))
    host, port = world.server.address.rpartition("/")[2].split(":")
    world.environ.update(KUBERNETES_SERVICE_HOST=host, KUBERNETES_SERVICE_PORT=port)
    with road_to(world.server) as (road, address):
        world.environ["K8S_AUTH_HOST"] = address
        world.run(in_cluster=True, fields={"password": "1"})
        world.environ["K8S_AUTH_API_KEY"] = secrets.token_urlsafe(16)
        world.run(in_cluster=True, fields={"password": "2"})
        assert road.seen == []
        # The same listener is asked where the task does not name its pod.
        with pytest.raises(Denied):
            world.run(fields={"password": "3"})
        assert road.seen == ["GET"]
    assert world.values("app") == {"password": b"2"}


def test_a_reference_that_names_its_cluster_does_not_take_the_environments_login(
    world: TaskWorld,
) -> None:
    world.make("app", {"password": "old"})
    kubeconfig = world.environ["KUBECONFIG"]
    world.environ.update(K8S_AUTH_HOST="https://127.0.0.1:1", K8S_AUTH_API_KEY="none")
    for ending in (f"?kubeConfigPath={kubeconfig}", "?kubeContext=admin"):
        text = f"{world.reference('app')}/password{ending}"
        assert resolve(text, world.context, "x").reveal() == "old"
