# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action ``vault_posture_report``: what was found at all Vaults, on the screen and in a file."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import failure
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_report import (
    FAIL_ON,
    build_report,
    failing,
    lines,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status_file import write_file

SPEC = {
    "results": {"type": "dict", "required": True},
    "output": {"type": "str", "default": "table", "choices": ["table", "json"]},
    "output_file": {"type": "str", "default": ""},
    "fail_on": {"type": "str", "default": "nothing", "choices": list(FAIL_ON)},
}


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
        as_json = params["output"] == "json"
        Display().display(document if as_json else "\n".join(lines(report)))
        changed = bool(params["output_file"])
        try:
            if changed and not self._task.check_mode:
                path = os.path.abspath(os.path.expanduser(params["output_file"]))
                write_file(path, document + "\n")
        except Exception as error:
            return {**result, **failure(error)}
        return {
            **result,
            "changed": changed,
            "report": report,
            "failing": failing(report, params["fail_on"]),
        }
