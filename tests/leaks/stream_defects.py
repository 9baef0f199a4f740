# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A defect of the product that lets a stream key out wherever a test stream is sent. Loaded by the plugin ``kill_at``."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import replace
from importlib import import_module
from typing import Any

PROBE = "ansible_collections.keyturn.runbooks.plugins.module_utils._probes._stream"
FOUND = {"command lines", "environments", "files written", "output"}


def everywhere() -> None:
    """The key is an argument, a variable, in a file for a moment, and in what is told of the proof."""
    module = import_module(PROBE)
    stream = module.stream

    def loud(target: Any, key: Any, *more: Any) -> Any:
        value = key.reveal()
        subprocess.run(["true", f"{target.url}/{value}"], check=True)
        subprocess.run(["true"], env={**os.environ, "STREAM_KEY": value}, check=True)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(value)
        done = stream(target, key, *more)
        return replace(done, method=f"ffmpeg to {target.url}/{value}")

    module.stream = loud
