# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a preflight finds out: everything is asked, nothing is written, and every problem is kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, TypeVar

from ansible_collections.keyturn.runbooks.plugins.module_utils import _consumer
from ansible_collections.keyturn.runbooks.plugins.module_utils._alert import firing
from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions import (
    Condition,
    closed,
    is_asked,
    read_conditions,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    Consumer,
    order,
    parse_consumers,
    sinks_read,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import Issuer, open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import asked, execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._notify import contact_problems
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import Policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes import (
    Patience,
    ProbeContext,
    check_probes,
    check_refusals,
    not_for,
    on_the_air,
    presenting,
    run_probe,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._drained import DrainedType
from ansible_collections.keyturn.runbooks.plugins.module_utils._receipts import behind
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import (
    Sink,
    is_first,
    parse_sinks,
    render_sinks,
    requires_username,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import Wanted, bring
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._open import (
    Address,
    open_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import (
    described,
    held,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._user_name import (
    no_user_name,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

Found = TypeVar("Found")
Options = Mapping[str, Any]

_BASELINE = Patience(timedelta(seconds=5), timedelta(seconds=1), 0)


@dataclass
class Problems:
    """What went wrong while facts were gathered, each with the name of the gate that it closes."""

    sentences: List[str] = field(default_factory=list)

    def add(self, gate: str, message: str) -> None:
        """Keep one."""
        self.sentences.append(f"{gate}: {message}")

    def attempt(self, gate: str, ask: Callable[[], Found]) -> Optional[Found]:
        """The answer, or none with the error kept."""
        try:
            return ask()
        except KeyturnError as error:
            self.add(gate, error.message)
            return None


@dataclass(frozen=True)
class Definitions:
    """The credential's definitions, read; what could not be read is left out and among the problems."""

    issuer: Optional[Issuer]
    sinks: Tuple[Sink, ...]
    consumers: Tuple[Consumer, ...]
    presenting: Optional[int]
    conditions: Tuple[Condition, ...] = ()


def read_definitions(
    params: Options, policy: Policy, context: Context, problems: Problems
) -> Definitions:
    """Read every definition; each wrong one is a problem."""
    for sentence in contact_problems(policy.contacts):
        problems.add("contacts", sentence)
    definition = params["issuer"]
    issuer = problems.attempt("issuer", lambda: open_issuer(definition, context, "keyturn_issuer"))
    _check_what_comes_later(issuer, params, context, problems)
    sinks = problems.attempt("sinks", lambda: parse_sinks(params["sinks"])) or ()
    consumers = problems.attempt("consumers", lambda: parse_consumers(params["consumers"])) or ()
    conditions = problems.attempt("gates", lambda: read_conditions(params["gates"])) or ()
    known = () if problems.sentences else consumers
    problems.attempt("consumers", lambda: order(known))
    problems.attempt("consumers", lambda: [sinks_read(consumer, sinks) for consumer in known])
    count = problems.attempt("probes", lambda: presenting(params["probes"], "keyturn_probes"))
    if count is not None:
        senders = issuer is None or issuer.senders
        problems.attempt(
            "probes", lambda: check_probes(params["probes"], "keyturn_probes", senders)
        )
    if count is not None and params.get("purpose") in ("retire", "revoke_first"):
        problems.attempt("probes", lambda: check_refusals(params["probes"], "keyturn_probes"))
    return Definitions(issuer, sinks, consumers, count, conditions)


def warn_of_no_end(params: Options, context: Context) -> None:
    """What keeps no value from coming into use, and will keep the one before from its end."""
    try:
        check_refusals(params["probes"], "keyturn_probes")
    except BadInput as error:
        context.warn(
            f"{params['credential']}: it can be rotated, but its old value could not be ended: {error.message}"
        )


def _check_what_comes_later(
    issuer: Optional[Issuer], params: Options, context: Context, problems: Problems
) -> None:
    """What is first needed once a value was made: it would be too late then to say that it cannot be meant."""
    if issuer is not None:
        # A weak value that is allowed is warned of where it is made.
        silent = replace(context, warn=lambda _line: None)
        wanted = params["generate"]
        problems.attempt("generate", lambda: issuer.check_generate(wanted, silent))
    for name, variable in (("timeout", "keyturn_wait"), ("interval", "keyturn_interval")):
        given, option = params[name], f"{name} ({variable})"
        problems.attempt("probes", partial(_some_time, given, option))


def _some_time(given: Any, option: str) -> None:
    """Refuse what is no duration, and none at all: a proof would be tried without a pause, or never.

    :raises BadInput: naming the option.
    """
    if not parse_duration(given, option):
        raise BadInput(f"{option}: expected more than 0, such as 1s")


def issuer_problems(
    issuer: Optional[Issuer], document: Optional[Document], context: Context
) -> Tuple[str, ...]:
    """Why the issuer could not do it."""
    if issuer is None:
        return ()
    try:
        return tuple(issuer.check(document, context))
    except KeyturnError as error:
        return (error.message,)


def is_given(issuer: Optional[Issuer], document: Optional[Document], context: Context) -> bool:
    """Whether the value is there that the rotation under way asked a person for."""
    pending = document.pending if document else None
    if not (issuer and issuer.handed and document and pending and pending.status == "intended"):
        return False
    try:
        # It reads only. What a dry run would be warned of is told by the step itself.
        issuer.issue(pending, document, replace(context, check_mode=False), _may_not_write)
    except KeyturnError as error:
        # What can be no value was put there in place of one.
        return isinstance(error, BadInput)
    return True


def _tells_no_name(params: Options, defined: Definitions) -> bool:
    """Whether applications would go on with the old role: it changes, and no sink tells them its name."""
    changes = (
        params["issuer"].get("type") == "postgres_role"
        and defined.issuer is not None
        and defined.issuer.overlap
    )
    return bool(changes and defined.sinks and not requires_username(defined.sinks))


@dataclass
class SinkState:
    """Sinks that cannot be read, as sentences, the names of those that do not hold what they should, and those that hold a value that
    the keyring does not know, described."""

    unreadable: List[str] = field(default_factory=list)
    behind: List[str] = field(default_factory=list)
    unknown: List[str] = field(default_factory=list)


def _may_not_write() -> None:
    """Nothing: what is only looked at is not written."""


def _to_show(document: Document, what: str) -> Document:
    """What sinks are to show at the end, as far as it is known before: of a rollback it is, and a place that shows it needs no write."""
    if what != "rollback" or document.current is None or document.previous is None:
        return document
    failed = replace(document.current, failed=True)
    return replace(document, pending=None, current=document.previous, previous=failed)


def _look(
    sink: Sink,
    fields: Optional[Mapping[str, Optional[Secret]]],
    context: Context,
    state: SinkState,
    soon: bool,
    first: bool,
) -> None:
    ref = sink.ref
    where = described(ref.place, sink.name, sink.host)
    try:
        place = open_place(
            Address(ref.scheme, ref.path, dict(ref.params), ref.place, where), sink.options, context
        )
        if first and sink.shows and held(place.read(sink.shows), sink.shows):
            state.unknown.append(where)
        if fields is None:
            place.read(tuple(sink.templates))
            return
        wanted = Wanted(where, fields, sink.options.create)
        # A look writes nothing, in no run: what follows must not build on it.
        dry = replace(context, check_mode=True, foreseen=dict(context.foreseen))
        outcome = bring(place, wanted, _may_not_write, dry)
        if soon and not outcome.changed:
            place.check_write(outcome.observed, fields)
    except KeyturnError as error:
        state.unreadable.append(error.message)
        return
    # A line of a log that is gone was there: nobody goes on with an old value for want of it.
    if outcome.changed and not sink.only_adds:
        state.behind.append(sink.name)


def look_at_sinks(
    params: Options,
    what: str,
    defined: Definitions,
    document: Optional[Document],
    context: Context,
    problems: Problems,
) -> SinkState:
    """Read the sinks that are written from here; those on other hosts are read there, and the task is told what was found.

    :param what: there is to do. Where the values change later in this run, what would stop a write is found out for each sink.
    """
    state = SinkState(*(list(params[name]) for name in ("unreadable", "behind", "unknown")))
    if _tells_no_name(params, defined):
        state.unreadable.append(no_user_name(defined.sinks))
    wanted: Dict[str, Mapping[str, Optional[Secret]]] = {}
    if document is not None:
        shown = _to_show(document, what)
        rendered = problems.attempt("sinks", lambda: render_sinks(shown, defined.sinks)) or ()
        wanted = {item.sink.name: item.fields for item in rendered}
    for sink in defined.sinks:
        if not sink.host:
            fields, first = wanted.get(sink.name), is_first(document)
            _look(sink, fields, context, state, soon=what == "rotate", first=first)
    return state


# What there is to do where a consumer will be told, or is looked at for its own sake.
TELLING = ("rotate", "use", "rollback", "verify")


def looked_at(what: str, consumers: Sequence[Consumer]) -> List[Consumer]:
    """Those that are looked at: all that will be told, and before a promotion and an end those that may be live."""
    if what in TELLING:
        return list(consumers)
    if what not in ("promote", "look", "retire"):
        return []
    return [consumer for consumer in consumers if consumer.definition.get("active") == "refuse"]


def look_at_consumers(
    params: Dict[str, Any], what: str, defined: Definitions, context: Context
) -> Tuple[str, ...]:
    """Why consumers that are told from here could not be told; those on other hosts are looked at there."""
    dry = replace(context, check_mode=True, diff=False)
    given = {name: params[name] for name in ("sinks", "issuer")}
    found = []
    for consumer in looked_at(what, defined.consumers):
        if consumer.host or consumer.type == "none":
            continue
        definition = dict(consumer.definition)
        how = what if what in TELLING else "use"
        look = asked(_consumer.MODULE, params, definition=definition, look=how, **given)
        try:
            execute(_consumer.MODULE, look, dry)
        except KeyturnError as error:
            found.append(error.message)
    return tuple(found)


def asked_elsewhere(
    conditions: Sequence[Condition], purpose: str, document: Optional[Document]
) -> List[str]:
    """The other hosts that the credential's own gates are asked on for a purpose."""
    asked = (condition for condition in conditions if is_asked(condition, purpose, document))
    return sorted({condition.on for condition in asked} - {""})


def elsewhere(what: str, defined: Definitions, gates: List[str]) -> Dict[str, List[Any]]:
    """What is to be looked at on other hosts: the hosts of sinks, the definitions of consumers, and the hosts of gates.

    :param gates: the hosts that gates are asked on for this purpose.
    """
    hosts = {
        sink.host
        for sink in defined.sinks
        if sink.host and what not in ("nothing", "abandon", "promote", "look")
    }
    consumers = [
        dict(consumer.definition)
        for consumer in looked_at(what, defined.consumers)
        if consumer.host and consumer.type != "none"
    ]
    asked = [] if what == "nothing" else gates
    return {"sinks": sorted(hosts), "consumers": consumers, "gates": asked}


def lagging_consumers(
    params: Options, defined: Definitions, document: Optional[Document], problems: Problems
) -> Tuple[str, ...]:
    """Consumers that were not seen using what they should."""
    if document is None:
        return ()
    found = problems.attempt("receipts", lambda: behind(document, defined.sinks, defined.consumers))
    return tuple(consumer.name for consumer in found or ())


def _probe_context(params: Options, document: Optional[Document], context: Context) -> ProbeContext:
    return ProbeContext(
        context, params["issuer"], document, tuple(params["consumers"]), patience=_BASELINE
    )


def users_of(
    stage: Stage, params: Options, document: Document, context: Context, issuer: Optional[Issuer]
) -> Optional[Tuple[str, ...]]:
    """Who uses a stage now, described; none when this kind of issuer cannot tell.

    :raises KeyturnError: a server did not answer.
    """
    if params["issuer"].get("type") == "postgres_role":
        probe = DrainedType().open({}, stage, _probe_context(params, document, context))
        return () if probe.shared else probe.count().clients
    found = issuer.sessions(stage, context) if issuer else None
    return None if found is None else tuple(str(session) for session in found)


def alert_of(policy: Policy, context: Context, problems: Problems) -> Optional[str]:
    """What is firing; none when all is quiet."""
    return problems.attempt("alert", lambda: firing(policy.alert, context))


def closed_conditions(
    params: Options, document: Optional[Document], context: Context, problems: Problems
) -> Tuple[str, ...]:
    """Which of the credential's own gates are closed, as sentences."""
    purpose = params["purpose"]
    found = problems.attempt(
        "gates", lambda: closed(params["gates"], context, document, purpose=purpose)
    )
    return (*(found or ()), *params["closed"])


def baseline(
    params: Options, document: Optional[Document], context: Context
) -> List[Dict[str, Any]]:
    """How the probes fare with the current value, before anything is done: one attempt each, of those that only look."""
    current = document.current if document else None
    if document is None or current is None:
        return []
    ctx = _probe_context(params, document, context)
    found = []
    for number, probe in enumerate(_usable(params["probes"])):
        seen: Dict[str, Any] = {"probe": number, "type": str(probe.get("type"))}
        try:
            once = {name: probe[name] for name in probe if name != "timeout"}
            evidence = run_probe({**once, "retries": 0}, current, ctx)
            found.append({**seen, "ok": True, "detail": evidence.detail})
        except KeyturnError as error:
            found.append({**seen, "ok": False, "detail": error.message})
    return found


def _usable(probes: Sequence[Options]) -> List[Options]:
    return [
        probe
        for number, probe in enumerate(probes)
        if not not_for(probe, "current", "accepted", f"keyturn_probes[{number}]")
        and not on_the_air(probe)
    ]
