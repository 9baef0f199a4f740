# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables at the end of a run, and the page."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import store_faults
from store_page import as_text, case_of, conformance, faults, page

FAULT = "fault"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print both, and write the page where that is asked for."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
    ]
    cases = [case for report in reports if (case := case_of(report.nodeid, report.outcome))]
    order = {case.name: number for number, case in enumerate(store_faults.CASES)}
    found = sorted(
        (
            json.loads(text)
            for report in reports
            for name, text in report.user_properties
            if name == FAULT
        ),
        key=lambda row: order.get(row[1], len(order)),
    )
    if cases:
        terminalreporter.write_sep("-", "stores and sinks: the same promises")
        terminalreporter.write_line(as_text(conformance(cases)))
    if found:
        terminalreporter.write_sep("-", "stores and sinks: each fault")
        terminalreporter.write_line(as_text(faults(found)))
    if (path := os.environ.get("KEYTURN_STORES_PAGE")) and cases and found:
        Path(path).write_text(page(cases, found), encoding="utf-8")
