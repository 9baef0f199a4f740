# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are at work at the same time."""

from __future__ import annotations

from collections.abc import Mapping

from estate.playbook import PlaybookResult, RunningPlaybook
from rotation import FORCE, WATCHED
from team import Team


def begin(team: Team, name: str, env: Mapping[str, str] | None = None) -> RunningPlaybook:
    """Begin to rotate one of them."""
    return team.ansible.start(
        "keyturn.runbooks.rotate_db",
        *("--limit", f"db_{name}"),
        inventory=team.inventory,
        extra_vars=FORCE,
        env={**WATCHED, **(env or {})},
    )


def ended(runs: list[RunningPlaybook]) -> list[PlaybookResult]:
    """How they ended, having been seen at work together."""
    assert all(run.running for run in runs), "they did not overlap"
    return [run.wait() for run in runs]


def assert_one_wins(team: Team, env: Mapping[str, str] | None = None) -> None:
    """Of two runs that begin together one rotates, and the other says who does."""
    before = team.phases("billing").count("stage")
    runs = [begin(team, "billing", env) for _run in range(2)]
    done = ended(runs)
    codes, told = sorted(run.returncode for run in done), "".join(run.output for run in done)
    assert codes == [0, 2], f"both {'rotated' if codes == [0, 0] else 'failed'}: {codes}\n{told}"
    winner, loser = sorted(range(2), key=lambda number: done[number].returncode)
    told = done[loser].stdout
    # Where one was so late that the other had ended, what that one left is in its way.
    late = "gate is closed. (1) previous: the previous value" in told
    named = f"(process {runs[winner].pid})" in told or "lost its claim" in told or late
    assert named, f"the one that stops does not say who is at work:\n{told}"
    assert team.phases("billing").count("stage") == before + 1, "a second value was made"
    assert list(team.in_use()) == ["billing"]
    assert team.ledger_faults("billing") == [], "the ledger is not whole"
    team.assert_applications_work("billing")
