# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an event of CloudTrail says about reads of parameters. Pure.

The text of an event is JSON (``CloudTrailEvent``). A parameter's value is in none of them, but what callers write is: only the
fields that are named here are looked at.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import (
    DENIED,
    DONE,
    FAILED,
    UNTOLD,
    Event,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_time,
    parse_time,
)

SSM = ("GetParameter", "GetParameters", "GetParameterHistory", "GetParametersByPath")
DECRYPT = "Decrypt"
_SOURCES = {**dict.fromkeys(SSM, "ssm.amazonaws.com"), DECRYPT: "kms.amazonaws.com"}
_CONTEXT = "PARAMETER_ARN"
_DENYING = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized")
_BEHIND = ("ssm.amazonaws.com", "AWS Internal")


class Unreadable(Exception):
    """An event that has not the shape of CloudTrail's."""


def parameter_name(text: str) -> str:
    """The name in what a caller asked for: an ARN, a name, with a version or a label behind it."""
    name = text
    if text.startswith("arn:"):
        resource = text.split(":", 5)[-1]
        name = resource.partition("parameter")[2] if resource.startswith("parameter") else resource
    begin, colon, rest = name.partition(":")
    found = begin if colon and rest else name
    # In an ARN, a name without a path has a slash before it as well.
    return found[1:] if found.count("/") == 1 and found.startswith("/") else found


def _covers(path: str, recursive: bool, name: str) -> bool:
    folder = path.rstrip("/") + "/"
    full = name if name.startswith("/") else f"/{name}"
    below = full[len(folder) :]
    return full.startswith(folder) and (recursive or "/" not in below)


def _asked(event_name: str, asked: Mapping[str, Any]) -> List[str]:
    """The names that a request has."""
    if event_name == DECRYPT:
        context = asked.get("encryptionContext")
        found = context.get(_CONTEXT) if isinstance(context, Mapping) else None
        return [str(found)] if found else []
    if event_name == "GetParameters":
        names = asked.get("names")
        return [str(name) for name in names] if isinstance(names, list) else []
    name = asked.get("name")
    return [str(name)] if name else []


def _target(event_name: str, asked: Any, wanted: Sequence[str]) -> Optional[str]:
    """Which of the wanted parameters were asked for; none when none was."""
    if not isinstance(asked, Mapping):
        # Nobody can know; to KMS, which decrypts much else, that says nothing.
        return None if event_name == DECRYPT else UNTOLD
    if event_name == "GetParametersByPath":
        path = str(asked.get("path") or "/")
        recursive = str(asked.get("recursive", False)).lower() == "true"
        hit = any(_covers(path, recursive, name) for name in wanted)
        return f"{path} ({'all' if recursive else 'directly'} below it)" if hit else None
    named = {parameter_name(text) for text in _asked(event_name, asked)}
    hits = [name for name in wanted if parameter_name(name) in named]
    return ", ".join(hits) or None


def _principal(identity: Mapping[str, Any]) -> Dict[str, Any]:
    session = identity.get("sessionContext")
    issuer = session.get("sessionIssuer") if isinstance(session, Mapping) else None
    names = ("arn", "principalId", "invokedBy", "type")
    who = next((str(identity[name]) for name in names if identity.get(name)), UNTOLD)
    via = str(issuer.get("arn") or "") if isinstance(issuer, Mapping) else ""
    return {"principal": who, "via": "" if via == who else via}


def _outcome(code: str) -> str:
    if not code:
        return DONE
    return DENIED if code.endswith(_DENYING) else FAILED


def read_event(text: str, wanted: Sequence[str]) -> Optional[Event]:
    """The use that an event tells of; none when it is of something else.

    :param text: the event's own JSON.
    :param wanted: names of parameters.
    :raises Unreadable: for what is no event.
    """
    try:
        told = dict(json.loads(text))
        name = str(told["eventName"])
        if told.get("eventSource") != _SOURCES.get(name):
            return None
        at = format_time(parse_time(str(told["eventTime"]), "eventTime"))
        identity = told.get("userIdentity")
        asked = told.get("requestParameters")
    except (LookupError, ArithmeticError, TypeError, ValueError, RecursionError, BadInput):
        raise Unreadable from None
    target = _target(name, asked, wanted)
    if target is None:
        return None
    address, code = str(told.get("sourceIPAddress") or ""), str(told.get("errorCode") or "")
    plain = isinstance(asked, Mapping) and str(asked.get("withDecryption")).lower() == "false"
    region = str(told.get("awsRegion") or "")
    notes = [region, code, "without decryption" if plain and name != DECRYPT else ""]
    return Event(
        at=at,
        action=f"{'kms' if name == DECRYPT else 'ssm'}:{name}",
        target=target,
        outcome=_outcome(code),
        address=address,
        agent=str(told.get("userAgent") or ""),
        detail=", ".join(note for note in notes if note),
        behind=name == DECRYPT and address in _BEHIND,
        **_principal(identity if isinstance(identity, Mapping) else {}),
    )
