# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates before a value is promoted, retired, returned to or adopted. Pure."""

from __future__ import annotations

from ansible_collections.keyturn.runbooks.plugins.module_utils._due import (
    being_rolled_back,
    can_return_to,
    cut_over,
    in_emergency,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._gate_port import (
    Case,
    Gate,
    some,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_duration,
    format_time,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._transitions import describe


def proof(case: Case) -> Gate:
    """The pending value is proved."""
    pending = case.document.pending if case.document else None
    if (pending and pending.status == "proved") or (pending is None and cut_over(case.document)):
        return Gate("proof", True, "the pending value is proved")
    return Gate(
        "proof",
        False,
        f"the pending value is not proved ({describe(case.document)}): run the rotation with its prove phase",
    )


def observed(case: Case) -> Gate:
    """The current value is observed."""
    current = case.document.current if case.document else None
    if current and current.status == "observed":
        return Gate("observed", True, "the current value is observed")
    return Gate(
        "observed",
        False,
        "the current value is not observed yet: run the rotation playbook to its end first",
    )


def stands(case: Case) -> Gate:
    """There is a value to name as compromised, and nothing half made that was made before."""
    document = case.document
    if document is None or not (document.current or document.previous):
        return Gate(
            "stands",
            False,
            f"no value is in use ({describe(document)}): there is nothing to answer for",
        )
    if document.pending and not in_emergency(document):
        return Gate(
            "stands",
            False,
            f"a rotation is begun, and its value may be as exposed as the one in use ({describe(document)}): run the abandon playbook "
            "first, then this one again",
        )
    return Gate("stands", True, "there is a value to name as compromised")


def revocable(case: Case) -> Gate:
    """The value in use can be taken out of use before there is another."""
    document = case.document
    if document and document.current and document.previous:
        return Gate(
            "revocable",
            False,
            f"an older value is not ended yet ({describe(document)}): run the retire_due playbook first",
        )
    if case.facts.stored:
        return Gate(
            "revocable",
            False,
            "something is stored that only the value in use opens (keyturn_reencrypt), and nobody could read it until it is under another "
            "one: choose rotate_first",
        )
    if case.facts.comes_first:
        return Gate("revocable", False, f"{case.facts.comes_first}: choose rotate_first")
    return Gate("revocable", True, "no older value stands in the way")


def grace(case: Case) -> Gate:
    """The grace period is over."""
    previous = case.document.previous if case.document else None
    if previous is None:
        return Gate("grace", False, "there is no previous value to retire")
    if previous.status == "retiring" or previous.failed or previous.compromised:
        return Gate("grace", True, "it has no grace left")
    until = previous.retire_after
    if until is None:
        return Gate(
            "grace", False, "its grace has not begun: run the rotation playbook to its end first"
        )
    if case.now < until:
        left = format_duration(until - case.now)
        return Gate(
            "grace",
            False,
            f"its grace ends in {left}, at {format_time(until)}: run retire_due then",
        )
    return Gate("grace", True, f"its grace ended at {format_time(until)}")


def _retiring(case: Case) -> bool:
    """Whether the mark was written already: then sinks and consumers are behind because this run has yet to go on."""
    previous = case.document.previous if case.document else None
    return bool(previous and previous.status == "retiring")


_ALL_THE_SAME = "It is compromised, so it is ended all the same"


def behind(case: Case) -> Gate:
    """Every sink holds what the keyring says."""
    behind = () if _retiring(case) else case.facts.behind
    if not behind:
        return Gate("behind", True, "every sink holds what the keyring says")
    if case.emergency:
        return Gate("behind", True, f"these sinks are behind: {some(behind)}. {_ALL_THE_SAME}")
    return Gate(
        "behind",
        False,
        f"these sinks are behind: {some(behind)}. Run the rotation playbook with --tags promote to write them",
    )


def receipts(case: Case) -> Gate:
    """Every consumer was seen using the current value."""
    lagging = () if _retiring(case) else case.facts.lagging
    if not lagging:
        return Gate("receipts", True, "every consumer was seen using the current value")
    if case.emergency:
        return Gate(
            "receipts",
            True,
            f"these consumers were not seen using the current value: {some(lagging)}. {_ALL_THE_SAME}",
        )
    return Gate(
        "receipts",
        False,
        f"these consumers were not seen using the current value: {some(lagging)}. Run the rotation playbook with --tags reload",
    )


def sessions(case: Case) -> Gate:
    """Nobody uses the previous value."""
    sessions = case.facts.sessions
    if sessions is None:
        return Gate("sessions", True, "not counted here")
    if not sessions:
        return Gate("sessions", True, "nobody uses the previous value")
    if case.emergency:
        return Gate(
            "sessions",
            True,
            f"the previous value is still used by: {some(sessions)}. {_ALL_THE_SAME}",
        )
    return Gate(
        "sessions",
        False,
        f"the previous value is still used by: {some(sessions)}. Move these clients to the current value, then run again",
    )


_PENDING = "a pending value was never in use: run the abandon playbook instead"
_PENDING_ALONE = (
    "the issuer ended the value in use when it made the pending one: nothing can be returned to; run the rotation playbook again, it goes "
    "on with the pending value"
)
_PENDING_UNKNOWN = (
    "a rotation is begun, and the issuer ends the value in use when it makes the new one, which may be done by now: nothing can be "
    "returned to; run the rotation playbook again, it goes on from there"
)


def _never_again(case: Case, previous: Stage) -> str:
    """Why a value may not be returned to; empty when it may."""
    facts, ended = case.facts, previous.ended
    when = f", on {format_time(ended)}," if ended else ""
    if not facts.returns or previous.is_gone(facts.overlap, facts.returns):
        return f"was ended by the issuer when it made this one{when}"
    if can_return_to(previous):
        return ""
    if previous.failed:
        return "was rolled back before"
    return "is compromised" if previous.compromised else "is being retired"


def target(case: Case) -> Gate:
    """There is a value to return to."""
    document = case.document
    if document and document.pending:
        gone = document.current and document.current.ended
        not_gone = _PENDING if case.facts.returns else _PENDING_UNKNOWN
        return Gate("target", False, _PENDING_ALONE if gone else not_gone)
    current, previous = (document.current, document.previous) if document else (None, None)
    meant = case.facts.rotation_id
    if meant and current and current.rotation_id != meant and not being_rolled_back(document):
        return Gate(
            "target",
            False,
            f"rotation {meant} is not the one in use, that is {current.rotation_id}: nothing to roll back",
        )
    if previous is None:
        return Gate(
            "target",
            False,
            "nothing is kept to return to: rotate forward instead, with the rotation playbook",
        )
    if being_rolled_back(document):
        return Gate("target", True, "a rollback is under way: it goes on")
    why = _never_again(case, previous)
    if why:
        return Gate(
            "target",
            False,
            f"the previous value {why} and may not be used again: rotate forward instead, with the rotation playbook",
        )
    return Gate("target", True, f"rotation {previous.rotation_id} can be returned to")


def only_value(case: Case) -> Gate:
    """The value that is undone is not the only one that may work."""
    document = case.document
    pending, current = (document.pending, document.current) if document else (None, None)
    alone = pending and pending.fields and current and current.ended
    if not (alone and case.facts.handed) or (pending and pending.status == "abandoning"):
        return Gate("only_value", True, "what is undone is not the only value that may work")
    if case.facts.force:
        return Gate("only_value", True, "the only value that may work is undone, as the user said")
    known = case.facts.definition
    other = pending and known and pending.definition != known
    mend = "Put the definition back as it was" if other else "Mend what failed"
    return Gate(
        "only_value",
        False,
        f"by the keyring the value in use ended when the pending one was made, so the pending one is the only one that may work. {mend}, "
        "and run the rotation playbook again: it tries the pending value once more. Where that surely does not work, such as a wrong text "
        "that was handed over, run abandon again with -e keyturn_force=true",
    )


def in_use(case: Case) -> Gate:
    """There is a value in use."""
    current = case.document.current if case.document else None
    if current is not None:
        return Gate("in_use", True, f"rotation {current.rotation_id} is in use")
    begun = case.document and case.document.pending
    ways = (
        "run the rotation playbook again, which goes on from there; or run the abandon playbook first, and then adopt the value in use"
        if begun
        else "rotate it for the first time, or adopt the one in use"
    )
    return Gate("in_use", False, f"no value is in use ({describe(case.document)}): {ways}")


def unmanaged(case: Case) -> Gate:
    """The keyring is free for a value that is in use."""
    document = case.document
    if document is None or not (document.pending or document.current or document.previous):
        return Gate("unmanaged", True, "the keyring manages no value yet")
    current = document.current
    if current and current.adopted and not document.pending:
        return Gate("unmanaged", True, "the value was adopted before")
    if document.pending and not current:
        return Gate(
            "unmanaged",
            False,
            f"a first rotation is begun ({describe(document)}): run the abandon playbook first, then adopt; or run the rotation playbook "
            "again, which goes on from there",
        )
    return Gate(
        "unmanaged",
        False,
        f"this keyring already manages a value ({describe(document)}): rotate instead",
    )
