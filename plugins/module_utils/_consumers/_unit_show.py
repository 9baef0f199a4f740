# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemctl and journalctl print about a unit. Pure."""

from __future__ import annotations

import fnmatch
import json
import os
import re
from typing import Mapping, Tuple

_COPIED = re.compile(
    r"^\s*(EnvironmentFile|LoadCredential|LoadCredentialEncrypted)\s*=\s*(\S.*)$", re.MULTILINE
)
_SPECIFIER = re.compile(r"%(.)")
_ENDED = re.compile(r"code=([a-z]+) ; status=(\d+)(?:/([A-Z0-9+-]+))?")
_SIGNALLED = ("killed", "dumped")


def _open(specifier: re.Match[str]) -> str:
    return "%" if specifier.group(1) == "%" else "*"


def parse_show(text: str) -> dict[str, str]:
    """The properties that ``systemctl show`` printed; one with several values has a line for each."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


def copied_files(text: str) -> list[str]:
    """The files that systemd itself reads for a unit, at start only, from ``systemctl cat``: patterns.

    The process sees copies: its environment, or the directory of its credentials. A reload leaves
    them as they are. What a specifier such as ``%i`` stands for is left open.
    """
    found: list[str] = []
    for key, value in _COPIED.findall(text):
        path = value.strip() if key == "EnvironmentFile" else value.partition(":")[2].strip()
        path = _SPECIFIER.sub(_open, path.strip('"').lstrip("-"))
        if path:
            found.append(path)
    return found


def parse_messages(text: str) -> list[str]:
    """What systemd itself says about a unit's life, from ``journalctl -o json``.

    Only messages of a kind that systemd's catalogue knows are taken: these name units, jobs and exit
    codes. Others may quote a line of an environment file, with its value.
    """
    found: list[str] = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        known = isinstance(entry, dict) and entry.get("MESSAGE_ID")
        message = entry.get("MESSAGE") if known else None
        if isinstance(message, str):
            found.append(message[:200].rstrip(". "))
    return found


def number(properties: Mapping[str, str], name: str) -> int:
    """A property that is a number; 0 when it is none."""
    text = properties.get(name, "")
    return int(text) if text.isdigit() else 0


def reload_status(state: Mapping[str, str]) -> Tuple[str, bool]:
    """How the commands of ``ExecReload`` ended, as ``exited/0`` or ``killed/KILL``, the first bad one where there are several; and whether
    that is good. Empty when none was run.
    """
    told = ""
    for code, status, name in _ENDED.findall(state.get("ExecReload", "")):
        shown = f"{code}/{(name if code in _SIGNALLED else status) or status}"
        if (code, status) != ("exited", "0"):
            return shown, False
        told = shown
    return told, True


def same_process(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether a unit's main process is still the one that it was."""
    return all(one.get(name) == other.get(name) for name in ("MainPID", "NRestarts"))


def covers(pattern: str, path: str) -> bool:
    """Whether what systemd reads is this file, or a directory that it is in."""
    return any(
        fnmatch.fnmatchcase(name, pattern.rstrip("/")) for name in (path, os.path.dirname(path))
    )
