# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``old_versions``: destroy what places keep of a compromised value, last of all what the keyring keeps of it.

The order makes it safe to be killed anywhere. As long as the keyring has the value, it can be found in other places; so that is done
first, and only when no place refused is the value taken out of the keyring. Then the keyring's own older versions are destroyed,
which are known by the fingerprints that stay, and at last that is written down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    OPTION,
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Denied,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions import (
    LEAVE,
    PUSH_OUT,
    UNDECIDED,
    open_old_keyrings,
    open_old_versions,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._carried import (
    carrier,
    carrier_of_keyring,
    telling,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._port import (
    Carries,
    OldVersions,
    Seen,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    Reference,
    parse_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import Sink, parse_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import described
from ansible_collections.keyturn.runbooks.plugins.module_utils._state import (
    document_state,
    state_diff,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._transitions import describe

_COPIES = "copies of files"


@dataclass
class Told:
    """What became of one place.

    :ivar versions: what it calls those that were destroyed, or would be in check mode.
    :ivar left: in sentences, what stays, and why.
    :ivar open: nobody has decided yet that what is left stays.
    :ivar error: why it could not be looked at, or not be changed; empty when it could.
    """

    place: str
    looked: int = 0
    versions: Tuple[str, ...] = ()
    left: Tuple[str, ...] = ()
    error: str = ""
    kind: str = ""
    open: bool = False

    def sentence(self) -> str:
        """It for a person and the ledger; empty when there was nothing."""
        parts = []
        if self.versions:
            noun = "version" if len(self.versions) == 1 else "versions"
            parts.append(f"{len(self.versions)} old {noun} ended ({', '.join(self.versions)})")
        parts += [*self.left, *([self.error] if self.error else [])]
        return f"{self.place}: {'; '.join(parts)}" if parts else ""

    def as_dict(self) -> Dict[str, Any]:
        """It for the result."""
        return {
            "place": self.place,
            "looked": self.looked,
            "destroyed": list(self.versions),
            "left": list(self.left),
            "error": self.error,
        }


def _lingering(document: Document) -> List[Stage]:
    """The stages that are compromised, refused, and may still be kept somewhere.

    :raises Refused: when one of their values may still be accepted.
    """
    found = [stage for stage in document.retained if stage.lingers]
    for stage in found:
        if any(value.known for value in _values(stage)) and not telling(document, [stage]):
            raise Refused(
                f"{document.credential}: the value of rotation {stage.rotation_id} is compromised, and the keyring has the same value as "
                f"one that is accepted: {describe(document)}. Nothing was destroyed; run the respond_compromise playbook for what is in use"
            )
    open_ones = [name for name, stage in document.stages.items() if stage.compromised]
    if open_ones and not found:
        raise Refused(
            f"{document.credential}: what is compromised may still be accepted: {describe(document)}. Nothing was destroyed: run the "
            "respond_compromise playbook, which ends it and proves that first"
        )
    return found


def _values(stage: Stage) -> List[Secret]:
    return [value for value in stage.fields.values() if isinstance(value, Secret)]


def _places(sinks: Sequence[Sink]) -> List[Tuple[Reference, str]]:
    """Each place that the controller reaches once, whatever labels and keys of it the sinks write."""
    found: Dict[Tuple[str, str], Tuple[Reference, str]] = {}
    for sink in sinks:
        ref = sink.ref
        where = described(ref.place, sink.name, sink.host)
        found.setdefault((ref.scheme, ref.path), (ref, where))
    return list(found.values())


def _of_copies(given: Sequence[Mapping[str, Any]]) -> List[Told]:
    """What the tasks that looked at the copies of files told, one for each host."""
    found = []
    for item in given:
        backups = [sink.get("backup") or {} for sink in item.get("sinks") or ()]
        gone = [path for backup in backups for path in backup.get("destroyed") or ()]
        host = str(item.get("keyturn_each_sink_host") or "the controller")
        # The task itself is not said to have failed, since the others are to follow it.
        failed = "kind" in item or "sinks" not in item
        said = " ".join(str(item.get("msg") or "no answer").split()) if failed else ""
        kind = str(item.get("kind") or "Unreachable") if failed else ""
        if gone or failed:
            found.append(Told(f"{_COPIES} on {host}", len(gone), tuple(gone), (), said, kind))
    return found


@dataclass
class _Work:
    """One call of the module.

    :ivar predicted: in a dry run, earlier tasks would have written to the places by now.
    """

    access: KeyringAccess
    params: Params
    context: Context
    told: List[Told] = field(default_factory=list)
    changed: bool = False
    predicted: bool = False

    def end_at(
        self, place: Optional[OldVersions], where: str, carries: Carries, replaced: bool
    ) -> None:
        """Destroy what one place keeps; what stops that is told, and stops nothing else.

        :param replaced: see :meth:`OldVersions.look`.
        """
        if place is None:
            return
        told = Told(where)
        self.told.append(told)
        try:
            seen = place.look(carries, replaced)
            told.looked, told.left = seen.looked, seen.left
            told.open = bool(seen.left) and self.params["history"] != LEAVE
            if seen.carrying:
                self._end(place, seen)
                told.versions = seen.carrying
                self.changed = True
            told.left = (*seen.left, *seen.told)
        except KeyturnError as error:
            told.error, told.kind = error.message, type(error).__name__

    def _end(self, place: OldVersions, seen: Seen) -> None:
        self.access.step(Request("claim", self.access.run))
        if self.context.check_mode:
            return
        place.end(seen, self.access.guard)

    def sinks(self, stages: Sequence[Stage]) -> None:
        """Every sink's place."""
        document = self.access.need()
        carries = carrier(telling(document, stages))
        for reference, where in _places(parse_sinks(self.params["sinks"], "keyturn_sinks")):
            self._attempt(reference, where, carries)

    def _attempt(self, reference: Reference, where: str, carries: Carries) -> None:
        try:
            place = open_old_versions(reference, self.context, where, self.params["history"])
        except KeyturnError as error:
            self.told.append(Told(where, error=error.message, kind=type(error).__name__))
            return
        self.end_at(place, where, carries, self.predicted)

    def keyring(self, stages: Sequence[Stage]) -> None:
        """The keyring's own older versions."""
        reference = parse_reference(str(self.params["keyring"]), OPTION)
        carries = carrier_of_keyring(self.access.need(), stages)
        place = open_old_keyrings(reference, self.context, OPTION)
        # In a dry run the value was only said to be taken out of the newest version.
        self.end_at(place, f"keyring ({reference.place})", carries, self.context.check_mode)

    def step(self, name: str, told: Sequence[Told]) -> None:
        """A step of the keyring, told in the ledger with what was found before it."""
        message = "; ".join(filter(None, (item.sentence() for item in told)))
        if self.access.step(Request(name, self.access.run), message):
            self.changed = True

    def warn(self) -> None:
        """Tell a person what stays."""
        for item in self.told:
            for sentence in item.left:
                self.context.warn(f"{item.place}: {sentence}")

    def stop(self) -> None:
        """End with an error where a place refused.

        :raises KeyturnError: naming all that did.
        """
        failed = [told for told in self.told if told.error]
        if not failed:
            return
        message = self._failure("; ".join(f"{told.place}: {told.error}" for told in failed))
        if not self.context.check_mode:
            self.access.step(Request("note", self.access.run), message, "failed")
            self.access.step(Request("release", self.access.run))
        kind = Denied if all(told.kind == Denied.__name__ for told in failed) else KeyturnError
        error = (Refused if kind is KeyturnError else kind)(message)
        error.details.update(changed=self.changed, places=[it.as_dict() for it in self.told])
        raise error

    def _failure(self, places: str) -> str:
        credential = self.access.credential
        if self.context.check_mode:
            return (
                f"{credential}: a run would not destroy everywhere what is kept of the compromised value. {places}. Nothing was changed. "
                "Mend it first: else a run does everything else, and fails here"
            )
        done = "The other places are done, and the keyring's own versions come last"
        left = "the keyring keeps the value, by which it is found"
        if not any(_values(stage) for stage in self.access.need().retained if stage.lingers):
            done = "All else is done, and the keyring as it is now has the value no more"
            left = "its older versions may have it, which are known by the fingerprint that stays"
        return (
            f"{credential}: the compromised value is refused, and what is kept of it was not destroyed everywhere. {places}. {done}. Mend "
            f"it and run the playbook destroy_old_versions: until then {left}"
        )


def _summary(told: Sequence[Told], checking: bool) -> str:
    ended = sum(len(item.versions) for item in told)
    places = sum(bool(item.versions) for item in told)
    left = [f"{item.place}: {sentence}" for item in told for sentence in item.left]
    versions = f"{ended} old version{'s' * (ended != 1)} with the compromised value"
    text = f"{versions} {'would be ended' if checking else 'ended'}, in {places} place{'s' * (places != 1)}"
    return ". ".join([text, *left])


def run(params: Params, context: Context) -> Result:
    """Destroy what is kept of compromised values that are refused.

    :raises Refused: one of them may still be accepted.
    :raises KeyturnError: at the end, when a place could not be looked at or changed.
    """
    access = open_keyring(params, context)
    if access.document is None:
        state = document_state(None, context.now())
        return {"changed": False, "msg": "there is no keyring yet", "places": [], "keyring": state}
    document = access.document
    stages = _lingering(document)
    work = _Work(access, params, context, _of_copies(params["copies"]))
    work.predicted = bool(access.replay)
    if not stages:
        return _result(work, document, "nothing that was compromised is kept")
    access.refuse_others()
    if any(_values(stage) for stage in stages):
        work.sinks(stages)
        work.stop()
        if any(told.open for told in work.told):
            return _undecided(work, document, stages)
        work.step("forget", work.told)
    work.keyring(stages)
    work.stop()
    work.step("destroyed", [item for item in work.told if item.place.startswith("keyring ")])
    access.step(Request("release", access.run))
    context.progress("What places kept of the compromised value was looked for, and ended")
    work.warn()
    return _result(work, document, _summary(work.told, context.check_mode))


def _undecided(work: _Work, document: Document, stages: Sequence[Stage]) -> Result:
    """Keep the value, by which the rest is found, until a person has decided that the rest stays or goes."""
    keyring = (
        "The keyring keeps the value, by which these versions are found, until nothing is left or somebody has decided: mend what is told "
        f"here and run the playbook destroy_old_versions, with -e keyturn_history={PUSH_OUT} to have a parameter's history ended, or with "
        f"-e keyturn_history={LEAVE}, and all of it stays"
    )
    message, mark = (
        f"{_summary(work.told, work.context.check_mode)}. {keyring}",
        stages[-1].rotation_id,
    )
    if work.changed or document.noticed.get(UNDECIDED) != mark:
        work.access.step(Request("note", work.access.run, notices={UNDECIDED: mark}), message)
        work.changed = True
    work.access.step(Request("release", work.access.run))
    work.warn()
    work.context.warn(keyring)
    return _result(work, document, message)


def _result(work: _Work, before: Document, message: str) -> Result:
    access, context = work.access, work.context
    result: Result = {
        "changed": work.changed,
        "msg": message,
        "places": [told.as_dict() for told in work.told],
        "keyring": document_state(access.document, context.now()),
    }
    if context.check_mode:
        result["replay"] = access.replay
    if context.diff:
        result["diff"] = state_diff(before, access.document, f"keyring of {access.credential}")
    return result


SPEC: Mapping[str, Any] = {
    **{name: option for name, option in KEYRING_OPTIONS.items() if name != "transition"},
    "keyring": {"type": "str", "required": True, "no_log": False},
    "sinks": {"type": "list", "elements": "dict", "default": []},
    "history": {"type": "str", "choices": [UNDECIDED, LEAVE, PUSH_OUT], "default": UNDECIDED},
    "copies": {"type": "list", "elements": "dict", "default": []},
}
MODULE = ModuleCore("old_versions", SPEC, run, steps=True)
