# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every flow of every strategy, as loudly as it can be run: no secret is anywhere that it must not be."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from leaks.flows import Course
from leaks.watch import Watch
from rotation import FORCE

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
Report = Callable[[Watch], None]
PROMOTE = "Look once more, and promote the proved value"
STRATEGIES, AUTHS = ("alternate_roles", "new_role", "same_role"), ("userlist", "auth_query")
ALL = [(strategy, auth, debug) for strategy in STRATEGIES for auth in AUTHS for debug in ("", "1")]
SOME = [
    ("alternate_roles", "userlist", "1"),
    ("alternate_roles", "auth_query", ""),
    ("new_role", "userlist", ""),
    ("same_role", "userlist", "1"),
]


@pytest.mark.parametrize(
    ("strategy", "auth", "debug"), ALL if os.environ.get("KEYTURN_SOAK") else SOME
)
def test_every_flow(course: Maker, report: Report, strategy: str, auth: str, debug: str) -> None:
    made = course(auth, strategy=strategy)
    made.name = f"{strategy}, {auth}{', ANSIBLE_DEBUG' if debug else ''}"
    made.env = {"ANSIBLE_DEBUG": debug} if debug else {}
    made.run("1 adopt", "adopt", extra=made.estate.adoption)
    if debug:
        made.run("2 dry run", "rotate_db", "--check", extra=FORCE)
    made.run("3 rotate", "rotate_db", extra=FORCE)
    made.run("4 roll back", "rollback")
    made.run("5 retire", "retire_due")
    if strategy != "same_role":
        made.killed("6 killed", "rotate_db", PROMOTE, extra=FORCE)
        made.run("7 abandon", "abandon")
    if debug:
        made.run("8 status", "status")
    document = made.estate.document()
    assert document.current and document.pending is None and document.previous is None
    report(made.watch)
