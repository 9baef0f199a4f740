# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: python scripts/venv.py CACHE
"""Print the path of the virtual environment that the requirements ask for; make it if need be.

Its name holds a hash of the requirements and of this Python, so clones with the same requirements
share one. An environment cannot be made elsewhere and moved, for its programs name its path: a lock
keeps clones apart, and a marker written last tells a whole one from one that a kill cut short.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = [
    ROOT / name for name in ("requirements.txt", "requirements-dev.txt", "constraints-dev.txt")
]


def key() -> str:
    content = hashlib.sha256(f"{sys.version} {sys.base_prefix}".encode())
    for path in REQUIREMENTS:
        content.update(path.read_bytes())
    return content.hexdigest()[:16]


def make(venv: Path) -> None:
    started = time.monotonic()
    print(f"waiting for: pip, about a minute, into {venv}", file=sys.stderr, flush=True)
    shutil.rmtree(venv, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, stdout=sys.stderr)
    pip = [
        venv / "bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, "-r", ROOT / "requirements-dev.txt"], check=True, stdout=sys.stderr)
    (venv / ".complete").touch()
    print(f"virtual environment made in {time.monotonic() - started:.0f} s", file=sys.stderr)


def main() -> None:
    cache = Path(sys.argv[1])
    venv = cache / f"venv-{key()}"
    cache.mkdir(parents=True, exist_ok=True)
    with Path(f"{venv}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (venv / ".complete").exists():
            make(venv)
    print(venv)


if __name__ == "__main__":
    main()
