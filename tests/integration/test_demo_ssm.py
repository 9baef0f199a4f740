# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo of parameters in AWS: its acts on real servers, in a process that has Ansible already, and what it shows and leaves."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import required
from show.leaks import forms
from show.screen import Screen
from show_ssm.acts import Acts
from show_ssm.film import Film
from show_ssm.main import INVENTORY, play, surroundings
from show_ssm.scene import Scene
from warm import WarmAnsible, WarmServers

SOAK = os.environ.get("KEYTURN_SOAK") == "1"
"""All acts, with containers where podman runs them. Without it only those whose reports no other test reads as the demo does: the
rotations, and the answer to a theft, are those of tests of their own, by other definitions."""


@pytest.fixture
def scene() -> Iterator[Scene]:
    with required():
        made = Scene(contained=SOAK)
    with made:
        yield made
    assert not made.run_dir.exists()


def test_the_acts_end_with_zeros(
    scene: Scene, collections: Path, warm_servers: WarmServers
) -> None:
    screen = Screen()
    ansible = WarmAnsible(
        scene.work_dir, collections, INVENTORY, surroundings(scene), servers=warm_servers
    )
    acts = Acts(scene, Film(screen, ansible, scene.secrets))
    short = (acts.bootstrap, acts.images, acts.audit)
    chosen = acts.all() if SOAK else short
    faults = play(acts, chosen, screen, time.monotonic())
    output = screen.text()
    assert faults == [], output
    assert "fatal" in output
    titles = re.findall(r"^\d\. (.*)$", output, re.MULTILINE)
    assert len(titles) == len(chosen) + 1
    for figure in acts.figures:
        assert re.search(rf"^{figure.name} +0 +{figure.of} {figure.what}$", output, re.MULTILINE)
    for name, value in scene.secrets().items():
        found = [
            form
            for form, texts in forms(value).items()
            for text in texts
            if text.decode() in output
        ]
        assert not found, name
