# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done to a secret's metadata and versions, without a server."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_custom import (
    CUSTOM_OPTIONS,
    LAST_ROTATED,
    plan_custom,
    wanted_custom,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv import why_gone
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_metadata import (
    Metadata,
    check_custom,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_versions import (
    beyond,
    chosen_versions,
    plan_versions,
)

KEPT = {"owner": "platform", "rotation_id": "r1", LAST_ROTATED: "2026-01-01T00:00:00Z", "team": "x"}
THERE = Metadata(newest=3, states={2: "live", 3: "live"}, made={3: "now"}, custom=KEPT, keep=5)
STATES = Metadata(newest=5, states={2: "destroyed", 3: "deleted", 4: "live", 5: "live"})


def asked(**options: Any) -> Any:
    defaults = {name: option.get("default") for name, option in CUSTOM_OPTIONS.items()}
    return wanted_custom({**defaults, **options})


@pytest.mark.parametrize(
    ("options", "found", "rewritten", "changes", "stamped", "keep"),
    [
        ({}, THERE, True, {}, False, None),
        ({"owner": "platform"}, THERE, False, {}, False, None),
        ({"owner": "platform"}, THERE, True, {}, True, None),
        ({"owner": "other"}, THERE, False, {"owner": "other"}, False, None),
        ({"rotation_id": "r2"}, THERE, False, {"rotation_id": "r2"}, True, None),
        ({"rotation_id": "r1", "max_age": "9d"}, THERE, False, {"max_age": "9d"}, False, None),
        ({"metadata": {"team": None, "none": None}}, THERE, True, {"team": None}, False, None),
        ({"metadata": {"n": 3}}, THERE, False, {"n": "3"}, False, None),
        ({"keep": 5}, THERE, False, {}, False, None),
        ({"keep": 6}, THERE, False, {}, False, 6),
        ({"owner": "x"}, None, False, {"owner": "x"}, False, None),
        ({"owner": "x"}, None, True, {"owner": "x"}, True, None),
        ({"owner": "x"}, Metadata(newest=1), False, {"owner": "x"}, True, None),
    ],
)
def test_metadata(
    options: dict[str, Any],
    found: Metadata | None,
    rewritten: bool,
    changes: dict[str, str | None],
    stamped: bool,
    keep: int | None,
) -> None:
    plan = plan_custom(asked(**options), found, rewritten)
    assert (dict(plan.changes), plan.stamped, plan.keep) == (changes, stamped, keep)
    assert plan.changed is bool(changes or stamped or keep)


def test_the_lines_of_a_diff() -> None:
    plan = plan_custom(asked(owner="other", metadata={"team": None}, keep=2), THERE, True)
    lines = plan.lines()
    assert "metadata owner: platform\n" in lines["before"]
    assert "metadata owner: other\n" in lines["after"]
    assert "metadata team: (absent)\n" in lines["after"]
    assert "metadata last_rotated: (time of the write)\n" in lines["after"]
    assert ("versions kept: 5" in lines["before"], "versions kept: 2" in lines["after"]) == (
        True,
    ) * 2


def test_the_limits_count_what_others_keep() -> None:
    others = {str(number): "x" for number in range(63)}
    check_custom({"one": "x"}, others)
    check_custom({"one": "x", "two": "x", "0": None}, others)
    with pytest.raises(BadInput, match="these would be 65"):
        check_custom({"one": "x", "two": "x"}, others)
    with pytest.raises(BadInput, match="from 1 to 512 bytes"):
        check_custom({"one": ""}, {})


@pytest.mark.parametrize(
    ("state", "numbers", "plan"),
    [
        ("deleted", (), {5: ("live", "deleted")}),
        ("deleted", (1, 2, 3, 4), {4: ("live", "deleted")}),
        ("undeleted", (), {}),
        ("undeleted", (3, 4), {3: ("deleted", "live")}),
        ("destroyed", (1, 2, 3, 4), {3: ("deleted", "destroyed"), 4: ("live", "destroyed")}),
    ],
)
def test_versions(state: str, numbers: tuple[int, ...], plan: dict[int, tuple[str, str]]) -> None:
    assert plan_versions(state, numbers, STATES, "here") == plan


def test_versions_that_are_not_there() -> None:
    with pytest.raises(Absent, match="no version 6; the newest is version 5"):
        plan_versions("deleted", (6,), STATES, "here")
    with pytest.raises(Absent, match="the oldest is version 2"):
        plan_versions("undeleted", (1,), STATES, "here")
    with pytest.raises(Refused, match="version 2 was destroyed"):
        plan_versions("undeleted", (2,), STATES, "here")
    for found in (None, Metadata()):
        assert plan_versions("deleted", (), found, "here") == {}
        with pytest.raises(Absent, match="no such secret"):
            plan_versions("undeleted", (), found, "here")


def test_the_versions_that_a_task_names() -> None:
    assert chosen_versions({"state": "deleted", "versions": [3, 1, 3]}) == (1, 3)
    with pytest.raises(BadInput, match="from 1 on"):
        chosen_versions({"state": "deleted", "versions": [0]})


def test_a_deletion_may_lie_ahead() -> None:
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert why_gone({"deletion_time": "2026-01-01T01:00:00.123456789Z"}, now) == ""
    assert why_gone({"deletion_time": "2025-12-31T23:00:00.123456789Z"}, now) == "deleted"
    assert why_gone({"deletion_time": "", "destroyed": True}, now) == "destroyed"


@pytest.mark.parametrize(
    ("keep", "chosen"), [(1, (1, 2, 3, 4)), (2, (1, 2, 3)), (3, (1,)), (4, ()), (99, ())]
)
def test_what_is_older_than_those_that_stay(keep: int, chosen: tuple[int, ...]) -> None:
    states = {1: "destroyed", 2: "live", 3: "deleted", 4: "live", 5: "live", 6: "deleted"}
    assert beyond(keep, Metadata(newest=6, states=states)) == chosen
    assert beyond(keep, None) == beyond(keep, Metadata()) == ()


@pytest.mark.parametrize("options", [{"versions": [1], "keep": 1}, {"versions": [], "keep": 0}])
def test_how_many_stay_is_said_alone(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="keep"):
        chosen_versions({"state": "destroyed", **options})
