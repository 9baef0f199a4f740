# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of podman and of a compose command as a deploy asks for, with files in the place of containers.

Usage: toy_engine.py FOLDER PROJECT WORDS…: a container is a file of FOLDER, named by its service. It is made anew by ``up``, and keeps the
lines of ``.env`` in PROJECT as they were in that moment.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone

folder, project, *words = sys.argv[1:]


def made(service: str) -> None:
    """A container of this service, in one piece."""
    with open(os.path.join(project, ".env"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    path = os.path.join(folder, service)
    with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"created": now, "env": lines}, file)
    os.replace(f"{path}.new", path)


def inspected(service: str) -> str:
    """What there is to say of a container."""
    with open(os.path.join(folder, service), encoding="utf-8") as file:
        created = json.load(file)["created"]
    state = {"Running": True, "Status": "running", "StartedAt": created}
    return json.dumps({"created": created, "restarts": 0, "state": state})


service = words[-1].rpartition("=")[2]
if words[0] == "ps":
    wanted = [word for word in words if "compose.service=" in word]
    service = wanted[0].rpartition("=")[2]
    print(service if os.path.exists(os.path.join(folder, service)) else "", end="")
elif words[:2] == ["container", "inspect"]:
    labels = {"com.docker.compose.project": "toy", "com.docker.compose.service": service}
    print(json.dumps(labels) if "Labels" in words[3] else inspected(service))
elif "up" in words:
    made(service)
else:
    sys.exit(f"no such command: {words}")
