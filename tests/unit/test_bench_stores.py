# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page of docs/benchmarks-stores.md says of figures: which goals were reached, and which were not."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from estate.collection import ROOT

LOADED = "did other work at the same time"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The benchmarks' modules, as their program imports them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from bench import page, store_aws, store_vault, stores

    return SimpleNamespace(page=page, aws=store_aws, vault=store_vault, stores=stores)


def measured(bench: SimpleNamespace, seconds: float, reads: int, size: float) -> Any:
    """Figures in which one side takes so long, asks so often, and needs so much."""
    aws = bench.aws
    sides = {aws.OWN: [seconds], aws.CAREFUL: [0.86], aws.WRITES: [0.5]}
    found = {aws.NEW: sides, aws.NAMED: sides}
    calls = {what: {"PutParameter": 1000, "GetParameters": reads} for what in found}
    figures = aws.ParameterFigures(1000, found, calls, (20, seconds / 10 * 1.05))
    taken = {"publish": [1.0], "vault_kv": [1.0], "hvac": [0.8]}
    asked = dict.fromkeys(taken, 2.0 if reads <= 100 else 3.0)
    paths = bench.vault.VaultFigures(100, 10, taken, asked)
    return bench.stores.StoreResults(0.0, figures, paths, {10_000: size})


@pytest.mark.parametrize(
    ("seconds", "reads", "size", "verdict"), [(1.0, 100, 150.0, "yes"), (1.1, 101, 151.0, "no")]
)
def test_goals_are_at_the_head_and_say_whether_they_were_reached(
    bench: SimpleNamespace, seconds: float, reads: int, size: float, verdict: str
) -> None:
    results = measured(bench, seconds, reads, size)
    text = bench.stores.page(results)
    heads = re.findall(r"^\| ([a-zA-Z ]+) \|", text, re.M)
    assert heads[0] == "goal"
    told = bench.stores.goals(results)
    assert told in text
    verdicts = re.findall(r"\| (yes|no) \|$", told, re.M)
    # The loop of the other module is as much slower in both.
    assert verdicts == [verdict] * 4 + ["yes"] + [verdict] * 3
    assert f"{100 * 0.86 / seconds:.0f} %" in told
    assert f"{reads} GetParameters, 1000 PutParameter" in told
    assert "105 times" in told


def test_what_was_not_measured_is_not_told(bench: SimpleNamespace) -> None:
    nothing = bench.stores.page(bench.stores.StoreResults(0.0))
    assert "|" not in nothing
    assert LOADED not in nothing
    assert LOADED in bench.stores.page(bench.stores.StoreResults(99.0))
    without = bench.aws.ParameterFigures(10, {}, {}, (0, 0.0))
    assert "ssm_parameter" not in bench.stores.goals(bench.stores.StoreResults(0.0, without))


def test_a_further_read_for_the_key_is_told_and_explained(bench: SimpleNamespace) -> None:
    aws = bench.aws
    sides = {name: [1.0] for name in (aws.OWN, aws.CAREFUL, aws.WRITES)}
    asked = {"PutParameter": 100, "GetParameters": 10, "DescribeParameters": 2}
    figures = aws.ParameterFigures(100, {aws.KEPT: sides}, {aws.KEPT: asked}, (0, 0.0))
    text = bench.stores.page(bench.stores.StoreResults(0.0, figures))
    assert "2 DescribeParameters, 10 GetParameters, 100 PutParameter | no |" in text
    assert bench.stores.KEPT_NOTE in text
