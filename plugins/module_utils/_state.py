# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a keyring may show of itself: stages, statuses, ages and fingerprints, never a value."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Dict, List, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_duration,
    format_time,
)


def _stage_state(stage: Stage, now: datetime) -> Dict[str, Any]:
    state: Dict[str, Any] = {"rotation_id": stage.rotation_id, "status": stage.status}
    state["fields"] = {
        name: value for name, value in stage.fields.items() if not isinstance(value, Secret)
    }
    state["fingerprints"] = dict(stage.fingerprints)
    for name in ("made", "promoted", "observed", "retire_after", "ended", "destroyed"):
        moment = getattr(stage, name)
        state[name] = format_time(moment) if moment else None
    state["age"] = format_duration(now - stage.made) if stage.made else None
    state["age_seconds"] = int((now - stage.made).total_seconds()) if stage.made else None
    state.update(failed=stage.failed, compromised=stage.compromised, adopted=stage.adopted)
    state["outage_seconds"] = stage.outage
    state["evidence"] = [dict(item) for item in stage.evidence]
    return state


def document_state(document: Optional[Document], now: datetime) -> Dict[str, Any]:
    """The keyring as facts for results and tables."""
    if document is None:
        return {
            "exists": False,
            "stages": {},
            "claim": None,
            "step": 0,
            "receipts": {},
            "retained": 0,
            "retained_stages": [],
        }
    claim = document.claim
    return {
        "exists": True,
        "credential": document.credential,
        "step": document.step,
        "stages": {name: _stage_state(stage, now) for name, stage in document.stages.items()},
        "retained": len(document.retained),
        "retained_stages": [_stage_state(stage, now) for stage in document.retained],
        "claim": {
            "run_id": claim.run_id,
            "host": claim.host,
            "pid": claim.pid,
            "renewed": format_time(claim.renewed),
            "expires": format_time(claim.expires),
        }
        if claim
        else None,
        "receipts": {
            name: {"at": format_time(item.at), "rotation_id": item.rotation_id}
            for name, item in document.receipts.items()
        },
        "ledger_number": document.ledger.number if document.ledger else 0,
    }


def _left(stage: Stage) -> str:
    """What is still there of a compromised value."""
    if not stage.lingers:
        return ", destroyed" if stage.destroyed else ""
    return (
        ", compromised, with its value"
        if stage.without_values() != stage
        else ", compromised, without its value"
    )


def diff_lines(document: Optional[Document]) -> List[str]:
    """The keyring as lines for a diff. Claim, step and times are left out: they differ in every run and would hide what matters."""
    if document is None:
        return []
    lines = []
    for name, stage in document.stages.items():
        marks = "".join(
            f", {mark}"
            for mark in ("ended", "failed", "compromised", "adopted")
            if getattr(stage, mark)
        )
        lines.append(f"{name}: {stage.status}{marks}")
        for key, value in stage.fields.items():
            shown = stage.fingerprints.get(key, "") if isinstance(value, Secret) else value
            lines.append(f"{name}.{key}: {shown}")
    lines.extend(f"retained: {stage.rotation_id}{_left(stage)}" for stage in document.retained)
    lines.extend(
        f"receipt: {name} {receipt.seen}" for name, receipt in sorted(document.receipts.items())
    )
    return lines


def state_diff(before: Optional[Document], after: Optional[Document], title: str) -> Dict[str, str]:
    """A diff as Ansible shows it."""
    texts = {
        side: "".join(f"{line}\n" for line in diff_lines(document))
        for side, document in (("before", before), ("after", after))
    }
    return {"before_header": title, "after_header": title, **texts}
