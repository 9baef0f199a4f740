# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The procedures as data: which step follows which, by which module's core, in which phase, and when it has nothing to do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Callable, Dict, FrozenSet, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils import (
    _deliver,
    _issue,
    _keyring_step,
    _notify,
    _preflight,
    _probe,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    ModuleCore,
    Params,
    Result,
)

PREFLIGHT = "preflight"
PHASES = (PREFLIGHT, "stage", "apply", "prove", "promote", "reload", "observe")
"""What ``--tags`` can choose, in order."""


@dataclass
class Progress:
    """What one run of a procedure knows so far.

    :ivar checked: what the preflight found: what there is to do, whether there is overlap, and so on.
    :ivar results: what each step of this task returned, by its key.
    :ivar staged: a value was made, or found pending, by this run.
    :ivar intended: that value is yet to be made, by somebody else.
    :ivar in_use: the new value may be in use, by a step of this run.
    :ivar cause: why this run returns to the previous value, if it does.
    :ivar kind: the kind of that failure, as results tell it.
    :ivar rotation_id: the rotation that was worked on, before any return.
    :ivar failed_in: the phase in which something failed first.
    :ivar begun: earlier calls of this run changed something.
    :ivar turned: the return to the previous value is written in the keyring.
    :ivar unbrought: the sinks that may not hold the value in use, once a step was to bring it there.
    """

    checked: Mapping[str, Any] = field(default_factory=dict)
    results: Dict[str, Result] = field(default_factory=dict)
    staged: bool = False
    intended: bool = False
    in_use: bool = False
    cause: str = ""
    kind: str = ""
    rotation_id: str = ""
    failed_in: str = ""
    turned: bool = False
    begun: bool = False
    unbrought: Optional[Tuple[str, ...]] = None

    @property
    def todo(self) -> str:
        """What there is to do; see the module ``preflight``."""
        return str(self.checked.get("todo", _preflight.NOTHING))

    @property
    def others(self) -> bool:
        """Whether somebody on another host may be live."""
        return bool(self.checked.get("others", False))

    @property
    def overlap(self) -> bool:
        """Whether the issuer accepts the old and the new value together."""
        return bool(self.checked.get("overlap", True))

    @property
    def cutover(self) -> bool:
        """Whether issuer, sinks and consumers change in one go; see :class:`Issuer`."""
        return bool(self.checked.get("cutover", False))

    @property
    def replaced(self) -> Tuple[str, ...]:
        """The places whose value the keyring does not know, and that the user lets go."""
        return tuple(self.checked.get("replaced") or ()) if self.todo == "rotate" else ()

    @property
    def returns(self) -> bool:
        """Whether a replaced value can be made accepted again; see :class:`Issuer`."""
        return bool(self.checked.get("returns", True))


def _always(_progress: Progress) -> bool:
    return True


def _nothing(_progress: Progress) -> Params:
    return {}


@dataclass(frozen=True)
class Step:
    """One step of a procedure.

    :param key: its name in results.
    :param name: what a person reads.
    :param takes: options of the procedure that are handed on.
    :param own: options of its own.
    :param late: options that depend on what was found before.
    :param phases: the phases that it belongs to; without one it is done only when everything is.
    :param when: whether there is anything for it to do.
    :param returns: a failure here may be answered by returning to the previous value.
    """

    key: str
    name: str
    module: ModuleCore
    takes: Tuple[str, ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict)
    late: Callable[[Progress], Params] = _nothing
    phases: FrozenSet[str] = frozenset()
    when: Callable[[Progress], bool] = _always
    returns: bool = False


def _todo(*names: str) -> Callable[[Progress], bool]:
    return lambda progress: progress.todo in names


def _stepwise(name: str) -> Callable[[Progress], bool]:
    """A value that can be proved before anybody uses it."""
    return lambda progress: progress.todo == name and not progress.cutover


def _at_once(name: str) -> Callable[[Progress], bool]:
    return lambda progress: progress.todo == name and progress.cutover


