# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of what every store was tried with: at the end of a run, and as a page in docs/."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Fault = Sequence[str]
"""Backend, fault, operation, how it ended."""
Case = tuple[str, str, str, int]
"""Backend, case, outcome, and how many writes processes made at once."""
WRITES = "writes at once"
"""The property of a test that says so."""

OPERATIONS = ("read a keyring", "write a keyring", "publish")
BACKENDS = (
    "file",
    "file, encrypted",
    "env file",
    "whole file",
    "Vault",
    "Vault, raft, TLS",
    "SSM",
    "Secrets Manager",
    "Kubernetes",
)
_IDS = {
    "file": "file",
    "file-encrypted": "file, encrypted",
    "file-env": "env file",
    "file-whole": "whole file",
    "vault": "Vault",
    "vault-production": "Vault, raft, TLS",
    "ssm": "SSM",
    "secretsmanager": "Secrets Manager",
    "kubernetes": "Kubernetes",
}
_TEST = re.compile(
    r"test_(conformance|places)\.py::test_(\w+)\[([a-z]+(?:-encrypted|-env|-production|-whole)?)"
)
HEAD = """\
# What every store was tried with

This page is written by `make pages`. All cells are run by `make test`, against the real servers; AWS is moto's server.

"""
CONFORMANCE = """\
## The same promises

How many cases of each kind passed, and for races how many writes eight processes made at once in the run that wrote this page
(`make soak` makes 400 everywhere). `-`: this kind of place knows no such case: it holds one text, or has no limit, or keeps no bytes.
"Vault, raft, TLS" is initialised with five key shares, of which three unseal it, has an audit log, and is asked as an AppRole with the
rights that [stores](stores.md) names.

"""
FAULTS = """\
## Each fault

How a read of a keyring, a write of one, and a write to a sink ended: `done`, or the kind of the error. After each: the old value or the new
one is there and nothing else, the message names the option and what to do and holds no value, the deadline was kept, and the same
call came to its end once all was well, without a second write. `-`: this service does not know it.
"Vault, raft, TLS" is asked as an AppRole, so what goes wrong with all requests, or with the first one, goes wrong with its login. Each
token that a login gave is revoked at the end, or a warning says that it ends by itself.

"""


def case_of(nodeid: str, outcome: str, writes: int = 0) -> Case | None:
    """What a test's name says; none for one that is not about a backend."""
    found = _TEST.search(nodeid)
    if not found or found.group(3) not in _IDS:
        return None
    where = "keyring" if found.group(1) == "conformance" else "sink"
    case = f"{where}: {found.group(2).replace('_', ' ')}"
    return _IDS[found.group(3)], case, outcome, writes


def conformance(cases: Iterable[Case]) -> list[list[str]]:
    """A row for each case: how many passed of how many, by backend."""
    counted: dict[str, dict[str, list[bool]]] = {}
    written: dict[tuple[str, str], int] = {}
    for backend, case, outcome, writes in cases:
        counted.setdefault(case, {}).setdefault(backend, []).append(outcome == "passed")
        written[case, backend] = written.get((case, backend), 0) + writes
    rows = (
        [
            case,
            *(
                _share(counted[case].get(backend), written.get((case, backend), 0))
                for backend in BACKENDS
            ),
        ]
        for case in sorted(counted)
    )
    return [["case", *BACKENDS], *rows]


def _share(passed: list[bool] | None, writes: int) -> str:
    if passed is None:
        return "-"
    share = str(len(passed)) if all(passed) else f"{sum(passed)} of {len(passed)}"
    return f"{share} ({writes} writes)" if writes else share


def faults(found: Iterable[Fault]) -> list[list[str]]:
    """A row for each fault: how the three operations ended, by backend."""
    ends: dict[str, dict[str, dict[str, str]]] = {}
    for backend, fault, operation, how in found:
        ends.setdefault(fault, {}).setdefault(backend, {})[operation] = how
    seen = [backend for backend in BACKENDS if any(backend in row for row in ends.values())]
    rows = [["fault", *seen]]
    for fault, row in ends.items():
        rows.append([fault, *(_ends(row.get(backend)) for backend in seen)])
    return rows


def _ends(operations: dict[str, str] | None) -> str:
    if operations is None:
        return "-"
    told = [operations.get(name, "?") for name in OPERATIONS]
    return told[0] if len(set(told)) == 1 else ", ".join(told)


def as_text(rows: list[list[str]]) -> str:
    """A table for a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def as_markdown(rows: list[list[str]]) -> str:
    """A table for a page."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:], ""])


def page(cases: Iterable[Case], found: Iterable[Fault]) -> str:
    """The page."""
    told = CONFORMANCE + as_markdown(conformance(cases))
    return HEAD + told + "\n" + FAULTS + as_markdown(faults(found))
