# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``procedure``: every step of a rotation, a rollback or an end, one after the other, in one task.

Each step is another module's core, with the arguments that a task of its own would have. What only another host reaches ends
this part: the role does it there and calls again, and the keyring and ``resume`` say where to go on.
"""

from __future__ import annotations

from typing import Any, Mapping, NoReturn, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import KEYRING, LEDGER
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._due import ended_at_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
    Live,
    ProbeFailed,
    Sealed,
    Unreachable,
    Waiting,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._outcome import (
    ENDED_AND_ACCEPTED,
    ENDED_AND_REFUSED,
    NOT_YET_ENDED,
    Pending,
    advice,
    handed_over,
    outcome,
    returned,
    returned_from,
    still_accepted,
    still_as_it_was,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import parse_policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._preflight import NOTHING
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes import presenting
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedure_account import (
    Account,
    Elsewhere,
    Failed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedure_places import where_it_is
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedures import (
    BACK,
    CHECK,
    GLANCE,
    LOOK,
    NOTE,
    PHASES,
    PREFLIGHT,
    PROCEDURES,
    RELEASE,
    RETURN,
    TELL,
    Step,
    chosen,
    lets_go,
    only_refresh,
    steps_after,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_time

_SEEN = ("unreadable", "behind", "unready", "unknown", "closed")
_KEPT = (
    "todo", "overlap", "cutover", "returns", "handed", "others", "watched", "can_return", "notices",
)  # fmt: skip
# The steps of a verification and of an end that prove the value in use.
_IN_USE = ("prove", "alive")
# Of a failed check: its message names all that is closed, and what there would have been to do was not done.
_TOO_MUCH = frozenset(
    {
        "baseline",
        "can_return",
        "cutover",
        "due",
        "gates",
        "handed",
        "interruption",
        "notices",
        "stages",
        "others",
        "overlap",
        "place",
        "reason",
        "refusals",
        "replaced",
        "returns",
        "status",
        "todo",
        "unbrought",
        "unrecorded",
        "watched",
    }
)


def escalation_of(policy: Mapping[str, Any]) -> str:
    """Whom a policy names; the check has read all of it before, and a failure before that names nobody."""
    try:
        return parse_policy(policy).escalation
    except KeyturnError:
        return ""


class Ended(KeyturnError):
    """The procedure failed, and all that a failure asks for was done. Its details hold the kind of the cause."""


def _phase_of(step: Step) -> str:
    """What people call the part of the procedure that a step belongs to."""
    if step is CHECK:
        return PREFLIGHT
    return max(step.phases, key=PHASES.index) if step.phases else step.key


def _without_evidence(keyring: Mapping[str, Any]) -> Mapping[str, Any]:
    """A keyring's state without what proved its stages, which is most of it: of a failed task Ansible prints all to a person."""

    def short(stage: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: stage[name] for name in stage if name != "evidence"}

    stages = {name: short(stage) for name, stage in keyring["stages"].items()}
    return {
        **keyring,
        "stages": stages,
        "retained_stages": [*map(short, keyring["retained_stages"])],
    }


def _by_a_place(error: Failed) -> bool:
    """Whether a place took no write: nothing speaks against the value then, and a return would write to the same places.

    What cannot be meant, such as a text that the place's readers would take differently, will not be better when it is tried again.
    """
    return bool(error.details.get("unwritten")) and error.details.get("kind") != BadInput.__name__


def _by_the_record(error: Failed) -> bool:
    """Whether the keyring or the ledger took no step: a return would be one more."""
    away = (Denied.__name__, Sealed.__name__, Unreachable.__name__)
    return error.details.get("place") in (KEYRING, LEDGER) and error.details.get("kind") in away


