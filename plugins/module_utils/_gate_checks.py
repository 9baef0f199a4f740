# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates before a rotation begins. Pure."""

from __future__ import annotations

from datetime import timedelta

from ansible_collections.keyturn.runbooks.plugins.module_utils._claims import clock_fault
from ansible_collections.keyturn.runbooks.plugins.module_utils._due import (
    cut_over,
    measure,
    taken_out,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._gate_mends import (
    locked_out,
    may_be_locked_out,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._gate_port import (
    Case,
    Facts,
    Gate,
    some,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import Policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_duration,
    format_time,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._windows import window_state


def reason(case: Case) -> Gate:
    """Policy or an emergency demands a reason."""
    facts, policy = case.facts, case.policy
    if facts.reason.strip():
        return Gate("reason", True, "a reason was given")
    why = "an emergency" if facts.emergency else "its policy" if policy.reason_required else ""
    if not why:
        return Gate("reason", True, "no reason is asked for")
    return Gate(
        "reason",
        False,
        f"{why} demands a reason: say why, with -e keyturn_reason='…'; the ledger keeps it",
    )


def window(case: Case, mends: str = "") -> Gate:
    """The maintenance window is open.

    :param mends: why nobody can use the credential until this is done.
    """
    facts = case.facts
    state = window_state(case.policy.windows, case.now)
    if state.is_open:
        until = f" until {format_time(state.closes)}" if state.closes else ""
        return Gate(
            "window",
            True,
            f"the maintenance window is open{until}" if until else "no maintenance window is set",
        )
    if case.emergency or facts.outside_window:
        return Gate("window", True, "outside the maintenance window, as the user asked")
    if cut_over(case.document):
        return Gate(
            "window", True, "outside the maintenance window, but the cut-over was begun: it goes on"
        )
    if mends:
        return Gate(
            "window", True, f"outside the maintenance window, but {mends}; a rotation mends that"
        )
    opens = (
        f"opens at {format_time(state.opens)}, in {format_duration(state.opens - case.now)}"
        if state.opens
        else "does not open this week"
    )
    late = (
        ". The rotation that was begun may have ended the value in use already: then do not wait"
        if may_be_locked_out(case)
        else ""
    )
    return Gate(
        "window",
        False,
        f"the maintenance window {opens}: run then, or now with -e keyturn_outside_window=true{late}",
    )


def window_to_rotate(case: Case) -> Gate:
    """The maintenance window is open, or a rotation is what mends the credential."""
    return window(case, locked_out(case))


def policy(case: Case) -> Gate:
    """The policy lets it be rotated now."""
    facts, policy = case.facts, case.policy
    status = measure(case.document, policy, case.now)
    if status.under_way:
        return Gate("policy", True, "a rotation is under way: it goes on")
    if facts.emergency or status.compromised:
        return Gate("policy", True, "an emergency")
    if facts.first and status.age is None:
        return Gate("policy", True, "there is no value yet: the first one is made")
    if policy.rotate != "age" and not status.ended:
        return _policy_on_demand(policy, facts)
    old = status.age is None or status.age >= policy.min_age
    if old or status.ended or facts.force:
        return Gate("policy", True, status.describe())
    left = format_duration(policy.min_age - (status.age or timedelta(0)))
    return Gate(
        "policy",
        False,
        f"too young to rotate: {status.describe()}; it may be rotated in {left}, or now with -e keyturn_force=true",
    )


def _policy_on_demand(policy: Policy, facts: Facts) -> Gate:
    reason = bool(facts.reason.strip())
    if policy.rotate == "on_provider_change":
        said = "its policy is to rotate when the provider changes something: say what, with -e keyturn_reason='…'"
        return Gate("policy", reason, "a reason was given" if reason else said)
    if facts.force and reason:
        return Gate("policy", True, "forced, with a reason")
    when = "only after a compromise" if policy.rotate == "on_compromise" else "never"
    return Gate(
        "policy",
        False,
        f"its policy is to rotate {when}: if you must, run with -e keyturn_force=true -e keyturn_reason='…'",
    )


def claim(case: Case) -> Gate:
    """No other run is at work."""
    facts, claim = case.facts, case.document.claim if case.document else None
    if claim is None or claim.run_id == facts.run_id:
        return Gate("claim", True, "no other run is at work")
    holder = f"run {claim.run_id} on {claim.host} (process {claim.pid})"
    if facts.holder_dead:
        return Gate("claim", True, f"{holder} is dead: its work is taken over")
    if facts.take_over:
        return Gate("claim", True, f"{holder} is taken over, as the user asked")
    if claim.expires <= case.now:
        return Gate("claim", True, f"the claim of {holder} expired at {format_time(claim.expires)}")
    seen = format_duration(case.now - claim.renewed)
    return Gate(
        "claim",
        False,
        f"{holder} is working on it, last seen {seen} ago: wait for it to end; if you know that it is dead, run again with "
        f"-e keyturn_take_over=true, else its claim ends by itself at {format_time(claim.expires)}",
    )


def clock(case: Case) -> Gate:
    """The clocks can be trusted."""
    fault = clock_fault(case.document, case.now, case.facts.store_time)
    return Gate("clock", not fault, fault or "the clocks agree")


def leftover(case: Case) -> Gate:
    """What is pending was made for this definition."""
    pending = case.document.pending if case.document else None
    if pending is None:
        return Gate("leftover", True, "nothing is pending")
    name = f"pending value of rotation {pending.rotation_id}"
    if pending.status == "abandoning":
        return Gate(
            "leftover",
            False,
            f"the {name} is being abandoned: run the abandon playbook to its end first",
        )
    if case.facts.definition and pending.definition != case.facts.definition:
        return Gate(
            "leftover",
            False,
            f"the {name} was made for another definition of this credential: run the abandon playbook, then rotate again; or put the "
            "definition back as it was and run again",
        )
    return Gate("leftover", True, f"the {name} is used")


def previous(case: Case) -> Gate:
    """A new value does not take the place of one that is still kept."""
    document = case.document
    previous = document.previous if document else None
    if (
        document is None
        or previous is None
        or not case.facts.overlap
        or document.pending
        or cut_over(document)
        or taken_out(document)
    ):
        return Gate("previous", True, "nothing stands in the way of a new value")
    who = f" ({previous.text('username')})" if previous.text("username") else ""
    if previous.status == "retiring":
        return Gate(
            "previous",
            False,
            f"the previous value{who} is being retired: run the retire_due playbook to its end first",
        )
    kept, then = f"the value of the rotation that failed{who} is still kept", "now"
    if not previous.failed:
        until = previous.retire_after
        waits = until is not None and until > case.now
        when = f"its grace ends at {format_time(until)}" if until and waits else "its grace is over"
        kept, then = f"the previous value{who} is still kept, {when}", "then" if waits else "now"
    return Gate(
        "previous", False, f"{kept}: run the retire_due playbook {then}, and rotate after it"
    )


def alert(case: Case, mends: str = "") -> Gate:
    """No alert is firing.

    :param mends: why nobody can use the credential until this is done.
    """
    alert = case.facts.alert
    if alert is None:
        return Gate("alert", True, "no alert is firing")
    if case.emergency or cut_over(case.document):
        return Gate(
            "alert",
            True,
            f"{alert}; the run goes on all the same, because stopping here would not help",
        )
    if mends:
        return Gate("alert", True, f"{alert}; but {mends}, and a rotation mends that")
    if not may_be_locked_out(case):
        return Gate("alert", False, f"{alert}: see to it first, then run again")
    if case.facts.force:
        return Gate("alert", True, f"{alert}; the run goes on, as the user asked")
    return Gate(
        "alert",
        False,
        f"{alert}: see to it first, then run again. The rotation that was begun may have ended the value in use already: if that is why it "
        "fires, run now with -e keyturn_force=true",
    )


def alert_to_rotate(case: Case) -> Gate:
    """No alert is firing, or a rotation is what mends the credential."""
    return alert(case, locked_out(case))


def conditions(case: Case) -> Gate:
    """The credential's own gates are open, such as that nobody is live."""
    closed = case.facts.conditions
    if closed and case.emergency and not case.facts.stored:
        return Gate("gates", True, f"{some(closed)}; an emergency goes on all the same")
    return Gate("gates", not closed, some(closed) or "the credential's own gates are open")


def issuer(case: Case) -> Gate:
    """The issuer can do it."""
    problems = case.facts.issuer_problems
    return Gate("issuer", not problems, some(problems) or "the issuer can do it")


def sinks(case: Case) -> Gate:
    """Every sink can be read."""
    problems = case.facts.unreadable
    return Gate("sinks", not problems, some(problems) or "every sink can be read")


def unknown(case: Case) -> Gate:
    """A first rotation replaces no value that somebody may use."""
    facts, found = case.facts, case.facts.unknown
    if not found:
        return Gate("unknown", True, "no place holds a value that the keyring does not know")
    hold = f"these places hold a value that the keyring does not know: {some(found)}"
    if facts.replace or case.emergency:
        return Gate("unknown", True, f"{hold}; it may be replaced, as the user said")
    begun = case.document and case.document.pending
    how = "run the abandon playbook first, then adopt it" if begun else "adopt it first"
    return Gate(
        "unknown",
        False,
        f"{hold}. The first rotation would replace it, and nothing could return to it. Where it is in use, {how}: "
        f"ansible-playbook -i INVENTORY keyturn.runbooks.adopt --limit {facts.credential} -e @FILE, with keyturn_adopt in FILE. Where it "
        "may go, such as a placeholder or what an abandoned rotation left, run again with "
        f"--limit {facts.credential} -e keyturn_replace=true",
    )


def consumers(case: Case) -> Gate:
    """Every consumer could be told of a new value now."""
    problems = case.facts.unready
    if problems and (case.emergency or cut_over(case.document)):
        return Gate(
            "consumers",
            True,
            f"{some(problems)}; the run goes on all the same, because stopping here would not help",
        )
    return Gate("consumers", not problems, some(problems) or "every consumer can be told")


def probes(case: Case) -> Gate:
    """There is a proof to try."""
    if case.facts.probes == 0:
        return Gate(
            "probes",
            False,
            "no probe in keyturn_probes shows a new value to whoever checks it, so nothing would prove that it works before it is used: "
            "add one that does, such as a login, or a request or a program that has {stage.FIELD} in what it is given",
        )
    return Gate("probes", True, "there is a proof to try")
