# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An audit of many credentials in one go: each keyring, each place that is reached from here, and what no credential claims.

Nothing is written. Parameters of AWS are read ahead, ten with a call; other stores are asked by several threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils import _keyring_info
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import OPTION
from ansible_collections.keyturn.runbooks.plugins.module_utils._audit_ahead import (
    Account,
    ReadAhead,
    of_aws,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._audit_places import (
    Known,
    PlaceFound,
    look_at_places,
    prefix_of,
    unknown_below,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import aws_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._lent_environ import lent_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import Result, failure
from ansible_collections.keyturn.runbooks.plugins.module_utils._preflight_facts import Problems
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    Reference,
    parse_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import Sink, parse_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

SINKS = "keyturn_sinks"
PREFIXES = "keyturn_audit_prefixes"
_NEAR = ("awsssm", "file")
"""What is read ahead, or takes no time."""
_TOLD = ("failed", "kind", "msg", "owner")
_DEFAULTS = {name: option.get("default") for name, option in _keyring_info.SPEC.items()}


@dataclass(frozen=True)
class Defined:
    """A credential's definition, as far as it could be read.

    :param options: those of ``keyring_info``.
    :param failed: why it could not be read, as a failed result; empty otherwise.
    :param wrong: why its sinks could not be read.
    :param reads: what else it names, such as the logins of its consumers.
    """

    name: str
    options: Mapping[str, Any]
    keyring: Optional[Reference] = None
    sinks: Tuple[Sink, ...] = ()
    failed: Mapping[str, Any] = field(default_factory=dict)
    wrong: str = ""
    reads: Any = None

    @property
    def near(self) -> bool:
        """Whether all of it is read ahead, or on this machine."""
        schemes = {sink.ref.scheme for sink in self.sinks if not sink.host}
        return {*schemes, self.keyring.scheme if self.keyring else ""} <= {*_NEAR, ""}


def defined(name: str, given: Mapping[str, Any]) -> Defined:
    """Read a definition; what is wrong in it is told with its credential."""
    if given.get("failed"):
        return Defined(name, {}, failed=given)
    options = {key: given[key] for key in given if key in _DEFAULTS}
    one = Defined(name, options, reads=given.get("reads"))
    # Whoever opens the keyring tells what is wrong with its reference.
    with suppress(KeyturnError):
        one = replace(one, keyring=parse_reference(str(given.get("keyring") or ""), OPTION))
    try:
        return replace(one, sinks=parse_sinks(given.get("sinks") or (), SINKS))
    except KeyturnError as error:
        return replace(one, wrong=error.message)


def _read_ahead(everything: Sequence[Defined], context: Context, threads: int) -> None:
    ahead = ReadAhead(context, threads)
    for one in everything:
        if of_aws(one.keyring) and one.keyring:
            ahead.keyring(one.keyring, OPTION)
        for sink in one.sinks:
            if of_aws(sink.ref) and not sink.host:
                ahead.parameter(sink.ref, SINKS)
    ahead.fetch()


def _places(one: Defined, result: Result, context: Context) -> List[PlaceFound]:
    if one.wrong:
        return [PlaceFound("", SINKS, "unreadable", one.wrong)]
    kept = context.parsed.get(one.keyring.text) if one.keyring and "keyring" in result else None
    document: Optional[Document] = kept[1] if kept else None
    return look_at_places(document, one.sinks, context)


def look_at(one: Defined, run: Mapping[str, Any], context: Context) -> Result:
    """What ``keyring_info`` tells of a credential, or how that failed, and what is the matter with its places."""
    if one.failed:
        told = {key: one.failed[key] for key in _TOLD if key in one.failed}
        return {**told, "places": []}
    params = {**_DEFAULTS, **one.options, "credential": one.name, "run": run}
    result: Result
    try:
        result = _keyring_info.run(params, context)
    except Exception as error:
        result = {"owner": str(params["owner"] or ""), **failure(error)}
    try:
        places = _places(one, result, context)
    except Exception as error:
        places = [PlaceFound("", SINKS, "unreadable", str(failure(error)["msg"]))]
    if one.keyring:
        # What was needed once is not kept for all of them together.
        context.parsed.pop(one.keyring.text, None)
    return {**result, "places": places}


def _look_at_far(
    some: Sequence[Defined], run: Mapping[str, Any], context: Context
) -> Dict[str, Result]:
    """By one thread, with logins of its own."""
    own = replace(context, sessions=dict(context.sessions), parsed={}, foreseen={})
    kept = set(own.sessions)
    try:
        return {one.name: look_at(one, run, own) for one in some}
    finally:
        for name in kept:
            del own.sessions[name]
        own.close()


def _look_at_all(
    chosen: Sequence[Defined], run: Mapping[str, Any], context: Context, threads: int
) -> Dict[str, Result]:
    near = [one for one in chosen if one.near]
    far = [one for one in chosen if not one.near]
    found = {one.name: look_at(one, run, context) for one in near}
    with ThreadPoolExecutor(threads) as pool:
        parts = [far[start::threads] for start in range(min(threads, len(far)))]
        for told in pool.map(lambda part: _look_at_far(part, run, context), parts):
            found.update(told)
    return {one.name: found[one.name] for one in chosen}


def _told(item: Mapping[str, Any]) -> Dict[str, Any]:
    """When and by whom a parameter was changed last, as AWS tells it."""
    modified = item.get("LastModifiedDate")
    return {
        "modified": format_time(modified) if modified else None,
        "by": str(item.get("LastModifiedUser") or "") or None,
    }


def _name_who(results: Mapping[str, Result], context: Context) -> None:
    """Add when and by whom places were changed, where the store tells that."""
    changed: Dict[str, List[PlaceFound]] = {}
    for result in results.values():
        for place in result["places"]:
            if place.state == "changed" and of_aws(place.ref):
                changed.setdefault(Known.account_of(place.ref, context), []).append(place)
    for places in changed.values():
        ref = places[0].ref
        if ref is None:
            continue
        names = sorted({f"/{place.ref.path}" for place in places if place.ref})
        try:
            described = Account(ref, context, SINKS).described(names)
        except KeyturnError as error:
            context.warn(f"who changed places is not told: {error.message}")
            continue
        for place in places:
            item = described.get(f"/{place.ref.path}") if place.ref else None
            place.told.update(_told(item) if item else {})


def _unknown(
    everything: Sequence[Defined],
    prefixes: Sequence[str],
    expected: Sequence[str],
    context: Context,
) -> Tuple[List[Dict[str, Any]], List[str]]:
    """Parameters below the prefixes that nobody claims, and why a prefix could not be listed."""
    known = Known(context)
    for one in everything:
        known.claim(one.keyring, one.sinks, {**one.options, "reads": one.reads})
    found: List[Dict[str, Any]] = []
    problems = Problems()
    for number, prefix in enumerate(prefixes):
        ask = partial(unknown_below, prefix, f"{PREFIXES}[{number}]", known, expected, _told)
        found += problems.attempt("unlisted", ask) or []
    listed = {(item["account"], item["name"]): item for item in found}
    told = [sentence.partition(": ")[2] for sentence in problems.sentences]
    return [listed[key] for key in sorted(listed)], told


def audit(
    definitions: Mapping[str, Mapping[str, Any]],
    chosen: Sequence[str],
    prefixes: Sequence[str],
    expected: Sequence[str],
    run: Mapping[str, Any],
    context: Context,
    threads: int = 12,
) -> Dict[str, Any]:
    """Look at everything.

    :param definitions: by credential, the options of ``keyring_info``, ``sinks``, and ``reads``, what else it names; or a failed result.
    :param chosen: the credentials to be reported; the others only claim what is theirs.
    :param prefixes: references below which everything is to be claimed.
    :param expected: patterns of names that need not be claimed.
    :raises BadInput: for a prefix that cannot be meant.
    :return: ``results`` by credential, ``unknown`` parameters, and ``unlisted``, why a prefix could not be listed.
    """
    for number, prefix in enumerate(prefixes):
        prefix_of(prefix, f"{PREFIXES}[{number}]")
    with lent_environ(aws_environ(context.environ)):
        everything = [defined(name, given) for name, given in definitions.items()]
        wanted = frozenset(chosen)
        reported = [one for one in everything if one.name in wanted]
        _read_ahead(reported, context, threads)
        results = _look_at_all(reported, run, context, threads)
        _name_who(results, context)
        unknown, unlisted = _unknown(everything, prefixes, expected, context)
    plain = {
        name: {**result, "places": [place.as_dict() for place in result["places"]]}
        for name, result in results.items()
    }
    return {"results": plain, "unknown": unknown, "unlisted": unlisted}
