# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One thing wrong at a time: the whole message that a person gets, and nothing is changed."""

from __future__ import annotations

import json
import os

import pytest
from bad_input import Case, Trial, read_cases

pytestmark = pytest.mark.pg_versions("16")
PLAYBOOKS, MODULES = read_cases()


def wrong(trial: Trial, told: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Which cases were not told as they must be."""
    said = {
        case.name: trial.named(host, told.get(host, "nothing failed"))
        for host, case in trial.hosts.items()
    }
    if os.environ.get("KEYTURN_SAID"):
        with open(os.environ["KEYTURN_SAID"], "a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
    return {
        case.name: (case.message, said[case.name])
        for case in trial.hosts.values()
        if case.message != said[case.name]
    }


def test_there_are_enough_of_them() -> None:
    assert len(PLAYBOOKS) + len(MODULES) >= 60
    assert all(case.message for case in (*PLAYBOOKS, *MODULES))


def test_what_playbooks_say(trial: Trial) -> None:
    hosts = {trial.host(case): case for case in PLAYBOOKS}
    before, stages = trial.world(), {host: trial.stages(host) for host in hosts}
    told: dict[str, str] = {}
    for playbook in dict.fromkeys(case.playbook for case in PLAYBOOKS):
        told.update(trial.run(playbook))
    assert wrong(trial, told) == {}
    assert list(trial.wrong(before)) == []
    assert {host: trial.stages(host) for host in hosts} == stages
    for secret in (trial.password, trial.database.server.password):
        assert secret not in trial.output


def test_what_modules_say(trial: Trial) -> None:
    trial.make_modules(MODULES)
    before, stages = trial.world(), [trial.stages(host) for host in trial.hosts]
    assert wrong(trial, trial.run_modules()) == {}
    kept = [trial.stages(host) for host in trial.hosts]
    assert list(trial.wrong(before)) == []
    assert kept == stages
    assert trial.password not in trial.output


def test_a_case_that_is_right_is_not_told(trial: Trial) -> None:
    """Each case differs from this one by what is wrong with it alone."""
    right = Case("nothing is wrong", "rotate_db", "nothing failed", {})
    trial.host(right)
    assert wrong(trial, trial.run("rotate_db", code=0)) == {}
