# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that ends ansible-playbook with SIGKILL at a named task, as a power cut would."""

from __future__ import annotations

import os
import signal
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: kill_at
type: aggregate
short_description: End the run with SIGKILL at a named task
description:
  - For tests only.
requirements:
  - to be enabled
"""


class CallbackModule(CallbackBase):
    """Kills its own process before or after the task that KEYTURN_KILL_TASK names."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kill_at"
    CALLBACK_NEEDS_ENABLED = True

    def _kill(self, task: Any, moment: str) -> None:
        wanted = os.environ.get("KEYTURN_KILL_TASK", "")
        if (
            wanted
            and task.get_name().endswith(wanted)
            and moment == os.environ.get("KEYTURN_KILL_MOMENT")
        ):
            os.kill(os.getpid(), signal.SIGKILL)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Before a task."""
        self._kill(task, "before")

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Before a handler."""
        self._kill(task, "before")

    def v2_runner_on_ok(self, result: Any) -> None:
        """After a task."""
        self._kill(result._task, "after")
