# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs at the same time: over one credential one wins and nothing is lost, over two that share files both do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import at_once
import pytest
from at_once import assert_one_wins, ended
from estate.playbook import RunningPlaybook
from rotation import FORCE, WATCHED
from team import SHARING, Team
from told import TOLD

pytestmark = pytest.mark.pg_versions("16")
TIMES = 20 if os.environ.get("KEYTURN_SOAK") else 3
# On a busy machine the second of a pair may begin when the first has ended: then it is tried once more.
MOST = 3 * TIMES
LOOK = 0.01


@dataclass
class Span:
    """From when to when a run is known to have been at work, by the points that it passed.

    :ivar first: when its first points were seen, which is a moment after it passed them.
    :ivar last: when it wrote down the last one.
    """

    trace: Path
    first: float = 0.0

    @property
    def last(self) -> float:
        """In seconds since 1970."""
        return self.trace.stat().st_mtime if self.trace.exists() else 0.0

    def overlaps(self, other: Span) -> bool:
        """Whether each was at work before the other had ended."""
        return 0 < self.first < other.last and 0 < other.first < self.last


class Spans:
    """Starts runs that come in pairs, and notes when each was at work."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._spans: list[Span] = []
        self._stop = threading.Event()
        self._looker = threading.Thread(target=self._look, daemon=True)

    def start(
        self,
        playbook: str,
        name: str,
        extra: Mapping[str, bool] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> RunningPlaybook:
        """Start a run over one of the credentials."""
        span = Span(self._team.folder / f"trace-{len(self._spans)}")
        self._spans.append(span)
        return self._team.ansible.start(
            f"keyturn.runbooks.{playbook}",
            *("--limit", f"db_{name}"),
            inventory=self._team.inventory,
            extra_vars=extra,
            env={**WATCHED, **(env or {}), "KEYTURN_TRACE": str(span.trace)},
        )

    def begin(self, team: Team, name: str, env: Mapping[str, str] | None = None) -> RunningPlaybook:
        """Begin to rotate one of them."""
        assert team is self._team
        return self.start("rotate_db", name, FORCE, env)

    def pairs(self) -> list[bool]:
        """For each pair whether its runs overlapped."""
        return [one.overlaps(two) for one, two in zip(*[iter(self._spans)] * 2, strict=True)]

    def _look(self) -> None:
        while not self._stop.wait(LOOK):
            for span in list(self._spans):
                if not span.first and span.trace.exists():
                    span.first = time.time()

    def __enter__(self) -> Spans:
        self._looker.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._looker.join()


@pytest.fixture
def spans(
    team: Team, record_property: Callable[[str, object], None], request: pytest.FixtureRequest
) -> Iterator[Spans]:
    """At the end it is told how many pairs overlapped."""
    with Spans(team) as made:
        yield made
    pairs = made.pairs()
    record_property(TOLD, f"{request.node.name}: {sum(pairs)} of {len(pairs)} pairs overlapped")


def test_one_wins_and_the_other_names_it(
    team: Team, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_once, "begin", spans.begin)
    for _time in range(TIMES):
        assert_one_wins(team)
        team.run("retire_due", "--limit", "db_billing").check()
    assert spans.pairs() == [True] * TIMES
    roles = team.database.execute(
        "SELECT count(*) FROM pg_roles WHERE rolname LIKE %s", (f"{team.database.name}_billing%",)
    )
    assert roles == [(2,)]


def test_two_that_share_a_userlist_and_an_env_file_lose_nothing(team: Team, spans: Spans) -> None:
    def overlapped() -> int:
        """How often both kinds of pairs did."""
        pairs = spans.pairs()
        return min(sum(pairs[0::2]), sum(pairs[1::2]))

    for number in range(MOST):
        if overlapped() == TIMES:
            break
        for run in ended([spans.begin(team, name) for name in SHARING]):
            run.check()
        team.assert_applications_work(*SHARING)
        for run in ended([spans.start("retire_due", name) for name in SHARING]):
            run.check()
        team.assert_applications_work(*SHARING)
        assert [team.ledger_faults(name) for name in SHARING] == [[], []]
        listed = team.pooler.userlist_path.read_text().splitlines()
        names = sorted(line.split('"')[1] for line in listed)
        used = [team.stage_role(name) for name in SHARING]
        assert names == sorted([team.pooler.admin_user, *used]), number
        assert len(team.env_file("shop").read_text().splitlines()) == len(SHARING) + 1
    assert overlapped() == TIMES


def test_runs_one_after_the_other_do_not_overlap(team: Team) -> None:
    with Spans(team) as spans:
        for name in SHARING:
            spans.begin(team, name).wait().check()
    assert spans.pairs() == [False]
