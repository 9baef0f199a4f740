# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stream platforms with one thing wrong: the whole message that a person gets, before anything is begun."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_input import Case
from bad_stream import ROTATE, StreamTrial, read_streams
from estate.playbook import Ansible
from estate.ports import reserve
from ingest import Ingest
from machines import required

CASES = read_streams()


@pytest.fixture
def streams(scratch: Path, ansible: Ansible) -> Iterator[StreamTrial]:
    """A place for cases, beside a port where nobody listens and an ingest."""
    place, closed = scratch / "bad", reserve()
    place.mkdir(mode=0o711)
    with required(), Ingest() as ingest:
        yield StreamTrial(place, ansible, ingest, closed.number)
    closed.release()


def said_of(trial: StreamTrial, told: dict[str, str]) -> dict[str, str]:
    """What was said of each case."""
    return {
        case.name: trial.named(host, told.get(host, "nothing failed"))
        for host, case in trial.hosts.items()
    }


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 25
    assert all(case.message for case in CASES)


def test_what_is_said_of_stream_platforms(streams: StreamTrial) -> None:
    hosts = [streams.host(case) for case in CASES]
    before, stages = streams.world(), [streams.stages(host) for host in hosts]
    said = said_of(streams, streams.run(ROTATE))
    if os.environ.get("KEYTURN_SAID"):
        Path(os.environ["KEYTURN_SAID"]).write_text(json.dumps(said, indent=1))
    wrong = {case.name: said[case.name] for case in CASES if case.message != said[case.name]}
    assert wrong == {}
    assert list(streams.wrong(before)) == []
    assert [streams.stages(host) for host in hosts] == stages
    assert streams.password not in streams.output


def test_a_platform_that_is_right_is_not_told(streams: StreamTrial) -> None:
    """Each case differs from this one by what is wrong with it alone."""
    host = streams.host(Case("nothing is wrong", ROTATE, "nothing failed", {}))
    before = streams.stages(host)
    assert list(said_of(streams, streams.run(ROTATE, code=0)).values()) == ["nothing failed"]
    assert streams.stages(host) != before
