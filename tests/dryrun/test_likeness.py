# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run is left out only where another one saw all that it would see, and every look is heard."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from likeness import Likeness, digest

FACTS = {"stages": "one", "claim": True, "ledger": "line lost", "sinks": [], "pooler": ["a"]}
LEFT = {**FACTS, "claim": False, "ledger": "whole"}


def known_as(facts: Mapping[str, Any], *states: Mapping[str, Any], **left: Any) -> str:
    """How a run from these facts is known to end, after one that looked at stages, claim and ledger."""
    kept = Likeness()
    kept.keep("retire_due", FACTS, {"stages", "claim", "ledger"}, [FACTS, {**LEFT, **left}], "done")
    found = {digest(state) for state in states}
    like = kept.like("retire_due", digest(facts), facts, found.__contains__)
    return like.ended if like else ""


def test_a_difference_that_was_not_looked_at_makes_none() -> None:
    other = {**FACTS, "sinks": ["current"], "pooler": []}
    there = {**other, "claim": False, "ledger": "whole"}
    assert known_as(other, other, there) == "done"
    assert known_as({**other, "stages": "two"}, other, there) == ""
    assert known_as(other, other) == "", "it leaves a state that nobody has found"
    assert known_as(other, other, there, stages="two") == "", "what it leaves has other names there"


def test_what_is_kept_later_is_looked_at_later() -> None:
    kept = Likeness()
    assert kept.like("status", "x", FACTS, lambda _state: True) is None
    kept.keep("status", FACTS, {"stages"}, [FACTS], "nothing")
    assert kept.like("status", "x", LEFT, lambda _state: True)
    assert kept.like("rollback", "x", LEFT, lambda _state: True) is None


LOOKS = {
    "opened": "open(path)",
    "opened below a folder": "os.open('seen.json', os.O_RDONLY, dir_fd=os.open(folder, os.O_RDONLY))",
    "asked for its attributes": "os.stat(path)",
    "looked for": "Path(path).exists()",
    "a login": "psycopg2.connect(host='127.0.0.1', port=port, connect_timeout=1)",
    "a connection": "socket.create_connection(('127.0.0.1', port), 1)",
    "another file": "open(path + '.other', 'w')",
}
PROGRAM = """
import contextlib, os, socket, sys
from pathlib import Path
import psycopg2
from reads import listen
path, port = sys.argv[1], int(sys.argv[2])
folder = os.path.dirname(path)
listen(frozenset({"seen.json"}), lambda what: print(what, flush=True))
os.stat(path)
if os.fork() == 0:
    with contextlib.suppress(Exception):
        %s
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize("look", LOOKS)
def test_every_look_of_a_forked_process_is_heard(look: str, tmp_path: Path) -> None:
    path = tmp_path / "seen.json"
    path.touch()
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    support = str(Path(__file__).parents[1] / "support")
    heard = subprocess.run(
        [sys.executable, "-c", PROGRAM % LOOKS[look], str(path), str(port)],
        env={**os.environ, "PYTHONPATH": support},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")[:-1]
    server = look in ("a login", "a connection")
    assert heard == ([] if look == "another file" else ["a server"] if server else ["seen.json"])
