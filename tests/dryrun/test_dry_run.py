# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dry run changes nothing and says what the run after it does, from every state that can be come to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from dry_run import Walk
from dry_run_page import keep


def _try_all(made: Walk) -> set[str]:
    """Every prediction came true; the playbooks that were done to their end."""
    made.go()
    keep(made)
    found = [
        f"{cell.playbook} from {cell.state.name} ({cell.state.way}): {fault}"
        for cell in made.cells
        for fault in cell.faults
    ]
    assert found == []
    return {cell.playbook for cell in made.cells if cell.ended == "done"}


@pytest.mark.pg_versions("16")
@pytest.mark.parametrize(
    ("strategy", "most"), [("alternate_roles", 24), ("same_role", 16), ("new_role", 16)]
)
def test_predicted_from_every_state(walk: Callable[..., Walk], strategy: str, most: int) -> None:
    done = _try_all(walk(strategy, most))
    assert done >= {"rotate_db", "retire_due", "abandon"}


@pytest.mark.parametrize(("overlap", "most"), [(True, 18), (False, 12)])
def test_a_token_is_predicted_from_every_state(
    token_walk: Callable[..., Walk], overlap: bool, most: int
) -> None:
    made = token_walk(overlap, most)
    start = next(iter(made.states.values()))
    assert made.try_out(start, "adopt").ended == "done"
    assert _try_all(made) >= {"rotate", "retire_due", "rollback", "abandon"}
