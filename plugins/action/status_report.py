# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action ``status_report``: many credentials on the screen and in a file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from ansible_collections.keyturn.runbooks.plugins.plugin_utils._report_action import (
    ReportAction,
    screen_width,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status import (
    FAIL_ON,
    brief,
    build_report,
    failing,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status_table import table


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
        return table(report, params["width"] or screen_width())

    def findings(self, report: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """The line that sums up, and what the playbook is to fail for."""
        return {"brief": brief(report), "failing": failing(report, params["fail_on"])}
