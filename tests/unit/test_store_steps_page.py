# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of runbook steps: every row says which step it is, and the tests that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "store-steps.md").read_text(encoding="utf-8")
ROWS = [line.replace(r"\|", "/") for line in PAGE.splitlines() if re.match(r"\| 00\d ", line)]
KNOWN = set(re.findall(r"^\| (00\d) \| \*", PAGE, re.MULTILINE))
STEPS = [row.strip("|").split(" | ") for row in ROWS if row.count(" | ") > 1]
NAMED = re.compile(r"`(\w+/test_\w+\.py)`|`(test_\w+)`")


def proofs() -> list[tuple[str, str]]:
    """Each file with each test that is named after it."""
    found, file = [], ""
    for step in STEPS:
        for path, name in NAMED.findall(step[-1]):
            file = path or file
            found += [(file, name)] if name else []
    return found


def test_every_row_names_a_runbook_and_its_step() -> None:
    assert {"000", "001", "002", "003", "004"} == KNOWN
    assert {step[0].split()[0] for step in STEPS} == KNOWN
    for step in STEPS:
        assert len(step) == 4, step
        assert re.match(r"\s*00\d \S", step[0]), step
        assert step[-1].strip(), step


@pytest.mark.parametrize(("file", "name"), sorted(set(proofs())))
def test_every_proof_exists(file: str, name: str) -> None:
    assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")


def test_no_row_is_left_out_of_these_tests() -> None:
    tables = [line for line in PAGE.splitlines() if line.startswith("| ")]
    headings = [line for line in tables if line.startswith(("| number", "| runbook"))]
    assert len(STEPS) + len(KNOWN) + len(headings) == len(tables)
    assert all(
        re.search(NAMED, step[-1]) or "the same" in step[-1] or "](" in step[-1] for step in STEPS
    )
