# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one parameter needs to become as it is wished: decided here, without asking AWS anything. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import (
    SECURE,
    Found,
)

CURRENT, PREVIOUS = "current", "previous"
CREATE, WRITE, LABEL, DELETE, NOTHING = "create", "write", "label", "delete", ""
NEVER, CHANGED, ALWAYS = "never", "changed", "always"


@dataclass(frozen=True)
class Wish:
    """What a parameter is to be.

    :param value: none for one that is not to be there.
    :param given: what PutParameter calls it: KeyId, Tier, Description, DataType. Only what the user says.
    :param tags: to be set; others are left.
    :param first: only made where it is not there; one that is there is left alone.
    """

    name: str
    value: Optional[Secret]
    kind: str = SECURE
    given: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    first: bool = False


@dataclass(frozen=True)
class Rules:
    """What holds for all parameters of a task.

    :param explain: whether it is told what else changes beside a value.
    """

    overwrite: str = CHANGED
    labels: bool = False
    accept_drift: bool = False
    explain: bool = False


@dataclass
class Seen:
    """What is there of one parameter.

    :param found: its newest version.
    :param labelled: the version that bears the label ``current``.
    :param attributes: as DescribeParameters tells; none where that was not asked.
    :param error: why it is not known.
    """

    found: Optional[Found] = None
    labelled: Optional[int] = None
    attributes: Optional[Dict[str, str]] = None
    error: Optional[KeyturnError] = None


@dataclass(frozen=True)
class Plan:
    """What is to be done with one parameter.

    :param why: what differs beside the value.
    """

    action: str
    why: Tuple[str, ...] = ()


def left_alone(wish: Wish, seen: Seen, rules: Rules) -> bool:
    """Whether a parameter that is there stays as it is, whatever it holds."""
    return bool(seen.found) and wish.value is not None and (wish.first or rules.overwrite == NEVER)


def _written(wish: Wish, seen: Seen, rules: Rules) -> bool:
    """Whether a parameter that is there gets another version for what its value's own read tells."""
    if seen.found is None or wish.value is None or left_alone(wish, seen, rules):
        return False
    there = seen.found
    same_type = wish.given.get("DataType", there.data_type) == there.data_type
    return there.value != wish.value or not same_type or rules.overwrite == ALWAYS


def needs_key(wish: Wish, seen: Seen, rules: Rules) -> bool:
    """Whether its key must be known, so that it is written along and stays: AWS would take the account's own."""
    if seen.found is None or seen.found.kind != SECURE or "KeyId" in wish.given:
        return False
    return _written(wish, seen, rules) or to_be_compared(wish, seen, rules)


def to_be_compared(wish: Wish, seen: Seen, rules: Rules) -> bool:
    """Whether what it has beside its value decides what is done with it."""
    if seen.found is None or wish.value is None or left_alone(wish, seen, rules):
        return False
    # A tier is never taken back, which is refused before anything is written.
    return "Tier" in wish.given or (
        not _written(wish, seen, rules) and bool({"KeyId", "Description"} & set(wish.given))
    )


def needs_attributes(wish: Wish, seen: Seen, rules: Rules) -> bool:
    """Whether what DescribeParameters tells of it counts: a call more for fifty."""
    told = rules.explain and bool({"KeyId", "Description"} & set(wish.given))
    explained = told and _written(wish, seen, rules)
    return explained or needs_key(wish, seen, rules) or to_be_compared(wish, seen, rules)


def _key(text: str) -> str:
    """A key's id or alias, however it was written: by an ARN, with or without ``key/``."""
    short = text.rpartition(":")[2] if text.startswith("arn:") else text
    return short[len("key/") :] if short.startswith("key/") else short


def _differing(wish: Wish, seen: Seen) -> Tuple[str, ...]:
    there = seen.attributes or {}
    names = []
    for name, value in wish.given.items():
        now = there.get(name, "")
        if name == "DataType":
            now = seen.found.data_type if seen.found else ""
        if name == "KeyId":
            same = _key(now) == _key(value)
        elif name == "Tier" and value == "Intelligent-Tiering":
            same = True
        else:
            same = now == value
        if not same:
            names.append(name)
    return tuple(names)


def _check(wish: Wish, seen: Seen, where: str) -> None:
    """Refuse what AWS does not do.

    :raises BadInput: with what to do instead.
    """
    if seen.found and seen.found.kind != wish.kind:
        raise BadInput(
            f"{where}: it is a {seen.found.kind}, and AWS makes no {wish.kind} of it; say type: {seen.found.kind}, or remove it first "
            "(state: absent)"
        )
    tier = (seen.attributes or {}).get("Tier")
    if tier == "Advanced" and wish.given.get("Tier") == "Standard":
        raise BadInput(
            f"{where}: it is an advanced parameter, and AWS makes no standard one of it; leave out 'tier', or remove it first"
        )


def _drifted(wish: Wish, seen: Seen, rules: Rules) -> bool:
    """Whether somebody wrote a version without moving the label, as each write from here does, and it is not what is wanted."""
    found = seen.found
    if not rules.labels or rules.accept_drift or found is None:
        return False
    return seen.labelled not in (None, found.version) and found.value != wish.value


def plan(wish: Wish, seen: Seen, rules: Rules, where: str) -> Plan:
    """What is to be done.

    :param where: how messages name the parameter.
    :raises BadInput: for what AWS does not do.
    :raises Refused: for a parameter that somebody else changed.
    """
    if seen.error:
        raise seen.error
    if wish.value is None:
        return Plan(DELETE if seen.found else NOTHING)
    if seen.found is None:
        return Plan(CREATE)
    if left_alone(wish, seen, rules):
        return Plan(NOTHING)
    _check(wish, seen, where)
    if _drifted(wish, seen, rules):
        raise Refused(
            f"{where}: somebody else changed it: version {seen.found.version} is not from here, where version {seen.labelled} was the last "
            f"(label '{CURRENT}'). See 'aws ssm get-parameter-history', then run again with accept_drift: true to write over it",
            version=seen.found.version,
            labelled=seen.labelled,
        )
    differing = _differing(wish, seen)
    if rules.overwrite == ALWAYS or seen.found.value != wish.value or differing:
        return Plan(WRITE, differing)
    unlabelled = rules.labels and seen.labelled != seen.found.version
    return Plan(LABEL, ("labels",)) if unlabelled else Plan(NOTHING)
