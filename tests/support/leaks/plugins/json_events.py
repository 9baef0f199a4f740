# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that writes everything that Ansible tells callbacks, as JSON: each task with its arguments, each result as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: json_events
type: aggregate
short_description: Write everything that callbacks are told, as JSON
description:
  - For tests only.
  - Nothing is left out of results, so that what other callbacks write of them is a part of this.
  - E(KEYTURN_EVENTS) names the file; each line is one event.
requirements:
  - to be enabled
"""


class CallbackModule(CallbackBase):
    """Appends one line for each event to the file that KEYTURN_EVENTS names."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "json_events"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, *told: Any, **named: Any) -> None:
        """Any event."""
        line = json.dumps([_told(item) for item in (*told, *named.values())], default=str)
        with Path(os.environ["KEYTURN_EVENTS"]).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    v2_on_file_diff = _write
    v2_playbook_on_handler_task_start = _write
    v2_playbook_on_include = _write
    v2_playbook_on_notify = _write
    v2_playbook_on_play_start = _write
    v2_playbook_on_start = _write
    v2_playbook_on_stats = _write
    v2_playbook_on_task_start = _write
    v2_runner_item_on_failed = _write
    v2_runner_item_on_ok = _write
    v2_runner_item_on_skipped = _write
    v2_runner_on_failed = _write
    v2_runner_on_ok = _write
    v2_runner_on_skipped = _write
    v2_runner_on_start = _write
    v2_runner_on_unreachable = _write
    v2_runner_retry = _write


def _told(item: Any) -> Any:
    """What an event holds: of a result all, of a task and a play what was written in it."""
    if hasattr(item, "_result"):
        task = _told(item._task)
        return {
            "host": str(item._host),
            "task": task,
            "result": item._result,
            "fields": item._task_fields,
        }
    if hasattr(item, "serialize") or hasattr(item, "dump_attrs"):
        return item.dump_attrs() if hasattr(item, "dump_attrs") else item.serialize()
    if hasattr(item, "summarize"):
        return {host: item.summarize(host) for host in item.processed}
    return item
