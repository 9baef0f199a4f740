# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one image that the tests' pods run: a static program, packed without a registry."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

PAUSE, AGENT = "localhost/pause:1", "localhost/agent:1"
"""What the image is called: as the sandbox of each pod, and by pods themselves."""


def _tar(entries: dict[str, bytes], mode: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def pack_image(program: Path, to: Path) -> None:
    """Write an archive, as ``docker save`` writes one, of an image that holds this program alone.

    :param program: static; it becomes ``/agent``.
    """
    layer = _tar({"agent": program.read_bytes()}, 0o755)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/agent"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [PAUSE, AGENT], "Layers": ["layer.tar"]}]
    entries = {name: config, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    to.write_bytes(_tar(entries, 0o644))