def _both(
    one: Callable[[Progress], bool], other: Callable[[Progress], bool]
) -> Callable[[Progress], bool]:
    return lambda progress: one(progress) and other(progress)


def _accepts_both(progress: Progress) -> bool:
    return progress.overlap


def _told_again(progress: Progress) -> bool:
    """Whether the issuer has to be told the previous value before it accepts that again, and can be before anybody uses it."""
    return not (progress.overlap or progress.cutover)


def _intended(progress: Progress) -> bool:
    """Whether the pending value is yet to be made by somebody else."""
    return progress.todo == "rotate" and progress.intended


def _ends_the_one_before(progress: Progress) -> bool:
    """Whether making a new value ends the one in use, which nothing brings back."""
    return _intended(progress) and not progress.overlap


def _watched(name: str) -> Callable[[Progress], bool]:
    """Whether the credential has gates of its own, which are asked again right before what cannot be undone."""
    return lambda progress: progress.todo == name and bool(progress.checked.get("watched"))


def _no_grace_for_the_dead(progress: Progress) -> Params:
    """What the provider ended needs no time in which it is accepted."""
    return {} if progress.returns else {"grace": "0s"}


def _once_more(progress: Progress) -> Params:
    """Whether the user may mean by force what was abandoned: who forces a rotation that is young was not told of that yet."""
    return {} if progress.checked.get("under_way") else {"force": False}


def lets_go(progress: Progress) -> str:
    """What a first rotation replaces although nobody knows it, for a person and for the ledger."""
    places = "; ".join(progress.replaced)
    return f"the first rotation replaces values that the keyring does not know, as the user said, in these places: {places}"


def _evidence(key: str) -> Callable[[Progress], Params]:
    return lambda progress: {"evidence": progress.results[key]["evidence"]}


_WHAT_IS_THERE = ("policy", "generate", "probes", "issuer", "sinks", "consumers", "gates")


def _keyring(key: str, name: str, takes: Tuple[str, ...] = (), **more: Any) -> Step:
    """A transition of the keyring alone, which bears the step's key."""
    return Step(key, name, _keyring_step.MODULE, takes, {"transition": key}, **more)


def _issuer(key: str, name: str, own: Mapping[str, Any], **more: Any) -> Step:
    return Step(key, name, _issue.MODULE, ("issuer",), own, **more)


def _places(key: str, name: str, **more: Any) -> Step:
    """Sinks and consumers."""
    return Step(key, name, _deliver.MODULE, ("issuer", "sinks", "consumers"), **more)


def _proof(key: str, name: str, own: Mapping[str, Any], **more: Any) -> Step:
    takes = ("probes", "issuer", "consumers", "timeout", "interval")
    return Step(key, name, _probe.MODULE, takes, own, **more)


CHECK = Step(
    "check",
    "Check every gate, reach everything, write nothing",
    _preflight.MODULE,
    (
        *_WHAT_IS_THERE,
        "purpose",
        "force",
        "replace",
        "only_missing",
        "emergency",
        "reason",
        "outside_window",
        "rotation_id",
        "made_before",
        "timeout",
        "interval",
        "variables",
        "known_variables",
    ),
    phases=frozenset(PHASES),
)
RELEASE = _keyring("release", "Let other runs in again")
NOTE = _keyring("note", "Write it down in the keyring and the ledger")
TELL = Step("tell", "Tell the contacts", _notify.MODULE, ("policy", "owner"))

BRING = "bring"
"""The step that brings a new value to its sinks and consumers."""
AGAIN, BACK = "again", "back"
"""The steps that write the return to the previous value in the keyring."""
LOOK, GLANCE = "look", "glance"
"""The steps that only look; where another host has a part in that, it is asked there."""

_LOOK = Step(
    LOOK,
    "Look once more, right before what cannot be undone",
    _preflight.MODULE,
    ("policy", "issuer", "gates", "sinks", "consumers"),
    {"purpose": "look", "baseline": False},
)

