# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an event of CloudTrail says about reads of parameters and of secrets. Pure.

The text of an event is JSON (``CloudTrailEvent``, or a record of a log file). A value is in none of them, but what callers write is: only
the fields that are named here are looked at.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple

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
SECRETS = ("GetSecretValue", "BatchGetSecretValue")
DECRYPT = "Decrypt"
_SERVICES = {**dict.fromkeys(SSM, "ssm"), **dict.fromkeys(SECRETS, "secretsmanager"), DECRYPT: "kms"}  # fmt: skip
_DENYING = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized")
_BEHIND = ("ssm.amazonaws.com", "secretsmanager.amazonaws.com", "AWS Internal")
_LONGEST = 1 << 14
"""Characters of a text that are kept. AWS cuts them earlier; a file in a bucket need not be AWS's."""
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}\Z")


@dataclass(frozen=True)
class Wanted:
    """What holds the credential.

    :param parameters: names in Parameter Store.
    :param secrets: names or ARNs in Secrets Manager.
    """

    parameters: Tuple[str, ...] = ()
    secrets: Tuple[str, ...] = ()

    def names(self, decrypt: bool) -> Tuple[str, ...]:
        """The names of the events that tell of them.

        :param decrypt: those of KMS as well.
        """
        found = (*(SSM if self.parameters else ()), *(SECRETS if self.secrets else ()))
        return (*found, DECRYPT) if decrypt else found


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


def _secret_names(text: str) -> Set[str]:
    """The names that a secret may have which is asked for so: to its ARN AWS adds a hyphen and six characters, which may be left out."""
    if not text.startswith("arn:"):
        return {text}
    name = text.split(":", 6)[-1]
    return {name, _SUFFIX.sub("", name)}


def _is_secret(asked: str, wanted: str) -> bool:
    """Whether both may be one secret. Where that cannot be told, it is: a read too many is better than one too few."""
    if asked.startswith("arn:") and wanted.startswith("arn:"):
        return wanted in (asked, _SUFFIX.sub("", asked)) or asked == _SUFFIX.sub("", wanted)
    return bool(_secret_names(asked) & _secret_names(wanted))


def _texts(*given: Any) -> List[str]:
    """Texts, and those of lists of them."""
    items = [it for item in given for it in (item if isinstance(item, list) else [item])]
    return [str(item) for item in items if item]


def _asked(event_name: str, asked: Mapping[str, Any]) -> Tuple[List[str], List[str]]:
    """The parameters and the secrets that a request names."""
    if event_name == DECRYPT:
        found = asked.get("encryptionContext")
        context = found if isinstance(found, Mapping) else {}
        return _texts(context.get("PARAMETER_ARN")), _texts(context.get("SecretARN"))
    if event_name in SECRETS:
        return [], _texts(asked.get("secretId"), asked.get("secretIdList"))
    if event_name == "GetParameters":
        names = asked.get("names")
        return (_texts(names) if isinstance(names, list) else []), []
    return _texts(asked.get("name")), []


def _target(event_name: str, asked: Any, wanted: Wanted) -> Optional[str]:
    """Which of the wanted things were asked for; none when none was."""
    if not isinstance(asked, Mapping):
        # Nobody can know; to KMS, which decrypts much else, that says nothing.
        return UNTOLD if event_name in wanted.names(decrypt=False) else None
    if event_name == "GetParametersByPath":
        path = str(asked.get("path") or "/")[:_LONGEST]
        recursive = str(asked.get("recursive", False)).lower() == "true"
        hit = any(_covers(path, recursive, name) for name in wanted.parameters)
        return f"{path} ({'all' if recursive else 'directly'} below it)" if hit else None
    parameters, secrets = _asked(event_name, asked)
    named = {parameter_name(text) for text in parameters}
    hits = [name for name in wanted.parameters if parameter_name(name) in named]
    hits += [name for name in wanted.secrets if any(_is_secret(text, name) for text in secrets)]
    return ", ".join(hits) or None


def _principal(identity: Mapping[str, Any]) -> Dict[str, Any]:
    session = identity.get("sessionContext")
    issuer = session.get("sessionIssuer") if isinstance(session, Mapping) else None
    names = ("arn", "principalId", "invokedBy", "type")
    who = next((str(identity[name]) for name in names if identity.get(name)), UNTOLD)
    via = str(issuer.get("arn") or "") if isinstance(issuer, Mapping) else ""
    return {"principal": who[:_LONGEST], "via": "" if via == who else via[:_LONGEST]}


def _outcome(code: str) -> str:
    if not code:
        return DONE
    return DENIED if code.endswith(_DENYING) else FAILED


def read_event(text: str, wanted: Wanted) -> Optional[Event]:
    """The use that an event tells of; none when it is of something else.

    :param text: the event's own JSON.
    :raises Unreadable: for what is no event.
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable from None
    return event_told(told, wanted)


def event_told(given: Any, wanted: Wanted) -> Optional[Event]:
    """As :func:`read_event`, of the event's own object.

    :raises Unreadable: for what is no event.
    """
    try:
        told = dict(given)
        name = str(told["eventName"])
        service = _SERVICES.get(name)
        if service is None or told.get("eventSource") != f"{service}.amazonaws.com":
            return None
        at = format_time(parse_time(str(told["eventTime"]), "eventTime"))
        identity = told.get("userIdentity")
        asked = told.get("requestParameters")
    except (LookupError, ArithmeticError, TypeError, ValueError, BadInput):
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
        action=f"{service}:{name}",
        target=target,
        outcome=_outcome(code),
        address=address[:_LONGEST],
        agent=str(told.get("userAgent") or "")[:_LONGEST],
        detail=", ".join(note for note in notes if note)[:_LONGEST],
        behind=name == DECRYPT and address in _BEHIND,
        **_principal(identity if isinstance(identity, Mapping) else {}),
    )
