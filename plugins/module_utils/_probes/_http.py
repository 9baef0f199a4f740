# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe ``http``: a request that the service answers as expected.

Also reads what ``keyturn_policy.alert`` says about an address, which has the same keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import (
    Answer,
    Call,
    checked_url,
    json_at,
    send,
    shown_url,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import as_flag
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._port import (
    REFUSED,
    Attempt,
    ProbeContext,
    Simple,
    denied,
    fill,
    names_stage,
    proved,
    unclear,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

KEYS = (
    "url", "method", "headers", "body", "status", "refused_status", "contains", "json", "redirects", "validate_certs", "ca_path",
)  # fmt: skip
_READING = ("GET", "HEAD", "OPTIONS")
_REFUSED_STATUS = (401, 403)


@dataclass(frozen=True)
class Wanted:
    """The answer that is a proof.

    :param refused: statuses that say that the credential is not accepted.
    :param contains: text that the body has to hold.
    :param json: JSON pointers and what has to be found there.
    """

    status: Tuple[int, ...] = (200,)
    refused: Tuple[int, ...] = _REFUSED_STATUS
    contains: str = ""
    json: Mapping[str, Any] = field(default_factory=dict)


def _numbers(value: Any, option: str) -> Tuple[int, ...]:
    items = value if isinstance(value, (list, tuple)) else [value]
    if not items or not all(str(item).isdigit() and 100 <= int(item) <= 599 for item in items):
        raise BadInput(f"{option}: expected an HTTP status such as 200, or a list of them")
    return tuple(int(item) for item in items)


def read_wanted(options: Mapping[str, Any], option: str) -> Wanted:
    """What ``status``, ``refused_status``, ``contains`` and ``json`` ask for.

    :raises BadInput: naming the key.
    """
    pointers = options.get("json") or {}
    if not isinstance(pointers, Mapping) or not all(
        str(name) == "" or str(name).startswith("/") for name in pointers
    ):
        raise BadInput(f"{option}.json: expected JSON pointers and values, such as {{/status: ok}}")
    return Wanted(
        status=_numbers(options.get("status", 200), f"{option}.status"),
        refused=_numbers(
            options.get("refused_status", list(_REFUSED_STATUS)), f"{option}.refused_status"
        ),
        contains=str(options.get("contains") or ""),
        json={str(name): value for name, value in pointers.items()},
    )


def _same(found: Any, expected: Any) -> bool:
    """Equal, where what -e or an INI inventory passed as text may mean a number or a boolean."""
    if found == expected:
        return True
    return (
        isinstance(expected, str)
        and not isinstance(found, (str, dict, list))
        and str(found).lower() == expected.lower()
    )


def judge(answer: Answer, wanted: Wanted) -> str:
    """Why an answer is not the wanted one; empty when it is. The body is never quoted."""
    if answer.status not in wanted.status:
        return f"status {answer.status}, expected {' or '.join(map(str, wanted.status))}"
    if wanted.contains and wanted.contains.encode() not in answer.body:
        return f"status {answer.status}, but the body does not hold the expected text"
    for pointer, expected in wanted.json.items():
        try:
            there, found = json_at(answer.body, pointer)
        except (ValueError, RecursionError):
            return f"status {answer.status}, but the body is no JSON"
        if not there or not _same(found, expected):
            return f"status {answer.status}, but the body's {pointer or 'whole'} is {'not as expected' if there else 'missing'}"
    return ""


def judge_refused(answer: Answer, wanted: Wanted) -> Attempt:
    """Whether an answer proves that the credential is refused."""
    if answer.status in wanted.refused:
        return proved(f"refused with status {answer.status}")
    if answer.status in wanted.status:
        return denied(f"status {answer.status}: it is still accepted")
    return unclear(f"status {answer.status} is neither the accepted nor the refused one")


class HttpProbe:
    """One request, tried until the answer is the wanted one."""

    def __init__(self, call: Call, wanted: Wanted, expect: str, blocked: str) -> None:
        self.against = f"{call.method} {shown_url(call.url)}"
        self.blocked = blocked
        self._call, self._wanted, self._expect = call, wanted, expect

    def attempt(self, seconds: float) -> Attempt:
        """One request."""
        try:
            answer = send(replace(self._call, timeout=min(seconds, 15.0)))
        except (Unreachable, BadInput) as error:
            return unclear(error.message)
        if self._expect == REFUSED:
            return judge_refused(answer, self._wanted)
        wrong = judge(answer, self._wanted)
        return denied(wrong) if wrong else proved(f"status {answer.status}")


def _headers(options: Mapping[str, Any], stage: Stage, ctx: ProbeContext) -> Dict[str, Secret]:
    given = options.get("headers") or {}
    if not isinstance(given, Mapping):
        raise BadInput(f"{ctx.option}.headers: expected a mapping of names and values")
    headers = {
        str(name): fill(value, stage, ctx, f"{ctx.option}.headers.{name}")
        for name, value in given.items()
    }
    for name, value in headers.items():
        if any(sign in name + value.reveal() for sign in "\r\n\0"):
            raise BadInput(f"{ctx.option}.headers.{name}: holds a line break, which no header may")
    return headers


class HttpType(Simple):
    """Requests; what it presents stands in headers or in the body."""

    keys = KEYS
    stages = ("pending", "current", "previous")

    def presents(self, options: Mapping[str, Any]) -> bool:
        """Whether a header or the body holds the stage's value."""
        return names_stage(options.get("headers") or {}) or names_stage(options.get("body") or "")

    def open(self, options: Mapping[str, Any], stage: Stage, ctx: ProbeContext) -> HttpProbe:
        """Read the options."""
        option = ctx.option
        if names_stage(options.get("url") or ""):
            raise BadInput(
                f"{option}.url: holds a stage's value, and addresses are written to logs; use headers or body"
            )
        method = str(options.get("method") or "GET").upper()
        redirects = str(options.get("redirects") or "none")
        if redirects not in ("none", "same_host"):
            raise BadInput(
                f"{option}.redirects: '{redirects}' is unknown; expected none or same_host"
            )
        headers = _headers(options, stage, ctx)
        body = (
            fill(options["body"], stage, ctx, f"{option}.body")
            if options.get("body") is not None
            else None
        )
        call = Call(
            url=checked_url(options.get("url"), f"{option}.url"),
            method=method,
            headers=headers,
            body=body,
            validate_certs=as_flag(options.get("validate_certs", True), f"{option}.validate_certs"),
            ca_path=str(options["ca_path"]) if options.get("ca_path") else None,
            follow=redirects == "same_host",
        )
        blocked = _blocked(method, [*headers.values(), body], ctx)
        return HttpProbe(call, read_wanted(options, option), ctx.expect, blocked)


def _blocked(method: str, values: list[Optional[Secret]], ctx: ProbeContext) -> str:
    if any(value is not None and not value.known for value in values):
        return "the value does not exist yet"
    if ctx.context.check_mode and method not in _READING:
        return f"check mode sends no {method}"
    return ""
