# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``probe``: prove that a stage works, or that it is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
    ProbeFailed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._given import given_fields
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes import (
    ACCEPTED,
    REFUSED,
    Evidence,
    Patience,
    ProbeContext,
    not_for,
    presenting,
    run_probe,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

OPTION = "probes"
ENOUGH = "enough"
# Steps that tell runs apart and change nothing that a proof could depend on.
_OF_RUNS = ("claim", "release")
# What the issuer has yet to be told of, if it was not told before this run.
_NOT_YET = ("intended", "issued", "cutover", "retiring", "abandoning")


def _given_stage(params: Params, context: Context) -> Stage:
    """A stage made of the option ``value``: for a value that no keyring knows yet."""
    return Stage("", "issued", given_fields(params["value"], params["issuer"], context))


def _stage(params: Params, document: Optional[Document], context: Context) -> Optional[Stage]:
    if params["value"]:
        return _given_stage(params, context)
    if document is None:
        raise Absent(
            f"stage: there is no keyring yet, so there is no {params['stage']} value to prove; rotate or adopt first"
        )
    return document.stage(params["stage"])


def _demands_value(params: Params, stage: Stage) -> bool:
    """Whether a probe that only looks on is no proof: a value that nobody used yet, or one that must be refused."""
    return (
        params["expect"] == REFUSED
        or params["stage"] == "pending"
        or stage.status == "cutover"
        or bool(params["value"])
    )


def _predicting(params: Params, stage: Optional[Stage], context: Context) -> bool:
    """Whether, in check mode, what has to be done before this proof may be only predicted."""
    # Whether the value was applied is not known of one that is given without a keyring; with one, it is in use (adopt).
    given = bool(params["value"] and params["keyring"])
    waits = stage is not None and stage.status in _NOT_YET and not given
    taken = any(step["transition"] not in _OF_RUNS for step in params["replay"])
    # Nobody accepts a generated value before the sink of who checks it has it.
    shown = params["issuer"].get("type") == "generated" and bool(context.foreseen)
    return taken or params["expect"] == REFUSED or waits or shown


def _check_demand(params: Params, stage: Stage, chosen: List[int]) -> None:
    if not _demands_value(params, stage):
        return
    if presenting([params["probes"][number] for number in chosen], OPTION) == 0:
        raise BadInput(
            f"{OPTION}: none of them presents the {params['stage']} value, so none proves anything about it; add one that logs in with it, "
            "such as {type: postgres}, or {type: http} with a header that holds {stage.value}"
        )


def _without_stage(params: Params, skips: Mapping[int, str], chosen: List[int]) -> Dict[int, str]:
    """Why the chosen probes have nothing to do: nobody can be using a value that is not there.

    :raises Absent: when one of them is to prove something about the value itself.
    """
    presents = presenting([params["probes"][number] for number in chosen], OPTION)
    if presents or params["expect"] == REFUSED:
        raise Absent(
            f"stage: the keyring has no {params['stage']} value to prove; run the keyring_info module to see what it has"
        )
    return {**skips, **dict.fromkeys(chosen, f"there is no {params['stage']} value")}


def _run_all(params: Params, stage: Stage, chosen: List[int], ctx: ProbeContext) -> List[Evidence]:
    found: List[Evidence] = []
    number = -1
    try:
        for number in chosen:
            found.append(
                run_probe(
                    params["probes"][number], stage, replace(ctx, option=f"{OPTION}[{number}]")
                )
            )
    except KeyturnError as error:
        if params["value"] and isinstance(error, ProbeFailed):
            error.message += ". Nothing was changed: give as keyturn_adopt what the application logs in with today"
        error.details.update(evidence=[item.as_dict() for item in found], probe=number)
        raise
    return found


def _patience(params: Params) -> Patience:
    return Patience(
        parse_duration(params["timeout"], "timeout"),
        parse_duration(params["interval"], "interval"),
        params["retries"],
    )


def _skips(params: Params) -> Dict[int, str]:
    probes = params["probes"]
    reasons = {
        number: not_for(probe, params["stage"], params["expect"], f"{OPTION}[{number}]")
        for number, probe in enumerate(probes)
    }
    return {number: reason for number, reason in reasons.items() if reason}


def _skipped(params: Params, skips: Mapping[int, str]) -> List[Dict[str, Any]]:
    return [
        {"probe": number, "type": params["probes"][number].get("type"), "reason": reason}
        for number, reason in skips.items()
    ]


def run(params: Params, context: Context) -> Result:
    """Try the probes one after the other; the first that fails ends it.

    :raises BadInput: for options that do not go together, and probes that cannot be meant.
    :raises KeyturnError: as the keyring and the probes give cause.
    """
    if params["expect"] == REFUSED and params["live"] == ENOUGH:
        raise BadInput(
            "live: 'enough' does not go with expect: refused. Who is live with a key was accepted with it, so that proves no refusal; "
            "leave 'live' out"
        )
    access = open_keyring(params, context) if params.get("keyring") else None
    document = access.document if access else None
    skips = _skips(params)
    chosen = [number for number in range(len(params["probes"])) if number not in skips]
    stage = _stage(params, document, context)
    if stage is None:
        skips, chosen = _without_stage(params, skips, chosen), []
    else:
        _check_demand(params, stage, chosen)
    ctx = ProbeContext(
        context,
        params["issuer"],
        document,
        tuple(params["consumers"]),
        params["expect"],
        _patience(params),
        predicting=context.check_mode and _predicting(params, stage, context),
        credential=str(params.get("credential") or ""),
        live_is_enough=params["live"] == ENOUGH,
    )
    evidence = _run_all(params, stage, chosen, ctx) if stage else []
    return {
        "changed": False,
        "stage": params["stage"],
        "expect": params["expect"],
        "evidence": [item.as_dict() for item in evidence],
        "skipped_probes": _skipped(params, skips),
        "predicted": any(item.predicted for item in evidence),
    }


SPEC = {
    **KEYRING_OPTIONS,
    "stage": {"type": "str", "default": "pending", "choices": ["pending", "current", "previous"]},
    "value": {"type": "dict", "default": {}, "no_log": True},
    "probes": {"type": "list", "elements": "dict", "required": True},
    "issuer": {"type": "dict", "default": {}},
    "consumers": {"type": "list", "elements": "dict", "default": []},
    "expect": {"type": "str", "default": ACCEPTED, "choices": [ACCEPTED, REFUSED]},
    "live": {"type": "str", "default": "refuse", "choices": ["refuse", ENOUGH]},
    "timeout": {"type": "str", "default": "30s"},
    "interval": {"type": "str", "default": "2s"},
    "retries": {"type": "int"},
}
MODULE = ModuleCore("probe", SPEC, run)
