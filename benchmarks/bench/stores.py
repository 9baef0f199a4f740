# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make benchmarks-stores``: many values in AWS's Parameter Store and in Vault, against loops with boto3 and hvac and of other modules."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from estate.moto import MotoServer

from bench.contest import Wrong, spread
from bench.page import BUSY, Rows, table, verdict
from bench.store_aws import (
    CAREFUL,
    KEPT,
    OWN,
    WRITES,
    ParameterFigures,
    aws_environ,
    fresh,
    parameters,
    put_core,
)
from bench.store_vault import VaultFigures, vault_fields

PARTS = ("parameters", "vault", "memory")
SHARE_AT_LEAST, TIMES_AT_LEAST, MEGABYTES_AT_MOST = 85, 100, 150
HEAD = """\
# Benchmarks of stores

`make benchmarks-stores` measures this on your machine and writes this page. AWS is moto's server, which does one thing at a time, Vault is
the real one, both on 127.0.0.1. The sides run by turns, with values and names of their own; seconds are medians with the least and the
most. Load before the first run: {load:.1f}."""
SIDES = """\
- `ssm_secret` is one task: its arguments are checked, ten parameters are read with one call, compared, and each that differs is written
  with one. Where no key is named, their descriptions are asked for, so that each stays encrypted with the key that it has: AWS takes
  the account's own for a write that names none.
- *boto3, the same work* is a short program with twelve threads: it reads in tens, compares, asks for descriptions in fifties where no key
  is named, and writes what differs. It looks up no lost answer, and does not see when somebody else writes in between.
- *boto3, writes alone* is the least that there can be: it reads nothing, writes everything, and leaves each parameter with the
  account's own key.
- AWS gives fifty descriptions with one call. moto gives ten, and looks through all parameters for each: this is most of what the
  table's last row takes longer."""


@dataclass(frozen=True)
class StoreResults:
    """All figures; what was not measured is none or empty.

    :param memory: the greatest size of a process in MB, by how many parameters it set.
    """

    load: float
    aws: ParameterFigures | None = None
    vault: VaultFigures | None = None
    memory: Mapping[int, float] = field(default_factory=dict)


def _share(figures: ParameterFigures, what: str, beside: str) -> float:
    """The speed of ``ssm_secret`` in percent of what is beside it."""
    found = figures.seconds[what]
    return 100 * median(found[beside]) / median(found[OWN])


def _each(figures: ParameterFigures) -> float:
    """The seconds of one parameter, where it takes longest."""
    return max(median(found[OWN]) for found in figures.seconds.values()) / figures.count


def aws_table(figures: ParameterFigures) -> str:
    """Seconds of all ways, and what share of the others' speed ``ssm_secret`` has."""
    heads = ["AWS Parameter Store", "`ssm_secret`"]
    for name in (CAREFUL, WRITES):
        heads += [name, "of its speed"]
    rows = []
    for what, found in figures.seconds.items():
        row = [f"{figures.count} {what}", spread(found[OWN])]
        for name in (CAREFUL, WRITES):
            row += [spread(found[name]), f"{_share(figures, what, name):.0f} %"]
        rows.append(row)
    return table(heads, rows)


def vault_table(figures: VaultFigures) -> str:
    """Seconds and requests of all ways."""
    raw = median(figures.seconds["hvac"])
    what = f"{figures.paths * figures.fields} fields over {figures.paths} paths"
    rows = [
        [
            f"{what}: {name}",
            spread(seconds),
            f"{100 * raw / median(seconds):.0f} %",
            f"{figures.requests[name]:.0f}",
        ]
        for name, seconds in figures.seconds.items()
    ]
    return table(["Vault", "seconds", "of hvac's speed", "requests for each path"], rows)


