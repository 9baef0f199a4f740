# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of an incident for people, in Markdown. Pure.

What comes from logs stands in code spans, where no renderer makes a link, an image, a mention or HTML of it.
"""

from __future__ import annotations

from typing import Any, List, Mapping, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import LOGINS, READS

TITLE = "# Incident: "
_MOST = 200
_USES = ("at", "principal", "address", "action", "target", "why")
_HEADS = {READS: "Reads of the value", LOGINS: "Logins with the credential"}
_GROUPS = {
    "unexpected": "Not expected",
    "denied": "Denied",
    "failed": "Failed for another reason",
}


def code(text: Any) -> str:
    """A text of somebody else's. In code, too, a pipe ends a cell, and not every renderer takes it for text behind a backslash."""
    shown = " ".join(str(text).replace("`", "'").replace("|", "\u00a6").split())
    return f"`{shown}`" if shown else ""


def short(moment: str) -> str:
    """A time to the second."""
    return f"{moment[:19]}Z"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> List[str]:
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(row) + " |" for row in rows[:_MOST]]
    if len(rows) > _MOST:
        lines += ["", f"{len(rows) - _MOST} more are in the record as JSON."]
    return [*lines, ""]


def _use(row: Mapping[str, Any]) -> List[str]:
    who = code(row["principal"]) + (f" via {code(row['via'])}" if row.get("via") else "")
    notes = [code(row[name]) for name in ("agent", "detail") if row.get(name)]
    often = [f"{row['times']} times in this minute"] if row.get("times") else []
    action = " ".join([code(row["action"]), *notes, *often])
    judged = "" if row.get("expected") else code(row["why"])
    where = code(row.get("address", "")) or "not told"
    return [short(row["at"]), who, where, action, code(row["target"]), judged, code(row["source"])]


def _uses(record: Mapping[str, Any], about: str) -> List[str]:
    uses = record[about]
    lines = [f"## {_HEADS[about]}", ""]
    looked = [item for item in record["looked_at"] if item["about"] == about]
    if not looked:
        told = "nothing that tells it was looked at, so nobody knows"
        return [*lines, f"Not known: {told}.", ""]
    if not any(uses.values()):
        partly = " Not all was looked at: see below." if _lacks(record, about) else ""
        return [*lines, f"None was found in what was looked at.{partly}", ""]
    names = ("when", "who", "from", "what", "of", "not expected", "source")
    for key, title in _GROUPS.items():
        if uses[key]:
            lines += [f"### {title}: {len(uses[key])}", ""]
            lines += _table(names, [_use(row) for row in uses[key]])
    if uses["expected"]:
        total = sum(item["count"] for item in uses["expected"])
        lines += [f"### Expected: {total}", ""]
        heads = ("count", "who", "what", "of", "first", "last", "because", "source")
        rows = [
            [
                str(item["count"]), code(item["principal"]), code(item["action"]), code(item["target"]),
                short(item["first"]), short(item["last"]), code(item["reason"]), code(item["source"]),
            ]
            for item in uses["expected"]
        ]  # fmt: skip
        lines += _table(heads, rows)
    return lines


def _lacks(record: Mapping[str, Any], about: str) -> bool:
    gaps = any(item["gaps"] for item in record["looked_at"] if item["about"] == about)
    return gaps or bool(record["not_looked_at"])


def _stages(stages: Sequence[Mapping[str, Any]]) -> str:
    told = []
    for stage in stages:
        prints = ", ".join(f"{key} {value}" for key, value in stage["fingerprints"].items())
        what = f"{stage['stage']} {stage['rotation_id']} {stage['status']}"
        told.append(code(f"{what} ({prints})" if prints else what))
    return " ".join(told)


def _timeline(record: Mapping[str, Any]) -> List[str]:
    lines = ["## Timeline of the credential", ""]
    if not record["timeline"]:
        return [*lines, "The ledger has no line of this time.", ""]
    rows = []
    for item in record["timeline"]:
        when = short(item["at"]) + (" (before)" if item.get("before") else "")
        by = " ".join(code(item[name]) for name in ("who", "why", "message") if item.get(name))
        step = " ".join(code(item[name]) for name in ("phase", "outcome") if item.get(name))
        rows.append([when, step, code(item.get("rotation_id", "")), by, _stages(item["stages"])])
    return [*lines, *_table(("when", "step", "rotation", "who and why", "stages"), rows)]


def _looked(record: Mapping[str, Any]) -> List[str]:
    lines = ["## What was looked at", ""]
    for item in record["looked_at"]:
        what = f"{item['seen']} entries, {item['found']} about this credential"
        lines.append(f"- {code(item['source'])}: {what}")
        lines += [f"  - but {code(gap)}" for gap in item["gaps"]]
    if not record["looked_at"]:
        lines.append("- nothing")
    lines += ["", "## What could not be looked at", ""]
    for item in record["not_looked_at"]:
        lines.append(f"- {code(item['source'])} ({code(item['kind'])}): {code(item['why'])}")
    if record["not_looked_at"]:
        lines += [
            "",
            "Nobody knows what these would have told. They do not say that nobody read the value.",
        ]
    else:
        lines.append("- nothing: each source that was named gave an answer")
    return [*lines, ""]


def markdown(record: Mapping[str, Any]) -> str:
    """The record, with what was not expected first."""
    reason = code(record["reason"]) or "not told"
    lines = [
        f"{TITLE}{code(record['credential'])}",
        "",
        f"- Reason: {reason}",
        f"- Responder: {code(record['who']) or 'not told'}",
        f"- Exposed: {short(record['since'])} to {short(record['until'])}",
        f"- Now: {_stages(record['stages']) or 'no keyring was read'}",
        "",
        *_uses(record, READS),
        *_uses(record, LOGINS),
        *_timeline(record),
        *_looked(record),
        "## Open points",
        "",
        *([f"- [ ] {code(point)}" for point in record["open_points"]] or ["- none"]),
    ]
    return "\n".join(lines) + "\n"
