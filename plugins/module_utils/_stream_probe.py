# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``stream_probe``: one synthetic test stream to an ingest, from the machine where the task runs.

On the controller the key is resolved (:func:`prepare`) and a person's word is read (:func:`conclude`); on the machine the stream is
made (:func:`run`).
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any, Mapping, Type

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
    ProbeFailed,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._task import (
    Given,
    seal,
    unseal,
    value_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams import (
    METHODS,
    SPARE,
    Ended,
    Pattern,
    Streamed,
    Target,
    Wanted,
    check_key,
    foreseen,
    not_received,
    published,
    read_pattern,
    read_target,
    read_wanted,
    says_yes,
    stream,
    trusting,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_time,
    parse_duration,
)

NAME = "stream_probe"
_HEADER = "header "
_KINDS: Mapping[str, Type[KeyturnError]] = MappingProxyType(
    {
        "refused": ProbeFailed,
        "already_publishing": Refused,
        "wrong_application": Absent,
    }
)
"""What an outcome is told as; all others are no clear answer."""


def _target(params: Params) -> Target:
    return read_target(params["url"], params["application"], NAME)


def _seconds(params: Params, pattern: Pattern) -> float:
    seconds = parse_duration(params["timeout"], "timeout").total_seconds()
    if seconds < pattern.seconds + SPARE:
        raise BadInput(
            f"timeout: a test stream of {pattern.seconds:g} s needs {pattern.seconds + SPARE:g} s; give it more time or less duration"
        )
    return seconds


def _wanted(params: Params, rotation: str = "") -> Wanted:
    wanted = read_wanted(params["received"], "received", rotation)
    if wanted.issuer:
        raise BadInput(
            "received.issuer: this module knows no issuer; it is for the probe 'stream' of a credential. Give stat or confirmed"
        )
    return wanted


def prepare(params: Params, context: Context) -> Params:
    """Resolve the key on the controller, and refuse what is wrong before a host is asked.

    :raises BadInput: for wrong options, and what can be no key.
    :raises KeyturnError: as references and keyring give cause.
    """
    _target(params)
    _seconds(params, read_pattern(params, NAME))
    access = open_keyring(params, context) if params.get("keyring") else None
    given = str(params["key"])
    key = value_of(given, context, "key", access) or Secret("")
    if key.known:
        check_key(key, "key")
    received = dict(params["received"])
    pending = access.document.pending if access and access.document else None
    # The yes for a key that is in use was one for another test stream.
    rotated = pending if given.startswith("keyring#/pending/") else None
    wanted = _wanted(params, rotated.rotation_id if rotated else "")
    headers = {
        f"{_HEADER}{name}": value_of(value, context, f"received.headers.{name}", access)
        for name, value in wanted.headers.items()
    }
    if headers:
        received["headers"] = {}
    if wanted.confirmed:
        received["id"] = wanted.id
    sealed = seal(Given({"key": key, **headers}))
    return {**params, "key": None, "received": received, "contents": sealed}


def _evidence(params: Params, detail: str, predicted: bool, context: Context) -> Mapping[str, str]:
    found = {
        "type": "stream",
        "against": _target(params).url,
        "at": format_time(context.now()),
        "detail": detail,
    }
    return {**found, "predicted": "yes"} if predicted else found


def _of_the_stream(params: Params, seen: Streamed) -> Result:
    """What is told of it, however it ended."""
    return {**seen.as_dict(), "against": _target(params).url}


def _failure(params: Params, seen: Streamed) -> KeyturnError:
    kind = _KINDS.get(seen.ended.outcome, Unreachable)
    rest = "; this proves nothing either way" if kind is Unreachable else ""
    rest = ". Wait until the broadcast is over" if kind is Refused else rest
    message = f"{NAME} ({_target(params).url}): {seen.ended.detail}{rest}"
    return kind(message, **_of_the_stream(params, seen))


def _result(
    params: Params, seen: Streamed, detail: str, context: Context, predicted: bool = False
) -> Result:
    return {
        "changed": False,
        **_of_the_stream(params, seen),
        "detail": detail,
        "pattern": str(read_pattern(params, NAME)),
        "confirmed": False,
        "predicted": predicted,
        "evidence": [_evidence(params, detail, predicted, context)],
    }


def run(params: Params, context: Context) -> Result:
    """Make the stream; in check mode look whether it could be made.

    :raises ProbeFailed: the key is refused, or the statistics never showed the stream.
    :raises Refused: somebody is live with it.
    :raises Absent: there is no such application.
    :raises Unreachable: no clear answer.
    """
    found = unseal(params.get("contents"), NAME).fields
    key = found["key"] or Secret("")
    headers = {
        name[len(_HEADER) :]: value
        for name, value in found.items()
        if name.startswith(_HEADER) and value is not None
    }
    wanted = replace(_wanted(params), headers=headers)
    pattern = read_pattern(params, NAME)
    target, seconds = _target(params), _seconds(params, pattern)
    warning = trusting(target, params["method"], NAME)
    if warning:
        context.warn(warning)
    arguments: Any = (
        target,
        key,
        pattern,
        params["method"],
        wanted,
        context.environ,
        seconds,
        "received",
    )
    if context.check_mode or not key.known:
        method, hindered = foreseen(*arguments)
        if hindered:
            raise _failure(params, Streamed(hindered))
        told = f"would publish {pattern} by {method}; check mode streams nothing"
        return _result(params, Streamed(Ended("", ""), method), told, context, predicted=True)
    seen: Streamed = stream(*arguments)
    if seen.ended.outcome != "accepted":
        raise _failure(params, seen)
    wrong = not_received(seen, wanted)
    if wrong:
        raise ProbeFailed(f"{NAME} ({target.url}): {wrong}", **_of_the_stream(params, seen))
    told = published(seen, target)
    if seen.received:
        told += f"; {seen.received}"
    elif not wanted.confirmed:
        told += "; beside the answer of the protocol nothing tells that it arrived"
    return _result(params, seen, told, context)


def conclude(params: Params, result: Result, context: Context) -> Result:
    """Read a person's word, on the controller.

    :raises Refused: there is none for this test stream.
    """
    wanted = _wanted(params)
    if not wanted.confirmed or result["predicted"]:
        return result
    missing = says_yes(
        lambda: resolve(wanted.confirmed, context, "received.confirmed"), wanted, "received"
    )
    if missing:
        raise Refused(
            f"{NAME} ({_target(params).url}): the test stream was accepted, and {missing}; then run the same task again",
            **{name: result[name] for name in _of_the_stream(params, Streamed(Ended("", "")))},
        )
    detail = f"{result['detail']}; {wanted.said}"
    evidence = [_evidence(params, detail, False, context)]
    return {**result, "detail": detail, "confirmed": True, "evidence": evidence}


MODULE = ModuleCore(
    name=NAME,
    argument_spec={
        **KEYRING_OPTIONS,
        "url": {"type": "str", "required": True},
        "application": {"type": "str"},
        "key": {"type": "str", "no_log": True},
        "duration": {"type": "str", "default": "10s"},
        "size": {"type": "str", "default": "1280x720"},
        "rate": {"type": "int", "default": 30},
        "video_bitrate": {"type": "str", "default": "2500k"},
        "audio_bitrate": {"type": "str", "default": "128k"},
        "method": {"type": "str", "default": "auto", "choices": list(METHODS)},
        "received": {"type": "dict", "default": {}},
        "timeout": {"type": "str", "default": "30s"},
        "contents": {"type": "dict", "no_log": True},
    },
    run=run,
    host=True,
    prepare=prepare,
    conclude=conclude,
    constraints={"required_one_of": [("key", "contents")]},
)