_LIVE = {"live": _probe.ENOUGH}
_IN_USE = {"stage": "current", "transition": "observed", **_LIVE}
_AGAIN = (
    # Like a cutover, but with a proof before anything is written: the keyring's step comes before the issuer's, and both can be repeated.
    Step(
        AGAIN,
        "Have the issuer accept the previous value again",
        _deliver.MODULE,
        ("issuer",),
        {"transition": "rollback"},
        when=_told_again,
    ),
    _proof("accepted", "Prove that it is accepted again", {"stage": "current"}, when=_told_again),
)
RETURN = (
    *_AGAIN,
    _places(
        BACK, "Make the previous value current again, everywhere", own={"transition": "rollback"}
    ),
    _proof("observed", "Prove that it is back in use", _IN_USE),
)
"""What answers a failure of a step that ``returns``."""

_ROTATE = (
    _keyring(
        "claim",
        "Go on with what an earlier run began",
        phases=frozenset(PHASES[1:]),
        when=lambda progress: bool(progress.checked.get("under_way")),
    ),
    _keyring(
        "stage",
        "Stage the new value",
        ("issuer", "generate"),
        phases=frozenset({"stage"}),
        when=_todo("rotate"),
    ),
    _keyring(
        "note",
        "Write down what the user lets go",
        late=lambda progress: {"text": lets_go(progress)},
        phases=frozenset({"stage", "apply"}),
        when=lambda progress: bool(progress.replaced),
    ),
    replace(_LOOK, phases=frozenset({"stage"}), when=_ends_the_one_before),
    _keyring(
        "issued",
        "Have the issuer make the value",
        ("issuer", "generate", "force"),
        late=_once_more,
        phases=frozenset({"stage"}),
        when=_intended,
    ),
    _issuer(
        "apply",
        "Let the issuer accept the pending value",
        {"operation": "apply", "stage": "pending", "transition": "applied"},
        phases=frozenset({"apply"}),
        when=_stepwise("rotate"),
    ),
    _places(
        "show",
        "Show it to whoever checks credentials",
        phases=frozenset({"apply"}),
        when=_stepwise("rotate"),
    ),
    _proof(
        "prove",
        "Log in with the pending value, the way consumers do",
        {"stage": "pending", "transition": "proved"},
        phases=frozenset({"prove"}),
        when=_stepwise("rotate"),
    ),
    # Whoever may be live on another host is seen there, before the step that changes what is in use.
    replace(
        _LOOK,
        key=GLANCE,
        name="See whether anybody on another host may be live",
        phases=frozenset({"promote"}),
        when=lambda progress: _stepwise("rotate")(progress) and progress.others,
    ),
    Step(
        "promote",
        "Look once more, and promote the proved value",
        _preflight.MODULE,
        _WHAT_IS_THERE,
        {"purpose": "promote", "baseline": False, "transition": "promote"},
        phases=frozenset({"promote"}),
        when=_stepwise("rotate"),
    ),
    _places(
        BRING,
        "Bring it to its sinks and consumers",
        # An issuer that knows one value at a time takes the new one in the same step, so that nobody waits longer than necessary.
        late=lambda progress: {"transition": "cutover"} if progress.cutover else {},
        phases=frozenset({"promote", "reload"}),
        when=_todo("rotate", "use"),
        returns=True,
    ),
    _proof(
        "observed",
        "Watch the health of what uses it",
        _IN_USE,
        late=_no_grace_for_the_dead,
        phases=frozenset({"observe"}),
        when=_todo("rotate", "use"),
        returns=True,
    ),
)

_ROLLBACK = (
    _proof(
        "prove",
        "Prove that the previous value is still accepted",
        {"stage": "previous"},
        when=_both(_stepwise("rollback"), _accepts_both),
    ),
    *(replace(step, when=_both(step.when, _todo("rollback", "use"))) for step in RETURN),
)

_ADOPT = (
    Step(
        "prove",
        "Prove that the given value is in use",
        _probe.MODULE,
        ("value", "probes", "issuer", "consumers", "interval"),
        # A value that exists will not become right by waiting, and too many wrong passwords lock an account.
        {"timeout": "3s"},
        when=_todo("adopt"),
    ),
    _keyring(
        "adopt",
        "Write it as the current value",
        ("issuer", "generate", "value", "made"),
        late=_evidence("prove"),
        when=_todo("adopt"),
    ),
)


