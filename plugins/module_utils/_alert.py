# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an alert is firing: a command or an address says so."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import (
    Call,
    checked_url,
    send,
    shown_url,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import as_flag
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._http import (
    judge,
    read_wanted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._program import (
    Program,
    read_argv,
    read_codes,
    run_program,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    parse_reference,
    resolve,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

_OPTION = "keyturn_policy.alert"
_TIMEOUT = "10s"


def resolved_headers(given: Any, context: Context, option: str) -> Dict[str, Value]:
    """Headers whose values are plain or references.

    :raises KeyturnError: as the references give cause.
    """
    if not isinstance(given, Mapping):
        raise BadInput(f"{option}: expected a mapping of names and values")
    headers: Dict[str, Value] = {}
    for name, value in given.items():
        text = str(value)
        headers[str(name)] = (
            resolve(text, context, f"{option}.{name}") if looks_like_reference(text) else text
        )
    return headers


def checked_environment(given: Any, option: str) -> Mapping[str, Any]:
    """A program's own variables, read without resolving anything.

    :raises BadInput: when it is no mapping, or a name cannot be one of a variable.
    """
    if not isinstance(given, Mapping):
        raise BadInput(f"{option}: expected a mapping of names and values")
    for name, value in given.items():
        if not str(name) or any(sign in str(name) for sign in "=\0"):
            raise BadInput(f"{option}: '{name}' is no name of an environment variable")
        if looks_like_reference(str(value)):
            parse_reference(str(value), f"{option}.{name}")
    return given


def resolved_environment(given: Any, context: Context, option: str) -> Dict[str, Secret]:
    """A program's own variables, each plain or a reference.

    :raises KeyturnError: as :func:`checked_environment` and the references give cause.
    """
    values = resolved_headers(checked_environment(given, option), context, option)
    return {
        name: value if isinstance(value, Secret) else Secret(value)
        for name, value in values.items()
    }


def _command(alert: Mapping[str, Any], seconds: float, context: Context) -> Optional[str]:
    argv = read_argv(alert["command"], f"{_OPTION}.command")
    quiet = read_codes(alert.get("rc", 0), f"{_OPTION}.rc")
    own = resolved_environment(alert.get("environment") or {}, context, f"{_OPTION}.environment")
    try:
        ran = run_program(Program(argv, dict(context.environ), own), seconds)
    except Unreachable as error:
        return f"whether an alert is firing cannot be told: {error.message}"
    return None if ran.rc in quiet else f"an alert is firing: {argv[0]} ended with {ran}"


def _address(alert: Mapping[str, Any], seconds: float, context: Context) -> Optional[str]:
    url = checked_url(alert["url"], f"{_OPTION}.url")
    call = Call(
        url=url,
        headers=resolved_headers(alert.get("headers") or {}, context, f"{_OPTION}.headers"),
        timeout=seconds,
        validate_certs=as_flag(alert.get("validate_certs", True), f"{_OPTION}.validate_certs"),
        ca_path=str(alert["ca_path"]) if alert.get("ca_path") else None,
    )
    wanted = read_wanted(alert, _OPTION)
    try:
        wrong = judge(send(call), wanted)
    except Unreachable as error:
        return f"whether an alert is firing cannot be told: {shown_url(url)}: {error.message}"
    return f"an alert is firing: {shown_url(url)}: {wrong}" if wrong else None


def firing(alert: Mapping[str, Any], context: Context) -> Optional[str]:
    """What is firing, in words; none when all is quiet. What cannot be asked counts as firing.

    :param alert: ``keyturn_policy.alert``: ``command``, with the variables of ``environment``, is quiet when it ends with 0 (or one
        of ``rc``); ``url`` is quiet when its answer is as ``status``, ``json`` and ``contains`` say.
    :raises KeyturnError: when it cannot be meant, or a header's reference cannot be resolved.
    """
    if not alert:
        return None
    seconds = parse_duration(alert.get("timeout", _TIMEOUT), f"{_OPTION}.timeout").total_seconds()
    return (_command if "command" in alert else _address)(alert, seconds, context)
