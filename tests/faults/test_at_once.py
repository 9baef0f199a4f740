# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs at the same time: over one credential one wins and nothing is lost, over two that share files both do."""

from __future__ import annotations

import os

import pytest
from at_once import assert_one_wins, begin, ended
from team import SHARING, Team

pytestmark = pytest.mark.pg_versions("16")
TIMES = 20 if os.environ.get("KEYTURN_SOAK") else 3


def test_one_wins_and_the_other_names_it(team: Team) -> None:
    for _time in range(TIMES):
        assert_one_wins(team)
        team.run("retire_due", "--limit", "db_billing").check()
    roles = team.database.execute(
        "SELECT count(*) FROM pg_roles WHERE rolname LIKE %s", (f"{team.database.name}_billing%",)
    )
    assert roles == [(2,)]


def test_two_that_share_a_userlist_and_an_env_file_lose_nothing(team: Team) -> None:
    for number in range(TIMES):
        for run in ended([begin(team, name) for name in SHARING]):
            run.check()
        team.assert_applications_work(*SHARING)
        retiring = [
            team.ansible.start(
                "keyturn.runbooks.retire_due",
                *("--limit", f"db_{name}"),
                inventory=team.inventory,
            )
            for name in SHARING
        ]
        for run in ended(retiring):
            run.check()
        team.assert_applications_work(*SHARING)
        assert [team.ledger_faults(name) for name in SHARING] == [[], []]
        listed = team.pooler.userlist_path.read_text().splitlines()
        names = sorted(line.split('"')[1] for line in listed)
        used = [team.stage_role(name) for name in SHARING]
        assert names == sorted([team.pooler.admin_user, *used]), number
        assert len(team.env_file("shop").read_text().splitlines()) == len(SHARING) + 1