def _end(purpose: str, stage: str, *proof: Step) -> Tuple[Step, ...]:
    """How a value ends: marked, shown to nobody, refused by the issuer, and removed."""
    # A value that never came into use is looked after before it is marked: what follows is nobody's way back.
    first = replace(_LOOK, when=_watched(purpose))
    return (
        *((first,) if purpose == "abandon" else ()),
        _keyring(purpose, "Mark it, so that nothing renders it any more", when=_todo(purpose)),
        _places("hide", "Take it out of the sinks", when=_todo(purpose)),
        *((first,) if purpose == "retire" else ()),
        _issuer(
            "revoke",
            "Have the issuer refuse it",
            {"operation": "revoke", "stage": stage},
            when=_todo(purpose),
        ),
        *proof,
        _issuer(
            "drop",
            "Remove what is left of it",
            {"operation": "drop", "stage": stage},
            when=_todo(purpose),
        ),
    )


_RETIRE = (
    # Somebody may have ended the value in use elsewhere: then the one before is all that works.
    _proof(
        "alive",
        "Prove that the value in use is accepted",
        {"stage": "current"},
        when=_watched("retire"),
    ),
    *_end(
        "retire",
        "previous",
        _proof(
            "refused",
            "Prove that it is refused",
            {"stage": "previous", "expect": "refused"},
            when=_todo("retire"),
        ),
    ),
    _keyring("retired", "Forget it", late=_evidence("refused"), when=_todo("retire")),
)
_COMPROMISE = (
    _keyring(
        "compromise",
        "Name what was exposed as compromised",
        ("made_before",),
        when=_todo("compromise"),
    ),
)
_REVOKE_FIRST = (
    _keyring(
        "revoke_first",
        "Take the compromised value out of use before there is another",
        ("issuer", "generate"),
        when=_todo("revoke_first"),
    ),
    _issuer(
        "revoke",
        "Have the issuer refuse it",
        {"operation": "revoke", "stage": "previous"},
        when=_todo("revoke_first"),
    ),
    _places("hide", "Take it out of the sinks", when=_todo("revoke_first")),
    _proof(
        "refused",
        "Prove that it is refused",
        {"stage": "previous", "expect": "refused"},
        when=_todo("revoke_first"),
    ),
)
_VERIFY = (
    _proof(
        "prove",
        "Prove that the value in use is accepted",
        {"stage": "current", **_LIVE},
        when=_todo("verify"),
    ),
)
_ABANDON = (
    *_end("abandon", "pending"),
    _keyring("abandoned", "Forget it", ("issuer", "generate"), when=_todo("abandon")),
)

PROCEDURES: Mapping[str, Tuple[Step, ...]] = MappingProxyType(
    {
        "rotate": _ROTATE,
        "rollback": _ROLLBACK,
        "adopt": _ADOPT,
        "retire": _RETIRE,
        "abandon": _ABANDON,
        "verify": _VERIFY,
        "compromise": _COMPROMISE,
        "revoke_first": _REVOKE_FIRST,
    }
)
"""The steps of each purpose between the check and the release, in order. The last one says how it ended."""


def chosen(purpose: str, phases: FrozenSet[str], step: Step) -> bool:
    """Whether a step is asked for; without any phase, all of them are. Only a rotation can be done in parts."""
    if not phases:
        return True
    return bool(phases & step.phases) if purpose == "rotate" else phases != {PREFLIGHT}


def only_refresh(phases: FrozenSet[str]) -> bool:
    """Whether later phases alone are asked for: then nothing new is made, and places are brought to what the keyring says."""
    return bool(phases & {"promote", "reload", "observe"}) and not phases & {
        "stage",
        "apply",
        "prove",
    }


def steps_after(steps: Tuple[Step, ...], key: Optional[str]) -> Tuple[Step, ...]:
    """The steps that follow the one of that key; all without one."""
    keys = [step.key for step in steps]
    return steps[keys.index(key) + 1 :] if key in keys else steps
