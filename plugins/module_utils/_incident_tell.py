# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is told of an incident: each contact once for each record, in the form that it takes."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Dict, List, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._channels import (
    Failed,
    open_channel,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_files import (
    mark_told,
    told_before,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import Params
from ansible_collections.keyturn.runbooks.plugins.module_utils._notify import contact_problems
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import looks_like_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

SHAPE = "payload"
"""The key of a contact with what it is told instead of everything."""
LONGEST = 60_000
"""Characters of ``body``: GitHub refuses an issue with more than 65,536 of them."""
_LONGEST_TITLE = 250
_SHAPED = ("webhook", "command")
_NAME = re.compile(r"\{(\w+)\}")
_NAMES = ("event", "credential", "rotation_id", "phase", "owner", "time", "id", "subject", "title", "text", "body")  # fmt: skip


def _check_shape(given: Any, option: str) -> None:
    """:raises BadInput: for what is no JSON, and for a name that nothing stands for."""
    if isinstance(given, Mapping):
        for key, item in given.items():
            _check_shape(item, f"{option}.{key}")
    elif isinstance(given, (list, tuple)):
        for number, item in enumerate(given):
            _check_shape(item, f"{option}[{number}]")
    elif isinstance(given, str):
        if looks_like_reference(given):
            raise BadInput(
                f"{option}: a reference is not resolved here; put what logs in into 'headers'"
            )
        strange = [name for name in _NAME.findall(given) if name not in _NAMES]
        if strange:
            raise BadInput(
                f"{option}: nothing is called {{{strange[0]}}}; expected some of {', '.join(_NAMES)}"
            )


def _plain(contact: Mapping[str, Any]) -> Dict[str, Any]:
    return {key: value for key, value in contact.items() if key != SHAPE}


def check_contacts(params: Params) -> None:
    """Refuse contacts that cannot be meant. Nobody is told anything.

    :raises BadInput: naming the first one's key.
    """
    for number, contact in enumerate(params["contacts"]):
        option = f"contacts[{number}].{SHAPE}"
        if SHAPE not in contact:
            continue
        if contact.get("type") not in _SHAPED:
            raise BadInput(f"{option}: for {' and '.join(_SHAPED)} alone")
        if not isinstance(contact[SHAPE], Mapping) or not contact[SHAPE]:
            raise BadInput(
                f"{option}: expected a mapping, such as {{title: '{{title}}', description: '{{body}}'}}"
            )
        _check_shape(contact[SHAPE], option)
    problems = contact_problems([_plain(contact) for contact in params["contacts"]], "contacts")
    if problems:
        raise BadInput(problems[0])


def _cut(text: str) -> str:
    """The text as an issue tracker takes it: whole lines of it."""
    if len(text) <= LONGEST:
        return text
    kept = text[:LONGEST].rpartition("\n")[0]
    return f"{kept}\n\nThe rest does not fit here: it is in the record's files.\n"


def payload_of(record: Mapping[str, Any], text: str) -> Dict[str, str]:
    """What a contact gets: ``title`` and ``body`` are short enough for issue trackers, ``text`` is all of it."""
    subject = f"[keyturn] incident: {record['credential']}"
    return {
        "event": "incident",
        "credential": record["credential"],
        "rotation_id": next((item["rotation_id"] for item in record["stages"]), ""),
        "phase": "",
        "owner": "",
        "time": record["until"],
        "id": hashlib.sha256(text.encode()).hexdigest()[:32],
        "subject": subject,
        "title": subject[:_LONGEST_TITLE],
        "text": text,
        "body": _cut(text),
    }


def shaped(given: Any, payload: Mapping[str, str]) -> Any:
    """What a contact wants instead, with the payload's texts in the place of their names."""
    if isinstance(given, Mapping):
        return {str(key): shaped(item, payload) for key, item in given.items()}
    if isinstance(given, (list, tuple)):
        return [shaped(item, payload) for item in given]
    if isinstance(given, str):
        return _NAME.sub(lambda found: payload[found[1]], given)
    return given


def _for(contact: Mapping[str, Any], payload: Mapping[str, str]) -> Mapping[str, Any]:
    """What this contact gets; a mail may be long."""
    if SHAPE in contact:
        own: Mapping[str, Any] = shaped(contact[SHAPE], payload)
        return own
    return {**payload, "body": payload["text"]} if contact["type"] == "mail" else payload


class Telling:
    """Contacts that have not got this record yet."""

    def __init__(self, params: Params, path: str, document: str) -> None:
        self._params, self._path = params, path
        self._mark = hashlib.sha256(document.encode()).hexdigest()
        self._told = told_before(path, "output_json") if params["contacts"] else {}

    def _name(self, number: int) -> str:
        contact = self._params["contacts"][number]
        return str(contact.get("name") or f"{contact['type']} {number}")

    @property
    def waiting(self) -> List[int]:
        """The numbers of those who are to be told."""
        every = range(len(self._params["contacts"]))
        return [number for number in every if self._told.get(self._name(number)) != self._mark]

    def tell(self, payload: Mapping[str, str], context: Context) -> List[Dict[str, Any]]:
        """Tell them; whom it did not reach is told by the next run."""
        seconds = parse_duration(self._params["timeout"], "timeout").total_seconds()
        done = []
        for number in self.waiting:
            contact, option = self._params["contacts"][number], f"contacts[{number}]"
            said = {"name": self._name(number), "type": contact["type"], "sent": False, "error": ""}
            try:
                channel = open_channel(_plain(contact), context, option)
                if not context.check_mode:
                    channel.send(_for(contact, payload), seconds)
                    self._told[self._name(number)] = self._mark
                    mark_told(self._path, "output_json", self._told)
                    said["sent"] = True
            except Failed as error:
                said["error"] = error.reason
            except KeyturnError as error:
                said["error"] = error.message
            done.append(said)
        return done
