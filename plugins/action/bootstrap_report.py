# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action ``bootstrap_report``: what a bootstrap made of many credentials, on the screen and in a file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from ansible_collections.keyturn.runbooks.plugins.plugin_utils._bootstrap_report import (
    build_report,
    table,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._report_action import ReportAction


class ActionModule(ReportAction):
    """Makes the report of what it is given."""

    options: ClassVar[dict[str, Any]] = {"width": {"type": "int", "default": 100}}

    def report(self, results: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """What became of each credential."""
        return build_report(results, now, bool(self._task.check_mode))

    def table(self, report: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
        """A line for each credential, and one for each of its places."""
        return table(report, params["width"])

    def findings(self, report: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """The counts alone."""
        return {"summary": report["summary"]}
