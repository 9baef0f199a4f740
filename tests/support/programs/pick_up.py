# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has a consumer of this machine pick up its value, as the module does there: the task as JSON on stdin, how it ended on stdout."""

from __future__ import annotations

import json
import sys

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._open import pick_up
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import Task
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError

given = json.load(sys.stdin)
warnings: list[str] = []
context = Context(given["check_mode"], warn=warnings.append)
task = Task("app", given["definition"], context, files=tuple(given["files"]))
try:
    ended = {"result": pick_up(task)}
except KeyturnError as error:
    ended = {"kind": type(error).__name__, "message": error.message}
print(json.dumps({**ended, "warnings": warnings}))