class Procedure(Account):
    """The order in which steps are taken, and what answers a failed one."""

    def check(self) -> None:
        """Every gate, and what the user lets go by it."""
        self.gates()
        if self.progress.replaced:
            self.context.warn(
                f"{self.params['credential']}: {lets_go(self.progress)}. Nothing can return to it. Where keyturn_replace stands in an "
                "inventory, take it out now: it is for this rotation alone"
            )

    def gates(self) -> None:
        """Every gate; again only when something was found on other hosts."""
        seen = {name: self.params["found"][name] for name in _SEEN}
        if self.after == CHECK.key and not any(seen.values()):
            return
        again = {"baseline": False, **seen} if self.after == CHECK.key else {}
        done = self.do(CHECK, refresh=only_refresh(self.phases), **again)
        self.progress.checked = {
            **{name: done[name] for name in _KEPT},
            "stages": done.get("stages") or {},
            "under_way": done["status"]["under_way"],
            "ended": done["status"].get("ended"),
            "replaced": done.get("replaced") or [],
            "msg": done["msg"],
        }
        said = done["reason"] if done["todo"] == NOTHING else done["interruption"]
        if said and not self.after:
            self.tell(said)
        if self.phases == {PREFLIGHT} and done["todo"] != NOTHING:
            self.tell(
                "only the gates were checked, because the tags that were chosen ask for no more"
            )
        if not self.after and any(done["elsewhere"].values()):
            raise Elsewhere(CHECK, done)

    def follow(self, steps: Tuple[Step, ...]) -> None:
        """The steps that are asked for and have something to do."""
        for step in steps_after(steps, self.after):
            if chosen(self.params["purpose"], self.phases, step) and step.when(self.progress):
                done = self.do(step)
                asked = step.key in (LOOK, GLANCE) and any(done["elsewhere"].values())
                if done.get("sink_hosts") or done.get("waiting") or asked:
                    raise Elsewhere(step, done)

    def see(self) -> None:
        """What other hosts told of a look.

        :raises Failed: somebody may be live there.
        """
        found = self.params["found"]
        seen = list(dict.fromkeys([*found["closed"], *found["unready"]]))
        if seen:
            step = self.step_left()
            raise Failed(step, f"{step.name}: {'; '.join(seen)}", kind=Live.__name__)

    def notify(self, event: str, text: str, **more: Any) -> bool:
        """Tell the owner's contacts; returns whether anybody was reached."""
        if not self.params["policy"].get("contacts"):
            return False
        return bool(self.do(TELL, event=event, text=text, **more)["changed"])

    def notices(self) -> None:
        """Tell what comes next; the keyring remembers which notices arrived somewhere, so each is told once."""
        waiting = self.progress.checked.get("notices") or []
        arrived = {
            notice["event"]: notice["mark"]
            for notice in waiting
            if self.notify(notice["event"], notice["message"])
        }
        if arrived:
            self.do(NOTE, notices=arrived)

    def close(self) -> None:
        """The end of a run that went well: who is told of it, and the claim."""
        purpose = self.params["purpose"]
        ended = self.known_to_have_ended("verify")
        if ended:
            self.tell(f"{ended}. {ENDED_AND_ACCEPTED}")
        last = self.progress.results.get(PROCEDURES[purpose][-1].key, {}).get("keyring")
        if last:
            text = outcome(purpose, last, self.progress.returns, self.progress.overlap)
            answer = purpose in ("compromise", "revoke_first")
            back = purpose in ("rotate", "rollback") and returned_from(last)
            # A dry run waits for nobody, so what it would measure is not what a real one takes; and nothing that it foresees is in use.
            done = purpose == "rotate" and not self.context.check_mode
            if answer or back or done:
                self.tell(text)
            self.notify("success", text, phase=purpose)
        # What was found before this run did something may have been settled by it.
        if self.progress.todo == NOTHING:
            self.notices()
        elif purpose == "rotate" and not last and self.under_way():
            self.tell(
                "not finished: only some phases were asked for; run the same playbook without tags to go on"
            )
        self.do(RELEASE)

    def left_pending(self, details: Mapping[str, Any]) -> Pending:
        """What is known of the value that a failed rotation leaves.

        :param details: of the failure.
        """
        progress, keyring = self.progress, self.keyring or {}
        current = (keyring.get("stages") or {}).get("current") or {}
        made = self._pending().get("status") not in (None, "intended")
        looked = details.get("kind") == Live.__name__ or bool(details.get("refusals"))
        return Pending(
            made=made,
            ends=not progress.returns,
            asked=bool(progress.checked.get("under_way")) or not looked,
            ended=bool(current.get("ended") or (made and not progress.returns)),
            first=not current,
            handed=bool(progress.checked.get("handed")),
            refused=progress.failed_in == "prove" and self.was_refused(details),
        )

    def was_refused(self, details: Mapping[str, Any]) -> bool:
        """Whether a proof failed because the value was refused; one that does not present it says nothing about it."""
        number, probes = details.get("probe"), self.params["probes"]
        tried = probes[number : number + 1] if isinstance(number, int) else []
        return details.get("kind") == ProbeFailed.__name__ and presenting(tried, "probes") > 0

    def known_to_have_ended(self, *purposes: str) -> str:
        """What the keyring says, in these purposes, of a value in use that its issuer ended; else nothing."""
        ended = self.progress.checked.get("ended") if self.params["purpose"] in purposes else None
        return f"By the keyring {ended_at_issuer(parse_time(ended, 'ended'))}" if ended else ""

    def under_way(self) -> bool:
        """Whether a rotation is begun and not at its end, by this run or before it."""
        progress = self.progress
        return bool(progress.staged or progress.in_use or progress.checked.get("under_way"))

    # Failures

    def answer(self, error: Failed) -> NoReturn:
        """What follows a failed step: a value that may be in use is returned from, and everybody is told.

        :raises Ended: at the end of it.
        :raises Elsewhere: when the return needs another host.
        """
        progress = self.progress
        self.context.progress(f"FAILED: {error.message}")
        progress.failed_in = progress.failed_in or _phase_of(error.step)
        at, kind = error.details.get("place"), error.details.get("kind")
        self.lost = at == KEYRING and kind == Unreachable.__name__
        if error.step is CHECK:
            # A closed gate keeps from nobody what comes next.
            progress.checked = {
                **progress.checked,
                "notices": error.details.get("notices") or [],
                "ended": (error.details.get("status") or {}).get("ended"),
            }
            # There is no gate to tell of a keyring that could not be opened, and of any other there are some.
            self.unread = error.details.get("gates") == [] or bool(error.details.get("unrecorded"))
            self.end(f"{error.message}{self.left_open(error)}", error.details)
        if progress.cause:
            how = "was begun and failed too" if progress.turned else "could not be begun"
            self.end(
                f"{progress.cause}. The return to the previous value {how}: {error.message}. {self.where()}"
                "Mend it and run the same playbook again: it goes on from where the keyring says it was",
                error.details,
            )
        used = progress.in_use or (progress.todo == "use" and error.step.returns)
        where = self.where() if used or error.step.key == BACK else ""
        if used and progress.overlap and (_by_a_place(error) or _by_the_record(error)):
            self.end(
                f"{error.message}. {where}Nothing speaks against the new value, and both values are accepted: whoever uses either goes on, "
                "so the run did not return to the old one. Mend the place and run the same playbook again: it goes on from here",
                error.details,
            )
        if used and progress.overlap and error.details.get("kind") == Live.__name__:
            self.end(
                f"{error.message}. {where}Nothing speaks against the new value, and both values are accepted, so the run did not return "
                "to the old one: run the same playbook again after the broadcast, it goes on from here",
                error.details,
            )
        if not error.step.returns:
            told = f". {where}".rstrip(". ") if where else ""
            self.end(f"{error.message}{told}", error.details)
        if not (used and progress.checked.get("can_return")):
            self.end(
                f"{error.message}. {where}Nothing was returned to; mend the cause and run the same playbook again",
                error.details,
            )
        progress.cause, progress.kind, self.after = error.message, error.details["kind"], None
        self.turn_back()

    def where(self) -> str:
        """Which places have the value in use, for a delivery that ended half way."""
        if self.lost:
            return ""
        return where_it_is(self.params, self.context, self.progress.unbrought)

    def left_open(self, error: Failed) -> str:
        """What is said beside closed gates where a rotation is begun, and nobody is locked out by that."""
        found = error.details
        begun = (found.get("status") or {}).get("under_way")
        if self.params["purpose"] != "rotate" or not (begun and found.get("overlap")):
            return ""
        return (
            ". A rotation is begun, and whoever uses the credential goes on: settle this and run the same playbook again, which goes on "
            "from there"
        )

    def turn_back(self) -> NoReturn:
        """Return to the previous value, whatever phases were asked for.

        :raises Ended: in any case.
        :raises Elsewhere: when it needs another host.
        """
        self.phases = frozenset()
        try:
            self.follow(RETURN)
        except Failed as error:
            self.answer(error)
        self.lost = False
        self.end(
            f"{self.progress.cause}. The previous value was made current again and proved. {returned(self.progress.overlap)}",
            {"kind": self.progress.kind},
        )

    def tell_of_failure(self, cause: str) -> None:
        """Write a failure down, tell the owner and let other runs in, as far as the keyring can be reached.

        On a store that does not answer each try takes a whole deadline of its client. So nothing is tried after a check that could
        not open the keyring, and one thing after a step that lost it: letting other runs in.
        """
        progress, away = self.progress, self.unread or self.lost
        rotation = {"rotation_id": progress.rotation_id}
        self.known = cause

        def note() -> None:
            self.do(NOTE, outcome="failed", text=cause, **rotation)

        def tell() -> None:
            # What the keyring could add to the message is not waited for.
            place = {"keyring": ""} if away else {}
            self.notify("failure", cause, phase=progress.failed_in, **rotation, **place)

        noted = not away and self.attempt(note)
        self.attempt(tell)
        if noted:
            # What cannot be remembered as told would be told by every run.
            self.attempt(self.notices)
        # Before its first step a run holds no claim.
        begun = noted or progress.failed_in != PREFLIGHT
        if begun and self.attempt(lambda: self.do(RELEASE)) and self.lost:
            self.attempt(note)

    def end(self, cause: str, details: Mapping[str, Any]) -> NoReturn:
        """Have everybody told of the failure; whatever of that fails is a warning.

        :raises Ended: with the cause.
        """
        progress = self.progress
        pending = self.params["purpose"] == "rotate" and progress.staged and not progress.in_use
        begun = self.params["purpose"] != "rotate" and (progress.begun or self.changed)
        ended = self.known_to_have_ended("verify", "retire")
        # Of what is known to have ended, that it is refused is no news, and nothing has to be forced.
        tried = details.get("kind") == ProbeFailed.__name__
        known = bool(ended) and tried and progress.failed_in in _IN_USE
        if ended:
            cause += f". {ended}{f'. {ENDED_AND_REFUSED}' * known}"
        known_stages = details.get("stages") or progress.checked.get("stages")
        state = self.keyring or {"stages": known_stages}
        cause += still_accepted(state) if self.params["purpose"] == "rotate" else ""
        if details.get("kind") != Waiting.__name__:
            waits = begun and tried and progress.failed_in == "refused" and not progress.returns
            left = self.left_pending(details) if pending else None
            cause += NOT_YET_ENDED if waits else advice(left, begun)
            looked = self.params["purpose"] == "verify"
            if looked and progress.failed_in != PREFLIGHT and not known:
                kept = bool(progress.checked.get("can_return"))
                cause += still_as_it_was(str(details.get("kind")), kept)
            if looked or progress.failed_in != PREFLIGHT:
                cause += handed_over(escalation_of(self.params["policy"]), state)
        self.tell_of_failure(cause)
        shown = {name: details[name] for name in details if name not in _TOO_MUCH}
        if self.keyring is not None:
            shown["keyring"] = _without_evidence(self.keyring)
        raise Ended(
            cause,
            **{
                **shown,
                # Ansible prints the whole of a failed result.
                "steps": [
                    {name: step[name] for name in ("step", "changed", "failed") if name in step}
                    for step in self.steps
                ],
                "say": self.say,
                "elsewhere": {},
                "changed": self.changed,
                **({"diff": self.diffs} if self.context.diff else {}),
            },
        )


