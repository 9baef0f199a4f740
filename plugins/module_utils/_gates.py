# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates: each a condition that stops a phase, with what to do about it. Pure: facts come in, verdicts go out."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Callable, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils import _gate_checks as begin
from ansible_collections.keyturn.runbooks.plugins.module_utils import _gate_ends as end
from ansible_collections.keyturn.runbooks.plugins.module_utils._due import due_status
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._gate_port import Case, Facts, Gate
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import Policy

__all__ = ["PURPOSES", "REFRESH", "WATCHED", "Facts", "Gate", "due_status", "gates", "refusals"]

Check = Callable[[Case], Gate]

_COMMON: Tuple[Check, ...] = (begin.claim, begin.clock)
_GATES: Mapping[str, Tuple[Check, ...]] = MappingProxyType(
    {
        "rotate": (
            *_COMMON,
            begin.reason,
            begin.window_to_rotate,
            begin.policy,
            begin.leftover,
            begin.previous,
            begin.alert_to_rotate,
            begin.conditions,
            begin.issuer,
            begin.sinks,
            begin.consumers,
            begin.unknown,
            begin.probes,
        ),
        "look": (*_COMMON, begin.conditions, begin.consumers),
        "promote": (*_COMMON, end.proof, begin.alert_to_rotate, begin.conditions, begin.consumers),
        "retire": (
            *_COMMON,
            begin.window,
            end.observed,
            end.grace,
            end.behind,
            end.receipts,
            end.sessions,
            begin.alert,
            begin.conditions,
            begin.consumers,
        ),
        "rollback": (*_COMMON, begin.reason, end.target, begin.conditions, begin.sinks),
        "verify": (
            *_COMMON,
            end.in_use,
            begin.sinks,
            end.behind,
            end.receipts,
            begin.consumers,
            begin.probes,
        ),
        "adopt": (*_COMMON, end.unmanaged, begin.sinks, begin.probes),
        "abandon": (*_COMMON, end.only_value),
        "compromise": (*_COMMON, begin.reason, end.stands),
        "revoke_first": (*_COMMON, end.revocable, begin.issuer, begin.sinks, begin.probes),
    }
)
_REFRESHING: Tuple[Check, ...] = (*_COMMON, begin.conditions, begin.sinks, begin.consumers)
PURPOSES = tuple(_GATES)
REFRESH = "refresh"
WATCHED = ("rotate", REFRESH, "look", "promote", "retire", "rollback")
"""The purposes for which the credential's own gates are asked."""


def gates(
    purpose: str, document: Optional[Document], policy: Policy, now: datetime, facts: Facts
) -> List[Gate]:
    """Every gate of a purpose, open or closed.

    :param purpose: one of ``PURPOSES``, or ``REFRESH``.
    :param now: UTC; by the store's clock where it tells it, else by this machine's.
    :raises BadInput: when there is no such purpose.
    """
    if purpose != REFRESH and purpose not in _GATES:
        raise BadInput(f"purpose: '{purpose}' is unknown; expected one of {', '.join(PURPOSES)}")
    case = Case(document, policy, now, facts)
    return [check(case) for check in _GATES.get(purpose, _REFRESHING)]


def refusals(found: List[Gate]) -> List[str]:
    """What stops the run, one sentence each, beginning with the gate's name."""
    return [f"{gate.name}: {gate.message}" for gate in found if not gate.passed]
