# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dry run changes nothing and says what the run after it does, from every state that can be come to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from dry_run import Walk
from dry_run_page import keep

pytestmark = pytest.mark.pg_versions("16")


@pytest.mark.parametrize(
    ("strategy", "most"), [("alternate_roles", 34), ("same_role", 31), ("new_role", 31)]
)
def test_predicted_from_every_state(walk: Callable[..., Walk], strategy: str, most: int) -> None:
    made = walk(strategy, most)
    found = [
        f"{cell.playbook} from {cell.state.name} ({cell.state.way}): {fault}"
        for cell in made.go()
        for fault in cell.faults
    ]
    keep(strategy, made)
    assert found == []
    done = {cell.playbook for cell in made.cells if cell.ended == "done"}
    assert done >= {"rotate_db", "retire_due", "abandon"}
