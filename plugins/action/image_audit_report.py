# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action ``image_audit_report``: what was found in all images, on the screen and in a file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from ansible_collections.keyturn.runbooks.plugins.module_utils._image_report import (
    FAIL_ON,
    build_report,
    failing,
    lines,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._report_action import ReportAction


class ActionModule(ReportAction):
    """Makes the report of what it is given."""

    options: ClassVar[dict[str, Any]] = {
        "fail_on": {"type": "str", "default": FAIL_ON[0], "choices": list(FAIL_ON)}
    }

    def report(self, results: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """What was found in each image."""
        return build_report(results, now)

    def table(self, report: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
        """A table for each image."""
        return lines(report)

    def findings(self, report: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """What the playbook is to fail for."""
        return {"failing": failing(report, params["fail_on"])}
