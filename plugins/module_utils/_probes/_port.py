# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a type of probe must offer, and what all of them share: evidence, templates, patience."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Callable, Dict, Mapping, Optional, Protocol, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    ProbeFailed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    STAGES,
    Document,
    Stage,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import refuse_unknown
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    resolve,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._template import Template
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_time,
    parse_duration,
)

ACCEPTED, REFUSED = "accepted", "refused"
COMMON_KEYS = ("type", "name", "timeout", "interval", "retries")

_PROGRESS_EVERY = 5.0
_LEAST_PAUSE = 0.1
_ALIAS = re.compile(r"\{stage(?=\.)")
_NAMES_A_STAGE = re.compile(r"\{{(?:stage|{})[.,]".format("|".join(STAGES)))


@dataclass(frozen=True)
class Evidence:
    """One proof, as the keyring and the ledger keep it; it never holds a value.

    :param type: the probe's type.
    :param against: what it was tried on, such as ``db1.example:6432/musehub as musehub_b``.
    :param detail: what was seen, in words.
    :param predicted: check mode did not try it.
    """

    type: str
    against: str
    at: datetime
    detail: str
    predicted: bool = False

    def as_dict(self) -> Dict[str, str]:
        """Texts only, as a keyring's stage keeps them."""
        found = {
            "type": self.type,
            "against": self.against,
            "at": format_time(self.at),
            "detail": self.detail,
        }
        return {**found, "predicted": "yes"} if self.predicted else found


@dataclass(frozen=True)
class Patience:
    """How long a proof may take.

    :param timeout: for all attempts together.
    :param interval: between two attempts.
    :param retries: attempts after the first; none: as many as the time allows.
    """

    timeout: timedelta = timedelta(seconds=30)
    interval: timedelta = timedelta(seconds=2)
    retries: Optional[int] = None


@dataclass(frozen=True)
class ProbeContext:
    """What a probe may know beside the stage.

    :param issuer: the credential's ``keyturn_issuer``: where defaults come from.
    :param consumers: the credential's ``keyturn_consumers``: where PgBouncer's console is found.
    :param expect: ``accepted`` or ``refused``.
    :param option: how messages name the probe.
    :param predicting: check mode only predicted steps that this proof depends on, so that a clear no means "not yet".
    :param credential: its name; empty where the task has none.
    :param live_is_enough: that somebody is live with the value counts as a proof; where something is ended after it, it does not.
    """

    context: Context
    issuer: Mapping[str, Any]
    document: Optional[Document] = None
    consumers: Sequence[Mapping[str, Any]] = ()
    expect: str = ACCEPTED
    patience: Patience = Patience()
    option: str = "probes"
    predicting: bool = False
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    credential: str = ""
    live_is_enough: bool = False


@dataclass(frozen=True)
class Attempt:
    """How one attempt ended.

    :param done: the proof is there.
    :param clear: what was seen is a clear no; otherwise nothing can be concluded from it.
    :param detail: in words, without values and without texts that could quote one.
    """

    done: bool
    clear: bool
    detail: str


def proved(detail: str) -> Attempt:
    """The proof is there."""
    return Attempt(True, True, detail)


def denied(detail: str) -> Attempt:
    """A clear no, which may still change."""
    return Attempt(False, True, detail)


def unclear(detail: str) -> Attempt:
    """No answer, or none that says anything about the credential."""
    return Attempt(False, False, detail)


class Probe(Protocol):
    """One proof, ready to be tried.

    :ivar against: what it is tried on.
    :ivar blocked: why it cannot be tried now (check mode, a value that is only predicted); empty when it can.
    """

    against: str
    blocked: str

    def attempt(self, seconds: float) -> Attempt:
        """Try once, within that many seconds. Errors that another attempt cannot change are raised."""


class ProbeType(Protocol):
    """A type of probe."""

    @property
    def keys(self) -> Tuple[str, ...]:
        """The options that it knows beside the common ones."""

    @property
    def stages(self) -> Tuple[str, ...]:
        """The stages that it makes sense for."""

    def least(self, options: Mapping[str, Any]) -> float:
        """How many seconds one attempt needs, where that is known: nobody but the probe itself says less."""

    def check(self, options: Mapping[str, Any], option: str, senders: bool) -> None:
        """Refuse what would be refused when the proof is tried, as far as it is known before anything is begun.

        :param senders: the credential's issuer tells who sends with a value.
        :raises BadInput: naming the option.
        """

    def check_refusal(self, options: Mapping[str, Any], option: str) -> None:
        """The same, of what only the proof of a refusal needs.

        :raises BadInput: naming the option.
        """

    def presents(self, options: Mapping[str, Any]) -> bool:
        """Whether it shows the stage's own value to somebody who checks it. Only such a probe proves anything about it."""

    def open(self, options: Mapping[str, Any], stage: Stage, ctx: ProbeContext) -> Probe:
        """Read the options; no connection is made yet.

        :raises BadInput: naming the option.
        """


class Simple:
    """The parts of :class:`ProbeType` that most types have nothing to say about."""

    def least(self, options: Mapping[str, Any]) -> float:
        """Not known."""
        return 0.0

    def check(self, options: Mapping[str, Any], option: str, senders: bool) -> None:
        """Nothing is wrong by itself."""

    def check_refusal(self, options: Mapping[str, Any], option: str) -> None:
        """It needs nothing more for that."""


