# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bootstrap made, or would make, of many credentials: one report. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._bootstrap import (
    GO_ON,
    LEFT_ALONE,
    MAKE,
    THERE,
    WAITING,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status import plain, summary

KIND = "keyturn.bootstrap"
SCHEMA = 1
FAILED = "failed"
# What a person looks at first.
STATES = (FAILED, WAITING, LEFT_ALONE, GO_ON, MAKE, THERE)
_WORDS = {
    FAILED: "FAILED",
    WAITING: "waits for a person",
    LEFT_ALONE: "left alone",
    THERE: "there",
}
_INDENT = "    "

Result = Mapping[str, Any]


def _found(result: Result) -> Mapping[str, Any]:
    """What the latest check of the run listed; of a check that failed it is beside its message."""
    listed = [step["bootstrap"] for step in result.get("steps") or [] if "bootstrap" in step]
    given: Mapping[str, Any] = listed[-1] if listed else result.get("bootstrap") or {}
    return given


def _entry(result: Result) -> dict[str, Any]:
    found = _found(result)
    failed = bool(result.get("failed")) or not found
    message = str(result.get("msg") or "it was not looked at: see why its host failed, above")
    quiet = not failed and found.get("state") in (MAKE, GO_ON, THERE)
    return {
        "state": FAILED if failed else str(found["state"]),
        "issuer": str(found.get("issuer") or ""),
        "keyring": str(found.get("keyring") or ""),
        "places": list(found.get("places") or []),
        "message": "" if quiet else " ".join(message.split()),
    }


def build_report(results: Mapping[str, Result], now: datetime, check: bool) -> dict[str, Any]:
    """The report: JSON types, what wants a person first.

    :param results: by credential, what ``procedure`` returned; nothing of one that it was not asked for.
    :param check: nothing was written: what is told as made would be made.
    """
    entries = {name: _entry(plain(given or {})) for name, given in results.items()}
    order = sorted(entries.items(), key=lambda item: (STATES.index(item[1]["state"]), item[0]))
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "at": format_time(now),
        "check": check,
        "summary": summary(entries, STATES),
        "credentials": dict(order),
    }


def _word(state: str, check: bool) -> str:
    if state == MAKE:
        return "would be made" if check else "made"
    if state == GO_ON:
        return "begun, would go on" if check else "begun before, gone on with"
    return _WORDS[state]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(report: Result, width: int = 100) -> list[str]:
    """The lines of the list: each credential with its issuer, then its places where something is, or would be, written."""
    check, entries = report["check"], report["credentials"]
    rows = [["CREDENTIAL", "ISSUER", "BOOTSTRAP"]]
    rows += [
        [name, entry["issuer"] or "-", _word(entry["state"], check)]
        for name, entry in entries.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(size) for cell, size in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
        entry = list(entries.values())[number - 1] if number else None
        if entry and entry["state"] in (MAKE, GO_ON):
            for place in [f"keyring ({entry['keyring']})", *entry["places"]]:
                lines += _wrapped(place, width)
        if entry and entry["message"]:
            lines += _wrapped(f"! {entry['message']}", width)
    states = [
        f"{number} {_word(state, check)}" for state, number in report["summary"]["states"].items()
    ]
    count = report["summary"]["credentials"]
    return [*lines, "", f"{count} credential{'s' * (count != 1)}: {', '.join(states) or 'none'}"]
