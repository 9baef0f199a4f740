# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates as a person meets them: a run is refused in words that say what to do, and doing it lets the run go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from estate.databases import Database
from estate.playbook import Ansible
from rotation import CREDENTIAL, Estate

pytestmark = pytest.mark.pg_versions("16")
DUE = {"rotate": "age", "max_age": "100d"}
REASON = "the yearly audit"


@pytest.fixture
def make(scratch: Path, database: Database, ansible: Ansible) -> Callable[..., Estate]:
    """Makes the estate of an adopted credential that is due, and that no application picks up."""

    def maker(**policy: Any) -> Estate:
        first = f"{database.name}_a"
        password = database.create_login(first)
        variables = {"keyturn_policy": {**DUE, **policy}, "keyturn_consumers": []}
        made = Estate(scratch, database, ansible, variables=variables)
        made.hand_over(first, password)
        made.adopt((datetime.now(timezone.utc) - timedelta(days=101)).isoformat())
        return made

    return maker


def closed() -> dict[str, Any]:
    """A window that is closed now and opens in two hours."""
    opens = datetime.now(timezone.utc) + timedelta(hours=2)
    closes = opens + timedelta(hours=1)
    return {"start": f"{opens:%H:%M}", "end": f"{closes:%H:%M}", "timezone": "UTC"}


def assert_refused(estate: Estate, *words: str) -> None:
    """A real run ends with one closed gate, and nothing but the audit log tells of it."""
    before = estate.snapshot()
    stages = estate.document().current, estate.document().pending
    refused = estate.run("rotate_db").check(2)
    assert f"{CREDENTIAL}: 1 gate is closed. (1) " in refused.stdout
    assert [text for text in words if text not in refused.stdout] == []
    after = estate.snapshot()
    told = str(estate.keyring_path), str(estate.ledger_path)
    assert {name: after[name] for name in after if name not in told} == {
        name: before[name] for name in before if name not in told
    }
    document = estate.document()
    assert (document.current, document.pending) == stages
    assert document.claim is None
    assert estate.phases() == ["adopt", "release", "note"]
    assert estate.ledger_faults() == []


def assert_goes_on(estate: Estate, *arguments: str) -> None:
    """A dry run gets to the end."""
    dry = estate.run("rotate_db", "--check", *arguments).check()
    assert "Watch the health of what uses it" in dry.steps, dry.output


def test_a_closed_window_stops_what_is_due_unless_it_is_told_not_to(
    make: Callable[..., Estate],
) -> None:
    estate = make(window=closed())
    assert_refused(
        estate,
        "window: the maintenance window opens at ",
        "run then, or now with -e keyturn_outside_window=true",
    )
    assert_goes_on(estate, "-e", "keyturn_outside_window=true")
    before = estate.snapshot()
    others = {"window": closed(), "reason_required": True, "alert": {"command": ["false"]}}
    young = {"keyturn_policy": {"rotate": "age", "max_age": "200d", **others}}
    nothing = estate.run("rotate_db", extra=young).check()
    assert "too young to rotate: 101d" in nothing.output and "changed=0" in nothing.output
    assert estate.snapshot() == before


def test_a_reason_that_is_demanded_is_kept_by_the_ledger(make: Callable[..., Estate]) -> None:
    estate = make(reason_required=True)
    assert_refused(estate, "reason: its policy demands a reason", "-e keyturn_reason=")
    estate.run("rotate_db", "-e", f"keyturn_reason='{REASON}'").check()
    lines = [json.loads(line) for line in estate.ledger_path.read_text().splitlines()]
    steps = {line["phase"]: line["why"] for line in lines if line["phase"] in ("stage", "promote")}
    assert steps == {"stage": REASON, "promote": REASON}
    current = estate.document().current
    assert current and current.status == "observed" and not current.adopted


def test_an_alert_stops_a_rotation_until_it_is_quiet(
    make: Callable[..., Estate], scratch: Path
) -> None:
    quiet = scratch / "quiet"
    estate = make(alert={"command": ["test", "-e", str(quiet)]})
    assert_refused(
        estate, "alert: an alert is firing: test ended with", "see to it first, then run again"
    )
    quiet.touch()
    assert_goes_on(estate)
