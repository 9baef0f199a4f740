# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables at the end of a run, and the page."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import store_faults
from backends import RIGHTS
from estate.vault import AppRole, VaultServer
from racing import Racers
from store_page import WRITES, as_text, case_of, conformance, faults, page

FAULT = "fault"


@pytest.fixture(scope="session")
def racers() -> Iterator[Racers]:
    """The program of the racing processes, shared by the session."""
    made = Racers()
    yield made
    made.close()


@pytest.fixture
def production_mount(production_vault: VaultServer) -> Iterator[str]:
    """The name of a fresh KV v2 mount of the Vault that is as in production."""
    name = production_vault.mount_kv(f"kv-{secrets.token_hex(4)}")
    yield name
    production_vault.unmount(name)


@pytest.fixture(scope="session")
def _production_approles(production_vault: VaultServer) -> str:
    """Where the AppRoles of that Vault are."""
    return production_vault.enable_auth("approle")


@pytest.fixture
def production_role(
    production_vault: VaultServer, _production_approles: str, production_mount: str
) -> AppRole:
    """A role that may do there what the documentation names, and nothing else."""
    rules = RIGHTS.replace("MOUNT", production_mount)
    return production_vault.approle(_production_approles, rules)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print both, and write the page where that is asked for."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
    ]
    cases = [case for report in reports if (case := _case(report))]
    order = {case.name: number for number, case in enumerate(store_faults.CASES)}
    found = sorted(
        (
            json.loads(text)
            for report in reports
            for name, text in report.user_properties
            if name == FAULT
        ),
        key=lambda row: order.get(row[1], len(store_faults.CASES)),
    )
    if cases:
        terminalreporter.write_sep("-", "stores and sinks: the same promises")
        terminalreporter.write_line(as_text(conformance(cases)))
    if found:
        terminalreporter.write_sep("-", "stores and sinks: each fault")
        terminalreporter.write_line(as_text(faults(found)))
    if (path := os.environ.get("KEYTURN_STORES_PAGE")) and cases and found:
        Path(path).write_text(page(cases, found), encoding="utf-8")


def _case(report: Any) -> Any:
    writes = sum(value for name, value in report.user_properties if name == WRITES)
    return case_of(report.nodeid, report.outcome, writes)
