# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that writes down what each task returned, and the state that it left behind."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import psycopg2
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: record
type: aggregate
short_description: Write down what each task returned and the state that it left behind
description:
  - For tests only.
requirements:
  - to be enabled
"""

_ROLES = (
    "SELECT rolname, rolcanlogin, rolpassword, rolvaliduntil::text FROM pg_authid ORDER BY 1",
    "SELECT setrole::regrole::text, setconfig::text FROM pg_db_role_setting ORDER BY 1, 2",
    "SELECT roleid::regrole::text, member::regrole::text, grantor::regrole::text FROM pg_auth_members ORDER BY 1, 2, 3",
    "SELECT oid::regclass::text, relowner::regrole::text, relacl::text FROM pg_class WHERE oid >= 16384 ORDER BY 1",
)


def _files(place: str) -> dict[str, str]:
    """A file, or every file below a folder, with its owner, mode, age and a digest of its content."""
    found = {}
    for path in [Path(place), *sorted(Path(place).rglob("*"))]:
        about = path.stat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (
            f"{about.st_uid} {about.st_mode:o} {content and about.st_mtime_ns} {content}"
        )
    return found


def _roles(login: dict[str, Any]) -> dict[str, str]:
    """Every role, with its password, settings, memberships and what it owns."""
    connection = psycopg2.connect(**login)
    try:
        with connection.cursor() as cursor:
            found = {}
            for query in _ROLES:
                cursor.execute(query)
                found[query] = repr(cursor.fetchall())
            return found
    finally:
        connection.close()


class CallbackModule(CallbackBase):
    """Appends one line of JSON for each task to the file ``to`` of KEYTURN_RECORD, which also says what to look at for each host."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._what: dict[str, Any] = json.loads(
            Path(os.environ["KEYTURN_RECORD"]).read_text(encoding="utf-8")
        )

    def _write(self, host: str, task: str, result: Any) -> None:
        watched = self._what["hosts"].get(host, {})
        state: dict[str, str] = {}
        for place in watched.get("places", ()):
            state.update(_files(place))
        if watched.get("login"):
            state.update(_roles(watched["login"]))
        line = {"host": host, "task": task, "result": result, "state": state}
        with Path(self._what["to"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Before anything."""
        for host in self._what["hosts"]:
            self._write(host, "start", {})

    def v2_runner_on_ok(self, result: Any) -> None:
        """After a task."""
        self._write(result._host.get_name(), result._task.get_name(), result._result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """After a task that failed."""
        self._write(result._host.get_name(), result._task.get_name(), result._result)
