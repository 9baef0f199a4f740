# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a rotation as pure functions: (document, request, now) → document.

A step that is already done gives the same document back, so that a run that was killed can ask for it again. A step that
is not allowed in the present state is refused with the state and with what to run instead.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Callable, Dict, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._claims import (
    check_claim,
    check_clock,
    same_run,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._due import (
    born,
    in_emergency,
    taken_out,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    ABANDONED_KEPT,
    Abandoned,
    Claim,
    Document,
    Receipt,
    Stage,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_duration,
    format_time,
)

# Who is live began before: nobody was asked since whether the value is accepted.
_NOT_TRIED = "live, not tried"


def describe(document: Optional[Document]) -> str:
    """The state in words, without values: for messages."""
    if document is None:
        return "there is no keyring yet"
    parts = []
    for name, stage in document.stages.items():
        who = stage.text("username")
        marks = "".join(
            f" {mark}" for mark in ("ended", "failed", "compromised") if getattr(stage, mark)
        )
        parts.append(
            f"{name}{' ' + who if who else ''} is {stage.status}{marks} (rotation {stage.rotation_id})"
        )
    return "; ".join(parts) or "the keyring is empty"


def _refuse(document: Optional[Document], step: str, remedy: str) -> Refused:
    name = document.credential if document else "this credential"
    return Refused(f"{name}: '{step}' is not possible now: {describe(document)}. {remedy}")


def _claimed(document: Document, request: Request, now: datetime) -> Document:
    run = request.run
    if document.claim and same_run(document.claim, run):
        return replace(
            document, claim=replace(document.claim, renewed=now, expires=now + request.ttl)
        )
    claim = Claim(run.run_id, run.host, run.pid, run.boot_id, run.started, now, now + request.ttl)
    return replace(document, claim=claim)


def _stage(document: Document, request: Request, now: datetime) -> Document:
    if document.pending:
        if (
            document.pending.definition == request.definition
            and document.pending.status != "abandoning"
        ):
            return document
        raise _refuse(
            document,
            "stage",
            "A leftover of another definition is pending: run the abandon playbook, then rotate again",
        )
    previous, overlap = document.previous, request.overlap
    if previous and overlap and not taken_out(document):
        until = f" until {format_time(previous.retire_after)}" if previous.retire_after else ""
        raise _refuse(
            document,
            "stage",
            f"The previous one is still kept{until}: run the retire_due playbook first",
        )
    if document.current and document.current.status != "observed":
        raise _refuse(
            document,
            "stage",
            "The last rotation is not observed yet: run the same playbook again to finish it",
        )
    status = "issued" if request.fields else "intended"
    stage = Stage(request.rotation_id, status, dict(request.fields), request.definition, made=now)
    return replace(document, pending=document.with_fingerprints(stage))


def _issued(document: Document, request: Request, now: datetime) -> Document:
    stage = document.pending
    if stage is None or stage.status not in ("intended", "issued"):
        raise _refuse(document, "issued", "Run the rotation playbook: it goes on from where it was")
    if stage.status == "issued":
        return document
    # It may have been waited for since days; until now nobody could have used it.
    fields = {**stage.fields, **request.fields}
    filled = replace(stage, status="issued", fields=fields, made=now)
    current = document.current
    if request.ends and current and current.ended is None:
        current = replace(current, ended=now)
    return replace(document, pending=document.with_fingerprints(filled), current=current)


def _applied(document: Document, request: Request, now: datetime) -> Document:
    stage = document.pending
    if stage is None or stage.status not in ("issued", "applied", "proved"):
        raise _refuse(
            document, "applied", "Run the rotation playbook: it goes on from where it was"
        )
    return (
        document
        if stage.status != "issued"
        else replace(document, pending=replace(stage, status="applied"))
    )


def _need_evidence(document: Document, request: Request, step: str) -> None:
    if not request.evidence:
        raise _refuse(
            document, step, "A proof is demanded: give the credential a probe in keyturn_probes"
        )


def _proved(document: Document, request: Request, now: datetime) -> Document:
    pending = document.pending
    if pending and pending.status == "proved":
        return document
    _need_evidence(document, request, "proved")
    if pending and pending.status == "applied":
        return replace(
            document, pending=replace(pending, status="proved", evidence=request.evidence)
        )
    raise _refuse(
        document,
        "proved",
        "Only an applied value can be proved: run the rotation playbook, it goes on from where it was",
    )


def _to_previous(document: Document) -> Optional[Stage]:
    """What is replaced; where it was taken out of use before, it is on its way out already."""
    stage = document.current
    return replace(stage, status="grace", retire_after=None) if stage else document.previous


def _in_use(stage: Stage, status: str, request: Request, now: datetime) -> Stage:
    """A stage as it comes into use, with who did it and why."""
    run = request.run
    return replace(stage, status=status, promoted=now, reason=run.why, operator=run.who)


def _promote(document: Document, request: Request, now: datetime) -> Document:
    stage = document.pending
    if stage is None and document.current and document.current.rotation_id == request.rotation_id:
        return document
    if stage is None or stage.status != "proved":
        raise _refuse(
            document,
            "promote",
            "Only a proved value is promoted: run the rotation playbook with the phases before it",
        )
    current = _in_use(stage, "promoted", request, now)
    return replace(document, pending=None, current=current, previous=_to_previous(document))


def _cutover(document: Document, request: Request, now: datetime) -> Document:
    stage = document.pending
    if stage is None and document.current and document.current.status == "cutover":
        return document
    if request.overlap or stage is None or stage.status != "issued":
        raise _refuse(
            document,
            "cutover",
            "Only an issued value of an issuer without overlap is cut over; use promote",
        )
    current = _in_use(stage, "cutover", request, now)
    return replace(document, pending=None, current=current, previous=_to_previous(document))


def _outage(document: Document, current: Stage, now: datetime) -> Optional[float]:
    """From the write that came right before the value before was refused, to the moment when the last consumer was seen using this one.

    Nobody's receipt falls into it when there is no consumer, or when a killed run's successor only had to look: then it ends now.
    """
    previous = document.previous
    begun = current.promoted if current.status == "cutover" else None
    if previous and previous.compromised and previous.status == "retiring":
        begun = previous.ended
    if begun is None:
        return None
    seen = [receipt.at for receipt in document.receipts.values() if receipt.at >= begun]
    return round((max(seen, default=now) - begun).total_seconds(), 3)


def _not_ended(
    document: Document, current: Stage, evidence: Tuple[Mapping[str, str], ...]
) -> Document:
    """Take away the mark that the value in use ended, where that was tried and accepted."""
    tried = evidence and not any(item.get("detail", "").startswith(_NOT_TRIED) for item in evidence)
    if current.ended is None or not tried:
        return document
    alive = replace(current, ended=None, evidence=current.evidence + evidence)
    return replace(document, current=alive)


def _observed(document: Document, request: Request, now: datetime) -> Document:
    current = document.current
    if current is None or document.pending:
        raise _refuse(document, "observed", "There is nothing to observe: promote comes first")
    if current.status == "observed":
        return _not_ended(document, current, request.evidence)
    if current.status == "cutover":
        _need_evidence(document, request, "observed")
    previous = document.previous
    if previous:
        grace = timedelta(0) if previous.failed or previous.compromised else request.grace
        previous = replace(previous, retire_after=now + grace)
    seen = replace(
        current,
        status="observed",
        observed=now,
        evidence=current.evidence + request.evidence,
        outage=_outage(document, current, now),
    )
    # What is in use now is proved. A value that was returned to is older than what was abandoned since.
    later = tuple(
        item for item in document.abandoned if current.made is None or item.at > current.made
    )
    return replace(document, current=seen, previous=previous, abandoned=later)


def _rollback(document: Document, request: Request, now: datetime) -> Document:
    current, previous = document.current, document.previous
    if document.pending:
        raise _refuse(
            document,
            "rollback",
            "A pending value was never in use: run the abandon playbook instead",
        )
    if current is None or previous is None:
        raise _refuse(
            document,
            "rollback",
            "Nothing is kept to return to: rotate forward instead, with the rotation playbook",
        )
    if previous.failed and current.status in ("promoted", "cutover"):
        return document
    if previous.failed or previous.compromised or previous.status != "grace":
        raise _refuse(
            document,
            "rollback",
            "The previous value may not be used again: rotate forward instead, with the rotation playbook",
        )
    if previous.ended and previous.is_gone(request.overlap, request.returns):
        raise _refuse(
            document,
            "rollback",
            f"The previous value ended at its issuer at {format_time(previous.ended)}, and nothing brings it back: rotate forward "
            "instead, with the rotation playbook",
        )
    status = "promoted" if request.overlap else "cutover"
    kept = replace(previous, observed=None, retire_after=None, ended=None)
    back = _in_use(kept, status, request, now)
    gone = replace(current, status="grace", failed=True, retire_after=None)
    return replace(document, current=back, previous=gone)


def _retire(document: Document, request: Request, now: datetime) -> Document:
    previous, current = document.previous, document.current
    if previous is None:
        raise _refuse(document, "retire", "There is nothing to retire")
    if previous.status == "retiring":
        return document
    if current is None or current.status != "observed" or previous.retire_after is None:
        raise _refuse(
            document,
            "retire",
            "The current value is not observed yet: run the rotation playbook to its end first",
        )
    if now < previous.retire_after and not previous.compromised:
        left = format_duration(previous.retire_after - now)
        raise _refuse(
            document,
            "retire",
            f"The grace period ends in {left}, at {format_time(previous.retire_after)}: run retire_due then",
        )
    return replace(document, previous=replace(previous, status="retiring"))


def _retired(document: Document, request: Request, now: datetime) -> Document:
    previous = document.previous
    if previous is None:
        return document
    if previous.status != "retiring":
        raise _refuse(
            document, "retired", "It was not marked for retiring: run the retire_due playbook"
        )
    _need_evidence(document, request, "retired")
    kept = replace(previous, status="retained", evidence=previous.evidence + request.evidence)
    # What is compromised stays until no place keeps it any more: without it nobody could tell which versions carry it.
    stays = request.retain or previous.compromised
    retained = document.retained + ((kept,) if stays else ())
    return replace(document, previous=None, retained=retained)


def _forget(document: Document, request: Request, now: datetime) -> Document:
    """Take compromised values out of the keyring itself; their fingerprints stay."""
    if not any(stage.lingers for stage in document.retained):
        return document
    retained = tuple(
        stage.without_values() if stage.lingers else stage for stage in document.retained
    )
    return document if retained == document.retained else replace(document, retained=retained)


def _destroyed(document: Document, request: Request, now: datetime) -> Document:
    found = [stage for stage in document.retained if stage.lingers]
    if not found:
        return document
    if any(stage.without_values() != stage for stage in found):
        raise _refuse(
            document, "destroyed", "The keyring itself still has the value: run the playbook again"
        )
    retained = tuple(
        replace(stage, destroyed=now) if stage.lingers else stage for stage in document.retained
    )
    return replace(document, retained=retained)


def _adopt(document: Document, request: Request, now: datetime) -> Document:
    current = document.current
    if (
        current
        and current.adopted
        and current.definition == request.definition
        and not document.pending
    ):
        return document
    if document.pending or document.current or document.previous:
        raise _refuse(document, "adopt", "This keyring already manages a value: rotate instead")
    _need_evidence(document, request, "adopt")
    stage = Stage(
        request.rotation_id, "observed", dict(request.fields), request.definition, adopted=True
    )
    stage = replace(
        stage, made=request.made, promoted=request.made, observed=now, evidence=request.evidence
    )
    return replace(document, current=document.with_fingerprints(stage))


def _abandon(document: Document, request: Request, now: datetime) -> Document:
    if document.pending is None:
        raise _refuse(document, "abandon", "Nothing is pending: there is nothing to abandon")
    return replace(document, pending=replace(document.pending, status="abandoning"))


def _abandoned(document: Document, request: Request, now: datetime) -> Document:
    if document.pending is None:
        return document
    if document.pending.status != "abandoning":
        raise _refuse(document, "abandoned", "It was not marked: run the abandon playbook")
    stage, kept = document.pending, document.abandoned
    prints = document.slow_fingerprints(stage) if request.handed else {}
    if prints:
        kept = (*kept, Abandoned(stage.rotation_id, now, prints))[-ABANDONED_KEPT:]
    return replace(document, pending=None, abandoned=kept)


def _is_exposed(stage: Optional[Stage], before: Optional[datetime]) -> bool:
    """Whether a stage was made before a moment; one of unknown age may have been."""
    made = born(stage)
    return stage is not None and (before is None or made is None or made < before)


def _named(document: Document, before: Optional[datetime]) -> Document:
    """The document with what was exposed named as compromised.

    While an earlier emergency is under way, what came into use since is the answer to it, unless a person says until when values
    were exposed.
    """
    current, previous = document.current, document.previous
    if previous and not previous.compromised and _is_exposed(previous, before):
        previous = replace(previous, compromised=True)
    unfinished = [document.previous] if document.previous and document.previous.compromised else []
    # Who still holds the keyring was ended in the midst of an answer. Without anybody, that answer came to its end, or to where a person
    # has to decide: what places keep of its value must not keep a further exposure from being named.
    unfinished += [stage for stage in document.retained if stage.lingers and document.claim]
    answered = before is None and bool(unfinished)
    if current and not current.compromised and not answered and _is_exposed(current, before):
        current = replace(current, compromised=True)
    return replace(document, current=current, previous=previous)


def is_named(document: Document, before: Optional[datetime]) -> bool:
    """Whether nothing is left to be named as compromised.

    :param before: what was made later was not exposed; none: whatever there is was.
    """
    return _named(document, before) == document


def _compromise(document: Document, request: Request, now: datetime) -> Document:
    if document.pending and not in_emergency(document):
        raise _refuse(
            document,
            "compromise",
            "What is pending may be as exposed as what is in use: run the abandon playbook first",
        )
    return document if is_named(document, request.before) else _named(document, request.before)


def _revoke_first(document: Document, request: Request, now: datetime) -> Document:
    current = document.current
    if taken_out(document):
        return document
    if current is None or not current.compromised or document.previous or not request.overlap:
        raise _refuse(
            document,
            "revoke_first",
            "Only a compromised value that is in use alone is taken out of use before there is another: run the respond_compromise "
            "playbook, which says what comes first",
        )
    return replace(document, current=None, previous=replace(current, status="retiring", ended=now))


def _receive(document: Document, request: Request, now: datetime) -> Document:
    stage = document.current or document.pending
    rotation = stage.rotation_id if stage else ""
    news = {name: seen for name, seen in request.receipts.items() if _seen(document, name) != seen}
    receipts = {
        **document.receipts,
        **{name: Receipt(seen, now, rotation) for name, seen in news.items()},
    }
    return replace(document, receipts=receipts) if news else document


def _seen(document: Document, name: str) -> str:
    receipt = document.receipts.get(name)
    return receipt.seen if receipt else ""


def _note(document: Document, request: Request, now: datetime) -> Document:
    return replace(document, noticed={**document.noticed, **request.notices}, updated=now)


def _claim(document: Document, request: Request, now: datetime) -> Document:
    return document


_STEPS: Dict[str, Callable[[Document, Request, datetime], Document]] = {
    "claim": _claim,
    "stage": _stage,
    "issued": _issued,
    "applied": _applied,
    "proved": _proved,
    "promote": _promote,
    "cutover": _cutover,
    "observed": _observed,
    "rollback": _rollback,
    "retire": _retire,
    "retired": _retired,
    "forget": _forget,
    "destroyed": _destroyed,
    "adopt": _adopt,
    "abandon": _abandon,
    "abandoned": _abandoned,
    "receive": _receive,
    "note": _note,
    "compromise": _compromise,
    "revoke_first": _revoke_first,
}
TRANSITIONS = (*_STEPS, "release")
_BEGINNING = ("stage", "adopt", "claim")


def _begin(request: Request) -> Document:
    if request.transition not in _BEGINNING:
        raise _refuse(
            None,
            request.transition,
            "Rotate it for the first time, or take over the value in use with the adopt playbook",
        )
    return Document(request.credential, request.salt)


def _release(document: Document, request: Request, now: datetime) -> Document:
    claim = document.claim
    if claim is None:
        return document
    if not same_run(claim, request.run) and not request.holder_dead and claim.expires > now:
        return document
    return _written(replace(document, claim=None), document, now)


def _written(after: Document, before: Document, now: datetime) -> Document:
    """The document as this step leaves it, without what nobody is to know any more."""
    kept = tuple(item for item in after.abandoned if item.is_known(now))
    return replace(after, step=before.step + 1, updated=now, abandoned=kept)


def only_claimed(before: Optional[Document], after: Document) -> bool:
    """Whether a step was done before and only its claim is new: another run goes on with it."""
    if before is None or after.claim is None:
        return False
    kept = replace(
        after,
        claim=before.claim,
        step=before.step,
        updated=before.updated,
        abandoned=before.abandoned,
    )
    return kept == before


def _check_rotation(document: Document, request: Request) -> None:
    """Refuse what was done or proved for another rotation than the one that the keyring is about by now.

    :raises Conflict: naming both.
    """
    working = document.pending or document.current
    found = working.rotation_id if working else "none"
    if request.proved_for and request.proved_for != found:
        raise Conflict(
            f"{document.credential}: '{request.transition}' is for rotation {request.proved_for}, and the keyring is about {found} by "
            "now: another run went on meanwhile. Nothing was written; run again"
        )


def transition(document: Optional[Document], request: Request, now: datetime) -> Document:
    """Do one step.

    :param document: the keyring as read; none when it is absent.
    :param now: UTC, by the store's clock where it has one.
    :return: the next document, with its claim renewed; the very same object when the step was done before.
    :raises Conflict: the step is about another rotation.
    :raises Refused: the step is not allowed in this state, another run holds the claim, or the clock went back.
    :raises BadInput: there is no such step.
    """
    if request.transition not in TRANSITIONS:
        raise BadInput(
            f"transition: '{request.transition}' is unknown; expected one of {', '.join(TRANSITIONS)}"
        )
    if document is not None and document.credential != request.credential and request.credential:
        raise BadInput(
            f"keyturn_keyring: this keyring belongs to '{document.credential}', not to '{request.credential}'; give each credential its own"
        )
    if request.transition == "release" and document is not None:
        return _release(document, request, now)
    known = document if document is not None else _begin(request)
    check_clock(known.credential, known, now)
    check_claim(known, request, now)
    _check_rotation(known, request)
    after = _STEPS[request.transition](known, request, now)
    held = known.claim is not None and same_run(known.claim, request.run)
    if after is known and held:
        return known
    if request.transition != "note" or held:
        after = _claimed(after, request, now)
    return _written(after, known, now)
