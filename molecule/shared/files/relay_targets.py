# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes where the relay sends on what it receives: one line of nginx' configuration for each of its platforms.

Usage: relay_targets.py FOLDER FILE. FOLDER holds one env file for each platform, with STREAM_ENDPOINT and STREAM_KEY_FILE. FILE
is for nginx alone: a key stands in no argument of a process and in no environment. Where something is wrong the file that is
there stays, and so does what nginx knows: a reload then fails, and the relay goes on as before.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

# What would end the word or the line in nginx' configuration is no part of a key.
KEY = re.compile(r"[A-Za-z0-9_.~-]{8,200}")
ENDPOINT = re.compile(r"rtmp://[A-Za-z0-9.-]+(:[0-9]+)?/[A-Za-z0-9_]+")


def target(env: Path) -> str:
    """The line for one platform.

    :raises ValueError: naming the file and what is expected.
    """
    words = dict(line.split("=", 1) for line in env.read_text().splitlines() if "=" in line)
    endpoint, key_file = words.get("STREAM_ENDPOINT", ""), words.get("STREAM_KEY_FILE", "")
    if not ENDPOINT.fullmatch(endpoint):
        raise ValueError(f"{env}: STREAM_ENDPOINT is to be like rtmp://host/application")
    if not key_file:
        raise ValueError(f"{env}: STREAM_KEY_FILE is missing")
    key = Path(key_file).read_text().strip()
    if not KEY.fullmatch(key):
        raise ValueError(f"{key_file}: expected one key of letters, digits and _.~-")
    return f"push {endpoint}/{key};\n"


def main(folder: Path, file: Path) -> None:
    lines = [target(env) for env in sorted(folder.glob("*.env"))]
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
        written.writelines(lines)
    new.replace(file)


try:
    main(Path(sys.argv[1]), Path(sys.argv[2]))
except (OSError, ValueError) as error:
    sys.exit(f"relay_targets.py: {error}")
