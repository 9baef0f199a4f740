# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a procedure has done so far: the steps that it took, what they changed, and where another call goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils import _deliver, _publish
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import LEDGER
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    Params,
    Result,
    asked,
    diffs_of,
    execute,
    failure,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._preflight_facts import TELLING
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedure_places import (
    every_sink,
    left_elsewhere,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedures import (
    AGAIN,
    BACK,
    BRING,
    CHECK,
    GLANCE,
    LOOK,
    PREFLIGHT,
    PROCEDURES,
    RELEASE,
    RETURN,
    Progress,
    Step,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._process import run_of

BROUGHT = "brought"
"""Of a predicted step: after it, the places that are written from here would hold what the keyring said then."""
# What is told once, in the result itself, and what belongs to the surroundings of a step.
_NOT_OF_A_STEP = frozenset({"changed", "keyring", "replay", "diff", "notices"})


class Failed(KeyturnError):
    """A step failed.

    :ivar step: which one.
    :ivar reason: why, without the name of the step.
    """

    def __init__(self, step: Step, message: str, **details: Any) -> None:
        super().__init__(message, **details)
        self.step, self.reason = step, message


def _failed(step: Step, said: Mapping[str, Any]) -> Failed:
    """A step's failure as its module would tell it; the check names what is closed by itself."""
    details = {name: said[name] for name in said if name not in ("failed", "msg")}
    prefix = "" if step is CHECK else f"{step.name}: "
    error = Failed(step, f"{prefix}{said['msg']}", **details)
    error.reason = said["msg"]
    return error


def _unsaid(_text: str) -> None:
    """It was said by the call before."""


class Elsewhere(Exception):
    """What comes next is done on another host."""

    def __init__(self, after: Step, done: Mapping[str, Any]) -> None:
        super().__init__(after.key)
        self.after, self.done = after, done


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


class Account:
    """One call of the module: it takes steps and keeps account of them.

    :ivar keyring: the keyring's state after the latest step that returned it.
    :ivar unread: the check found that keyring or ledger cannot be opened or written, so nothing can be noted there.
    :ivar lost: a later step could not reach the keyring.
    :ivar known: what was told of a failure.
    """

    def __init__(self, params: Params, context: Context) -> None:
        self.context = context
        self.phases = frozenset(params["phases"])
        self.params: Params = {
            **params,
            "transition": None,
            # What writes goes by what the keyring says.
            "emergency": bool(params.get("emergency")) and self.phases == {PREFLIGHT},
            "replay": list(params["replay"] or []) if context.check_mode else [],
        }
        self.changed = self.unread = self.lost = False
        self.known = ""
        self.diffs: List[Any] = []
        self.say: List[str] = []
        resume = _to_resume(params)
        self.keyring: Optional[Mapping[str, Any]] = resume.get("keyring")
        self.steps: List[Dict[str, Any]] = list(resume.get("steps") or [])
        self.after: Optional[str] = resume.get("after")
        self.progress = Progress(
            checked=resume.get("checked") or {},
            staged=bool(resume.get("staged")),
            intended=bool(resume.get("intended")),
            in_use=bool(resume.get("in_use")),
            cause=str(resume.get("cause") or ""),
            kind=str(resume.get("kind") or ""),
            rotation_id=str(resume.get("rotation_id") or ""),
            failed_in=str(resume.get("failed_in") or ""),
            turned=bool(resume.get("turned")),
            begun=bool(resume.get("begun")),
            unbrought=left_elsewhere(params, params["found"])
            if self.after in (BRING, BACK)
            else None,
        )
        if context.check_mode:
            self._foresee()

    def _foresee(self) -> None:
        """Find out again what was predicted of the places that are written from here: what they would hold is handed to nobody.

        It was by an earlier call for the same purpose, or by one for another purpose in the same run.
        """
        quiet = replace(self.context, diff=False, warn=_unsaid, progress=_unsaid)
        own = {"sinks": self.params["sinks"], "host": "", "consumers": []}
        steps = self.params["replay"]
        for count in [number for number, step in enumerate(steps, 1) if step.get(BROUGHT)]:
            then = {**self.params, "replay": steps[:count]}
            try:
                execute(_publish.MODULE, asked(_publish.MODULE, then, **own), quiet)
            except KeyturnError:
                # A place that cannot be read any more is told by the step that needs it.
                continue

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
            if step.module is _deliver.MODULE and self.params["replay"]:
                *before, last = self.params["replay"]
                self.params["replay"] = [*before, {**last, BROUGHT: True}]
        own = {name: done[name] for name in done if name not in _NOT_OF_A_STEP}
        self.steps.append({"step": step.name, "changed": bool(done.get("changed")), **own})
        self.keyring = done.get("keyring") or self.keyring
        self.progress.results[step.key] = done
        self.progress.staged = self.progress.staged or step.key == "stage"
        if step.key == "stage":
            self.progress.intended = self._pending().get("status") == "intended"
        self.progress.turned = self.progress.turned or step.key in (AGAIN, BACK)
        self._note_places(step, ())
        self._note_use(step, done)

    def _note_failed(self, step: Step, said: Mapping[str, Any]) -> None:
        """What a failed step did all the same, such as the keyring's own part of a delivery."""
        self._note_use(step, said)
        self.changed = self.changed or bool(said.get("changed"))
        self.diffs += diffs_of(said)
        self.keyring = said.get("keyring") or self.keyring
        turned = step.key in (AGAIN, BACK) and "keyring" in said
        self.progress.turned = self.progress.turned or turned
        if turned or step.key == BRING:
            self._note_places(step, said.get("unbrought"))
        shown = {"step": step.name, "changed": bool(said.get("changed")), "failed": True}
        self.steps.append({**shown, "msg": said["msg"]})

    def _note_places(self, step: Step, left: Optional[Sequence[str]]) -> None:
        """Which sinks may not hold what is in use after a step; none of them is known to, once the keyring names another value."""
        if step.key == AGAIN:
            self.progress.unbrought = every_sink(self.params)
        elif step.key in (BRING, BACK) and left is not None:
            self.progress.unbrought = tuple(left)

    def _pending(self) -> Mapping[str, Any]:
        """The pending stage, as far as this call has seen it."""
        return ((self.keyring or {}).get("stages") or {}).get("pending") or {}

    def _working(self) -> str:
        """The rotation that is being worked on, as far as this call has seen it."""
        stages = (self.keyring or {}).get("stages") or {}
        stage = stages.get("pending") or stages.get("current") or {}
        return str(stage.get("rotation_id") or "")

    def _note_use(self, step: Step, done: Mapping[str, Any]) -> None:
        """Where all changes in one go, the delivery itself brings the new value into use, also if it fails after the keyring's step."""
        uses = step.key == "promote" or (step.key == BRING and self.progress.cutover)
        # The keyring is written before the ledger: where that refuses its line, the value is promoted all the same.
        unlogged = step.key == "promote" and done.get("place") == LEDGER and done.get("changed")
        found = bool(uses and ("keyring" in done or unlogged))
        self.progress.in_use = self.progress.in_use or found

    def tell(self, line: str) -> None:
        """Something that a person should read although nothing is wrong."""
        self.say.append(f"{self.params['credential']}: {line}")
        self.context.progress(line)

    def attempt(self, act: Callable[[], object]) -> bool:
        """Do something whose failure must not hide the one that it answers; returns whether it went well. A reason is told once."""
        try:
            act()
        except Failed as error:
            again = error.reason in self.known
            told = f"{error.step.name}: not done, for the same reason" if again else error.message
            self.known += error.reason
            left = self._claim_left() if error.step is RELEASE else ""
            self.context.warn(f"{self.params['credential']}: {told}{left}")
            return False
        return True

    def _claim_left(self) -> str:
        """What becomes of a claim that could not be taken out."""
        claim = (self.keyring or {}).get("claim") or {}
        if claim.get("run_id") != run_of(self.params).run_id:
            return ""
        return (
            f". The claim of this run ends by itself at {claim['expires']}; before that, another run on this machine takes it over at "
            "once, and one on another machine with -e keyturn_take_over=true"
        )

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
            "look": left.after.key in (CHECK.key, LOOK, GLANCE),
            "how": self.progress.todo if self.progress.todo in TELLING else "use",
            "hosts": look.get("sinks") or left.done.get("sink_hosts") or [],
            "consumers": look.get("consumers") or [],
            "gates": look.get("gates") or [],
        }

    def _resume(self, after: Step) -> Dict[str, Any]:
        progress = self.progress
        return {
            "purpose": self.params["purpose"],
            "run_id": run_of(self.params).run_id,
            "after": after.key,
            "checked": dict(progress.checked),
            "staged": progress.staged,
            "intended": progress.intended,
            "in_use": progress.in_use,
            "cause": progress.cause,
            "kind": progress.kind,
            "rotation_id": progress.rotation_id,
            "failed_in": progress.failed_in,
            "turned": progress.turned,
            "begun": progress.begun or self.changed,
            "keyring": self.keyring,
            "steps": self.steps,
        }

    def step_left(self) -> Step:
        """The step whose part on other hosts was just tried."""
        return next(step for step in _steps(self.params["purpose"]) if step.key == self.after)
