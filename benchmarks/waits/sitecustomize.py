# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes down how long a process of either contender waits on purpose: every pause of at least a tenth of a second.

Python imports this by its name where PYTHONPATH has this folder.
"""

from __future__ import annotations

import os
import time

LOG = "BENCHMARK_PAUSES"
LEAST = 0.1


def _watch(path: str) -> None:
    pause = time.sleep

    def sleep(seconds: float) -> None:
        pause(seconds)
        if seconds >= LEAST:
            with open(path, "a", encoding="ascii") as log:
                log.write(f"{seconds}\n")

    time.sleep = sleep


if os.environ.get(LOG):
    _watch(os.environ[LOG])
