# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and directories of a Vault's host: who can read and replace them, and whether a backup is recent."""

from __future__ import annotations

import glob
import json
import os
import pwd
import re
import stat
from contextlib import suppress
from datetime import datetime, timedelta
from typing import List, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_duration
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_findings import (
    HIGH,
    LOW,
    MEDIUM,
    UNKNOWN,
    Findings,
)

_OTHERS, _WRITERS = 0o077, 0o022
_LARGEST_KEY_FILE = 1 << 20
_SHARE_LINE = re.compile(r"(?im)^\s*(?:unseal|recovery) key \d+\s*:")
_ROOT_LINE = re.compile(r"(?im)^\s*initial root token\s*:")


def _owner(status: os.stat_result) -> str:
    try:
        return pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        return str(status.st_uid)


def _status(path: str, check: str, found: Findings) -> Optional[os.stat_result]:
    """What the system says of a path; none when it is not there. One that may not be looked at is a finding."""
    found.begin(check)
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        found.add(
            check,
            UNKNOWN,
            f"{path} was not looked at: {reason}",
            "run this task as root (ansible_become)",
        )
        return None


def _modes(
    path: str,
    status: os.stat_result,
    owners: Sequence[str],
    check: str,
    wanted: str,
    found: Findings,
) -> None:
    mode, owner = stat.S_IMODE(status.st_mode), _owner(status)
    if mode & _OTHERS:
        found.add(
            check,
            HIGH,
            f"{path} has mode {mode:04o}: others than {owner} can use it",
            f"chmod {wanted} {path}",
        )
    if owner not in owners:
        found.add(
            check,
            HIGH,
            f"{path} belongs to {owner}, expected {' or '.join(owners)}",
            f"chown {owners[0]} {path}",
        )
    folder = os.path.dirname(os.path.realpath(path))
    with suppress(OSError):
        above = os.stat(folder)
        if above.st_mode & _WRITERS and not above.st_mode & stat.S_ISVTX:
            found.add(
                check,
                HIGH,
                f"{folder} has mode {stat.S_IMODE(above.st_mode):04o}: others can put another file in the place of {path}",
                f"chmod go-w {folder}",
            )


def secret_files(paths: Sequence[str], owners: Sequence[str], check: str, found: Findings) -> None:
    """Files that hold a secret; one that is not there is no finding."""
    for path in paths:
        status = _status(path, check, found)
        if status is not None:
            _modes(path, status, owners, check, "600", found)


def data_directory(path: str, owners: Sequence[str], found: Findings) -> None:
    """The directory that the storage is in."""
    check = "data_directory"
    status = _status(path, check, found)
    if status is not None:
        _modes(path, status, owners, check, "700", found)
    elif check not in {finding["check"] for finding in found.result()["findings"]}:
        found.add(check, UNKNOWN, f"there is no {path}", "correct data_directory")


def key_files(
    paths: Sequence[str], data: Optional[str], owners: Sequence[str], found: Findings
) -> None:
    """Files with shares of the unseal key: closed, and not where they open what lies beside them."""
    secret_files(paths, owners, "key_files", found)
    for path in paths:
        if os.path.lexists(path):
            _beside(path, data, found)
            _content(path, found)


def _beside(path: str, data: Optional[str], found: Findings) -> None:
    real = os.path.realpath(path)
    home = os.path.dirname(os.path.realpath(data)) if data else None
    beside = home is not None and home != "/" and os.path.commonpath([real, home]) == home
    found.add(
        "keys_beside_data",
        HIGH if beside else MEDIUM,
        f"{path} is {'beside the data' if beside else 'on the machine'} that it unseals: a stolen disk or backup opens itself",
        "give each share to another holder and remove the file, or let a key management service unseal Vault",
    )


def _content(path: str, found: Findings) -> None:
    """Count what such a file holds; nothing of it is kept."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST_KEY_FILE).decode("utf-8", "replace")
    except OSError:
        return
    shares, root = len(_SHARE_LINE.findall(text)), bool(_ROOT_LINE.search(text))
    with suppress(ValueError):
        held = json.loads(text)
        if isinstance(held, dict):
            shares = max(len(held.get("unseal_keys_b64") or held.get("keys_base64") or ()), shares)
            root = root or bool(held.get("root_token"))
    if shares > 1:
        found.add(
            "keys_together",
            HIGH,
            f"{path} holds {shares} shares: whoever reads it opens Vault alone",
            "give each share to another holder, then 'vault operator rekey', because these have been together",
        )
    if root:
        found.add(
            "root_token_kept",
            HIGH,
            f"{path} holds a root token",
            "revoke it, and remove it from the file",
        )


def backups(patterns: Sequence[str], most: timedelta, now: datetime, found: Findings) -> None:
    """The newest backup of each pattern is young enough, and closed."""
    check = "backup"
    for pattern in patterns:
        found.begin(check)
        files = [(os.stat(path), path) for path in glob.glob(pattern) if os.path.isfile(path)]
        if not files:
            found.add(
                check,
                HIGH,
                f"there is no backup {pattern}",
                "take one: vault operator raft snapshot save (or correct the pattern)",
            )
            continue
        status, newest = max(files, key=lambda item: item[0].st_mtime)
        age = timedelta(seconds=now.timestamp() - status.st_mtime)
        if age > most:
            found.add(
                check,
                HIGH,
                f"the newest backup {newest} is {format_duration(age)} old, of at most {format_duration(most)}",
                "see why its timer or job fails",
            )
        if not status.st_size:
            found.add(check, HIGH, f"the newest backup {newest} is empty", "see its job's log")
        if stat.S_IMODE(status.st_mode) & _OTHERS:
            found.add(
                check,
                MEDIUM,
                f"{newest} has mode {stat.S_IMODE(status.st_mode):04o}",
                f"chmod 600 {newest}",
            )


def swap(table: str, found: Findings) -> None:
    """Swap on this machine: Vault's memory can be written there.

    :param table: what the kernel says of it (``/proc/swaps``, proc(5)): a heading and a line for each.
    """
    found.begin("swap")
    used: List[str] = [line.split()[0] for line in table.splitlines()[1:] if line.split()]
    if used:
        found.add(
            "swap",
            LOW,
            f"this machine swaps to {', '.join(used)}: secrets in memory can be written there",
            "swapoff -a, or encrypt it; with systemd, MemorySwapMax=0 for Vault",
        )
