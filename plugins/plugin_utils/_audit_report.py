# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of an audit: that of the status, with places, unknown parameters and a period of notice. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status import (
    STATES,
    build_report,
    is_left,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._status_table import table

KIND = "keyturn.audit"
SCHEMA = 1
CLASSES = (
    "overdue",
    "unreadable",
    "due",
    "never_rotated",
    "soon",
    "left",
    "waiting",
    "changed",
    "gone",
    "unknown",
)
"""What an audit can fail for: the states that want something, and what is found beside them."""
DEFAULT_FAIL_ON = ("overdue", "unreadable", "left", "changed", "gone", "unknown")
_QUIET = ("fresh", "on_demand")

Result = Mapping[str, Any]


def _noticed(result: Result, notice: timedelta) -> Result:
    """The result with a credential as soon due that will be within the notice."""
    due = result.get("due") or {}
    age, most = due.get("age_seconds"), due.get("max_age_seconds")
    if due.get("state") != "fresh" or age is None or most is None:
        return result
    soon = most - age <= notice.total_seconds()
    return {**result, "due": {**due, "state": "soon"}} if soon else result


def _sentence(place: Mapping[str, Any], name: str) -> str:
    """What a person should do about a place."""
    if place["state"] == "unreadable":
        return str(place["why"])
    who = f" by {place['by']}" if place["by"] else ""
    when = f" on {place['modified']}" if place["modified"] else ""
    last = f", last changed{when}{who}" if who or when else ""
    return (
        f"{place['place']}: {place['why']}{last}. Find out who did it and why; rotate with --limit {name} --tags reload writes there what "
        "the keyring says"
    )


def _entry(name: str, entry: Mapping[str, Any], places: Sequence[Mapping[str, Any]]) -> Result:
    told = [place for place in places if place["state"] != "elsewhere"]
    here = [_sentence(place, name) for place in told]
    found = {*(place["state"] for place in told), entry["state"]}
    if entry["waiting"]:
        found.add("waiting")
    if is_left(entry):
        found.add("left")
    return {
        **entry,
        "attention": [*entry["attention"], *here],
        "places": told,
        "places_elsewhere": len(places) - len(told),
        "classes": [kind for kind in CLASSES if kind in found],
    }


def build_audit(found: Result, now: datetime, notice: timedelta = timedelta(0)) -> dict[str, Any]:
    """The report: JSON types, the credentials in the order in which they want looking at.

    :param found: what the audit returned: ``results``, ``unknown``, ``unlisted``.
    :param notice: how long before its age is reached a credential counts as soon due, where the last tenth of it is shorter.
    """
    results = {name: _noticed(result, notice) for name, result in found["results"].items()}
    status = build_report(results, now)
    entries = {
        name: _entry(name, entry, found["results"][name]["places"])
        for name, entry in status["credentials"].items()
    }
    counts = Counter(kind for entry in entries.values() for kind in entry["classes"])
    counts["unknown"] = len(found["unknown"])
    states = status["summary"]["states"]
    classes = {kind: counts[kind] for kind in CLASSES if counts[kind] and kind not in STATES}
    return {
        **status,
        "kind": KIND,
        "schema": SCHEMA,
        "summary": {"credentials": len(entries), "states": states, "findings": classes},
        "credentials": entries,
        "unknown": found["unknown"],
        "unlisted": found["unlisted"],
    }


def checked_classes(given: Sequence[str], option: str) -> tuple[str, ...]:
    """What to fail for.

    :raises BadInput: for anything else than the classes, or ``nothing`` alone.
    """
    wanted = tuple(dict.fromkeys(given))
    if wanted == ("nothing",):
        return ()
    strange = [kind for kind in wanted if kind not in CLASSES]
    if strange:
        raise BadInput(
            f"{option}: '{strange[0]}' is unknown; expected nothing alone, or some of {', '.join(CLASSES)}"
        )
    return wanted


def failing(report: Result, fail_on: Sequence[str]) -> list[str]:
    """Why an audit does not let the estate pass, a sentence for each finding. What could not be listed may hide anything."""
    found = []
    for name, entry in report["credentials"].items():
        kinds = [kind.replace("_", " ") for kind in entry["classes"] if kind in fail_on]
        if kinds:
            why = f": {entry['error']['message']}" if entry["error"] else ""
            found.append(f"{name} is {', '.join(kinds)}{why}")
    if "unknown" in fail_on:
        found += [f"{item['name']} is unknown" for item in report["unknown"]]
    if {"unknown", "unreadable"} & set(fail_on):
        found += report["unlisted"]
    return found


def _is_quiet(entry: Result) -> bool:
    return entry["state"] in _QUIET and not entry["attention"] and not entry["classes"]


def brief(report: Result) -> dict[str, Any]:
    """What is short enough to be handed from job to job: what wants something, and the counts."""
    credentials = {
        name: {key: entry[key] for key in ("state", "owner", "classes", "attention")}
        for name, entry in report["credentials"].items()
        if not _is_quiet(entry)
    }
    parts = {key: report[key] for key in ("at", "summary", "unknown", "unlisted")}
    return {**parts, "credentials": credentials}


def _unknown_line(item: Result) -> str:
    when = f" on {item['modified']}" if item["modified"] else ""
    who = f" by {item['by']}" if item["by"] else ""
    where = f" ({item['account']})" if item["account"] else ""
    last = f", written{when}{who}" if when or who else ""
    return f"  {item['name']}{where}: {item['type']}, version {item['version']}{last}"


def _credentials(count: int) -> str:
    return "1 credential" if count == 1 else f"{count} credentials"


def audit_table(report: Result, width: int = 100) -> list[str]:
    """The lines for people: what wants something, then what nobody claims, then the counts. What is as it should be is counted."""
    shown = {name: entry for name, entry in report["credentials"].items() if not _is_quiet(entry)}
    quiet = len(report["credentials"]) - len(shown)
    *rows, _blank, _counts = table({**report, "credentials": shown}, width) if shown else ["", ""]
    lines = list(rows)
    if quiet:
        lines.append(
            f"{quiet} more: nothing to do" if shown else f"{_credentials(quiet)}: nothing to do"
        )
    if report["unknown"]:
        lines += ["", "UNKNOWN: no credential claims these parameters"]
        lines += [_unknown_line(item) for item in report["unknown"]]
    lines += [f"! {sentence}" for sentence in report["unlisted"]]
    elsewhere = sum(entry["places_elsewhere"] for entry in report["credentials"].values())
    if elsewhere:
        lines.append(f"{elsewhere} places are written from other hosts and were not looked at")
    summary = report["summary"]
    counts = {**summary["states"], **summary["findings"]}
    told = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in counts.items())
    return [*lines, "", f"{_credentials(summary['credentials'])}: {told or 'none'}"]
