# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dry run of a stream key's playbooks says what the run after it does, from every state; it never sends a test stream."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dry_run import Walk
from dry_run_page import keep
from dry_stream import DryStream
from estate.playbook import Ansible
from ingest import Ingest
from machines import required
from stream_estate import ROTATE, StreamEstate

Maker = Callable[..., tuple[Walk, StreamEstate]]


@pytest.fixture
def platform(scratch: Path, ansible: Ansible) -> Iterator[Maker]:
    """Makes a platform with one key in use; see :class:`StreamEstate`."""
    folder = scratch / "estate"
    folder.mkdir(mode=0o711)
    with required(), Ingest(careful=True) as ingest:

        def maker(overlap: bool, most: int) -> tuple[Walk, StreamEstate]:
            estate = StreamEstate(folder, ansible, ingest, overlap)
            estate.begin()
            made = Walk(DryStream(estate), None if os.environ.get("KEYTURN_SOAK") else most)
            made.ends = {made.found(made.world(), "the start").key}
            return made, estate

        yield maker


def faults(made: Walk) -> list[str]:
    """Every prediction that did not come true."""
    made.go()
    keep(made)
    return [
        f"{cell.playbook} from {cell.state.name} ({cell.state.way}): {fault}"
        for cell in made.cells
        for fault in cell.faults
    ]


def test_keys_of_an_own_ingest(platform: Maker) -> None:
    made, _estate = platform(True, 3)
    state = next(iter(made.states.values()))
    for playbook in (ROTATE, "retire_due"):
        assert made.try_out(state, playbook).ended == "done"
        state = made.found(made.world(), playbook)
    assert faults(made) == []


def test_a_key_that_a_person_resets(platform: Maker) -> None:
    """With nothing handed over, with a new key before anybody asked for it, and with one that was asked for."""
    made, estate = platform(False, 3)
    start = next(iter(made.states.values()))
    estate.click()
    made.ends.add(made.found(made.world(), "reset before anybody asked").key)
    assert made.try_out(start, ROTATE).ended == "refused"
    made.ends.add(made.found(made.world(), "asked for a new key").key)
    estate.click()
    handed = made.found(made.world(), "reset as it was asked for")
    assert made.try_out(handed, ROTATE).ended == "done"
    assert faults(made) == []


def test_a_dry_run_sends_no_test_stream(platform: Maker) -> None:
    made, estate = platform(True, 1)
    asked = estate.ingest.callback_log.read_text()
    for playbook in made.estate.playbooks:
        made.run(playbook, "dry", "--check", "--diff", extra=made.estate.variables_of(playbook))
    estate.run("verify_stream_keys", "--check").check()
    assert estate.ingest.callback_log.read_text() == asked
    estate.run("verify_stream_keys").check()
    assert estate.ingest.callback_log.read_text() != asked
