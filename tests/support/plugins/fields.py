# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that writes down the arguments of tasks, as some that export to other systems do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: fields
type: aggregate
short_description: Write down the arguments of each task
description:
  - For tests only.
  - E(KEYTURN_FIELDS) names the file.
requirements:
  - to be enabled
"""


class CallbackModule(CallbackBase):
    """Appends one line of JSON for each result."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "fields"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, result: Any) -> None:
        with Path(os.environ["KEYTURN_FIELDS"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(result._task_fields.get("args"), default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        """After a task."""
        self._write(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """After a task that failed."""
        self._write(result)
