# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of runbook steps: every row says which step it is, and the tests that it names exist."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(\w+/test_\w+\.py)`|`(test_\w+)`")


@dataclass(frozen=True)
class Page:
    """One page, and the runbooks that it is about.

    :param elsewhere: those of them whose rows are on a page of their own.
    """

    name: str
    runbooks: frozenset[str]
    elsewhere: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        return (ROOT / "docs" / f"{self.name}.md").read_text(encoding="utf-8")

    @property
    def known(self) -> set[str]:
        """The numbers that its first table explains."""
        return set(re.findall(r"^\| (00\d) \| \*", self.text, re.MULTILINE))

    @property
    def steps(self) -> list[list[str]]:
        """The cells of each row about a step."""
        lines = self.text.splitlines()
        rows = [line.replace(r"\|", "/") for line in lines if re.match(r"\| 00\d ", line)]
        return [row.strip("|").split(" | ") for row in rows if row.count(" | ") > 1]

    def proofs(self) -> set[tuple[str, str]]:
        """Each file with each test that is named after it."""
        found, file = set(), ""
        for step in self.steps:
            for path, name in NAMED.findall(step[-1]):
                file = path or file
                found |= {(file, name)} if name else set()
        return found


PAGES = (
    Page("store-steps", frozenset({"000", "001", "002", "003", "004"}), frozenset({"001"})),
    Page("stream-steps", frozenset({"000"})),
    Page("ssm-steps", frozenset({"001"})),
)
PROOFS = sorted({proof for page in PAGES for proof in page.proofs()})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_names_a_runbook_and_its_step(page: Page) -> None:
    assert page.known == page.runbooks
    told = {step[0].split()[0] for step in page.steps}
    assert told == page.runbooks - page.elsewhere
    for step in page.steps:
        assert len(step) == 4, step
        assert re.match(r"\s*00\d \S", step[0]), step
        assert step[-1].strip(), step


@pytest.mark.parametrize(("file", "name"), PROOFS)
def test_every_proof_exists(file: str, name: str) -> None:
    assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_row_is_left_out_of_these_tests(page: Page) -> None:
    tables = [line for line in page.text.splitlines() if line.startswith("| ")]
    others = [line for line in tables if not re.match(r"\| 00\d ", line)]
    assert len(page.steps) + len(page.known) + len(others) == len(tables)
    assert page.proofs()
    for step in page.steps:
        assert re.search(NAMED, step[-1]) or "the same" in step[-1] or "](" in step[-1], step


def test_every_step_of_the_runbook_of_stream_keys_has_a_row() -> None:
    page = next(page for page in PAGES if page.name == "stream-steps")
    told = {step[0].strip().removeprefix("000 ").split(",")[0] for step in page.steps}
    steps = {f"step {number}" for number in range(1, 10)}
    others = {"prerequisites", "verification", "rollback", "troubleshooting", "platform inventory"}
    assert steps | others <= told


def test_every_step_of_the_runbook_of_parameters_has_a_row() -> None:
    page = next(page for page in PAGES if page.name == "ssm-steps")
    told: set[str] = set()
    for section, words in re.findall(
        r"sections? (\d)(?:, steps? ([\d, to and]+))?", "\n".join(step[0] for step in page.steps)
    ):
        first, *rest = [int(number) for number in re.findall(r"\d+", words)] or [0]
        numbers = range(first, rest[-1] + 1) if " to " in words else [first, *rest]
        told |= {f"{section}.{number}" for number in numbers}
    steps = {1: 5, 2: 4, 3: 3, 4: 4, 7: 5}
    every = {f"{part}.{step}" for part, last in steps.items() for step in range(1, last + 1)}
    assert every | {"5.0", "6.0"} <= told
    assert any(step[0].strip() == "001 overview" for step in page.steps)
