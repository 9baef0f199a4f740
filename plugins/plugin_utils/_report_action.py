# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action that makes one report of the results of many hosts: on the screen, in a file, and for the tasks that follow."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, ClassVar

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import failure
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._report_file import write_file

REPORT_OPTIONS: Mapping[str, Any] = {
    "results": {"type": "dict", "required": True},
    "output": {"type": "str", "default": "table", "choices": ["table", "json"]},
    "output_file": {"type": "str", "default": ""},
}


class ReportAction(ActionBase):
    """Subclasses say which options there are beside :data:`REPORT_OPTIONS`, and what the report is."""

    options: ClassVar[dict[str, Any]]
    _requires_connection = False
    _supports_check_mode = True

    @abstractmethod
    def report(self, results: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """The report, as JSON can hold it."""

    @abstractmethod
    def table(self, report: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
        """The report as lines for a person."""

    @abstractmethod
    def findings(self, report: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """What the result says of the report beside the report itself."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the task; see :class:`ansible.plugins.action.ActionBase`."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        spec = {**REPORT_OPTIONS, **self.options}
        _validation, params = self.validate_argument_spec(argument_spec=spec)
        report = self.report(params["results"], datetime.now(timezone.utc))
        document = json.dumps(report, indent=2)
        as_json = params["output"] == "json"
        Display().display(document if as_json else "\n".join(self.table(report, params)))
        changed = bool(params["output_file"])
        try:
            if changed and not self._task.check_mode:
                path = os.path.abspath(os.path.expanduser(params["output_file"]))
                write_file(path, document + "\n")
        except Exception as error:
            return {**result, **failure(error)}
        return {**result, "changed": changed, "report": report, **self.findings(report, params)}
