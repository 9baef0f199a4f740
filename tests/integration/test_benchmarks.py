# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmarks can be run. What they measure is told by docs/benchmarks.md and is no matter of tests."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from estate.collection import ROOT

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
