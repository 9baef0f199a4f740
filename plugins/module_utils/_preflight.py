# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``preflight``: every gate and every check before a phase, at once, and what there is to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._bootstrap import (
    GO_ON,
    MAKE,
    Left,
    awaited,
    left_alone,
    listed,
    there,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._due import (
    NOTICE_BEFORE,
    being_rolled_back,
    can_return_to,
    cut_over,
    due_status,
    exposed,
    notices,
    taken_out,
    was_rolled_back,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._gates import (
    PURPOSES,
    REFRESH,
    WATCHED,
    Facts,
    Gate,
    gates,
    refusals,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._interruption import interruption
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_step import definition_hash
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import Policy, parse_policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._preflight_facts import (
    Definitions,
    Problems,
    alert_of,
    asked_elsewhere,
    baseline,
    closed_conditions,
    elsewhere,
    is_given,
    issuer_problems,
    lagging_consumers,
    look_at_consumers,
    look_at_sinks,
    looked_at,
    read_definitions,
    users_of,
    warn_of_no_end,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._process import is_dead
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_time_if_given
from ansible_collections.keyturn.runbooks.plugins.module_utils._transitions import is_named

NOTHING = "nothing"
# The gate that says whether there is anything to do at all, as opposed to something in the way.
_DUE_GATES: Mapping[str, str] = MappingProxyType({"rotate": "policy", "retire": "grace"})
_ENDS = ("retire", "look", "revoke_first")
# While one of these is closed, the issuer is not asked about a new value: it would only say the same again.
_STAGE_GATES = frozenset({"leftover", "previous"})


@dataclass(frozen=True)
class Case:
    """One preflight.

    :param facts: what is known without asking anybody.
    :param may_stage: the keyring lets a new value be made, so that it makes sense to ask the issuer about one.
    """

    params: Params
    context: Context
    document: Optional[Document]
    policy: Policy
    facts: Facts
    now: datetime
    may_stage: bool = True


def _first_facts(params: Params, access: Optional[KeyringAccess], defined: Definitions) -> Facts:
    document = access.document if access else None
    return Facts(
        credential=params["credential"] or "",
        run_id=access.run.run_id if access else "",
        holder_dead=is_dead(document.claim if document else None),
        take_over=bool(params["take_over"]),
        definition=definition_hash(params["issuer"], params["generate"]),
        overlap=defined.issuer.overlap if defined.issuer else True,
        returns=defined.issuer.returns if defined.issuer else True,
        handed=bool(defined.issuer and defined.issuer.handed),
        comes_first=defined.issuer.comes_first if defined.issuer else "",
        force=params["force"],
        replace=params["replace"] and not params["only_missing"],
        first=params["only_missing"],
        reason=params["reason"] or (access.run.why if access else ""),
        outside_window=params["outside_window"],
        emergency=params["emergency"] or params["purpose"] == "compromise",
        rotation_id=params["rotation_id"],
        made_before=parse_time_if_given(params["made_before"], "keyturn_made_before"),
        probes=defined.presenting,
        unready=tuple(params["unready"]),
        store_time=access.store_time() if access else None,
    )


def todo(
    purpose: str, document: Optional[Document], facts: Facts, found: List[Gate]
) -> Tuple[str, str]:
    """What there is to do, and why nothing when there is nothing. Pure.

    :return: the purpose itself; ``use`` when the keyring's step was done before and only the rest is left (sinks, reloads,
        observing); or ``nothing``.
    """
    closed = {gate.name: gate.message for gate in found if not gate.passed}
    if (
        purpose == REFRESH
        or (purpose == "rotate" and cut_over(document))
        or (purpose == "rollback" and being_rolled_back(document))
    ):
        return "use", ""
    due_gate = _DUE_GATES.get(purpose, "")
    if due_gate in closed:
        return NOTHING, closed[due_gate]
    settled = _settled(purpose, document, facts)
    return (NOTHING, settled) if settled else (purpose, "")


def _was_adopted(document: Optional[Document], facts: Facts) -> str:
    current, pending = (document.current, document.pending) if document else (None, None)
    same = current and current.adopted and not pending and current.definition == facts.definition
    return "the value was adopted before" if same else ""


def _replacement_first(document: Optional[Document], _facts: Facts) -> str:
    previous = document.previous if document else None
    unfinished = bool(previous and previous.compromised and cut_over(document))
    first = "the rotation that replaces what is compromised comes first"
    return first if unfinished or taken_out(document) else ""


def _nothing_to_revoke(document: Optional[Document], facts: Facts) -> str:
    if not facts.overlap:
        return "its issuer ends the old value by making the new one: the rotation comes first"
    return "" if exposed(document) else "no compromised value is in use"


def _was_returned_from(document: Optional[Document], facts: Facts) -> str:
    done = was_rolled_back(document, facts.rotation_id)
    told = "the last rotation was rolled back before, and the value before it is in use"
    return told if done else ""


def _was_named(document: Optional[Document], facts: Facts) -> str:
    named = document is not None and is_named(document, facts.made_before)
    return "what was exposed is named, and what is in use was made after it" if named else ""


def _nothing_pending(document: Optional[Document], _facts: Facts) -> str:
    return "" if document and document.pending else "nothing is pending"


_SETTLED: Mapping[str, Callable[[Optional[Document], Facts], str]] = MappingProxyType(
    {
        "rollback": _was_returned_from,
        "retire": _replacement_first,
        "abandon": _nothing_pending,
        "adopt": _was_adopted,
        "compromise": _was_named,
        "revoke_first": _nothing_to_revoke,
    }
)


def _settled(purpose: str, document: Optional[Document], facts: Facts) -> str:
    """Why there is nothing to do for this purpose, by what the keyring says; empty where there is."""
    why = _SETTLED.get(purpose)
    return why(document, facts) if why else ""


def _purpose(params: Params, document: Optional[Document]) -> str:
    """What is asked for: a rotation that makes no new value brings what is in use to its sinks and consumers."""
    if not params["refresh"] or params["purpose"] != "rotate":
        return str(params["purpose"])
    in_use = document and document.current and not document.pending
    return REFRESH if in_use else "rotate"


def _too_early(params: Params, document: Optional[Document]) -> List[str]:
    """Why later phases alone cannot be done."""
    pending = document.pending if document else None
    if not params["refresh"] or pending is None or pending.status in ("applied", "proved"):
        return []
    missing = f"tags: the pending value is '{pending.status}' yet, and the issuer was not asked to accept it"
    return [f"{missing}; leave --tags out, or add the phases apply, prove and promote"]


def _can_return(what: str, document: Optional[Document], facts: Facts) -> bool:
    """Whether a failure later in this run can be answered by returning to the value that is in use now, or to the one before it."""
    if document is None or what not in ("rotate", "use", "verify") or not facts.returns:
        return False
    if what == "verify":
        return can_return_to(document.previous)
    current = document.current
    return (
        cut_over(document) and can_return_to(document.previous)
        if what == "use"
        else bool(current and not current.compromised)
    )


def _foreseen_to_end(params: Params) -> bool:
    """Whether a dry run foresaw that a value ends before this: the issuer still has it, and would tell of what is gone by then."""
    return any(step["transition"] == "retired" for step in params["replay"] or ())


def _warn_of_later(case: Case, what: str, defined: Definitions, problems: Problems) -> None:
    """What keeps nothing from being done now, and will keep what comes after it."""
    context = case.context
    if what == "rotate" and not problems.sentences:
        warn_of_no_end(case.params, context)
    if case.params["purpose"] == "adopt":
        for sentence in issuer_problems(defined.issuer, case.document, context):
            context.warn(
                f"{case.facts.credential}: it can be adopted, but not be rotated yet: {sentence}"
            )


def _gather(case: Case, what: str, defined: Definitions, problems: Problems) -> Facts:
    """Ask everybody. What a purpose has no gate for is not asked."""
    params, document, context = case.params, case.document, case.context
    purpose, facts = params["purpose"], case.facts
    # Before anything here has logged in anywhere: PgBouncer's room is counted by who is connected.
    seen = look_at_consumers(params, what, defined, context)
    facts = replace(facts, unready=tuple(dict.fromkeys((*facts.unready, *seen))))
    if purpose == "rotate":
        facts = replace(facts, given=is_given(defined.issuer, document, context))
    asked = what == "revoke_first" or (what == purpose == "rotate" and case.may_stage)
    if asked and not _foreseen_to_end(params):
        facts = replace(facts, issuer_problems=issuer_problems(defined.issuer, document, context))
    _warn_of_later(case, what, defined, problems)
    if purpose not in ("abandon", "look", "compromise"):
        sinks = look_at_sinks(params, what, defined, document, context, problems)
        facts = replace(
            facts,
            unreadable=tuple(sinks.unreadable),
            behind=tuple(sinks.behind),
            unknown=tuple(sinks.unknown),
        )
    if purpose in ("retire", "verify"):
        facts = replace(facts, lagging=lagging_consumers(params, defined, document, problems))
    if purpose == "retire":
        facts = replace(facts, sessions=_sessions(case, defined, problems))
    facts = replace(
        facts, stored=purpose in _ENDS and any(item.ends for item in defined.conditions)
    )
    if purpose in WATCHED:
        facts = replace(facts, conditions=closed_conditions(params, document, context, problems))
    if purpose in ("rotate", "promote", "retire"):
        facts = replace(facts, alert=alert_of(case.policy, context, problems))
    return facts


def _sessions(case: Case, defined: Definitions, problems: Problems) -> Optional[Tuple[str, ...]]:
    document = case.document
    previous = document.previous if document else None
    if document is None or previous is None:
        return None
    return problems.attempt(
        "sessions", lambda: users_of(previous, case.params, document, case.context, defined.issuer)
    )


def _in_use(case: Case, defined: Definitions) -> Optional[int]:
    """How many still use a previous value whose grace ends soon; nobody is asked when nobody would be told."""
    document = case.document
    previous = document.previous if document else None
    soon = previous and previous.retire_after and previous.retire_after - case.now <= NOTICE_BEFORE
    if document is None or previous is None or not soon or not case.policy.contacts:
        return None
    try:
        users = users_of(previous, case.params, document, case.context, defined.issuer)
    except KeyturnError:
        return None
    return None if users is None else len(users)


def _interruption(what: str, case: Case, defined: Definitions) -> str:
    """What a person is told before an issuer without overlap is cut over, or a value taken out of use."""
    if what == "revoke_first":
        return (
            "the value in use is refused and its sessions are ended now: from then until the last consumer was seen using the new one "
            "nobody can log in"
        )
    if case.facts.overlap or what not in ("rotate", "rollback", "use"):
        return ""
    if not case.facts.returns:
        return _the_old_dies(case.document) if what == "rotate" else ""
    current = case.document.current if case.document else None
    last = current.outage if current else None
    return interruption(case.params["issuer"], defined.consumers, last)


def _the_old_dies(document: Optional[Document]) -> str:
    """What a person is told before a value is made whose making ends the one in use."""
    pending, current = (document.pending, document.current) if document else (None, None)
    if (pending and pending.status != "intended") or (current and current.ended):
        return ""
    return (
        "the issuer ends the value in use in the moment when it makes the new one: nothing can be returned to after that, and the new "
        "value may be the only one that works. Where its proof fails, run again; only one that is wrong is answered by another"
    )


def _let_go(case: Case) -> List[str]:
    """The places whose value nobody knows, and that the user lets go for a first rotation."""
    facts = case.facts
    told = case.params["purpose"] == "rotate" and (facts.replace or facts.emergency)
    return list(facts.unknown) if told else []


def _gate_hosts(case: Case, defined: Definitions) -> List[str]:
    """The other hosts that the credential's own gates are asked on, where they are asked at all."""
    purpose = case.params["purpose"]
    watched = purpose in WATCHED
    return asked_elsewhere(defined.conditions, purpose, case.document) if watched else []


def _result(case: Case, defined: Definitions, what: str, message: str, found: List[Gate]) -> Result:
    told = notices(
        case.document, case.policy, case.now, _in_use(case, defined), case.facts.credential
    )
    status = due_status(case.document, case.policy, case.now)
    if not found:
        # Without a keyring that could be opened there are no gates, and nothing is known of the value.
        status = {
            **dict.fromkeys(status),
            "state": "unreadable",
            "due": False,
            "under_way": False,
            "text": "not known: the keyring could not be read",
        }
    return {
        "changed": False,
        "todo": what,
        "due": what != NOTHING,
        "msg": f"{case.facts.credential}: {message}"
        if message
        else f"{case.facts.credential}: {status['text']}",
        "reason": message or status["text"],
        "refusals": [],
        "gates": [
            {"name": gate.name, "passed": gate.passed, "message": gate.message} for gate in found
        ],
        "overlap": case.facts.overlap,
        "interruption": _interruption(what, case, defined),
        "elsewhere": elsewhere(what, defined, _gate_hosts(case, defined)),
        "cutover": bool(defined.issuer and defined.issuer.cutover),
        "returns": case.facts.returns,
        "handed": case.facts.handed,
        "replaced": _let_go(case),
        "others": any(consumer.host for consumer in looked_at("look", defined.consumers))
        or bool(asked_elsewhere(defined.conditions, "look", case.document)),
        "watched": bool(case.params["gates"]) or bool(looked_at("look", defined.consumers)),
        "can_return": _can_return(what, case.document, case.facts),
        "status": status,
        "stages": _stages(case.document),
        "notices": [vars(item) for item in told],
        "baseline": [],
    }


def _stages(document: Optional[Document]) -> Dict[str, Dict[str, Any]]:
    """What is to be handed over when somebody else has to go on."""
    return {
        name: {
            "status": stage.status,
            "failed": stage.failed,
            "compromised": stage.compromised,
            "rotation_id": stage.rotation_id,
        }
        for name, stage in (document.stages if document else {}).items()
    }


def _refuse(case: Case, sentences: List[str], result: Result) -> Refused:
    count = len(sentences)
    heading = "1 gate is closed" if count == 1 else f"{count} gates are closed"
    listed = "; ".join(f"({number}) {text}" for number, text in enumerate(sentences, 1))
    details = {
        key: value for key, value in result.items() if key not in ("changed", "msg", "refusals")
    }
    return Refused(f"{case.facts.credential}: {heading}. {listed}", refusals=sentences, **details)


def _warn_unready(case: Case, found: List[Gate]) -> None:
    """Where a consumer that cannot be told stops nothing, it is said all the same: what comes next may be what repairs it."""
    if not any(gate.name == "consumers" and not gate.passed for gate in found):
        for sentence in case.facts.unready:
            case.context.warn(f"{case.facts.credential}: {sentence}")


def _look(case: Case, result: Result) -> Result:
    """Add the baseline; what does not work before the rotation is a warning, because a rotation may be what repairs it."""
    found: List[Dict[str, Any]] = baseline(case.params, case.document, case.context)
    for item in found:
        if not item["ok"]:
            case.context.warn(
                f"{case.facts.credential}: before anything is done, probe {item['probe']} fails with the current value: {item['detail']}"
            )
    return {**result, "baseline": found}


def _unknown_variables(params: Params) -> List[str]:
    """A sentence for each variable that nobody reads: with a typo in its name, a sink would be left out without a word."""
    known = params["known_variables"]
    found = []
    for name in sorted(set(params["variables"]) - set(known)) if known else []:
        near = get_close_matches(name, known, 1)
        meant = f"; did you mean {near[0]}?" if near else ": take it away."
        found.append(
            f"there is no variable {name}{meant} Names that begin with keyturn_ are this role's"
        )
    return found


def _changed(access: KeyringAccess) -> bool:
    """Whether somebody wrote to the keyring while everybody was asked."""
    try:
        return access.was_changed()
    except KeyturnError:
        return False


def _stays(case: Case, defined: Definitions, problems: Problems) -> Optional[Left]:
    """Why a bootstrap does not touch the credential, as far as somebody was asked; what could not be read is told first."""
    if not case.params["only_missing"] or problems.sentences:
        return None
    document, issuer, context = case.document, defined.issuer, case.context
    stands: List[str] = []
    if issuer is not None and document is None:
        first = issuer
        stands = problems.attempt("issuer", lambda: first.stands(context)) or []
    return left_alone(document, case.facts, stands) or awaited(
        document, issuer, case.facts, context
    )


def _told(
    case: Case,
    defined: Definitions,
    what: str,
    message: str,
    found: List[Gate],
    left: Optional[Left],
) -> Result:
    """The result. A bootstrap's lists the credential, and has no notices, which only a run that changes something tells."""
    params, document = case.params, case.document
    result = _result(case, defined, what, message, found)
    if not params["only_missing"]:
        return result
    begun = document is not None and (document.pending or document.current)
    state = left.state if left else GO_ON if begun else MAKE
    shown = listed(state, params["issuer"], params["keyring"], defined.sinks)
    return {**result, "bootstrap": shown, **({"notices": []} if left else {})}


def run(params: Params, context: Context) -> Result:
    """Check everything.

    :raises Refused: with every refusal in one message.
    """
    problems = Problems()
    for sentence in _unknown_variables(params):
        problems.add("variables", sentence)
    policy = problems.attempt("policy", lambda: parse_policy(params["policy"]))
    access = problems.attempt("keyring", lambda: open_keyring(params, context))
    document = access.document if access else None
    params = {**params, "purpose": _purpose(params, document)}
    defined = read_definitions(params, policy or Policy(), context, problems)
    facts = _first_facts(params, access, defined)
    case = Case(params, context, document, policy or Policy(), facts, context.now())
    found = gates(params["purpose"], document, case.policy, case.now, facts) if access else []
    left = there(document) if params["only_missing"] else None
    asked_for = (NOTHING, left.message) if left else None
    what, message = asked_for or todo(params["purpose"], document, facts, found)
    if what == NOTHING and params["not_due"] == "skip" and not problems.sentences:
        return _told(case, defined, what, message, found, left)
    if access:
        problems.attempt("keyring", access.check_write)
        problems.attempt("ledger", access.look_at_ledger)
        case = replace(
            case, may_stage=not _STAGE_GATES & {gate.name for gate in found if not gate.passed}
        )
        case = replace(case, facts=_gather(case, what, defined, problems))
        found = gates(params["purpose"], document, case.policy, case.now, case.facts)
        stays = _stays(case, defined, problems)
        if stays and not problems.sentences:
            return _told(case, defined, NOTHING, stays.message, found, stays)
    result = _told(case, defined, what, message, found, left)
    _warn_unready(case, found)
    closed = list(
        dict.fromkeys([*problems.sentences, *_too_early(params, document), *refusals(found)])
    )
    if closed:
        if access and params.get("again", True) and _changed(access):
            # What was found may be the work of another run: then it is to be named, and not the traces of it.
            return run({**params, "again": False}, context)
        unrecorded = any(text.startswith(("keyring: ", "ledger: ")) for text in problems.sentences)
        raise _refuse(case, closed, {**result, "unrecorded": unrecorded})
    return _look(case, result) if params["baseline"] and what == "rotate" else result


SPEC = {
    **KEYRING_OPTIONS,
    "purpose": {"type": "str", "default": "rotate", "choices": list(PURPOSES)},
    "policy": {"type": "dict", "default": {}},
    "issuer": {"type": "dict", "required": True},
    "generate": {"type": "dict", "default": {}},
    "gates": {"type": "list", "elements": "dict", "default": []},
    "sinks": {"type": "list", "elements": "dict", "default": []},
    "consumers": {"type": "list", "elements": "dict", "default": []},
    "probes": {"type": "list", "elements": "dict", "default": []},
    "unreadable": {"type": "list", "elements": "str", "default": []},
    "behind": {"type": "list", "elements": "str", "default": []},
    "unready": {"type": "list", "elements": "str", "default": []},
    "unknown": {"type": "list", "elements": "str", "default": []},
    "closed": {"type": "list", "elements": "str", "default": []},
    "variables": {"type": "list", "elements": "str", "default": []},
    "known_variables": {"type": "list", "elements": "str", "default": []},
    "force": {"type": "bool", "default": False},
    "replace": {"type": "bool", "default": False},
    "only_missing": {"type": "bool", "default": False},
    "reason": {"type": "str", "default": ""},
    "outside_window": {"type": "bool", "default": False},
    "emergency": {"type": "bool", "default": False},
    "made_before": {"type": "str", "default": ""},
    "refresh": {"type": "bool", "default": False},
    "rotation_id": {"type": "str", "default": ""},
    "not_due": {"type": "str", "default": "skip", "choices": ["skip", "refuse"]},
    "baseline": {"type": "bool", "default": True},
    "timeout": {"type": "str", "default": "30s"},
    "interval": {"type": "str", "default": "2s"},
}
MODULE = ModuleCore("preflight", SPEC, run)
