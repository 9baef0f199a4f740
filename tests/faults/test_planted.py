# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each kind of defect is put into the product, and the faults find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from at_once import assert_one_wins
from course import Course
from estate.databases import Database
from keeping import InVault
from points import cuts, lost_answers
from rotation import FORCE
from team import Team

pytestmark = pytest.mark.pg_versions("16")
DEFECTS = Path(__file__).with_name("defects.py")
Maker = Callable[..., Course]
MINDED = "both (rotated|failed)|does not say who is at work|a second value|the ledger is not whole"


def plant(made: Course, name: str, unseen: str = "") -> None:
    """Break the product in every run from now on."""
    made.estate.environ.update(KEYTURN_DEFECT=f"{DEFECTS} {name}", KEYTURN_UNSEEN=unseen)


def test_a_file_that_no_point_tells_of(course: Maker) -> None:
    made = course("alternate_roles", None)
    plant(made, "unseen_file", str(made.estate.folder / "unseen"))
    with pytest.raises(AssertionError, match=r"no point tells of it: \['unseen'\]"):
        made.undisturbed("rotate_db", FORCE)


def test_a_statement_that_no_point_tells_of(course: Maker, database: Database) -> None:
    made = course("alternate_roles", None)
    server = database.server
    login = f"host=127.0.0.1 port={server.port} dbname={database.name} user=postgres"
    plant(made, "unseen_statement", f"{login} password={server.password}")
    with pytest.raises(AssertionError, match=r"the server was told .*'COMMENT ON'"):
        made.undisturbed("rotate_db", FORCE)


def test_a_value_that_the_issuer_hears_of_before_the_keyring(
    course: Maker, database: Database
) -> None:
    made = course("alternate_roles", None)
    made.settle()
    points, end = made.undisturbed("rotate_db", FORCE)
    made.run("retire_due")
    server = database.server
    login = f"host=127.0.0.1 port={server.port} dbname={database.name} user=postgres"
    plant(made, "no_write_ahead", f"{login} password={server.password}")
    written = [point for point in cuts(points) if point.moment == "replace keyring.json 1"]
    with pytest.raises(AssertionError, match="a value that the keyring never had"):
        made.cut("rotate_db", written, end)


def test_an_answer_that_is_not_lost(course: Maker) -> None:
    made = course("alternate_roles", None)
    made.settle()
    points, end = made.undisturbed("rotate_db", FORCE)
    made.run("retire_due")
    (asked,) = [point for point in lost_answers(points) if "ALTER ROLE 1" in point.moment]
    never = replace(asked, moment="lost sql NOTHING 1")
    with pytest.raises(AssertionError, match="no answer was lost"):
        made.lose("rotate_db", [never], end, lambda: None)


def test_a_value_that_is_not_gone_on_with(course: Maker) -> None:
    made = course("alternate_roles", None)
    made.settle()
    points, end = made.undisturbed("rotate_db", FORCE)
    made.run("retire_due")
    plant(made, "second_value")
    asked = [point for point in cuts(points) if point.moment == "sql ALTER ROLE 1"]
    with pytest.raises(AssertionError, match=r"a second (value|rotation)"):
        made.cut("rotate_db", asked, end)


def test_a_value_that_is_revoked_before_the_next_was_proved(course: Maker) -> None:
    made = course("alternate_roles", None)
    made.settle()
    points, end = made.undisturbed("rotate_db", FORCE)
    made.run("retire_due")
    plant(made, "revoked_before_proof")
    told = "Log in with the pending value, the way consumers do"
    with pytest.raises(AssertionError, match=f"cut replace keyring.json 1 '{told}'"):
        made.cut("rotate_db", [point for point in cuts(points) if point.task == told], end)


def test_a_consumer_that_nobody_told(course: Maker) -> None:
    made = course("alternate_roles", None)
    plant(made, "believed_without_a_reload")
    made.run("rotate_db", FORCE)
    assert made.client and made.client.status()["username"] == made.estate.roles[0]
    with pytest.raises(AssertionError, match="sessions: "):
        made.undisturbed("retire_due")


def test_a_request_that_no_point_tells_of(course: Maker) -> None:
    made = course("alternate_roles", None, keeping="Vault")
    kept = made.estate.kept
    assert isinstance(kept, InVault)
    body = '{"data": {}}'
    head = (
        f"POST /v1/{kept.mount}/data/unseen HTTP/1.1",
        "Host: 127.0.0.1",
        f"X-Vault-Token: {kept.server.root_token}",
        f"Content-Length: {len(body)}",
        "",
        body,
    )
    plant(made, "unseen_request", f"{kept.server.address.rpartition(':')[2]} {'|'.join(head)}")
    with pytest.raises(AssertionError, match=r"the store was told of .*'unseen'"):
        made.undisturbed("rotate_db", FORCE)


@pytest.mark.parametrize(
    ("defect", "written", "found"),
    [
        ("not_written_if_unanswered", "db_app 1 'Stage", "a second value"),
        (
            "line_again_if_unanswered",
            "db_app/N 1 'Log in",
            "its content was changed after it was written",
        ),
    ],
)
def test_a_write_that_counts_as_none_when_its_answer_is_lost(
    course: Maker, defect: str, written: str, found: str
) -> None:
    made = course("alternate_roles", None, keeping="Vault")
    made.settle()
    points, end = made.undisturbed("rotate_db", FORCE)
    made.run("retire_due")
    plant(made, defect)
    (lost,) = [point for point in lost_answers(points) if f"http POST {written}" in str(point)]
    with pytest.raises(AssertionError, match=found):
        made.lose("rotate_db", [lost], end, lambda: None)


def test_a_claim_that_nobody_minds(team: Team) -> None:
    env = {"KEYTURN_DEFECT": f"{DEFECTS} unclaimed"}

    def three_times() -> None:
        for _time in range(3):
            assert_one_wins(team, env)
            team.run("retire_due", "--limit", "db_billing")

    with pytest.raises(AssertionError, match=MINDED):
        three_times()
