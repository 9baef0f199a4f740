# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``k8s_secret`` inside Ansible's process and as an ordinary module: same results, and no value in any output."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate.kubernetes import KubernetesServer
from estate.playbook import Ansible
from k8s_task import named
from k8s_world import KubernetesWorld


def play(world: KubernetesWorld, place: Path, direct: bool) -> dict[str, Any]:
    """Check, apply, check again, apply again: with the kubeconfig in the task, and then with that of the environment."""
    inline = {"kubeconfig": world.server.kubeconfig("admin")}
    module = {
        "name": f"app-{str(direct).lower()}",
        "namespace": world.namespace,
        "fields": {"password": f"ref+file://{place}/value"},
        "labels": {"tier": "1"},
        "annotations": {"owner": "platform"},
    }
    tasks = [
        {
            "keyturn.runbooks.k8s_secret": {**module, **(inline if number < 2 else {})},
            "diff": True,
            "check_mode": check,
            "register": f"r{number}",
            "environment": {"KUBECONFIG": "/gone" if number < 2 else world.environ["KUBECONFIG"]},
        }
        for number, check in enumerate((True, False, True, False))
    ]
    shown = {"dest": f"{place}/{direct}.json", "content": "{{ [r0, r1, r2, r3] | to_json }}"}
    return {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"keyturn_direct": direct},
        "tasks": [*tasks, {"ansible.builtin.copy": shown}],
    }


@pytest.fixture
def world(kubernetes_server: KubernetesServer, tmp_path: Path) -> KubernetesWorld:
    return KubernetesWorld(kubernetes_server, tmp_path)


def test_both_ways_of_execution(world: KubernetesWorld, ansible: Ansible, tmp_path: Path) -> None:
    value = secrets.token_urlsafe(16)
    (tmp_path / "value").write_text(value)
    told: dict[bool, list[dict[str, Any]]] = {}
    env = {"ANSIBLE_PIPELINING": "1"}
    for direct in (True, False):
        book = tmp_path / f"{direct}.yml"
        book.write_text(yaml.safe_dump([play(world, tmp_path, direct)]))
        ended = ansible.run(str(book), "-vvv", env=env).check()
        for hidden in (value, world.server.tokens["admin"]):
            assert hidden not in ended.output + ansible.log()
        told[direct] = json.loads((tmp_path / f"{direct}.json").read_text())
        assert [item["changed"] for item in told[direct]] == [True, True, False, False]
        assert world.values(f"app-{str(direct).lower()}") == {"password": value.encode()}
    for one, other in zip(told[True], told[False], strict=True):
        assert set(one) - {"ansible_facts"} == set(other) - {"invocation", "ansible_facts"}
        assert named(one["diff"]) == named(other["diff"])


def ordinary(**given: Any) -> dict[str, Any]:
    """What an ordinary module prints."""
    module = "ansible_collections.keyturn.runbooks.plugins.modules.k8s_secret"
    ended = subprocess.run(
        [sys.executable, "-m", module],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"name": "app", "namespace": "prod", **given}}),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_an_ordinary_module_shows_the_path_of_a_kubeconfig_and_no_credential_in_one() -> None:
    told = ordinary(kubeconfig="/nowhere/kubeconfig")
    assert "there is no kubeconfig /nowhere/kubeconfig" in told["msg"]
    token = secrets.token_urlsafe(16)
    content = {
        "apiVersion": "v1",
        "contexts": [{"name": "prod", "context": {"user": "app", "cluster": "c"}}],
        "users": [{"name": "app", "user": {"token": token}}],
    }
    told = ordinary(kubeconfig=content)
    assert "k8s_secret prod/app: the mapping in 'kubeconfig' is no usable one" in told["msg"]
    assert told["invocation"]["module_args"]["kubeconfig"]["contexts"] == content["contexts"]
    assert token not in json.dumps(told)
