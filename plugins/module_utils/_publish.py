# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``publish``: bring sinks to what the keyring says, with one write for each place that differs.

On the controller the sinks are rendered (:func:`prepare`); where the places are, they are read, compared and written
(:func:`run`). In between, the values travel in one option, in one opaque text: Ansible hides each text of a ``no_log`` option
wherever it occurs in a result, and a value such as a port number or a user name would punch holes into names and paths.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._claims import check_claim
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    lagging,
    parse_consumers,
    sinks_read,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard, no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    SALT_BYTES,
    Document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._carried import (
    carrier,
    telling,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._port import Carries
from ansible_collections.keyturn.runbooks.plugins.module_utils._process import is_dead
from ansible_collections.keyturn.runbooks.plugins.module_utils._published import (
    Done,
    Job,
    publish_result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import (
    RenderedSink,
    Sink,
    digests,
    group_stamps,
    is_first,
    parse_sinks,
    render_sinks,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import (
    Outcome,
    Wanted,
    bring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._backup import (
    NO_COPY,
    BackedUpPlace,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import EVERYBODY
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._open import (
    Address,
    open_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._options import (
    MARKED,
    STAMP,
    Options,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import (
    Observed,
    Place,
    described,
    held,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._template_told import (
    is_public,
    shows_facts,
    told_facts,
)

OPTION = "keyturn_sinks"


class Contents(Dict[str, Any]):
    """What :func:`prepare` hands to :func:`run`.

    :ivar guard: makes sure that the claim is still held. Only in the same process: a plain copy, as it goes to another
        machine, cannot reach the keyring; there the claim was looked at on the controller right before.
    :ivar take_back: has the keyring forget that what reads these sinks was seen using them; in the same process only, too.
    :ivar taken: the sinks for which that was done.
    :ivar consumers: who reads the sinks, which other machines need not know.
    """

    guard: Optional[Guard] = None
    take_back: Optional[Callable[[Sequence[str]], object]] = None
    taken: FrozenSet[str] = frozenset()
    consumers: Sequence[Mapping[str, Any]] = ()


def _guard(access: KeyringAccess, document: Document, context: Context) -> Guard:
    """Refuse beside another run's rotation; inside of one's own, look again before each write."""
    claim = document.claim
    if context.check_mode or claim is None:
        return no_guard
    request = Request("publish", access.run, take_over=access.take_over, holder_dead=is_dead(claim))
    check_claim(document, request, context.now())
    return access.guard if claim.run_id == access.run.run_id else no_guard


def _take_back(access: KeyringAccess, params: Params, written: Sequence[str]) -> bool:
    """Have the keyring forget that the readers of these sinks were seen using what they should: it was not there.

    Somebody had changed the place by hand, or it was lost with its machine: whoever reads it is to be told of it once more.

    :return: whether there was anything to forget.
    """
    document, sinks = access.document, parse_sinks(params["sinks"], OPTION)
    consumers = parse_consumers(params.get("consumers") or ())
    if document is None or not written or not consumers:
        return False
    places = {sink.place for sink in sinks if sink.name in written}
    names = {name for sink in sinks if sink.place in places for name in (sink.name, sink.group)}
    late = lagging(document, sinks, consumers)
    settled = [
        consumer.name
        for consumer in consumers
        if consumer.name not in late and names & set(sinks_read(consumer, sinks))
    ]
    return bool(settled) and access.step(
        Request("receive", access.run, receipts=dict.fromkeys(settled, ""))
    )


def _of_host(rendered: Sequence[RenderedSink], host: Optional[str]) -> List[RenderedSink]:
    if host is not None:
        return [item for item in rendered if item.sink.host == host]
    hosts = sorted({item.sink.host for item in rendered})
    if len(hosts) > 1:
        names = ", ".join(name or "'' (the controller)" for name in hosts)
        raise BadInput(
            f"{OPTION}: the sinks are written from several hosts: {names}; run one task for each, with 'host' and delegated to it"
        )
    return list(rendered)


def _told_of(document: Document, item: RenderedSink) -> Dict[str, str]:
    """By field, what everybody may read of it. The keyring says so, which is here and not where the place is."""
    return {
        name: told_facts(item.sink.templates[name], document)
        for name, value in item.fields.items()
        if value is not None
    }


def _is_public(document: Document, sink: Sink) -> bool:
    """Whether no harm is done where everybody reads it. A log is meant to be read, and says more than its facts."""
    allowed = shows_facts if sink.only_adds else is_public
    return all(allowed(template, document) for template in sink.templates.values())


def _sent_sink(document: Document, item: RenderedSink, digest: str, first: bool) -> Dict[str, Any]:
    sink = item.sink
    fields = {
        name: None if value is None else [value.reveal(), value.known]
        for name, value in item.fields.items()
    }
    about = {
        "name": sink.name,
        "ref": sink.ref.text,
        "host": sink.host,
        "group": sink.group,
        "digest": digest,
        "told": _told_of(document, item),
        "public": _is_public(document, sink),
        "shows": list(sink.shows) if first else [],
    }
    return {**about, "held": dict(item.held), "fields": fields}


def _refused(document: Document) -> List[str]:
    """The values that were compromised and are refused by now, as far as the keyring still has them."""
    stages = [stage for stage in document.retained if stage.lingers]
    return [value.reveal() for value in telling(document, stages)]


def _sent_places(
    document: Document, rendered: Sequence[RenderedSink], first: bool
) -> List[Dict[str, Any]]:
    """What is sent of each place.

    :param first: what is there is to be told where it is a value that the keyring does not know.
    """
    seen = digests(document, rendered)
    stamps = group_stamps(document, [item.sink for item in rendered])
    places: Dict[Tuple[str, ...], Dict[str, Any]] = {}
    for item in rendered:
        sink = item.sink
        address = _address(sink, stamps.get(sink.group, ""))
        empty = {"address": address, "options": asdict(sink.options), "sinks": []}
        places.setdefault(sink.place, empty)["sinks"].append(
            _sent_sink(document, item, seen[sink.name], first)
        )
    return list(places.values())


def _address(sink: Sink, stamped: str) -> Dict[str, Any]:
    ref = sink.ref
    carried = {STAMP: stamped} if stamped and ref.scheme in MARKED else {}
    params = {**ref.params, **carried}
    where = described(ref.place, sink.name, sink.host)
    return {
        "scheme": ref.scheme,
        "path": ref.path,
        "params": params,
        "text": ref.place,
        "where": where,
    }


def prepare(params: Params, context: Context) -> Params:
    """Render the sinks on the controller.

    :raises BadInput: for a sink that is defined wrongly, or names a field that the credential does not have.
    :raises Absent: when there is no keyring.
    :raises Refused: when another run has claimed the keyring.
    """
    sinks = parse_sinks(params["sinks"], OPTION)
    access = open_keyring(params, context)
    # Before the first rotation there is nothing to show; whether the places can be read is to be known all the same.
    unborn = context.check_mode and access.document is None
    document = Document(access.credential, bytes(SALT_BYTES)) if unborn else access.need()
    rendered = _of_host(render_sinks(document, sinks), params.get("host"))
    first = context.check_mode and is_first(access.document)
    body = {
        "salt": base64.b64encode(document.salt).decode(),
        "places": _sent_places(document, rendered, first),
        "refused": _refused(document) if params.get("carrying") else [],
    }
    contents = Contents(sealed=base64.b64encode(json.dumps(body).encode()).decode())
    contents.guard = _guard(access, document, context)
    if not context.check_mode:
        # Before the write: once the place holds what it should, nobody would know any more.
        contents.take_back = partial(_take_back, access, params)
    contents.consumers = params.get("consumers") or ()
    return {**params, "consumers": [], "contents": contents}


def _told_as_written(params: Params, result: Result) -> List[str]:
    """The sinks that a result tells to be written. It may be another machine's answer, which has a say in its own sinks alone."""
    host = params.get("host")
    own = {sink.name for sink in parse_sinks(params["sinks"], OPTION) if host in (None, sink.host)}
    told = [item for item in result.get("sinks") or () if isinstance(item, dict)]
    return sorted(own & {str(item.get("name")) for item in told if item.get("changed")})


def _without_copy(params: Params, result: Result, written: Sequence[str]) -> str:
    """What the ledger is to keep of files that were not there to be copied; empty where none was missing."""
    told = [item for item in result.get("sinks") or () if isinstance(item, dict)]
    lost = {item.get("name") for item in told if (item.get("backup") or {}).get("missing")}
    return "; ".join(
        f"{described(sink.ref.place, sink.name, sink.host)}: {NO_COPY}"
        for sink in parse_sinks(params["sinks"], OPTION)
        if sink.name in lost and sink.name in written
    )


def conclude(params: Params, result: Result, context: Context) -> Result:
    """On the controller, once the places were written, or some of them: who reads them is to be told.

    :raises KeyturnError: as the keyring's store gives cause.
    """
    contents = params["contents"]
    consumers = contents.consumers
    told = _told_as_written(params, result)
    written = [name for name in told if name not in contents.taken] if consumers else []
    lost = _without_copy(params, result, told)
    if not written and not lost:
        return result
    access = open_keyring(params, context)
    known = {**params, "consumers": consumers}
    stepped = bool(written) and _take_back(access, known, written)
    if lost and access.document is not None:
        stepped = access.step(Request("note", access.run), lost) or stepped
    if stepped and context.check_mode:
        # A step that this task is asked to do too must build on this one.
        params["replay"] = access.replay
        return {**result, "replay": access.replay}
    return result


def _job(sent: Mapping[str, Any], salt: bytes) -> Job:
    fields = {name: value for sink in sent["sinks"] for name, value in sink["fields"].items()}
    wanted = {
        name: None if value is None else Secret(value[0], value[1])
        for name, value in fields.items()
    }
    address, options = Address(**sent["address"]), Options(**sent["options"])
    return Job(
        address, options, tuple(sent["sinks"]), Wanted(address.where, wanted, options.create), salt
    )


def _jobs(params: Params) -> List[Job]:
    sealed = (params.get("contents") or {}).get("sealed")
    if not sealed:
        raise BadInput(
            "publish: this module gets its values from its action plugin; call it as keyturn.runbooks.publish in a task"
        )
    body = json.loads(base64.b64decode(sealed))
    salt = base64.b64decode(body["salt"])
    return [_job(sent, salt) for sent in body["places"]]


def _carries(params: Params) -> Carries:
    """What tells of a copy whether it is to go."""
    body = json.loads(base64.b64decode(params["contents"]["sealed"]))
    return carrier([Secret(text) for text in body["refused"]])


def _before(job: Job, contents: Any, guard: Guard) -> Guard:
    """What is done right before each write."""

    def before() -> None:
        take_back = getattr(contents, "take_back", None)
        if take_back:
            names = [sink["name"] for sink in job.sinks]
            take_back(names)
            contents.taken = contents.taken.union(names)
        guard()

    return before


def _outcome(job: Job, place: Place, guard: Guard, context: Context) -> Outcome:
    if job.wanted.fields:
        return bring(place, job.wanted, guard, context)
    held = [name for sink in job.sinks for name in sink["held"]]
    # Nothing is to be written yet. A dry run tells all the same what could not be read.
    return Outcome(
        place.read(tuple(held)) if context.check_mode and held else Observed({}), {}, None
    )


def _unknown(job: Job, place: Place) -> Tuple[str, ...]:
    """The sinks that hold a value although the keyring knows none, described."""
    return tuple(
        described(job.address.text, sink["name"], sink["host"])
        for sink in job.sinks
        if sink["shows"] and held(place.read(tuple(sink["shows"])), sink["shows"])
    )


def _settle(done: Done, place: Place, context: Context) -> None:
    """What follows once a place holds what it should: its copies come to their end, and the operator is told."""
    where = done.job.address.where
    notes = [
        note
        for note in done.outcome.observed.notes
        if not (done.job.public and note.startswith(EVERYBODY))
    ]
    if isinstance(place, BackedUpPlace):
        done.copies = place.settle(done.outcome)
        notes += [done.copies.note] if done.copies.missing else []
    for note in notes:
        context.warn(f"{where}: {note}")


def _tidied(job: Job, place: BackedUpPlace, carries: Optional[Carries]) -> Done:
    """A place whose copies come to their end, and that is not looked at otherwise.

    :param carries: those that carry a value come to it, and no others.
    """
    untouched = Outcome(Observed({}), {}, None)
    copies = place.without(carries) if carries else place.settle(untouched)
    return Done(replace(job, wanted=replace(job.wanted, fields={})), untouched, copies)


def run(params: Params, context: Context) -> Result:
    """Read, compare and write, where the places are.

    :raises KeyturnError: for the first place that cannot be brought up to date; the details tell of those before it.
    """
    contents = params.get("contents")
    guard = getattr(contents, "guard", None) or no_guard
    done: List[Done] = []
    jobs = _jobs(params)
    try:
        for job in jobs:
            place = open_place(job.address, job.options, context)
            if params.get("only_copies"):
                if isinstance(place, BackedUpPlace):
                    carried = _carries(params) if params.get("carrying") else None
                    done.append(_tidied(job, place, carried))
                continue
            done.append(Done(job, _outcome(job, place, _before(job, contents, guard), context)))
            done[-1].unknown = _unknown(job, place)
            _settle(done[-1], place, context)
    except KeyturnError as error:
        so_far = publish_result(done, context)
        changed = so_far["changed"] and not context.check_mode
        left = [sink["name"] for job in jobs[len(done) :] for sink in job.sinks]
        error.details.update(sinks=so_far["sinks"], unwritten=left, changed=changed)
        raise
    return publish_result(done, context)


MODULE = ModuleCore(
    name="publish",
    argument_spec={
        **KEYRING_OPTIONS,
        "keyring": {"type": "str", "required": True, "no_log": False},
        "sinks": {"type": "list", "elements": "dict", "required": True},
        "host": {"type": "str"},
        "consumers": {"type": "list", "elements": "dict", "default": []},
        "only_copies": {"type": "bool", "default": False},
        "carrying": {"type": "bool", "default": False},
        "contents": {"type": "dict", "no_log": True},
    },
    run=run,
    host=True,
    prepare=prepare,
    conclude=conclude,
    concludes_failures=True,
)
