# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``procedure``: every step of a rotation, a rollback or an end, one after the other, in one task.

Each step is another module's core, with the arguments that a task of its own would have. What only another host reaches ends
this part: the role does it there and calls again, and the keyring and ``resume`` say where to go on.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NoReturn, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
    asked,
    diffs_of,
    execute,
    failure,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._outcome import (
    advice,
    outcome,
    returned_from,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._preflight import NOTHING
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedures import (
    CHECK,
    NOTE,
    PHASES,
    PREFLIGHT,
    PROCEDURES,
    RELEASE,
    RETURN,
    TELL,
    Progress,
    Step,
    chosen,
    only_refresh,
    steps_after,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._process import run_of

_SEEN = ("unreadable", "behind", "unready")
# What is told once, in the result itself, and what belongs to the surroundings of a step.
_NOT_OF_A_STEP = frozenset({"changed", "keyring", "replay", "diff", "notices"})

# Of a failed check, whose refusals say it all.
_TOO_MUCH = frozenset({"gates", "baseline", "notices"})


class Ended(KeyturnError):
    """The procedure failed, and all that a failure asks for was done. Its details hold the kind of the cause."""


class Failed(KeyturnError):
    """A step failed.

    :ivar step: which one.
    """

    def __init__(self, step: Step, message: str, **details: Any) -> None:
        super().__init__(message, **details)
        self.step = step


def _failed(step: Step, said: Mapping[str, Any]) -> Failed:
    """A step's failure as its module would tell it; the check names what is closed by itself."""
    details = {name: said[name] for name in said if name not in ("failed", "msg")}
    prefix = "" if step is CHECK else f"{step.name}: "
    return Failed(step, f"{prefix}{said['msg']}", **details)


class Elsewhere(Exception):
    """What comes next is done on another host."""

    def __init__(self, after: Step, done: Mapping[str, Any]) -> None:
        super().__init__(after.key)
        self.after, self.done = after, done


def _phase_of(step: Step) -> str:
    """What people call the part of the procedure that a step belongs to."""
    if step is CHECK:
        return PREFLIGHT
    return max(step.phases, key=PHASES.index) if step.phases else step.key


def _steps(purpose: str) -> Tuple[Step, ...]:
    """Every step that another host may have a part of."""
    return (CHECK, *PROCEDURES[purpose], *RETURN)


def _to_resume(params: Params) -> Mapping[str, Any]:
    """Where the call before stopped.

    :raises BadInput: for what no call of this purpose returned.
    """
    resume = params["resume"] or {}
    purpose, keys = params["purpose"], {step.key for step in _steps(params["purpose"])}
    own = (purpose, run_of(params).run_id)
    if resume and (
        (resume.get("purpose"), resume.get("run_id")) != own or resume.get("after") not in keys
    ):
        raise BadInput(
            f"resume: this is no place where '{purpose}' stopped in this run; give what the call before returned, or leave it out"
        )
    if params["found"]["failure"] and not resume:
        raise BadInput("found.failure: it needs 'resume', which says what failed on another host")
    return resume


class Procedure:
    """One call of the module.

    :ivar keyring: the keyring's state after the latest step that returned it.
    """

    def __init__(self, params: Params, context: Context) -> None:
        self.context = context
        self.phases = frozenset(params["phases"])
        self.params: Params = {
            **params,
            "transition": None,
            "replay": list(params["replay"] or []) if context.check_mode else [],
        }
        self.changed = False
        self.diffs: List[Any] = []
        self.steps: List[Dict[str, Any]] = list(_to_resume(params).get("steps") or [])
        self.say: List[str] = []
        self.keyring: Optional[Mapping[str, Any]] = None
        resume = _to_resume(params)
        self.after: Optional[str] = resume.get("after")
        self.progress = Progress(
            checked=resume.get("checked") or {},
            staged=bool(resume.get("staged")),
            in_use=bool(resume.get("in_use")),
            cause=str(resume.get("cause") or ""),
            kind=str(resume.get("kind") or ""),
            rotation_id=str(resume.get("rotation_id") or ""),
            failed_in=str(resume.get("failed_in") or ""),
            turned=bool(resume.get("turned")),
            begun=bool(resume.get("begun")),
        )

    def do(self, step: Step, **more: Any) -> Result:
        """One step.

        :raises Failed: whatever the cause.
        """
        options = {name: self.params[name] for name in step.takes}
        self.context.still_wanted()
        self.context.progress(step.name)
        if not self.progress.failed_in:
            self.progress.rotation_id = self._working() or self.progress.rotation_id
        try:
            own = {**options, **step.own, **step.late(self.progress), **more}
            done = execute(step.module, asked(step.module, self.params, **own), self.context)
        except Exception as error:
            said = failure(error)
            self._note_failed(step, said)
            raise _failed(step, said) from None
        self._keep(step, done)
        return done

    def _keep(self, step: Step, done: Result) -> None:
        self.changed = self.changed or bool(done.get("changed"))
        self.diffs += diffs_of(done)
        if self.context.check_mode:
            self.params["replay"] = done.get("replay") or self.params["replay"]
        own = {name: done[name] for name in done if name not in _NOT_OF_A_STEP}
        self.steps.append({"step": step.name, "changed": bool(done.get("changed")), **own})
        self.keyring = done.get("keyring") or self.keyring
        self.progress.results[step.key] = done
        self.progress.staged = self.progress.staged or step.key == "stage"
        self.progress.turned = self.progress.turned or step.key == "back"
        self._note_use(step, done)

    def _note_failed(self, step: Step, said: Mapping[str, Any]) -> None:
        """What a failed step did all the same, such as the keyring's own part of a delivery."""
        self._note_use(step, said)
        self.changed = self.changed or bool(said.get("changed"))
        self.diffs += diffs_of(said)
        self.keyring = said.get("keyring") or self.keyring
        self.progress.turned = self.progress.turned or (step.key == "back" and "keyring" in said)
        shown = {"step": step.name, "changed": bool(said.get("changed")), "failed": True}
        self.steps.append({**shown, "msg": said["msg"]})

    def _working(self) -> str:
        """The rotation that is being worked on, as far as this call has seen it."""
        stages = (self.keyring or {}).get("stages") or {}
        stage = stages.get("pending") or stages.get("current") or {}
        return str(stage.get("rotation_id") or "")

    def _note_use(self, step: Step, done: Mapping[str, Any]) -> None:
        """Without overlap the delivery itself brings the new value into use, also if it fails after the keyring's step."""
        uses = step.key == "promote" or (step.key == "bring" and not self.progress.overlap)
        self.progress.in_use = self.progress.in_use or (uses and "keyring" in done)

    # The parts, in order

    def check(self) -> None:
        """Every gate; again only when something was found on other hosts."""
        seen = {name: self.params["found"][name] for name in _SEEN}
        if self.after == CHECK.key and not any(seen.values()):
            return
        again = {"baseline": False, **seen} if self.after == CHECK.key else {}
        done = self.do(CHECK, refresh=only_refresh(self.phases), **again)
        self.progress.checked = {
            **{name: done[name] for name in ("todo", "overlap", "can_return", "notices")},
            "under_way": done["status"]["under_way"],
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

    def tell(self, line: str) -> None:
        """Something that a person should read although nothing is wrong."""
        self.say.append(f"{self.params['credential']}: {line}")
        self.context.progress(line)

    def follow(self, steps: Tuple[Step, ...]) -> None:
        """The steps that are asked for and have something to do."""
        for step in steps_after(steps, self.after):
            if chosen(self.params["purpose"], self.phases, step) and step.when(self.progress):
                done = self.do(step)
                if done.get("sink_hosts") or done.get("waiting"):
                    raise Elsewhere(step, done)

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
        last = self.progress.results.get(PROCEDURES[purpose][-1].key, {}).get("keyring")
        if last:
            text = outcome(purpose, last)
            if purpose in ("rotate", "rollback") and returned_from(last):
                self.tell(text)
            self.notify("success", text, phase=purpose)
        # What was found before this run did something may have been settled by it.
        if self.progress.todo == NOTHING:
            self.notices()
        elif purpose == "rotate" and not last and self.phases != {PREFLIGHT}:
            self.tell(
                "not finished: only some phases were asked for; run the same playbook without tags to go on"
            )
        self.do(RELEASE)

    # Failures

    def answer(self, error: Failed) -> NoReturn:
        """What follows a failed step: a value that may be in use is returned from, and everybody is told.

        :raises Ended: at the end of it.
        :raises Elsewhere: when the return needs another host.
        """
        progress = self.progress
        self.context.progress(f"FAILED: {error.message}")
        progress.failed_in = progress.failed_in or _phase_of(error.step)
        if error.step is CHECK:
            # A closed gate keeps from nobody what comes next.
            progress.checked = {**progress.checked, "notices": error.details.get("notices") or []}
        if progress.cause:
            how = "was begun and failed too" if progress.turned else "could not be begun"
            self.end(
                f"{progress.cause}. The return to the previous value {how}: {error.message}. "
                "Mend it and run the same playbook again: it goes on from where the keyring says it was",
                error.details,
            )
        if not error.step.returns:
            self.end(error.message, error.details)
        may = progress.checked.get("can_return") and (progress.todo == "use" or progress.in_use)
        if not may:
            self.end(
                f"{error.message}. Nothing was returned to; mend the cause and run the same playbook again",
                error.details,
            )
        progress.cause, progress.kind, self.after = error.message, error.details["kind"], None
        self.turn_back()

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
        self.end(
            f"{self.progress.cause}. The previous value was made current again and proved; the failed one is kept until retire_due",
            {"kind": self.progress.kind},
        )

    def end(self, cause: str, details: Mapping[str, Any]) -> NoReturn:
        """Write the failure down, tell the owner and let other runs in; whatever of that fails is a warning.

        :raises Ended: with the cause.
        """
        progress = self.progress
        pending = self.params["purpose"] == "rotate" and progress.staged and not progress.in_use
        begun = self.params["purpose"] != "rotate" and (progress.begun or self.changed)
        cause += advice(pending, begun)
        rotation = {"rotation_id": progress.rotation_id}
        self._attempt(lambda: self.do(NOTE, outcome="failed", text=cause, **rotation))
        self._attempt(lambda: self.notify("failure", cause, phase=progress.failed_in, **rotation))
        self._attempt(self.notices)
        self._attempt(lambda: self.do(RELEASE))
        shown = {name: details[name] for name in details if name not in _TOO_MUCH}
        if self.keyring is not None:
            shown["keyring"] = self.keyring
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

    def _attempt(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Failed as error:
            self.context.warn(f"{self.params['credential']}: {error.message}")

    # What is returned

    def result(self, left: Optional[Elsewhere] = None) -> Result:
        """The task's result.

        :param left: what is to be done on other hosts before this goes on.
        """
        found: Result = {
            "changed": self.changed,
            "todo": self.progress.todo,
            "msg": self.progress.checked.get("msg", ""),
            "say": self.say,
            "steps": self.steps,
            "elsewhere": self._left(left) if left else {},
            "resume": self._resume(left.after) if left else {},
        }
        if self.keyring is not None:
            found["keyring"] = self.keyring
        if self.context.check_mode:
            found["replay"] = self.params["replay"]
        if self.context.diff:
            found["diff"] = self.diffs
        return found

    def _left(self, left: Elsewhere) -> Dict[str, Any]:
        look = left.done.get("elsewhere") or {}
        return {
            "look": left.after is CHECK,
            "hosts": look.get("sinks") or left.done.get("sink_hosts") or [],
            "consumers": look.get("consumers") or [],
        }

    def _resume(self, after: Step) -> Dict[str, Any]:
        progress = self.progress
        return {
            "purpose": self.params["purpose"],
            "run_id": run_of(self.params).run_id,
            "after": after.key,
            "checked": dict(progress.checked),
            "staged": progress.staged,
            "in_use": progress.in_use,
            "cause": progress.cause,
            "kind": progress.kind,
            "rotation_id": progress.rotation_id,
            "failed_in": progress.failed_in,
            "turned": progress.turned,
            "begun": progress.begun or self.changed,
            "steps": self.steps,
        }

    def step_left(self) -> Step:
        """The step whose part on other hosts was just tried."""
        return next(step for step in _steps(self.params["purpose"]) if step.key == self.after)


def _go(procedure: Procedure) -> None:
    """All that is left of the procedure."""
    params = procedure.params
    found = params["found"]
    if found["failure"]:
        procedure.answer(Failed(procedure.step_left(), found["failure"], kind=found["kind"]))
    if procedure.progress.cause:
        procedure.turn_back()
    if procedure.after in (None, CHECK.key):
        procedure.check()
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
}
SPEC: Mapping[str, Any] = {
    **{name: option for name, option in KEYRING_OPTIONS.items() if name != "transition"},
    "keyring": {"type": "str", "required": True, "no_log": False},
    "purpose": {"type": "str", "required": True, "choices": list(PROCEDURES)},
    "policy": {"type": "dict", "default": {}},
    "owner": {"type": "str", "default": ""},
    "issuer": {"type": "dict", "required": True},
    "generate": {"type": "dict", "default": {}},
    "sinks": {"type": "list", "elements": "dict", "default": []},
    "consumers": {"type": "list", "elements": "dict", "default": []},
    "probes": {"type": "list", "elements": "dict", "default": []},
    "timeout": {"type": "str", "default": "60s"},
    "interval": {"type": "str", "default": "1s"},
    "value": {"type": "dict", "default": {}, "no_log": True},
    "made": {"type": "str"},
    "force": {"type": "bool", "default": False},
    "reason": {"type": "str", "default": ""},
    "outside_window": {"type": "bool", "default": False},
    "rotation_id": {"type": "str", "default": ""},
    "phases": {"type": "list", "elements": "str", "choices": list(PHASES), "default": []},
    "variables": {"type": "list", "elements": "str", "default": []},
    "known_variables": {"type": "list", "elements": "str", "default": []},
    "resume": {"type": "dict", "default": {}},
    "found": {"type": "dict", "apply_defaults": True, "options": _FOUND},
}
MODULE = ModuleCore("procedure", SPEC, run, steps=True)
