# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command of docker in front of podman's engine: it tells of an image what podman tells."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_audit import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from estate.processes import Daemon
from image_archives import tar
from machines import Podman

pytestmark = pytest.mark.skipif(not shutil.which("docker"), reason="there is no docker")
SERVICE, PROJECT = "com.docker.compose.service", "com.docker.compose.project"


@contextmanager
def engine(podman: Podman, folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which docker reaches podman's engine."""
    socket = folder / "engine.sock"
    argv = ["podman", "system", "service", "--time=0", f"unix://{socket}"]
    service = Daemon("podman's service", argv, folder / "engine.log", env=podman.environ)
    service.start(socket.exists)
    try:
        yield {**podman.environ, "DOCKER_HOST": f"unix://{socket}"}
    finally:
        service.stop()


def audit(environ: dict[str, str], **given: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
    return execute(MODULE, {**defaults, **given}, Context(environ=environ))


def test_docker_tells_what_podman_tells(podman: Podman, scratch: Path) -> None:
    value, mark = secrets.token_urlsafe(24), secrets.token_hex(4)
    image, archive = f"localhost/keyturn-docker-{mark}", scratch / "image.tar"
    archive.write_bytes(tar({"app/.env": f"API_TOKEN={value}\n".encode(), "app/x.py": b"x = 1\n"}))
    changes = [f"--change=ENV DB_PASSWORD={value}", f"--change=LABEL build.token={value}"]
    podman.call("import", "--quiet", *changes, str(archive), image)
    labels = [f"--label={SERVICE}=musehub", f"--label={PROJECT}={mark}"]
    try:
        container = podman.call("create", *labels, image, "/none").strip()
        with engine(podman, scratch) as environ:
            found = [audit(environ, image=image, engine=name) for name in ("podman", "docker")]
            service = {"service": "musehub", "project": mark, "engine": "docker"}
            found.append(audit(environ, **service))
            with pytest.raises(BadInput, match="docker has no image 'localhost/no-such:1'"):
                audit(environ, image="localhost/no-such:1", engine="docker")
        podman.call("rm", "--force", container)
    finally:
        podman.call("rmi", "--force", "--ignore", image)
    told = [{item["fingerprint"] for item in one["findings"]} for one in found]
    assert told[0] == told[1] == told[2]
    places = {item["place"] for item in found[1]["findings"]}
    assert places == {"environment", "label", "file"}
    assert [one["unknown"] for one in found] == [[], [], []]
    assert found[0]["image_id"].endswith(found[1]["image_id"].removeprefix("sha256:"))
    assert value not in json.dumps(found)
