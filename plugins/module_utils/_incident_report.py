# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``incident_report``: judge who used a credential, and write the record of the incident."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import (
    Known,
    parse_window,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_files import (
    Output,
    diffs,
    planned,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_judge import parse_rules
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_markdown import markdown
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_record import (
    Head,
    History,
    build_record,
    failing,
    sight_of,
    summary_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_tell import (
    Telling,
    check_contacts,
    payload_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    chain_faults,
    tail_faults,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers import open_ledger
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._redact import (
    REDACT_OPTIONS,
    values_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._task import value_of
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

FILES = ("output_markdown", "output_json")


def _opened(params: Params, context: Context) -> Tuple[KeyringAccess, Document]:
    if not params.get("keyring"):
        raise Absent("no keyring is named")
    access = open_keyring(params, context)
    return access, access.need()


def _stages(document: Document) -> Tuple[Dict[str, Any], ...]:
    return tuple(
        {
            "stage": name,
            "rotation_id": stage.rotation_id,
            "status": stage.status,
            "fingerprints": dict(sorted(stage.fingerprints.items())),
        }
        for name, stage in document.stages.items()
    )


def _history(params: Params, context: Context) -> Tuple[History, Optional[KeyringAccess]]:
    """The credential's past, and why it could not be read: in an incident, a record without it is better than none."""
    access = None
    stages: Tuple[Dict[str, Any], ...] = ()
    try:
        access, document = _opened(params, context)
        stages = _stages(document)
        if not params.get("ledger"):
            raise Absent("no ledger is named")
        ledger = open_ledger(
            params["ledger"], context, "ledger", to_verify=True, keyring=params["keyring"]
        )
        reading = ledger.read(document.credential)
    except KeyturnError as error:
        return History(kind=type(error).__name__, why=error.message, stages=stages), access
    faults = (
        *reading.faults,
        *chain_faults(reading.lines),
        *tail_faults(reading.lines, document.ledger),
    )
    return History(reading.lines, faults, stages=stages), access


def _known(params: Params, context: Context, access: Optional[KeyringAccess]) -> Known:
    given = [
        value_of(item, context, f"redact[{number}]", access)
        for number, item in enumerate(params["redact"])
    ]
    values = [value for value in given if value is not None]
    values += values_of(access.document if access else None)
    return Known([value.reveal() for value in values])


def _paths(params: Params) -> Dict[str, str]:
    found = {
        name: os.path.abspath(os.path.expanduser(params[name])) for name in FILES if params[name]
    }
    if len(set(found.values())) < len(found):
        raise BadInput("output_json: this is the file of output_markdown; give each its own")
    if params["contacts"] and "output_json" not in found:
        raise BadInput(
            "contacts: 'output_json' is missing; who was told is kept beside that file, so that a second run tells nobody twice"
        )
    return found


def run(params: Params, context: Context) -> Result:
    """Judge, write, tell.

    :raises KeyturnError: when an option cannot be meant, or a file cannot be written.
    """
    window = parse_window(params["since"], params["until"])
    rules = parse_rules(params["expected"], "expected")
    parse_duration(params["timeout"], "timeout")
    check_contacts(params)
    paths = _paths(params)
    history, access = _history(params, context)
    known = _known(params, context, access)
    document = access.document if access else None
    credential = params.get("credential") or (document.credential if document else "")
    about = params.get("run") or {}
    head = Head(
        str(credential or ""),
        str(params["reason"] or about.get("why") or ""),
        str(about.get("who") or ""),
        window,
    )
    if not head.credential:
        raise BadInput("credential: missing; say which credential the record is about")
    sights = [sight_of(it, number, window, known) for number, it in enumerate(params["looked"])]
    record = build_record(head, sights, rules, history, params["open_points"], known)
    text, data = markdown(record), json.dumps(record, indent=2) + "\n"
    texts = {"output_markdown": text, "output_json": data}
    outputs = [planned(name, path, texts[name]) for name, path in paths.items()]
    telling = Telling(params, paths.get("output_json", ""), data)
    changed = any(output.differs for output in outputs) or bool(telling.waiting)
    told = _done(outputs, telling, payload_of(record, text), context)
    result: Result = {
        "changed": changed,
        "summary": summary_of(record),
        "record": record,
        "files": [output.path for output in outputs],
        "notifications": told,
        "failing": [*failing(record), *(f"{it['name']} was not told: {it['error']}" for it in told if it["error"])],
    }  # fmt: skip
    if context.diff:
        result["diff"] = diffs(outputs, known)
    return result


def _done(
    outputs: List[Output], telling: Telling, payload: Mapping[str, str], context: Context
) -> List[Dict[str, Any]]:
    if not context.check_mode:
        for output in outputs:
            if output.differs:
                output.write()
    told = telling.tell(payload, context)
    for item in told:
        if item["error"]:
            context.warn(f"the record was not told to {item['name']}: {item['error']}")
    return told


_DICTS = {"type": "list", "elements": "dict", "default": []}
MODULE = ModuleCore(
    name="incident_report",
    argument_spec={
        **KEYRING_OPTIONS,
        **REDACT_OPTIONS,
        "since": {"type": "str", "required": True},
        "until": {"type": "str", "required": True},
        "looked": _DICTS,
        "expected": _DICTS,
        "reason": {"type": "str", "default": ""},
        "open_points": {"type": "list", "elements": "str", "default": []},
        "output_markdown": {"type": "str", "default": ""},
        "output_json": {"type": "str", "default": ""},
        "contacts": _DICTS,
        "timeout": {"type": "str", "default": "10s"},
    },
    run=run,
)
