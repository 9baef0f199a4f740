# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dry runs of the answer to a compromise, of a bootstrap, a re-encryption, a deploy, and of what is made at Cloudflare: each is honest."""

from __future__ import annotations

import json

import pytest
from estate.playbook import Ansible
from scene_dry import foretold
from scene_fixtures import ALL, BARRIER, Build, build, flows
from scene_r2 import REVOKE_FIRST, ROTATE_FIRST
from scene_sealed import RETIRE

__all__ = ["build"]

LEFT_TO_SOAK = (ROTATE_FIRST, REVOKE_FIRST, RETIRE)


@pytest.mark.parametrize("name", ALL)
def test_it_is_predicted(build: Build, ansible: Ansible, name: str) -> None:
    scene = build(name, ansible)
    found = [fault for flow in flows(scene, *LEFT_TO_SOAK) for fault in foretold(scene, flow)]
    assert not found, "\n".join(found)


def test_a_planted_defect_is_found(build: Build, ansible: Ansible) -> None:
    scene = build(BARRIER, ansible)
    (flow,) = scene.flows()
    path = str(scene.folder / "token")
    plant = {"module": "_publish", "defect": "writes a file", "file": path}
    faults = foretold(scene, flow, {"KEYTURN_PLANT": json.dumps(plant)})
    assert any(f"wrote files: {path} (mtime, content)" in fault for fault in faults), faults
