# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action ``status_report``: many credentials on the screen and in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._report_action import ReportAction
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status import (
    FAIL_ON,
    brief,
    build_report,
    failing,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status_table import table

_WIDEST = 120


def _width(given: int, display: Display) -> int:
    """Columns of the screen: workers have none of their own, so Ansible's display tells what it measured."""
    columns = os.environ.get("COLUMNS", "")
    measured = int(columns) if columns.isdigit() else int(display.columns or 79)
    return given or min(_WIDEST, measured)


class ActionModule(ReportAction):
    """Makes the report of what it is given."""

    options: ClassVar[dict[str, Any]] = {
        "fail_on": {"type": "str", "default": "unreadable", "choices": list(FAIL_ON)},
        "width": {"type": "int", "default": 0},
    }

    def report(self, results: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """What state each credential is in."""
        return build_report(results, now)

    def table(self, report: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
        """A line for each credential."""
        return table(report, _width(params["width"], Display()))

    def findings(self, report: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """The line that sums up, and what the playbook is to fail for."""
        return {"brief": brief(report), "failing": failing(report, params["fail_on"])}
