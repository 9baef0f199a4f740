# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PgBouncer's userlist holds for an adopted role, whose verifier nobody may know."""

from __future__ import annotations

import secrets
from dataclasses import replace

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_keyring import (
    brings_second,
    digest,
    wanted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

PASSWORD, OTHER = secrets.token_urlsafe(20), secrets.token_urlsafe(20)
ADOPTED = Stage("r1", "observed", {"username": "app", "password": Secret(PASSWORD)}, adopted=True)
MADE = Stage(
    "r2",
    "grace",
    {"username": "app", "password": Secret(OTHER), "verifier": Secret("SCRAM-SHA-256$…")},
    failed=True,
)


def test_the_line_of_an_adopted_role_is_left_as_it_is() -> None:
    assert wanted(Document("db_app", bytes(32), current=ADOPTED)).entries == {}


def test_one_that_is_returned_to_takes_its_line_back() -> None:
    document = Document("db_app", bytes(32), current=ADOPTED, previous=MADE)
    entry = wanted(document).entries["app"]
    assert entry.reveal() == PASSWORD
    cut_over = Document("db_app", bytes(32), current=MADE, previous=ADOPTED)
    assert digest(document) != digest(cut_over)


def test_whose_next_rotation_brings_a_second_pool() -> None:
    other = replace(MADE, fields={**MADE.fields, "username": "app_b"}, failed=False)
    two, same = {"strategy": "alternate_roles"}, {"strategy": "same_role"}
    alone = Document("db_app", bytes(32), current=ADOPTED)
    assert brings_second(alone, two) and brings_second(alone, {})
    assert not brings_second(alone, same)
    issued = replace(alone, pending=replace(other, status="intended"))
    assert brings_second(issued, two), "nobody uses that one yet"
    for both in (
        replace(alone, previous=other),
        replace(alone, pending=replace(other, status="applied")),
        Document("db_app", bytes(32)),
    ):
        assert not brings_second(both, two)
