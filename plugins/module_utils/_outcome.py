# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people are told at the end of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Mapping, Optional

ENDED_AND_REFUSED = (
    "Nothing was changed: run rotate_stream_keys or rotate, which need not be forced"
)
ENDED_AND_ACCEPTED = (
    "Yet nothing refused it: the platform may take minutes to forget it, or nobody reset it and what was handed over was wrong. Do not "
    "rely on it, and rotate. Only where you know that nobody reset it: rotate_stream_keys --tags observe proves it and takes that mark away"
)
NOT_YET_ENDED = (
    ". It is begun, and every place is without the value: making the one in use ended it, and a platform may take minutes to forget it, so "
    "wait, and run the same playbook again. Where nobody reset it, nothing ends it but making another: rotate once more, with -e "
    "keyturn_force=true if the one in use is young"
)


def returned_from(keyring: Mapping[str, Any]) -> bool:
    """Whether the value before the current one was returned from.

    :param keyring: the keyring's state, as results show it.
    """
    return bool((keyring["stages"].get("previous") or {}).get("failed"))


def replaced_dead(keyring: Mapping[str, Any]) -> bool:
    """Whether the value before the current one was taken out of use before there was another.

    :param keyring: the keyring's state, as results show it.
    """
    previous = keyring["stages"].get("previous") or {}
    return bool(previous.get("compromised")) and previous.get("status") == "retiring"


def lingering(keyring: Mapping[str, Any]) -> List[str]:
    """The rotations whose values were compromised and are refused, and that nobody saw destroyed everywhere.

    :param keyring: the keyring's state, as results show it.
    """
    return [
        stage["rotation_id"]
        for stage in keyring.get("retained_stages") or ()
        if stage.get("compromised") and stage["status"] == "retained" and not stage.get("destroyed")
    ]


def still_accepted(keyring: Mapping[str, Any]) -> str:
    """What is said of a compromised value when the rotation that answers it fails.

    :param keyring: the keyring's state, as results show it.
    """
    found = [stage for stage in (keyring.get("stages") or {}).values() if stage]
    named = [
        stage["rotation_id"]
        for stage in found
        if stage.get("compromised") and stage["status"] != "retiring"
    ]
    return f". What is compromised is still accepted (rotation {', '.join(named)})" if named else ""


def outcome(
    purpose: str, keyring: Mapping[str, Any], returns: bool = True, overlap: bool = True
) -> str:
    """How a procedure that was followed to its end left the credential.

    :param returns: the issuer still accepts a value that was replaced, or can be brought to.
    :param overlap: it still accepts it.
    """
    if purpose == "retire":
        return _retired(keyring)
    if purpose == "abandon":
        return "The pending value is refused now and was removed"
    if purpose == "revoke_first":
        return "No value is in use: the compromised one is refused. The rotation comes next"
    if purpose == "compromise":
        return _named(keyring["stages"])
    current, previous = keyring["stages"]["current"], keyring["stages"].get("previous")
    text = f"Rotation {current['rotation_id']} is in use"
    if previous and previous["failed"]:
        failed = previous["rotation_id"]
        text += (
            f" again: the one that failed, {failed}, was returned from and is kept until retire_due"
        )
    elif replaced_dead(keyring):
        text += "; the compromised one is refused"
    elif previous and not returns:
        text += "; the issuer ended the previous value when it made this one"
    elif previous and previous.get("compromised"):
        text += "; the compromised one before it has no grace, and is ended next: by respond_compromise, or else by retire_due"
    elif previous:
        text += _kept_until(str(previous["retire_after"]), overlap)
    outage = current["outage_seconds"]
    return (
        text
        if outage is None
        else f"{text}; new logins and calls could fail for at most {round(outage, 1)} s"
    )


def _retired(keyring: Mapping[str, Any]) -> str:
    if not lingering(keyring):
        return "The previous value is refused now and was removed"
    return (
        "The previous value is refused now. It was compromised, so the keyring keeps it until what places keep of it is destroyed, which "
        "respond_compromise does next, or else the playbook destroy_old_versions"
    )


def _kept_until(moment: str, overlap: bool) -> str:
    """What becomes of the value before the one in use."""
    if overlap:
        return f"; the previous value is accepted until the retire_due playbook ends it, at {moment} or later"
    return (
        "; the previous value is not accepted any more, and is kept for a rollback until the retire_due playbook removes it, at "
        f"{moment} or later"
    )


def _named(stages: Mapping[str, Any]) -> str:
    named = [
        f"{name} (rotation {stage['rotation_id']})"
        for name, stage in stages.items()
        if stage and stage["compromised"]
    ]
    return (
        f"Compromised by the keyring: {', '.join(named)}. No run returns to it, and it has no grace"
    )


