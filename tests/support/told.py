# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test has to tell also when it passed: one line each at the end of a run."""

from __future__ import annotations

from typing import Any

TOLD = "told"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests recorded as the property ``told``; a conftest has this hook by importing it."""
    # What is recorded after a test is in the report of its end, which has no outcome of its own.
    lines = [
        text
        for outcome in ("", "passed", "failed", "error")
        for told in terminalreporter.getreports(outcome)
        for name, text in getattr(told, "user_properties", ())
        if name == TOLD
    ]
    if lines:
        terminalreporter.write_sep("-", "told")
        terminalreporter.write_line("\n".join(dict.fromkeys(lines)))
