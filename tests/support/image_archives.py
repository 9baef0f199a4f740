# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of images as ``docker save`` and ``podman save`` write them, made without either."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def tar(files: Mapping[str, bytes]) -> bytes:
    """A tar of these files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


def digest(data: bytes) -> str:
    """As images name their parts."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def configuration(layers: Sequence[bytes], **changes: Any) -> dict[str, Any]:
    """A configuration that lists these layers."""
    history = [{"created_by": "COPY . /app # buildkit"} for _layer in layers]
    listed = {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}
    return {"os": "linux", "config": {}, "history": history, "rootfs": listed, **changes}


def docker(path: Path, layers: Sequence[bytes], **changes: Any) -> Path:
    """An archive in docker's layout."""
    config = json.dumps(configuration(layers, **changes)).encode()
    named = {f"{digest(layer)[7:]}.tar": layer for layer in layers}
    name = f"{digest(config)[7:]}.json"
    manifest = [{"Config": name, "RepoTags": ["app:1"], "Layers": list(named)}]
    path.write_bytes(tar({**named, name: config, "manifest.json": json.dumps(manifest).encode()}))
    return path


def in_two_members(data: bytes) -> bytes:
    """Compressed as tools do that let a reader begin in the middle."""
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(data[half:])


def oci(path: Path, layers: Sequence[bytes], pack: Any = gzip.compress, **changes: Any) -> Path:
    """An archive in OCI's layout."""
    config = json.dumps(configuration(layers, **changes)).encode()
    blobs = [*map(pack, layers), config]
    parts = [{"digest": digest(blob), "size": len(blob)} for blob in blobs]
    manifest = json.dumps({"config": parts[-1], "layers": parts[:-1]}).encode()
    index = {"schemaVersion": 2, "manifests": [{"digest": digest(manifest)}]}
    files = {f"blobs/sha256/{digest(blob)[7:]}": blob for blob in (*blobs, manifest)}
    files["index.json"] = json.dumps(index).encode()
    path.write_bytes(tar({**files, "oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}))
    return path
