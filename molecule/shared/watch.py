# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notes who publishes on an ingest, as somebody who watches from outside sees it, until a file is there.

Usage: watch.py STATISTICS NOTES END. Each line of NOTES is one look: for each stream its application, a digest of its key, and
how much of it was received. A look without an answer is noted too.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import urllib.request
import xml.etree.ElementTree as ET
from pathlib import Path


def look(address: str) -> list[dict[str, str | int]]:
    """Who publishes now.

    :raises OSError: when the ingest does not answer.
    """
    with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310 - an address of the scenario's own
        told = ET.fromstring(answer.read())  # noqa: S314 - from the scenario's own ingest
    return [
        {
            "application": application.findtext("name", ""),
            "key": hashlib.sha256(stream.findtext("name", "").encode()).hexdigest(),
            "received": int(stream.findtext("bytes_in", "0")),
        }
        for application in told.iter("application")
        for stream in application.iter("stream")
        if stream.find("publishing") is not None
    ]


def main(address: str, notes: Path, end: Path) -> None:
    with notes.open("w") as kept:
        while not end.exists():
            try:
                seen: dict[str, object] = {"streams": look(address)}
            except OSError as error:
                seen = {"silent": str(error)}
            kept.write(json.dumps({"at": time.time(), **seen}) + "\n")
            kept.flush()
            time.sleep(0.1)


main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
