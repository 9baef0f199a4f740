# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes: proofs that a credential works, or that it does not work any more.

A type of probe is a class with the two methods of :class:`_port.ProbeType`; a further one is added here and in a module
beside this one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Callable, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, ProbeFailed
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    STAGES,
    Document,
    Stage,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._drained import DrainedType
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._port import (
    ACCEPTED,
    REFUSED,
    Attempt,
    Evidence,
    Patience,
    Probe,
    ProbeContext,
    ProbeType,
    check_keys,
    denied,
    patience_of,
    predicted,
    unclear,
    wait_for,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._postgres import PostgresType


# Imported where they are used: Ansible compiles each module of a collection anew in every run.
def _command_type() -> ProbeType:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._command import (
        CommandType,
    )

    return CommandType()


def _http_type() -> ProbeType:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._http import HttpType

    return HttpType()


def _s3_type() -> ProbeType:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._s3 import S3Type

    return S3Type()


def _stream_type() -> ProbeType:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._stream import StreamType

    return StreamType()


TYPES: Mapping[str, Callable[[], ProbeType]] = MappingProxyType(
    {
        "command": _command_type,
        "drained": DrainedType,
        "http": _http_type,
        "postgres": PostgresType,
        "s3": _s3_type,
        "stream": _stream_type,
    }
)
"""Every type of probe, by name."""


def probe_type(probe: Any, option: str) -> ProbeType:
    """The type that a definition names.

    :raises BadInput: when it is no mapping or names none.
    """
    name = probe.get("type") if isinstance(probe, Mapping) else None
    if name not in TYPES:
        said = f"'{name}' is unknown" if name else "missing"
        raise BadInput(f"{option}.type: {said}; expected one of {', '.join(sorted(TYPES))}")
    return TYPES[str(name)]()


def presenting(probes: Sequence[Any], option: str) -> int:
    """How many of these probes show the stage's own value to somebody who checks it.

    :raises BadInput: for a definition without a known type, or whose patience cannot be meant.
    """
    for number, probe in enumerate(probes):
        if isinstance(probe, Mapping):
            patience_of(probe, Patience(), f"{option}[{number}]")
    kinds = [
        (probe_type(probe, f"{option}[{number}]"), probe) for number, probe in enumerate(probes)
    ]
    return sum(1 for kind, probe in kinds if kind.presents(probe))


def check_probes(probes: Sequence[Any], option: str, senders: bool) -> None:
    """Refuse options that would be refused when the proof is tried, where they can be known before anything is begun.

    :param senders: the credential's issuer tells who sends with a value.
    :raises BadInput: naming the option.
    """
    for number, probe in enumerate(probes):
        where = f"{option}[{number}]"
        kind = probe_type(probe, where)
        check_keys(probe, kind.keys, where)
        kind.check(probe, where, senders)


def check_refusals(probes: Sequence[Any], option: str) -> None:
    """Refuse what would be refused when a value has to be proved refused, which is after it was hidden from everybody.

    :raises BadInput: naming the option.
    """
    for number, probe in enumerate(probes):
        kind = probe_type(probe, f"{option}[{number}]")
        if kind.presents(probe):
            kind.check_refusal(probe, f"{option}[{number}]")


def not_for(probe: Mapping[str, Any], stage: str, expect: str, option: str) -> str:
    """Why a probe has nothing to say about a stage; empty when it has."""
    kind = probe_type(probe, option)
    if stage not in kind.stages:
        return f"it is only for the {' and '.join(kind.stages)} value"
    if expect == REFUSED and not kind.presents(probe):
        return "it does not present the value, so it cannot prove a refusal"
    return ""


def on_the_air(probe: Any) -> bool:
    """Whether an attempt with the value in use can be seen by an audience: it is made only where it is a proof."""
    return bool(getattr(probe_type(probe, "probe"), "on_the_air", False))


def _control(probe: Mapping[str, Any], stage: Stage, ctx: ProbeContext) -> Optional[Probe]:
    """The same probe with the current value, which must be accepted where the old one is refused; none when there is none."""
    current = ctx.document.current if ctx.document else None
    if current is None or current == stage or current.compromised or current.status == "cutover":
        return None
    opened = probe_type(probe, ctx.option).open(probe, current, replace(ctx, expect=ACCEPTED))
    return None if opened.blocked else opened


class _Controlled:
    """A refusal that counts only while the current value is accepted at the same place.

    A wrong address, a wrong database behind PgBouncer or another server refuse everybody: that proves nothing.
    """

    def __init__(self, probe: Probe, control: Probe) -> None:
        self.against, self.blocked = probe.against, probe.blocked
        self._probe, self._control = probe, control

    def attempt(self, seconds: float) -> Attempt:
        """The probe, and the control when it was refused."""
        seen = self._probe.attempt(seconds)
        if not seen.done:
            return seen
        # Some have a gentler way to see this than the whole proof.
        ask: Callable[[float], Attempt] = getattr(self._control, "control", self._control.attempt)
        control = ask(seconds)
        if not control.done:
            return unclear(
                f"{seen.detail}; but the current value is not accepted there either: {control.detail}"
            )
        return replace(seen, detail=f"{seen.detail}; the current value is accepted there")


def _patience(kind: ProbeType, probe: Mapping[str, Any], ctx: ProbeContext) -> Patience:
    """The probe's own, or what it is given here, which may be less than one attempt needs."""
    patience = patience_of(probe, ctx.patience, ctx.option)
    if "timeout" in probe:
        return patience
    least = timedelta(seconds=kind.least(probe))
    return replace(patience, timeout=max(patience.timeout, least))


def run_probe(probe: Mapping[str, Any], stage: Stage, ctx: ProbeContext) -> Evidence:
    """Try a proof until it is there or its time is up.

    :param probe: its definition, from ``keyturn_probes``.
    :param stage: the stage under proof.
    :return: what was seen; in check mode predicted where the value does not exist yet or trying it would have effects.
    :raises ProbeFailed: a clear no.
    :raises Unreachable: no clear answer: never a proof, not of a refusal either.
    :raises BadInput: for a definition that cannot be meant.
    """
    kind = probe_type(probe, ctx.option)
    check_keys(probe, kind.keys, ctx.option)
    patience = _patience(kind, probe, ctx)
    ctx = replace(ctx, patience=patience)
    opened = kind.open(probe, stage, ctx)
    name = str(probe.get("type"))
    if opened.blocked:
        said = f"not tried: {opened.blocked}"
        return Evidence(name, opened.against, ctx.context.now(), said, predicted=True)
    control = _control(probe, stage, ctx) if ctx.expect == REFUSED else None
    ready: Probe = _Controlled(opened, control) if control else opened
    what = f"{probe.get('name') or name} ({opened.against})"
    if ctx.predicting:
        detail, done = predicted(ready, patience, ctx, what)
        return Evidence(name, opened.against, ctx.context.now(), detail, predicted=not done)
    detail = wait_for(ready, patience, ctx, what)
    return Evidence(name, opened.against, ctx.context.now(), detail)


__all__ = [
    "ACCEPTED",
    "REFUSED",
    "STAGES",
    "TYPES",
    "Attempt",
    "Document",
    "Evidence",
    "Patience",
    "ProbeContext",
    "ProbeFailed",
    "check_probes",
    "check_refusals",
    "denied",
    "not_for",
    "on_the_air",
    "presenting",
    "probe_type",
    "run_probe",
]
