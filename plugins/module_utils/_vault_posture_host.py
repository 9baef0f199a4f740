# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``vault_posture_host``: how well the machine that a Vault runs on is set up."""

from __future__ import annotations

import json
import os
import shutil
import stat
from contextlib import suppress
from datetime import timedelta
from typing import Any, Dict, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils import _vault_posture_files as files
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import hold, read_file
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_duration,
    format_time,
    parse_duration,
    parse_time,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_audit import (
    judge,
    last_entry,
    networks,
    read_log,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_findings import (
    HIGH,
    MEDIUM,
    UNKNOWN,
    Findings,
)

_SWAPS = "/proc/swaps"
_LEAST_FREE = 0.05


def _since(value: str, context: Context) -> str:
    """A time, or how long ago, as the log writes times.

    :raises BadInput: when it is neither.
    """
    if not value:
        return ""
    try:
        moment = context.now() - parse_duration(value, "audit_since")
    except BadInput:
        moment = parse_time(value, "audit_since")
    return format_time(moment)


def _cursor(path: str) -> Dict[str, Any]:
    """Where the last look ended; empty before the first one, or when the file holds something else."""
    text = read_file(path, "audit_cursor") if path else None
    with suppress(ValueError):
        found = json.loads(text) if text else {}
        if isinstance(found, dict) and {"inode", "offset"} <= set(found):
            return found
    return {}


def _log_file(path: str, params: Params, context: Context, found: Findings) -> None:
    """The log itself: closed, with room to grow, and written to."""
    check = "audit_log"
    found.begin(check)
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o077:
        found.add(
            check,
            MEDIUM,
            f"{path} has mode {mode:04o}: others can read who reads what",
            f"chmod 600 {path}",
        )
    room = shutil.disk_usage(os.path.dirname(path) or ".")
    if room.free < room.total * _LEAST_FREE:
        found.add(
            check,
            HIGH,
            f"the disk of {path} has {room.free * 100 // room.total} % free: Vault answers nobody once it cannot write its log",
            "rotate the log (logrotate with a SIGHUP to Vault), or make the disk larger",
        )
    if not params["audit_quiet"]:
        return
    quiet = parse_duration(params["audit_quiet"], "audit_quiet")
    last = last_entry(path)
    if last is None or context.now() - last > quiet + timedelta(seconds=1):
        ago = f"{format_duration(context.now() - last)} ago" if last else "never"
        found.add(
            check,
            HIGH,
            f"{path} was written to {ago}, although Vault was asked just now",
            "see whether the audit device writes to another file, or to one that was moved aside (SIGHUP opens it anew)",
        )


def _watch(params: Params, context: Context, found: Findings) -> Dict[str, Any]:
    """The log's entries since a time, or since the last look."""
    path, cursor_file = params["audit_log"], params["audit_cursor"] or ""
    allowed = networks(params["audit_addresses"], "audit_addresses")
    before = _cursor(cursor_file)
    seen, after = read_log(path, _since(params["audit_since"], context), before, allowed)
    judge(seen, params["audit_denied"], found)
    moved = bool(cursor_file) and after != before
    if moved and not context.check_mode:
        with hold(cursor_file, "audit_cursor") as held:
            held.replace(json.dumps(after).encode())
    return {"audit": seen.result(), "changed": moved}


def _audit(params: Params, context: Context, found: Findings) -> Dict[str, Any]:
    path = params["audit_log"]
    if not path:
        return {}
    try:
        _log_file(path, params, context, found)
        return _watch(params, context, found)
    except OSError as error:
        found.add(
            "audit_log",
            UNKNOWN,
            f"{path} was not looked at: {os.strerror(error.errno or 0).lower()}",
            "correct audit_log, or run this task as root (ansible_become)",
        )
        return {}


def run(params: Params, context: Context) -> Result:
    """Look at one machine.

    :raises BadInput: for options that cannot be meant.
    :raises KeyturnError: when the place of the last look cannot be kept.
    """
    found = Findings()
    owners, data = params["owners"], params["data_directory"]
    files.key_files(params["key_files"], data, owners, found)
    files.secret_files(params["token_files"], owners, "token_files", found)
    files.secret_files(params["tls_keys"], owners, "tls_keys", found)
    if data:
        files.data_directory(data, owners, found)
    most = parse_duration(params["backup_max_age"], "backup_max_age")
    files.backups(params["backups"], most, context.now(), found)
    if params["swap"]:
        with suppress(OSError), open(_SWAPS, encoding="ascii") as table:
            files.swap(table.read(), found)
    watched = _audit(params, context, found)
    return {"changed": False, "audit": {}, **watched, **found.result()}


_PATHS: Mapping[str, Any] = {"type": "list", "elements": "path", "default": [], "no_log": False}
SPEC: Mapping[str, Any] = {
    "key_files": _PATHS,
    "token_files": _PATHS,
    "tls_keys": _PATHS,
    "owners": {"type": "list", "elements": "str", "default": ["root", "vault"]},
    "data_directory": {"type": "path"},
    "backups": {"type": "list", "elements": "path", "default": []},
    "backup_max_age": {"type": "str", "default": "7d"},
    "swap": {"type": "bool", "default": True},
    "audit_log": {"type": "path"},
    "audit_quiet": {"type": "str", "default": ""},
    "audit_since": {"type": "str", "default": "24h"},
    "audit_cursor": {"type": "path"},
    "audit_addresses": {"type": "list", "elements": "str", "default": []},
    "audit_denied": {"type": "int", "default": 20},
}
MODULE = ModuleCore("vault_posture_host", SPEC, run, host=True)
