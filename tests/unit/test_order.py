# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tests parallel processes begin with."""

from __future__ import annotations

import pytest
from order import LONG, longest_first, shares


@pytest.mark.parametrize(
    ("count", "workers", "given"), [(10, 3, [3, 3, 4]), (2, 3, [0, 1, 1]), (7, 1, [7])]
)
def test_each_process_gets_a_share(count: int, workers: int, given: list[int]) -> None:
    assert shares(count, workers) == given


def test_each_process_begins_with_what_took_long() -> None:
    names = list("abcdefghi")
    seconds = {"i": 100.0, "f": LONG, "g": 50.0, "a": LONG - 1, "gone": 500.0}
    assert "".join(longest_first(names, names, seconds, 3)) == "iabgcdfeh"


def test_nothing_is_known_and_nothing_is_moved() -> None:
    names = list("abcdefg")
    assert longest_first(names, names, {}, 3) == names


@pytest.mark.parametrize("workers", [1, 2, 3, 8, 30])
def test_every_test_is_run_once(workers: int) -> None:
    names = [str(number) for number in range(23)]
    seconds = {name: 10.0 * int(name) for name in names}
    ordered = longest_first(names, names, seconds, workers)
    assert sorted(ordered, key=int) == names
    assert ordered[0] == "22" if workers < 23 else len(ordered) == 23
