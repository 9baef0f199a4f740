# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``k8s_secret`` inside Ansible's process and as an ordinary module: same results, and no value in any output."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate.kubernetes import KubernetesServer
from estate.playbook import Ansible
from k8s_task import named
from k8s_world import KubernetesWorld


def play(world: KubernetesWorld, place: Path, direct: bool) -> dict[str, Any]:
    """Check, apply, check again, apply again."""
    module = {
        "name": f"app-{str(direct).lower()}",
        "namespace": world.namespace,
        "fields": {"password": f"ref+file://{place}/value"},
        "labels": {"tier": "1"},
        "annotations": {"owner": "platform"},
    }
    task = {"keyturn.runbooks.k8s_secret": module, "diff": True}
    tasks = [
        {**task, "check_mode": check, "register": f"r{number}"}
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
    env = {"KUBECONFIG": world.environ["KUBECONFIG"], "ANSIBLE_PIPELINING": "1"}
    for direct in (True, False):
        book = tmp_path / f"{direct}.yml"
        book.write_text(yaml.safe_dump([play(world, tmp_path, direct)]))
        ended = ansible.run(str(book), "-vvv", env=env).check()
        assert value not in ended.output + ansible.log()
        told[direct] = json.loads((tmp_path / f"{direct}.json").read_text())
        assert [item["changed"] for item in told[direct]] == [True, True, False, False]
        assert world.values(f"app-{str(direct).lower()}") == {"password": value.encode()}
    for one, other in zip(told[True], told[False], strict=True):
        assert set(one) - {"ansible_facts"} == set(other) - {"invocation", "ansible_facts"}
        assert named(one["diff"]) == named(other["diff"])
