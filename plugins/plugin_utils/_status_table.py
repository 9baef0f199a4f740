# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of many credentials as a table for people. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_duration
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status import holder, since

_GAP = "  "
_INDENT = "    "
_LEAST = 30
Entry = Mapping[str, Any]


def _short(seconds: int) -> str:
    """The largest unit alone."""
    return format_duration(timedelta(seconds=seconds)).split()[0]


def _due(entry: Entry) -> str:
    state, due = entry["state"], entry["due"]
    if state in ("unreadable", "on_demand"):
        return str(state).replace("_", " ")
    if due.get("ended"):
        return "overdue: ended"
    # It is overdue for that, whatever its age, and also where the policy knows none.
    if due.get("compromised"):
        return "overdue: compromised"
    if state == "never_rotated":
        has_value = entry["keyring"]["stages"].get("current")
        return "age unknown" if has_value else "never rotated"
    left = _short(due["max_age_seconds"] - due["age_seconds"])
    words = {"overdue": "overdue", "due": "due for", "soon": "soon, in", "fresh": "in"}
    return f"{words[state]} {left}"


def _age(entry: Entry) -> str:
    seconds = (entry["due"] or {}).get("age_seconds")
    return "-" if seconds is None else _short(seconds)


def _stage(name: str, stage: Entry) -> str:
    words = [name, str(stage["fields"].get("username", ""))]
    marks = [mark for mark in ("ended", "failed", "compromised") if stage.get(mark)]
    until = stage.get("retire_after")
    if stage["status"] == "grace" and until and not marks:
        words.append(f"until {until[:16].replace('T', ' ')}Z")
    else:
        words += marks if marks and stage["status"] == "grace" else [stage["status"], *marks]
    return " ".join(word for word in words if word)


def _stages(entry: Entry) -> str:
    keyring = entry["keyring"]
    if not keyring:
        return "-"
    if not keyring["exists"]:
        return "no keyring yet: rotate or adopt it"
    stages, kept = keyring["stages"], keyring["retained"]
    words = [
        _stage(name, stages[name])
        for name in ("current", "previous", "pending")
        if stages.get(name)
    ]
    words += [f"{kept} retained"] if kept else []
    return "; ".join(words) or "an empty keyring"


def _sentences(entry: Entry, now: str) -> list[str]:
    """Who is at work, and what wants to be looked at."""
    claim = (entry["keyring"] or {}).get("claim")
    found = []
    if claim and claim.get("alive"):
        ago = since(claim["renewed"], now)
        found.append(f"at work: {holder(claim)}, last heard of {ago} ago")
    return found + [f"! {sentence}" for sentence in entry["attention"]]


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Lines no longer than that, unless a single word is: a path or a reference is copied as a whole."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent + _GAP,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _row(cells: list[str], widths: list[int], room: int) -> list[str]:
    """A row, with its last cell wrapped."""
    first = [cell.ljust(size) for cell, size in zip(cells, widths, strict=False)]
    blank = [" " * size for size in widths]
    return [
        _GAP.join([*(blank if number else first), text])
        for number, text in enumerate(_wrapped(cells[-1], room))
    ]


def _summary(report: Entry) -> str:
    count = report["summary"]["credentials"]
    states = [
        f"{number} {state.replace('_', ' ')}"
        for state, number in report["summary"]["states"].items()
    ]
    noun = "credential" if count == 1 else "credentials"
    return f"{count} {noun}: {', '.join(states)}" if states else "no credentials"


def table(report: Entry, width: int = 100) -> list[str]:
    """The lines of the table, headings first, counts last.

    :param width: columns that lines are wrapped to; names are never cut.
    """
    entries = report["credentials"]
    owned = any(entry["owner"] for entry in entries.values())
    rows = [["CREDENTIAL", *(["OWNER"] if owned else []), "DUE", "AGE"]]
    rows += [
        [name, *([entry["owner"] or "-"] if owned else []), _due(entry), _age(entry)]
        for name, entry in entries.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = max(_LEAST, width - sum(widths) - len(_GAP) * len(widths))
    lines = _row([*rows[0], "STATE"], widths, room)
    for row, entry in zip(rows[1:], entries.values(), strict=True):
        lines += _row([*row, _stages(entry)], widths, room)
        for sentence in _sentences(entry, report["at"]):
            lines += _wrapped(sentence, width, _INDENT)
    return [*lines, "", *textwrap.wrap(_summary(report), width)]