def _aws_goals(figures: ParameterFigures) -> Rows:
    rows = []
    for what in figures.seconds:
        goal = f"{figures.count} parameters, {what}: at least {SHARE_AT_LEAST} % of the speed of boto3 with 12 threads, doing the same"
        share = _share(figures, what, CAREFUL)
        rows.append([goal, f"{share:.0f} %", verdict(share >= SHARE_AT_LEAST)])
    for what, calls in figures.calls.items():
        goal = f"{figures.count} parameters, {what}: one write for each, at most one read for ten"
        told = ", ".join(f"{number} {name}" for name, number in sorted(calls.items()))
        writes = calls.get("PutParameter", 0)
        reads = sum(calls.values()) - writes
        few = writes == figures.count and reads <= -(-figures.count // 10)
        rows.append([goal, told, verdict(few)])
    loop, each = figures.loop
    if loop:
        times = each / _each(figures)
        goal = f"at least {TIMES_AT_LEAST} times as fast as a loop with `community.aws.ssm_parameter`, measured with {loop}"
        told = f"{1000 * _each(figures):.1f} ms each beside {1000 * each:.0f} ms: {times:.0f} times"
        rows.append([goal, told, verdict(times >= TIMES_AT_LEAST)])
    return rows


def goals(results: StoreResults) -> str:
    """What was to be reached and what was, as far as it was measured; empty when nothing was."""
    rows = [*_aws_goals(results.aws)] if results.aws else []
    if vault := results.vault:
        for name in ("publish", "vault_kv"):
            goal = f"{vault.paths * vault.fields} fields over {vault.paths} paths, `{name}`: one read and one write for each path"
            asked = vault.requests[name]
            rows.append([goal, f"{asked:.1f} requests for each", verdict(asked <= 2.05)])
    if results.memory:
        count = max(results.memory)
        goal = f"at most {MEGABYTES_AT_MOST} MB for {count} parameters"
        size = results.memory[count]
        rows.append([goal, f"{size:.0f} MB", verdict(size <= MEGABYTES_AT_MOST)])
    return table(("goal", "measured", "met"), rows) if rows else ""


KEPT_NOTE = """\
Reads in the row of parameters that keep their key are more than one for ten, because AWS tells a parameter's key with another call than
its value: fifty with one call, where moto tells ten. With `key_id` in the task none of them is asked for."""


def page(results: StoreResults) -> str:
    """The whole of it, as far as it was measured."""
    parts = [HEAD.format(load=results.load)]
    if results.load > (os.cpu_count() or 1) / 2:
        parts.append(BUSY.format(results.load))
    if told := goals(results):
        parts.append(told)
    if results.aws:
        if KEPT in results.aws.calls:
            parts.append(KEPT_NOTE)
        parts += [aws_table(results.aws), SIDES]
    if results.vault:
        parts.append(vault_table(results.vault))
    if results.memory:
        rows = [[f"{n} parameters in one task", f"{mb:.0f} MB"] for n, mb in results.memory.items()]
        parts.append(table(["memory", "greatest size"], rows))
    return "\n\n".join(parts) + "\n"


def memory(count: int) -> float:
    """The greatest size in MB of a process that sets so many parameters."""
    with MotoServer() as server:
        argv = [sys.executable, "-m", "bench.stores", "--child", str(count)]
        env = {**os.environ, **aws_environ(server)}
        here = str(Path(__file__).parents[1])
        env["PYTHONPATH"] = os.pathsep.join(
            [here, str(Path(here).parent / "demo"), env["PYTHONPATH"]]
        )
        ran = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Wrong(ran.stdout + ran.stderr)
    return int(ran.stdout) / 1024


def _child(count: int) -> None:
    put_core(fresh("memory", count), "")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/stores", description=__doc__)
    parser.add_argument("--page", type=Path, help="write the figures to this file")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some parts alone")
    parser.add_argument("--count", type=int, default=1000, help="parameters")
    parser.add_argument("--loop", type=int, default=20, help="parameters of the slow loop, or 0")
    parser.add_argument("--paths", type=int, default=100, help="of Vault, with ten fields each")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side")
    parser.add_argument("--memory", type=int, default=10_000, help="parameters of the large task")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """The program; returns its exit status."""
    options = parse_arguments()
    if options.child:
        _child(options.child)
        return 0
    load, wanted = os.getloadavg()[0], options.only
    aws = (
        parameters(options.count, options.loop, options.repeat) if "parameters" in wanted else None
    )
    vault = vault_fields(options.paths, 10, options.repeat) if "vault" in wanted else None
    counts = (options.memory // 10, options.memory) if "memory" in wanted else ()
    text = page(StoreResults(load, aws, vault, {count: memory(count) for count in counts}))
    print(text)
    if options.page:
        options.page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