def returned(overlap: bool) -> str:
    """The way on after a return to the previous value.

    :param overlap: the issuer accepts several values, so that the failed one is in the way of another until it is ended.
    """
    if not overlap:
        return "Mend the cause and run the same playbook again"
    return "Mend the cause, run the retire_due playbook, which ends the value that failed, and then run the same playbook again"


def handed_over(escalation: str, keyring: Optional[Mapping[str, Any]]) -> str:
    """Whom to ask when a rotation that was begun fails, and what to tell them.

    :param escalation: from the policy; nothing is said without it.
    :param keyring: the keyring's state, as results show it.
    """
    if not escalation:
        return ""
    stages = (keyring or {}).get("stages") or {}
    told = [
        f"{name} is {stage['status']}{' and failed' * bool(stage.get('failed'))} (rotation {stage['rotation_id']})"
        for name, stage in stages.items()
        if stage
    ]
    state = f", and hand over: {'; '.join(told)}" if told else ""
    return f". If that does not help, escalate to {escalation}{state}"


def still_as_it_was(kind: str, kept: bool) -> str:
    """What is said after a proof of the value in use that failed, where nothing else was to be done.

    :param kind: of the failure, as results tell it.
    :param kept: the value before it can be returned to.
    """
    if kind != "ProbeFailed":
        return ". Nothing was changed, and this says nothing about the value: mend it, and run the same playbook again"
    back = ", or return to the value before with the rollback playbook" if kept else ""
    return (
        ". Nothing was changed. Where the value itself is bad, make another with the rotation playbook and -e keyturn_force=true"
        f"{back}"
    )


_NOT_REFUSED = "Do not abandon it: nothing refused it"


@dataclass(frozen=True)
class Pending:
    """A value that is not in use, when a rotation fails.

    :param made: it is there; else somebody is yet to make it.
    :param ends: making it ends the one in use.
    :param asked: an earlier run, or a step of this one, had somebody make it.
    :param ended: the one in use ended, by the keyring or because its issuer keeps no other beside a new one.
    :param first: no value is in use.
    :param handed: a person hands it over.
    :param refused: the proof of it failed because it was refused, and for no other cause.
    """

    made: bool = True
    ends: bool = False
    asked: bool = True
    ended: bool = False
    first: bool = False
    handed: bool = False
    refused: bool = False


def advice(pending: Optional[Pending], begun: bool) -> str:
    """What is said after a failure.

    :param pending: a value was made, or is to be made, and is not in use: it harms nobody.
    :param begun: something else than a rotation was begun, which has one way on.
    """
    if begun:
        return ". It is begun: mend the cause and run the same playbook again, which goes on from there"
    if pending is None:
        return ""
    again = "mend the cause and run the same playbook again"
    if not pending.made and pending.ends and pending.asked and not pending.ended:
        whose = "what was accepted before it" if pending.first else "the one in use"
        return f". Where the new value was made by now, {whose} may have ended: {again}, which goes on from there"
    if pending.ended and pending.made and not pending.first:
        return f". The new value is not in use. {_after_an_end(pending, again)}"
    goes = "applications go on with the old one"
    if pending.ended:
        goes = "the one in use has ended"
    if pending.first:
        goes = "no value is in use; what stood in the places before may be gone"
    if pending.first and pending.made and pending.ends and not pending.refused:
        return f". The new value is not in use, and {goes}: {again}. {_NOT_REFUSED}"
    return f". The new value is not in use, and {goes}: {again}, or undo the new value with the abandon playbook{_undone(pending)}"


def _undone(pending: Pending) -> str:
    """What follows the undoing of a first value, where a person hands it over."""
    wrong = pending.first and pending.handed and pending.refused
    return ", put the right one there, and rotate" * wrong


def _after_an_end(pending: Pending, again: str) -> str:
    """The way on where the one in use ended: the new one may be all that works."""
    only = f"Making it ended the one in use, as far as is known, so it may be the only one that works: {again}"
    if not pending.refused:
        return f"{only}. {_NOT_REFUSED}"
    anew = "which does not have to be forced: the keyring knows that the one in use ended"
    if pending.handed:
        return (
            f"{only}. A platform may take minutes to know it. Only where a wrong text was handed over: it is not read again, so run the "
            f"abandon playbook with -e keyturn_force=true, put the right one there, and rotate, {anew}"
        )
    return f"{only}. Only where the new value itself is bad: run the abandon playbook, and rotate, {anew}"
