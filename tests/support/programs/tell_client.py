# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Usage: tell_client.py STATUS-FILE. Ends once every worker of the application is seen using what its file says.

It is ``client.py reload`` without the imports of the application itself, which take most of its time.
"""

import json
import os
import signal
import sys
import time

STALE_SECONDS = 3.0
SECONDS = 20.0


def read(path):
    """The application's counters."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def tell(path):
    """Tell it; returns what went wrong, if anything did."""
    before = read(path)
    if before["ended"] or time.time() - before["updated"] > STALE_SECONDS:
        return "the application does not run"
    os.kill(before["pid"], signal.SIGHUP)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        status = read(path)
        if status["failed_reloads"] > before["failed_reloads"]:
            return "the application could not read its file"
        if before["generation"] < status["generation"] == status["settled"]:
            return None
        time.sleep(0.02)
    return "not all of the application uses what its file says"


if __name__ == "__main__":
    sys.exit(tell(sys.argv[1]))
