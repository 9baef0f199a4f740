# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RUNNER_TOKEN: one token on two services, in the three ways that there are, while the runner calls the server all the time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_world import AwsWorld
from estate.moto import MotoServer
from estate.playbook import Ansible, PlaybookResult
from two_services import MACHINE, Counted, TwoServices, a_barrier, a_list, a_restart


@pytest.fixture
def pair(scratch: Path, ansible: Ansible, moto: MotoServer) -> Iterator[TwoServices]:
    made = TwoServices(scratch, ansible, AwsWorld(moto))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def nothing_told(pair: TwoServices, *results: PlaybookResult) -> None:
    """No token is in what was printed."""
    for token in (pair.first, pair.value("current")):
        assert all(token not in result.output for result in results)


def saw(pair: TwoServices, done: PlaybookResult, before: Counted, after: Counted) -> None:
    """The window that the run tells is not shorter than the one that the runner saw."""
    current = pair.document().current
    assert current and current.outage is not None
    assert after.window_since(before) <= current.outage < 10
    assert f"could fail for at most {round(current.outage, 1)} s" in done.output
    assert f'"outage_seconds": {current.outage}' in pair.ledger.read_text()


def test_a_server_with_a_list_refuses_no_call(pair: TwoServices) -> None:
    pair.defined(a_list)
    dry = pair.run("rotate", "--check", "--diff").check()
    assert "one value at a time" not in dry.output
    assert pair.aws.held("RUNNER_TOKENS") == (pair.first, 1)
    done = pair.run("rotate", "--diff").check()
    second = pair.value("current")
    assert second != pair.first
    assert pair.aws.held("RUNNER_TOKEN")[0] == second
    assert set(pair.aws.held("RUNNER_TOKENS")[0].split(",")) == {pair.first, second}
    assert (pair.asks(pair.first), pair.asks(second)) == (200, 200)
    ended = pair.run("retire_due").check()
    assert (pair.asks(pair.first), pair.asks(second)) == (401, 200)
    assert pair.aws.held("RUNNER_TOKENS")[0] == second
    counted = pair.counted()
    assert counted.calls > 20 and counted.refused == 0
    nothing_told(pair, dry, done, ended)


def test_both_behind_a_barrier_change_together_and_go_back_together(pair: TwoServices) -> None:
    pair.defined(a_barrier)
    dry = pair.run("rotate", "--check", "--diff").check()
    assert "hub and runner are told at once, behind the barrier pair" in dry.output
    assert pair.counted().refused == 0
    # The server takes the new token and the runner fails its reload: neither keeps it.
    pair.stick("runner", True)
    failed = pair.run("rotate").check(2)
    assert "consumer runner: 'sh' ended with exit code 1" in failed.output
    assert "The previous value was made current again and proved" in failed.output
    assert pair.value("current") == pair.first == pair.aws.held("RUNNER_TOKEN")[0]
    assert pair.asks(pair.first) == 200
    before = pair.counted()
    assert before.refused > 0
    pair.stick("runner", False)
    done = pair.run("rotate").check()
    second = pair.value("current")
    assert second != pair.first
    assert (pair.asks(pair.first), pair.asks(second)) == (401, 200)
    after = pair.counted()
    assert pair.counted().refused == after.refused, "calls are still refused"
    saw(pair, done, before, after)
    # The same where both are on another host, which is told by a task there.
    pair.define(a_barrier, on=MACHINE)
    away = pair.run("rotate").check()
    assert f"on {MACHINE}" not in away.output and "item=hub, runner" in away.output
    assert (pair.asks(second), pair.asks(pair.value("current"))) == (401, 200)
    at_last = pair.counted()
    assert pair.counted().refused == at_last.refused, "calls are still refused"
    saw(pair, away, after, at_last)
    nothing_told(pair, dry, failed, done, away)


def test_a_restart_of_both_tells_how_long_it_took(pair: TwoServices) -> None:
    pair.defined(a_restart)
    dry = pair.run("rotate", "--check").check()
    assert "deploy alone is told" in dry.output
    before = pair.counted()
    done = pair.run("rotate").check()
    counted = pair.counted()
    assert pair.counted().refused == counted.refused, "calls are still refused"
    assert counted.refused > 0
    saw(pair, done, before, counted)
    nothing_told(pair, dry, done)
