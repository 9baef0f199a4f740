# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action ``status_report``: many credentials on the screen and in a file."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import failure
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status import (
    FAIL_ON,
    brief,
    build_report,
    failing,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status_file import write_file
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status_table import table

SPEC = {
    "results": {"type": "dict", "required": True},
    "output": {"type": "str", "default": "table", "choices": ["table", "json"]},
    "output_file": {"type": "str", "default": ""},
    "fail_on": {"type": "str", "default": "nothing", "choices": list(FAIL_ON)},
    "width": {"type": "int", "default": 0},
}
_WIDEST = 120


def _width(given: int, display: Display) -> int:
    """Columns of the screen: workers have none of their own, so Ansible's display tells what it measured."""
    columns = os.environ.get("COLUMNS", "")
    measured = int(columns) if columns.isdigit() else int(display.columns or 79)
    return given or min(_WIDEST, measured)


class ActionModule(ActionBase):
    """Makes the report of what it is given."""

    _requires_connection = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the task; see :class:`ansible.plugins.action.ActionBase`."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, params = self.validate_argument_spec(argument_spec=SPEC)
        report = build_report(params["results"], datetime.now(timezone.utc))
        document = json.dumps(report, indent=2)
        display = Display()
        lines = table(report, _width(params["width"], display))
        display.display(document if params["output"] == "json" else "\n".join(lines))
        path = os.path.abspath(os.path.expanduser(params["output_file"]))
        changed = bool(params["output_file"])
        try:
            if changed and not self._task.check_mode:
                write_file(path, document + "\n")
        except Exception as error:
            return {**result, **failure(error)}
        return {
            **result,
            "changed": changed,
            "report": report,
            "brief": brief(report),
            "failing": failing(report, params["fail_on"]),
        }