def patience_of(options: Mapping[str, Any], default: Patience, option: str) -> Patience:
    """The probe's own timeout, interval and retries, or the module's.

    :raises BadInput: when they are no durations or numbers.
    """
    timeout, interval, retries = (
        options.get("timeout"),
        options.get("interval"),
        options.get("retries"),
    )
    if retries is not None and (not str(retries).isdigit()):
        raise BadInput(f"{option}.retries: '{retries}' is no number of attempts")
    found = replace(
        default,
        timeout=default.timeout
        if timeout is None
        else parse_duration(timeout, f"{option}.timeout"),
        interval=default.interval
        if interval is None
        else parse_duration(interval, f"{option}.interval"),
        retries=default.retries if retries is None else int(retries),
    )
    if found.timeout <= timedelta(0):
        raise BadInput(f"{option}.timeout: must be longer than nothing")
    return found


def names_stage(value: Any) -> bool:
    """Whether a text, or a text in a list or mapping, has a placeholder for a stage, or refers to the keyring."""
    if isinstance(value, Mapping):
        return any(names_stage(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(names_stage(item) for item in value)
    text = str(value)
    return bool(_NAMES_A_STAGE.search(text)) or text.startswith("keyring#")


def fill(text: Any, stage: Stage, ctx: ProbeContext, option: str) -> Secret:
    """The text of an option: a reference resolved, or a template filled in with the stage under proof.

    ``{stage.field}`` is the stage under proof. A probe is tried for pending, current and previous in turn, so the name of
    any stage means that one, too; and a stage on its way out is shown here, because its refusal must be proved.

    :raises KeyturnError: as references and templates give cause.
    """
    plain = str(text)
    if looks_like_reference(plain) and not plain.startswith("keyring#"):
        return resolve(plain, ctx.context, option)
    if plain.startswith("keyring#"):
        plain = "{{stage.{}}}".format(plain.rpartition("/")[2])
    shown = replace(stage, status="issued", failed=False, compromised=False)
    document = Document("probe", b"", pending=shown, current=shown, previous=shown)
    return Template.parse(_ALIAS.sub("{pending", plain), option).render(document)


def check_keys(options: Mapping[str, Any], known: Tuple[str, ...], option: str) -> None:
    """Refuse options that the type does not know.

    :raises BadInput: with the list of known ones.
    """
    refuse_unknown(options, (*COMMON_KEYS, *known), option)


_REFUSED_BEFORE = "server login has been failing"
"""What PgBouncer says for a while after the server refused the role: what was only predicted may be what mends it."""


def predicted(probe: Probe, patience: Patience, ctx: ProbeContext, what: str) -> Tuple[str, bool]:
    """Try once, where a clear no cannot be held against anybody.

    :return: what was seen, and whether that is the proof.
    :raises Unreachable: no clear answer came: the run that follows would fail in the same way.
    """
    start = ctx.monotonic()
    seen = probe.attempt(patience.timeout.total_seconds())
    if not seen.done and not seen.clear and _REFUSED_BEFORE not in seen.detail:
        raise _failure(seen, what, ctx.monotonic() - start, 1)
    return (seen.detail, True) if seen.done else (f"not so yet, as expected: {seen.detail}", False)


_TO_ANSWER = 2
"""Who had less than so many times what the answer before took, and did not answer, tells nothing."""


def wait_for(probe: Probe, patience: Patience, ctx: ProbeContext, what: str) -> str:
    """Try until the proof is there or time is up; says how long it waits.

    :return: what was seen.
    :raises ProbeFailed: the last clear answer was no.
    :raises Unreachable: no clear answer came at the end: that proves nothing.
    """
    start, limit = ctx.monotonic(), patience.timeout.total_seconds()
    tried, told = 0, 0.0
    clear: Optional[Attempt] = None
    took = 0.0
    while True:
        began = ctx.monotonic()
        left = max(limit - (began - start), 0.1)
        seen = probe.attempt(left)
        tried += 1
        if seen.clear:
            clear, took = seen, ctx.monotonic() - began
        elif clear and left < _TO_ANSWER * took:
            # It was cut short by the end of the time, which takes nothing back of what was answered before.
            seen = clear
        if seen.done:
            return seen.detail
        spent = ctx.monotonic() - start
        used_up = patience.retries is not None and tried > patience.retries
        if used_up or spent + patience.interval.total_seconds() >= limit:
            raise _failure(seen, what, spent, tried)
        if spent - told >= _PROGRESS_EVERY or told == 0.0:
            ctx.context.progress(
                f"waiting for {what}: {spent:.0f} s of {limit:.0f} s ({seen.detail})"
            )
            told = max(spent, 0.001)
        ctx.sleep(max(patience.interval.total_seconds(), _LEAST_PAUSE))


def _failure(seen: Attempt, what: str, spent: float, tried: int) -> Exception:
    times = f"{tried} attempt{'s' if tried > 1 else ''} in {spent:.0f} s"
    if seen.clear:
        return ProbeFailed(f"{what}: {seen.detail} ({times})")
    return Unreachable(f"{what}: {seen.detail} ({times}); this proves nothing either way")
