# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: who did what, when and why, as a chain of lines that shows when one was removed, changed or cut."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, LedgerHead
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

Line = Dict[str, Any]
GENESIS = "0" * 64
_OUTSIDE = ("hash", "recovered")


def line_hash(line: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of a line, without its own hash and the mark of a late append."""
    body = {name: value for name, value in line.items() if name not in _OUTSIDE}
    return hashlib.sha256(
        json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def encode_line(line: Mapping[str, Any]) -> str:
    """One line of JSON, with the keys that a person looks for first."""
    first = ("number", "time", "credential", "phase", "outcome")
    ordered = {**{name: line[name] for name in first if name in line}, **line}
    return json.dumps(ordered, separators=(", ", ": ")) + "\n"


def _stage_facts(document: Document) -> Dict[str, Dict[str, Any]]:
    return {
        name: {
            "rotation_id": stage.rotation_id,
            "status": stage.status,
            "fingerprints": dict(stage.fingerprints),
            **({} if stage.outage is None else {"outage_seconds": stage.outage}),
            **({} if stage.ended is None else {"ended": format_time(stage.ended)}),
        }
        for name, stage in document.stages.items()
    }


def next_head(
    document: Document, request: Request, now: datetime, outcome: str = "done", message: str = ""
) -> LedgerHead:
    """The line that tells of this step, chained to the one before."""
    head = document.ledger
    working = document.pending or document.current
    line: Line = {
        "number": head.number + 1 if head else 1,
        "time": format_time(now),
        "credential": document.credential,
        "rotation_id": request.rotation_id or (working.rotation_id if working else ""),
        "run_id": request.run.run_id,
        "who": request.run.who,
        "why": request.run.why,
        "host": request.run.host,
        "phase": request.transition,
        "step": document.step,
        "outcome": outcome,
        "stages": _stage_facts(document),
        "previous": head.hash if head else GENESIS,
    }
    if message:
        line["message"] = message
    line["hash"] = line_hash(line)
    return LedgerHead(line["number"], line["hash"], document.step, line)


def chain_faults(lines: Sequence[Mapping[str, Any]]) -> List[str]:
    """What is wrong with one credential's lines, in words; empty when the chain holds."""
    faults = []
    before, number = GENESIS, 0
    for line in lines:
        said = line.get("number")
        if said != number + 1:
            faults.append(
                f"after line {number} comes line {said}: lines in between were removed or the order was changed"
            )
        if line.get("hash") != line_hash(line):
            faults.append(f"line {said}: its content was changed after it was written")
        elif said == number + 1 and line.get("previous") != before:
            faults.append(f"line {said}: it does not follow the line before it, which was replaced")
        before, number = str(line.get("hash")), said if isinstance(said, int) else number + 1
    return faults


def tail_faults(lines: Sequence[Mapping[str, Any]], head: Optional[LedgerHead]) -> List[str]:
    """What is missing or strange at the end, seen from the keyring; a single last line that the keyring still holds is told apart."""
    if head is None:
        return (
            [
                "the keyring knows of no ledger line, but the ledger has some: the keyring was replaced"
            ]
            if lines
            else []
        )
    last = lines[-1] if lines else {"number": 0, "hash": GENESIS}
    number = last.get("number")
    if number == head.number:
        return (
            []
            if last.get("hash") == head.hash
            else [f"line {number} is not the one that the keyring remembers: the end was rewritten"]
        )
    if isinstance(number, int) and number > head.number:
        return [
            f"the ledger goes on to line {number}, the keyring only knows {head.number}: the keyring was set back or lines were made up"
        ]
    if number == head.number - 1:
        return [
            f"line {head.number} is missing at the end; the keyring holds it, and the next run adds it as recovered"
        ]
    return [
        f"the end is cut: the last line here is {number}, the keyring remembers line {head.number}"
    ]


def once(lines: Sequence[Line]) -> List[Line]:
    """The lines without exact repetitions: one that was sent or appended twice, the second time perhaps as recovered."""
    seen: Dict[str, Dict[str, Any]] = {}
    kept = []
    for line in lines:
        body = {name: value for name, value in line.items() if name != "recovered"}
        if seen.setdefault(str(line.get("hash")), body) is body or seen[str(line["hash"])] != body:
            kept.append(line)
    return kept


def run_faults(lines: Sequence[Mapping[str, Any]], head: Optional[LedgerHead]) -> List[str]:
    """What a run should warn of before it goes on: all but a last line that the run itself adds again."""
    last = lines[-1].get("number") if lines else 0
    recoverable = head is not None and last == head.number - 1
    return chain_faults(lines) + ([] if recoverable else tail_faults(lines, head))


def missing_line(last: Optional[Mapping[str, Any]], head: Optional[LedgerHead]) -> Optional[Line]:
    """The line that was lost between the keyring's write and the ledger's append, marked as recovered; none when nothing is missing."""
    if head is None or (last and int(last.get("number", 0)) >= head.number):
        return None
    return {**head.line, "recovered": True}
