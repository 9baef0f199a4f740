# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions of a secret are to be deleted, undeleted or destroyed. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_metadata import LIVE, Metadata

ACTIONS: Mapping[str, Tuple[str, str]] = MappingProxyType(
    {
        "deleted": ("delete", "deleted"),
        "undeleted": ("undelete", LIVE),
        "destroyed": ("destroy", "destroyed"),
    }
)
"""By the state of a task: what Vault calls it, and what the versions are afterwards."""


def chosen_versions(params: Mapping[str, Any]) -> Tuple[int, ...]:
    """The numbers that a task names; none for the newest.

    :raises BadInput: for a number that is none, when ``keep`` is there too, or when those to be destroyed are not named: that
        cannot be undone.
    """
    numbers, keep = tuple(sorted(set(params["versions"]))), params.get("keep")
    if any(number < 1 for number in numbers):
        raise BadInput(f"versions: expected numbers from 1 on, not {numbers[0]}")
    if keep is not None and numbers:
        raise BadInput("versions: give either these or 'keep'")
    if keep is not None and keep < 1:
        raise BadInput(f"keep: expected at least 1 version, not {keep}")
    if params["state"] == "destroyed" and not numbers and keep is None:
        raise BadInput(
            "versions: name the versions to destroy, or how many to 'keep'; that cannot be undone, so the newest is not taken for granted"
        )
    return numbers


def beyond(keep: int, found: Optional[Metadata]) -> Tuple[int, ...]:
    """The versions older than the newest of that number that can be read; none where there are fewer of these. Pure."""
    states = found.states if found else {}
    live = sorted((number for number, state in states.items() if state == LIVE), reverse=True)
    if len(live) < keep:
        return ()
    return tuple(sorted(number for number in states if number < live[keep - 1]))


def plan_versions(
    state: str, numbers: Sequence[int], found: Optional[Metadata], where: str
) -> Dict[int, Tuple[str, str]]:
    """The versions to change, each with what it is and what it will be.

    A version that was deleted or destroyed already, or that Vault keeps no more, is not one to delete or to destroy.

    :raises Absent: for a version that was never there, or to bring back one that Vault keeps no more.
    :raises Refused: to bring back one that was destroyed.
    """
    if found is None or not found.newest:
        if state == "undeleted":
            raise Absent(f"{where}: there is no such secret, so there is nothing to bring back")
        return {}
    after = ACTIONS[state][1]
    plan = {}
    for number in numbers or (found.newest,):
        if number > found.newest:
            raise Absent(
                f"{where}: there is no version {number}; the newest is version {found.newest}"
            )
        present = found.states.get(number, "pruned")
        if state == "undeleted":
            _refuse_lost(number, present, found, where)
        if present == LIVE or (present == "deleted" and state != "deleted"):
            plan[number] = (present, after)
    return {number: both for number, both in plan.items() if both[0] != both[1]}


def _refuse_lost(number: int, present: str, found: Metadata, where: str) -> None:
    if present == "destroyed":
        raise Refused(f"{where}: version {number} was destroyed; nothing brings it back")
    if present == "pruned":
        raise Absent(
            f"{where}: Vault keeps version {number} no more; the oldest is version {min(found.states)}"
        )
