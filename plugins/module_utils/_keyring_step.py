# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``keyring``: one transition."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import datetime
from typing import Any, Mapping, Optional
from urllib.parse import unquote

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._given import given_fields
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import Issuer, open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from ansible_collections.keyturn.runbooks.plugins.module_utils._state import (
    document_state,
    state_diff,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    parse_duration,
    parse_time_if_given,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._transitions import TRANSITIONS

_NOT_DEFINING = ("login",)
_LONGEST = 4096
# Steps that say what was seen or done elsewhere, which other modules do.
_OF_OTHERS = ("receive", "forget", "destroyed")
_VALUE = re.compile(rf"[!-~]{{1,{_LONGEST}}}\Z")


def definition_hash(issuer: Mapping[str, Any], generate: Mapping[str, Any]) -> str:
    """Digest of what decides how a value is made; where the issuer is reached is no part of it."""
    body = {
        "issuer": {key: value for key, value in issuer.items() if key not in _NOT_DEFINING},
        "generate": generate,
    }
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()[:16]


def new_rotation_id(now: datetime, context: Context) -> str:
    """A name for one rotation that sorts by time and is safe in the names of roles and keys; check mode predicts ``(new)``."""
    return (
        "(new)"
        if context.check_mode
        else f"r{now.strftime('%Y%m%d%H%M%S')}{context.randbytes(3).hex()}"
    )


def _stage_fields(access: KeyringAccess, issuer: Issuer, params: Params) -> Mapping[str, Value]:
    if access.document and access.document.pending:
        return {}
    access.refuse_others()
    fields = issuer.propose(access.document, params["generate"], access.context)
    if not access.context.check_mode:
        return fields
    return {
        name: Secret.new() if isinstance(value, Secret) else value for name, value in fields.items()
    }


def _issued_fields(access: KeyringAccess, issuer: Issuer, again: bool) -> Mapping[str, Value]:
    """What the issuer makes for a stage that was written as intended; nothing where it has its value already.

    :param again: the user says that a value that was abandoned before is the right one.
    """
    document = access.need()
    stage = document.pending
    if stage is None or stage.status != "intended":
        return {}
    access.refuse_others()
    known = replace(document, abandoned=()) if again else document
    fields = issuer.issue(stage, known, access.context, access.guard)
    check_made_elsewhere(fields, document.credential)
    return fields


def check_made_elsewhere(fields: Mapping[str, Value], credential: str) -> None:
    """Refuse what somebody else made and nothing here may pass on.

    A reader of a list takes a line break for the end of a value, and what follows for another one; and a plain field is shown.

    :raises Refused: a value has other characters than printable ones of ASCII, or is too long.
    :raises BadInput: a plain field holds a secret one.
    """
    secret = {
        name: value.reveal()
        for name, value in fields.items()
        if isinstance(value, Secret) and value.known
    }
    for name, text in secret.items():
        if not _VALUE.match(text):
            raise Refused(
                f"{credential}: what was made as '{name}' can be no value: expected 1 to {_LONGEST} printable ASCII letters "
                "and no blank. Nothing was taken over; abandon it, see to who made it, and rotate again"
            )
    for name, value in fields.items():
        shown = "" if isinstance(value, Secret) else value
        if any(text in shown or text in unquote(shown) for text in secret.values()):
            raise BadInput(
                f"keyturn_issuer: the plain field '{name}' of what was made holds the secret value itself, and is shown; take it "
                "out of the definition's fields"
            )


def build_request(access: KeyringAccess, params: Params) -> Request:
    """The step that a task's parameters ask for.

    :raises KeyturnError: as the issuer and the references give cause.
    """
    context, name = access.context, params["transition"]
    issuer_definition = params["issuer"]
    definition = definition_hash(issuer_definition, params["generate"])
    issuer = (
        open_issuer(issuer_definition, context, "keyturn_issuer") if issuer_definition else None
    )
    fields: Mapping[str, Value] = {}
    if name in ("stage", "issued", "adopt") and issuer is None:
        raise BadInput(f"issuer: missing; '{name}' needs the credential's keyturn_issuer")
    if issuer and name == "stage":
        fields = _stage_fields(access, issuer, params)
    if issuer and name == "issued":
        fields = _issued_fields(access, issuer, params["force"])
    if issuer and name == "adopt":
        fields = given_fields(params["value"], issuer_definition, context)
        if not (access.document and access.document.current):
            fields = issuer.adopt(fields, context)
    return Request(
        transition=name,
        run=access.run,
        rotation_id=_rotation_id(access.document, params, context),
        fields=fields,
        definition=definition,
        overlap=issuer.overlap if issuer else True,
        ends=issuer is not None and not (issuer.overlap or issuer.cutover),
        returns=issuer is None or issuer.returns,
        handed=issuer is not None and issuer.handed,
        evidence=tuple(params["evidence"]),
        grace=parse_duration(params["grace"], "grace"),
        made=parse_time_if_given(params["made"], "made"),
        before=parse_time_if_given(params["made_before"], "keyturn_made_before"),
        notices=params["notices"],
        retain=params["retain"],
    )


def _rotation_id(document: Optional[Document], params: Params, context: Context) -> str:
    if params["rotation_id"]:
        return str(params["rotation_id"])
    if params["transition"] not in ("stage", "adopt"):
        working = document and (document.pending or document.current)
        return working.rotation_id if working else ""
    return new_rotation_id(context.now(), context)


def run(params: Params, context: Context) -> Result:
    """Do the transition; the result shows the keyring's state without values."""
    access = open_keyring(params, context)
    before = access.document
    changed = False
    if before is not None or params["transition"] not in ("note", "release"):
        changed = access.step(build_request(access, params), params["text"], params["outcome"])
    result: Result = {"changed": changed, "keyring": document_state(access.document, context.now())}
    if context.check_mode:
        result["replay"] = access.replay
    if context.diff:
        result["diff"] = state_diff(before, access.document, f"keyring of {access.credential}")
    return result


SPEC = {
    **KEYRING_OPTIONS,
    "transition": {
        "type": "str",
        "required": True,
        "choices": [name for name in TRANSITIONS if name not in _OF_OTHERS],
    },
    "issuer": {"type": "dict", "default": {}},
    "generate": {"type": "dict", "default": {}},
    "value": {"type": "dict", "default": {}, "no_log": True},
    "evidence": {"type": "list", "elements": "dict", "default": []},
    "grace": {"type": "str", "default": "48h"},
    "made": {"type": "str"},
    "made_before": {"type": "str", "default": ""},
    "notices": {"type": "dict", "default": {}},
    "retain": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "rotation_id": {"type": "str"},
    "text": {"type": "str", "default": ""},
    "outcome": {"type": "str", "default": "done", "choices": ["done", "failed", "refused"]},
}
MODULE = ModuleCore("keyring", SPEC, run, steps=True)
