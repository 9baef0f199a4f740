# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One report of what was found at all Vaults. Pure."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from types import MappingProxyType
from typing import Any, Dict, FrozenSet, List, Mapping, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_findings import (
    HIGH,
    LEVELS,
    LOW,
    MEDIUM,
    UNKNOWN,
    Finding,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_rules import printable

KIND = "keyturn.vault_posture"
SCHEMA = 1
FAIL_ON = ("nothing", HIGH, MEDIUM, LOW)
# What could not be looked at is not known to be well.
_FAILING: Mapping[str, FrozenSet[str]] = MappingProxyType(
    {
        "nothing": frozenset(),
        HIGH: frozenset({HIGH, UNKNOWN}),
        MEDIUM: frozenset({HIGH, UNKNOWN, MEDIUM}),
        LOW: frozenset(LEVELS),
    }
)
_LONGEST = 600


def _of_task(result: Mapping[str, Any]) -> List[Dict[str, Any]]:
    if "findings" in result:
        return [{name: str(value) for name, value in found.items()} for found in result["findings"]]
    if result.get("skipped"):
        return []
    said = " ".join(str(result.get("msg") or "it did not run: see why, above").split())
    finding = Finding("task", UNKNOWN, printable(said, _LONGEST), "see to that, then look again")
    return [dict(vars(finding))]


def build_report(results: Mapping[str, Sequence[Any]], now: datetime) -> Dict[str, Any]:
    """The report: JSON types; by Vault its findings, what wants looking at first comes first.

    :param results: by inventory host, what the tasks returned that looked at it; of one that failed its message.
    """
    vaults: Dict[str, Dict[str, Any]] = {}
    for name, tasks in results.items():
        given = [dict(task or {}) for task in tasks]
        findings = [finding for task in given for finding in _of_task(task)]
        findings.sort(key=lambda finding: LEVELS.index(finding["level"]))
        checked = [str(check) for task in given for check in task.get("checked") or []]
        vaults[str(name)] = {"findings": findings, "checked": list(dict.fromkeys(checked))}
    counts = Counter(found["level"] for vault in vaults.values() for found in vault["findings"])
    levels = {level: counts[level] for level in LEVELS if counts[level]}
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "at": format_time(now),
        "summary": {"vaults": len(vaults), "findings": sum(levels.values()), "levels": levels},
        "vaults": vaults,
    }


def lines(report: Mapping[str, Any]) -> List[str]:
    """One line for each finding, and one with the counts."""
    wide = max((len(name) for name in report["vaults"]), default=0)
    told = [
        f"{found['level']:<8} {name:<{wide}}  {found['check']}: {found['message']}. To do: {found['remedy']}"
        for level in LEVELS
        for name, vault in report["vaults"].items()
        for found in vault["findings"]
        if found["level"] == level
    ]
    levels = ", ".join(f"{count} {level}" for level, count in report["summary"]["levels"].items())
    checks = sum(len(vault["checked"]) for vault in report["vaults"].values())
    return [*told, f"{len(told)} findings ({levels or 'none'}) of {checks} checks"]


def failing(report: Mapping[str, Any], fail_on: str) -> Dict[str, str]:
    """The Vaults that an audit does not let pass, each with why."""
    found = {}
    for name, vault in report["vaults"].items():
        counts = Counter(item["level"] for item in vault["findings"])
        bad = [
            f"{counts[level]} {level}"
            for level in LEVELS
            if counts[level] and level in _FAILING[fail_on]
        ]
        if bad:
            found[name] = f"{name} has findings: {', '.join(bad)}"
    return found