def _go(procedure: Procedure) -> None:
    """All that is left of the procedure."""
    params = procedure.params
    found = params["found"]
    if found["failure"]:
        about = {name: found[name] for name in ("kind", "unwritten", "place") if found[name]}
        procedure.answer(Failed(procedure.step_left(), found["failure"], **about))
    if procedure.progress.cause:
        procedure.turn_back()
    if procedure.after in (None, CHECK.key):
        procedure.check()
    if procedure.after in (LOOK, GLANCE):
        procedure.see()
    procedure.follow(PROCEDURES[params["purpose"]])
    procedure.close()


def run(params: Params, context: Context) -> Result:
    """Follow the procedure to its end, or to what only another host reaches.

    :raises Ended: after a failure was answered.
    """
    procedure = Procedure(params, context)
    try:
        try:
            _go(procedure)
        except Failed as error:
            procedure.answer(error)
    except Elsewhere as left:
        return procedure.result(left)
    return procedure.result()


_SENTENCES: Mapping[str, Any] = {"type": "list", "elements": "str", "default": []}
_FOUND: Mapping[str, Any] = {
    **dict.fromkeys(_SEEN, _SENTENCES),
    "failure": {"type": "str", "default": ""},
    "kind": {"type": "str", "default": "Host"},
    "unwritten": _SENTENCES,
    "place": {"type": "str", "default": ""},
}
SPEC: Mapping[str, Any] = {
    **{name: option for name, option in KEYRING_OPTIONS.items() if name != "transition"},
    "keyring": {"type": "str", "required": True, "no_log": False},
    "purpose": {"type": "str", "required": True, "choices": list(PROCEDURES)},
    "policy": {"type": "dict", "default": {}},
    "owner": {"type": "str", "default": ""},
    "issuer": {"type": "dict", "required": True},
    "generate": {"type": "dict", "default": {}},
    "gates": {"type": "list", "elements": "dict", "default": []},
    "sinks": {"type": "list", "elements": "dict", "default": []},
    "consumers": {"type": "list", "elements": "dict", "default": []},
    "probes": {"type": "list", "elements": "dict", "default": []},
    "timeout": {"type": "str", "default": "60s"},
    "interval": {"type": "str", "default": "1s"},
    "value": {"type": "dict", "default": {}, "no_log": True},
    "made": {"type": "str"},
    "force": {"type": "bool", "default": False},
    "replace": {"type": "bool", "default": False},
    "only_missing": {"type": "bool", "default": False},
    "emergency": {"type": "bool", "default": False},
    "reason": {"type": "str", "default": ""},
    "outside_window": {"type": "bool", "default": False},
    "rotation_id": {"type": "str", "default": ""},
    "made_before": {"type": "str", "default": ""},
    "phases": {"type": "list", "elements": "str", "choices": list(PHASES), "default": []},
    "variables": {"type": "list", "elements": "str", "default": []},
    "known_variables": {"type": "list", "elements": "str", "default": []},
    "resume": {"type": "dict", "default": {}},
    "found": {"type": "dict", "apply_defaults": True, "options": _FOUND},
}
MODULE = ModuleCore("procedure", SPEC, run, steps=True)
