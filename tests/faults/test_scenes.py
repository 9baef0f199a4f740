# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power cuts in the answer to a compromise, in a bootstrap, a re-encryption, a deploy, and at Cloudflare: the same command ends it."""

from __future__ import annotations

from pathlib import Path

import pytest
from estate.playbook import Ansible
from points import soak
from scene_course import SceneCourse
from scene_fixtures import (
    BARRIER,
    CLOUDFLARE,
    DEPLOY,
    LOOKS,
    NEW,
    ROLE,
    SEALED,
    Build,
    build,
    flows,
)
from scene_looks import AUDIT, IMAGE, INCIDENT
from scene_r2 import RETIRE, ROTATE_FIRST
from scene_sealed import TOO_EARLY

__all__ = ["build"]

DEFECTS = Path(__file__).with_name("scene_defects.py")
# A refusal and a look write but a file; the first order is cut with a role.
LEFT_TO_SOAK = (TOO_EARLY, ROTATE_FIRST, RETIRE, AUDIT, IMAGE, INCIDENT)


# Every so manieth write of each flow, and one of each kind; ``make soak`` takes all.
@pytest.mark.parametrize(
    ("name", "share"),
    [
        (ROLE, 50),
        (SEALED, 30),
        (NEW, 99),
        (CLOUDFLARE, 60),
        (DEPLOY, 40),
        (BARRIER, 14),
        (LOOKS, 9),
    ],
)
def test_it_is_cut(build: Build, ansible: Ansible, name: str, share: int) -> None:
    course = SceneCourse(build(name, ansible))
    for flow in flows(course.scene, *LEFT_TO_SOAK):
        course.cut(flow, share)
    print("".join(f"\n{flow}: {', '.join(points)}" for flow, points in course.tried.items()))


# One of them each time, since these are as dear as the cells that they are for.
@pytest.mark.parametrize(
    ("name", "defect", "found"),
    [
        pytest.param(
            name,
            defect,
            found,
            marks=() if (name, defect) == (CLOUDFLARE, "second_value") else
            pytest.mark.skipif(not soak(), reason="make soak plants it"),
        )
        for name, defect, found in (
            (ROLE, "revoked_before_proof", "the application is locked out"),
            (ROLE, "second_value", "a second value"),
            (SEALED, "under_another_key", "row [0-9]+ is lost"),
            (NEW, "second_value", "nobody knows of the roles|a second value"),
            (CLOUDFLARE, "second_value", "nobody knows of the tokens|a second value"),
            (DEPLOY, "half_a_file", "the file is not whole"),
            (BARRIER, "one_alone_is_told", "behind a barrier"),
        )
    ],
)  # fmt: skip
def test_a_defect_is_found(
    build: Build, ansible: Ansible, name: str, defect: str, found: str
) -> None:
    course = SceneCourse(build(name, ansible))
    # Of both orders the one that locks nobody out.
    flow = course.scene.flows()[1 if name == ROLE else 0]
    course.scene.begin(flow)
    course.env = {"KEYTURN_DEFECT": f"{DEFECTS} {defect}"}
    with pytest.raises(AssertionError, match=found):
        course.cut(flow, 1 if soak() else 30)
