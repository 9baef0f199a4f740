# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``keyring_info``: what a keyring shows of itself, without asking any server but its store."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Dict, List, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    OPTION,
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._gates import (
    Facts,
    Gate,
    due_status,
    gates,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Claim, Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_step import definition_hash
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import Policy, parse_policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._process import (
    describe_process,
    is_dead,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._state import document_state
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import open_store
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time
from ansible_collections.keyturn.runbooks.plugins.module_utils._windows import window_state

PURPOSES = ("rotate", "retire", "rollback")
# Whoever does not ask a server, nor read sinks and consumers, would find these open whatever is behind them.
_ASKED_FOR = frozenset(
    {"alert", "issuer", "sinks", "unknown", "probes", "behind", "receipts", "sessions"}
)


def told_gates(
    purpose: str, document: Optional[Document], policy: Policy, now: datetime, facts: Facts
) -> List[Gate]:
    """The gates of a purpose that keyring, policy and definition alone decide."""
    found = gates(purpose, document, policy, now, facts)
    return [gate for gate in found if gate.name not in _ASKED_FOR]


def is_alive(claim: Claim) -> Optional[bool]:
    """Whether the claim's process lives; none where that cannot be seen, such as on another machine."""
    if is_dead(claim):
        return False
    found = describe_process(claim.pid)
    same = all(found[name] == getattr(claim, name) for name in ("host", "boot_id", "started"))
    return True if same and claim.started else None


def _facts(params: Params, access: KeyringAccess) -> Facts:
    document = access.document
    return Facts(
        credential=params["credential"] or "",
        run_id=access.run.run_id,
        holder_dead=is_dead(document.claim if document else None),
        take_over=bool(params["take_over"]),
        reason=access.run.why,
        store_time=access.store_time(),
    )


def _all_gates(
    params: Params, access: KeyringAccess, policy: Policy, context: Context
) -> Dict[str, List[Dict[str, Any]]]:
    facts, wrong = _facts(params, access), []
    if params["issuer"]:
        definition = definition_hash(params["issuer"], params["generate"])
        facts = replace(facts, definition=definition)
        try:
            issuer = open_issuer(params["issuer"], context, "keyturn_issuer")
            facts = replace(facts, overlap=issuer.overlap, returns=issuer.returns)
        except KeyturnError as error:
            wrong = [Gate("issuer", False, error.message)]
    now = context.now()
    found = {
        purpose: told_gates(purpose, access.document, policy, now, facts) for purpose in PURPOSES
    }
    found["rotate"] += wrong
    return {purpose: [dict(vars(gate)) for gate in told] for purpose, told in found.items()}


def _due(document: Optional[Document], policy: Policy, now: datetime) -> Dict[str, Any]:
    previous = document.previous if document else None
    until = previous.retire_after if previous else None
    opens = window_state(policy.windows, now).opens
    return {
        **due_status(document, policy, now),
        "retire_at": format_time(until) if until else None,
        "window_opens": format_time(opens) if opens else None,
    }


def _waiting(
    params: Params, document: Optional[Document], context: Context
) -> Optional[Dict[str, Any]]:
    """Which person a rotation waits for; a definition that cannot be read is told of by its gate."""
    if document is None or not params["issuer"]:
        return None
    try:
        wait = open_issuer(params["issuer"], context, "keyturn_issuer").waits(document)
    except KeyturnError:
        return None
    if wait is None:
        return None
    return {"what": wait.what, "since": format_time(wait.since) if wait.since else None}


def _skew(access: KeyringAccess, now: datetime) -> Optional[int]:
    """By how many seconds the store's clock is ahead of this one; none where the store tells no time."""
    told = access.store_time()
    return None if told is None else round((told - now).total_seconds())


def _versions(params: Params, context: Context) -> List[Dict[str, Any]]:
    """What the store has of the keyring, newest first."""
    reference = parse_reference(str(params["keyring"]), OPTION)
    return [
        {
            "version": found.version,
            "state": found.state,
            "made": format_time(found.made) if found.made else None,
        }
        for found in open_store(reference, context, OPTION).versions()
    ]


def _info(params: Params, context: Context) -> Result:
    policy = parse_policy(params["policy"])
    access = open_keyring(params, context)
    document, now = access.document, context.now()
    state = document_state(document, now)
    if document and document.claim:
        state["claim"]["alive"] = is_alive(document.claim)
    return {
        "changed": False,
        "owner": params["owner"] or policy.owner,
        "keyring": state,
        "due": _due(document, policy, now),
        "waiting": _waiting(params, document, context),
        "gates": _all_gates(params, access, policy, context),
        "clock_skew_seconds": _skew(access, now),
        **({"versions": _versions(params, context)} if params["versions"] else {}),
    }


def run(params: Params, context: Context) -> Result:
    """Read the keyring and say how old, how far and how due it is, and what would stop the next step.

    :raises KeyturnError: with the owner among its details, so that a list of what cannot be read says whom to ask.
    """
    try:
        return _info(params, context)
    except KeyturnError as error:
        error.details.setdefault("owner", params["owner"] or str(params["policy"].get("owner", "")))
        raise


SPEC = {
    **KEYRING_OPTIONS,
    "policy": {"type": "dict", "default": {}},
    "issuer": {"type": "dict", "default": {}},
    "generate": {"type": "dict", "default": {}},
    "owner": {"type": "str", "default": ""},
    "versions": {"type": "bool", "default": False},
}
MODULE = ModuleCore("keyring_info", SPEC, run)
