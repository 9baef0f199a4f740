# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes's own controllers and a Secret that was changed here: what it belonged to, it belongs to still."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from estate.errors import Missing
from estate.kubernetes_controllers import ControlPlane
from estate.processes import wait_until
from k8s_task import TaskWorld


@pytest.fixture
def control_plane(run_dir: Path) -> Iterator[ControlPlane]:
    """A control plane of its own, with controllers."""
    place = run_dir / "controllers"
    place.mkdir(mode=0o700)
    try:
        found = ControlPlane(place)
    except Missing as error:
        if os.environ.get("KEYTURN_REQUIRE_REAL") == "1":
            raise
        pytest.skip(f"real part missing: {error}")
    with found:
        yield found


def test_secrets_that_were_changed_go_with_their_owner(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    world = TaskWorld(control_plane, tmp_path)
    path = f"/api/v1/namespaces/{world.namespace}/configmaps"
    owner = control_plane.request("POST", path, {"metadata": {"name": "owner"}})
    told = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    marks = {"ownerReferences": [told]}
    world.make("app", {"password": "old"}, metadata=marks)
    world.make("fixed", {"password": "old"}, metadata=marks, immutable=True)
    world.make("free", {"password": "old"})
    for name in ("app", "fixed", "free"):
        world.run(name=name, fields={"password": "new"}, replace_immutable=True)
        assert world.values(name) == {"password": b"new"}
    control_plane.request("DELETE", f"{path}/owner")
    wait_until(lambda: not world.exists("app") and not world.exists("fixed"), 60, "their end")
    assert world.values("free") == {"password": b"new"}
