# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotation after rotation under load, while runs die at any moment, servers restart and connections run out."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg2
import pytest
from course import Course
from rotation import CREDENTIAL, FORCE

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
ROTATIONS = int(
    os.environ.get("KEYTURN_ROTATIONS") or (200 if os.environ.get("KEYTURN_SOAK") else 3)
)
LONGEST = 3.0
TRIES = 4


@contextmanager
def all_connections_taken(made: Course) -> Iterator[None]:
    """Every connection that an ordinary role can have is held."""
    server = made.estate.database.server
    name = f"{made.estate.prefix}_crowd"
    password = made.estate.database.create_login(name)
    held = []
    try:
        with suppress(psycopg2.OperationalError):
            while True:
                held.append(server.connect(made.estate.database.name, name, password))
        yield
    finally:
        for connection in held:
            connection.close()
        made.estate.database.execute(f'DROP ROLE "{name}"')


class Soak:
    """One credential that is rotated and retired again and again, and disturbed on the way."""

    def __init__(self, made: Course) -> None:
        self.made = made
        self.chance = random.SystemRandom()
        self.kinds: Counter[str] = Counter()
        self.explained: Counter[str] = Counter()

    def disturb(self) -> str:
        """Begin a rotation and let something happen to it; returns what."""
        kinds = ("nothing", "kill", "kill", "pooler", "server", "crowd")
        kind = self.chance.choice(kinds)
        moment = self.chance.uniform(0, LONGEST)
        getattr(self, f"_{kind}")(moment)
        self.kinds[kind] += 1
        print(f"{kind} after {moment:.2f} s")
        return kind

    def _nothing(self, _moment: float) -> None:
        self.made.estate.start("rotate_db", FORCE).wait()

    def _kill(self, moment: float) -> None:
        running = self.made.estate.start("rotate_db", FORCE)
        time.sleep(moment)
        running.kill()

    def _pooler(self, moment: float) -> None:
        running = self.made.estate.start("rotate_db", FORCE)
        time.sleep(moment)
        assert self.made.estate.pooler
        self.made.estate.pooler.restart()
        running.wait()

    def _server(self, moment: float) -> None:
        running = self.made.estate.start("rotate_db", FORCE)
        time.sleep(moment)
        self.made.estate.database.server.restart()
        running.wait()

    def _crowd(self, _moment: float) -> None:
        with all_connections_taken(self.made):
            self.made.estate.start("rotate_db", FORCE).wait()

    def settle(self, before: str) -> None:
        """What a person does: the same again until it is done, and the old value retired."""
        said = ""
        for _try in range(TRIES):
            document = self.made.estate.document()
            begun = document.pending or document.current is None
            begun = begun or document.current.rotation_id != before
            if document.previous and document.previous.failed:
                self.made.estate.run("retire_due")
            run = self.made.estate.run("rotate_db", extra=None if begun else FORCE)
            said = run.output
            document = self.made.estate.document()
            done = document.current and document.current.status == "observed"
            if run.returncode == 0 and done and document.current.rotation_id != before:
                self.made.estate.run("retire_due").check()
                return
        raise AssertionError(f"not rotated after {TRIES} more runs:\n{said}")

    def once(self) -> None:
        """One rotation, whatever happens."""
        assert self.made.client
        document = self.made.estate.document()
        assert document.current
        before, failed = document.current.rotation_id, self.made.client.failures()
        kind = self.disturb()
        self.settle(before)
        self.made.client.work(10)
        after = self.made.client.failures()
        more = {name: after[name] - failed[name] for name in after if after[name] != failed[name]}
        # Who is connected when a server goes away loses what it was doing: that is not the rotation's.
        if kind in ("nothing", "kill"):
            assert not more, f"{kind}: {more}"
        self.explained.update(more)


def test_rotation_after_rotation(course: Maker) -> None:
    made = course("alternate_roles")
    soak = Soak(made)
    for _number in range(ROTATIONS):
        soak.once()
    print(dict(soak.kinds), "explained by restarts and full servers:", dict(soak.explained))
    estate = made.estate
    document = estate.document()
    assert document.current and not document.pending and not document.previous
    assert document.claim is None and document.credential == CREDENTIAL
    roles = estate.database.execute(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE %s ORDER BY 1", (f"{estate.prefix}%",)
    )
    assert [name for (name,) in roles] == sorted([*estate.roles, estate.database.owner])
    assert estate.pooler
    names = [
        line.split('"')[1] for line in estate.pooler.userlist_path.read_text().splitlines() if line
    ]
    assert sorted(names) == sorted([estate.pooler.admin_user, document.current.text("username")])
    left = [path.name for path in estate.folder.glob(".*") if not path.name.endswith(".lock")]
    assert left == []
    assert estate.ledger_faults() == []
    assert len(estate.env_file.read_text().splitlines()) == 3
