# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmarks can be run. What they measure is told by docs/benchmarks.md and is no matter of tests."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from estate.collection import ROOT
from estate.databases import Database
from estate.load import database_url, write_env_file
from estate.processes import wait_until

ONCE = ("--repeat", "1", "--warm-up", "0")


def figures(page: str, row: str) -> list[float]:
    """The medians in a row of a table."""
    found = re.search(rf"^\| {re.escape(row)} \|(.*)$", page, re.M)
    assert found, f"there is no row {row}"
    return [float(number) for number in re.findall(r"([\d.]+) \(", found.group(1))]


def run(place: Path, *arguments: str) -> str:
    """Measure as little as possible; gives the page, which is shown, too."""
    page = place / "benchmarks.md"
    done = subprocess.run(
        [ROOT / "benchmarks" / "run", "--page", page, *ONCE, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert page.read_text() in done.stdout
    return page.read_text()


def test_both_sides_rotate_and_all_figures_are_told(tmp_path: Path) -> None:
    page = run(tmp_path, "--only", "one", "roles", "--roles", "3")
    assert len(figures(page, "**beyond waiting**")) == 2
    assert all(seconds > 0 for seconds in figures(page, "processor"))
    assert len(figures(page, "`pg_role`, one task")) == 1
    # Each keyturn run would be longer than its own waiting alone.
    whole, waiting = figures(page, "whole process"), figures(page, "of it waiting")
    assert all(0 < part < total for part, total in zip(waiting, whole, strict=True))
    if os.environ.get("KEYTURN_SOAK"):
        page = run(tmp_path, "--only", "many", "--credentials", "2", "--forks", "2")
        assert len(figures(page, "**whole process**, 2 forks")) == 2


def test_parameters_are_written_by_every_side(tmp_path: Path) -> None:
    page = tmp_path / "stores.md"
    little = ("--only", "parameters", "--count", "20", "--loop", "0", "--repeat", "1")
    argv = [ROOT / "benchmarks" / "stores", "--page", page, *little]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert text in done.stdout
    rows = ("20 new", "20 changed, their key named", "20 changed, their key kept")
    assert all(len(figures(text, row)) == 3 for row in rows)
    # Calls are counted as they are sent, and depend on no machine.
    fewest = "2 GetParameters, 20 PutParameter | yes |"
    assert text.count(f"| {fewest}") == 2
    assert text.count(" DescribeParameters, 2 GetParameters, 20 PutParameter |") == 1


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The benchmarks' modules, as their program imports them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from bench import contest, fleet
    from bench import page as pages

    return SimpleNamespace(FleetProcess=fleet.FleetProcess, Run=contest.Run, pages=pages)


@pytest.mark.pg_versions("16")
def test_an_application_that_is_refused_is_counted(
    bench: SimpleNamespace, database: Database, scratch: Path
) -> None:
    name, place = f"{database.name}_app", ("127.0.0.1", database.server.port, database.name)
    right = database.create_login(name)
    folder, env_file = scratch / "fleet", scratch / "app.env"
    folder.mkdir(mode=0o700)
    write_env_file(env_file, database_url(name, right, *place))
    fleet = bench.FleetProcess(folder, [env_file])
    fleet.start()
    try:
        tell = [str(ROOT / "benchmarks" / "waits" / "tell"), str(folder), "0"]
        assert subprocess.run(tell, check=False, timeout=30).returncode == 0
        assert fleet.failures() == 0
        write_env_file(env_file, database_url(name, secrets.token_urlsafe(12), *place))
        assert subprocess.run(tell, check=False, timeout=30).returncode == 1
        assert fleet.failures() == 1
        # What it holds goes on working, until its session is ended.
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (name,)
        )
        wait_until(lambda: fleet.failures() > 1, 10, "a failed transaction")
    finally:
        fleet.close()


def compared(bench: SimpleNamespace, own: float, peer: float) -> dict[str, list[Any]]:
    """Runs of both sides that took so long and waited for nothing."""
    return {"keyturn": [bench.Run(own, 0.0, own)], "peer": [bench.Run(peer, 0.0, peer)]}


@pytest.mark.parametrize(("slower", "verdict"), [(1.0, "yes"), (1.1, "no")])
def test_the_page_says_what_was_to_be_reached(
    bench: SimpleNamespace, slower: float, verdict: str
) -> None:
    pages = bench.pages
    # On a machine that is half as fast, what counts is the ratio.
    results = pages.Results(
        one=compared(bench, 2.6 * slower, 13.2),
        many={20: compared(bench, 10.0 * slower, 195.4)},
        credentials=20,
        roles={"keyturn": [1.0 * slower], "raw": [0.9], "raw together": [0.86]},
        role_count=1000,
        load=0.0,
    )
    goals = pages.goals(results)
    assert (
        "at most 1.3 s beyond waiting, on a machine where the careful playbook takes 6.6 s" in goals
    )
    assert "at most 5 s, on a machine where it takes 97.7 s" in goals
    assert ["5.1 times as fast" in goals, "19.5 times as fast" in goals] == [True, True]
    assert "at least 85 % of the speed of a loop with psycopg" in goals
    verdicts = re.findall(r"\| (yes|no) \|$", goals, re.M)
    assert verdicts == [verdict] * 3
    assert goals in pages.page(results)


def test_a_goal_that_was_not_measured_is_not_told(bench: SimpleNamespace) -> None:
    pages = bench.pages
    nothing = pages.Results({}, {}, 20, {}, 1000, 0.0)
    assert pages.goals(nothing) == ""
    assert "to be reached" not in pages.page(nothing)
    other = pages.Results({}, {2: compared(bench, 1.0, 2.0)}, 2, {}, 1000, 0.0)
    assert pages.goals(other) == "", "the goal is for 20 credentials"
