# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer to a compromise, a bootstrap, a re-encryption, a deploy, and what is made at Cloudflare, as loudly as they can be run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from estate.playbook import Ansible
from leaks.scenes import SceneWatch
from leaks.trace import Tracer
from leaks.watch import Watch
from points import soak
from scene_fixtures import ALL, BARRIER, Build, build, flows
from scene_r2 import RETIRE as RETIRE_PAIR
from scene_r2 import REVOKE_FIRST
from scene_role import ROTATE_FIRST as ROLE_ROTATE_FIRST
from scene_sealed import RETIRE, TOO_EARLY

__all__ = ["build"]

Report = Callable[[Watch], None]
# The first order is watched with a pair, the second with a role.
LEFT_TO_SOAK = (ROLE_ROTATE_FIRST, RETIRE_PAIR, REVOKE_FIRST, TOO_EARLY, RETIRE)
DEFECTS = Path(__file__).with_name("scene_defects.py")


# A barrier is where a leak is planted.
@pytest.mark.parametrize("name", ALL if soak() else [name for name in ALL if name != BARRIER])
def test_nothing_is_let_out(
    build: Build, traced: Ansible, tracer: Tracer, report: Report, name: str
) -> None:
    scene = build(name, traced)
    made = SceneWatch(scene, tracer, {"ANSIBLE_DEBUG": "1"} if soak() else {})
    for flow in flows(scene, *LEFT_TO_SOAK):
        scene.begin(flow)
        if soak():
            made.run(flow, "--check", told=", dry run").check(flow.code)
        made.run(flow).check(flow.code)
    report(made.watch)


def test_a_planted_leak_is_found(build: Build, traced: Ansible, tracer: Tracer) -> None:
    scene = build(BARRIER, traced)
    made = SceneWatch(scene, tracer, {"KEYTURN_DEFECT": f"{DEFECTS} everywhere"})
    (flow,) = scene.flows()
    scene.begin(flow)
    made.run(flow).check()
    assert made.places() >= {"command lines", "environments", "files written"}
