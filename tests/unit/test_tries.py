# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pauses between the tries of a call: growing, different by chance, as long as asked, and within the deadline."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._tries import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Tries,
)


class Clock:
    """A deadline that comes nearer only by waiting."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.left -= seconds

    def tries(
        self,
        chance: Callable[[int], bytes],
        most: int | None = None,
        longest: float = LONGEST_PAUSE,
    ) -> Tries:
        return Tries(lambda: self.left, self.sleep, chance, most, longest)


def least(count: int) -> bytes:
    return bytes(count)


def largest(count: int) -> bytes:
    return b"\xff" * count


@pytest.mark.parametrize(("chance", "factor"), [(least, 0.5), (largest, 1.5)])
def test_the_pauses_grow_up_to_the_longest(chance: Callable[[int], bytes], factor: float) -> None:
    clock = Clock(100)
    tries = clock.tries(chance)
    assert all(tries.again() for _try in range(8))
    wanted = [min(FIRST_PAUSE * 2**number, LONGEST_PAUSE) * factor for number in range(8)]
    assert clock.waits == pytest.approx(wanted)


def test_two_that_fail_together_do_not_come_back_together() -> None:
    waits = set()
    for number in range(0, 256, 16):
        clock = Clock(1)
        assert clock.tries(lambda count, number=number: bytes([number]) * count).again()
        waits.add(clock.waits[0])
    assert len(waits) == 16


def test_no_wait_goes_beyond_the_deadline() -> None:
    clock = Clock(3)
    tries = clock.tries(largest)
    while tries.again():
        assert clock.left > 0
    assert sum(clock.waits) < 3
    assert len(clock.waits) == 4
    assert not tries.again()


@pytest.mark.parametrize(("asked", "again"), [(0.9, True), (1.0, False), (30.0, False)])
def test_as_long_as_the_service_asks_or_not_at_all(asked: float, again: bool) -> None:
    clock = Clock(1)
    assert clock.tries(least).again(asked) is again
    assert clock.waits == ([asked] if again else [])


def test_a_shorter_wish_than_the_pause_counts_for_nothing() -> None:
    clock = Clock(1)
    assert clock.tries(largest).again(0.01)
    assert clock.waits == pytest.approx([FIRST_PAUSE * 1.5])


@pytest.mark.parametrize("most", [0, 1, 3])
def test_not_more_often_than_said(most: int) -> None:
    clock = Clock(100)
    tries = clock.tries(least, most)
    assert [tries.again() for _try in range(5)].count(True) == most


def test_what_does_not_count_is_tried_again_as_often_as_there_is_time() -> None:
    clock = Clock(100)
    tries = clock.tries(least, 2)
    counts = (False, True, False, False, True, False)
    assert all(tries.again(counts=one) for one in counts)
    assert not tries.again()
    assert tries.again(counts=False)


def test_a_try_that_would_not_be_over_in_time_is_left_out() -> None:
    clock = Clock(3)
    tries = clock.tries(least)
    assert tries.again(takes=2.9)
    assert not tries.again(takes=2.9)
    assert clock.left == pytest.approx(3 - FIRST_PAUSE / 2)


@pytest.mark.parametrize("longest", [0.3, 5.0])
def test_a_client_may_have_a_longest_pause_of_its_own(longest: float) -> None:
    clock = Clock(1000)
    tries = clock.tries(least, longest=longest)
    assert all(tries.again() for _try in range(12))
    assert max(clock.waits) == pytest.approx(longest / 2)
