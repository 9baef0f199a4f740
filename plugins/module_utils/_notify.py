# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``notify``: tell a credential's contacts what happens, and never stop a rotation over it."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._channels import (
    CHANNELS,
    Channel,
    Failed,
    open_channel,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_time,
    parse_duration,
)

EVENTS = ("window_opens", "success", "failure", "age_90", "grace_24h_in_use")
OPTION = "contacts"

_TITLES = {
    "window_opens": "the maintenance window is near",
    "success": "done",
    "failure": "FAILED",
    "age_90": "old",
    "grace_24h_in_use": "the old value is still in use",
}


def events_of(contact: Mapping[str, Any], option: str) -> Tuple[str, ...]:
    """The events that a contact wants to hear of; all of them when it does not say.

    :raises BadInput: for an event that there is not.
    """
    given = contact.get("events") or EVENTS
    wanted = [given] if isinstance(given, str) else list(given)
    strange = [str(name) for name in wanted if name not in EVENTS]
    if strange:
        raise BadInput(
            f"{option}.events: '{strange[0]}' is unknown; expected some of {', '.join(EVENTS)}"
        )
    return tuple(str(name) for name in wanted)


def contact_problems(contacts: Sequence[Any], option: str = "keyturn_policy.contacts") -> List[str]:
    """Everything that is wrong in the definitions of contacts, as sentences. Nothing is resolved or sent."""
    problems = []
    for number, contact in enumerate(contacts):
        where = f"{option}[{number}]"
        try:
            if not isinstance(contact, Mapping) or contact.get("type") not in CHANNELS:
                raise BadInput(f"{where}.type: expected one of {', '.join(sorted(CHANNELS))}")
            events_of(contact, where)
            CHANNELS[contact["type"]].check(contact, where)
        except BadInput as error:
            problems.append(error.message)
    return problems


def payload_of(params: Mapping[str, Any], context: Context) -> Dict[str, str]:
    """What a contact is told: names, ids and words, never a value. ``text`` is what chat systems show."""
    names = ("credential", "event", "rotation_id", "phase", "owner")
    found = {name: str(params.get(name) or "") for name in names}
    # Ansible keeps the name "message" for itself among a module's options.
    found["message"] = str(params.get("text") or "")
    title = f"{found['credential']}: {_TITLES[found['event']]}"
    phase = f" in phase {found['phase']}" if found["phase"] else ""
    text = f"{title}{phase}" + (f". {found['message']}" if found["message"] else "")
    return {
        **found,
        "time": format_time(context.now()),
        "subject": f"[keyturn] {title}",
        "text": text,
    }


def _deliver(
    channel: Channel, payload: Mapping[str, str], params: Params, sleep: Callable[[float], None]
) -> int:
    """Try a few times.

    :return: how many attempts it took.
    :raises Failed: the last attempt failed too, or the first in a way that stays.
    """
    seconds = parse_duration(params["timeout"], "timeout").total_seconds()
    pause = parse_duration(params["interval"], "interval").total_seconds()
    attempt = 0
    while True:
        attempt += 1
        try:
            channel.send(payload, seconds)
            return attempt
        except Failed as error:
            if error.final or attempt > params["retries"]:
                raise Failed(
                    f"{error.reason} ({attempt} attempt{'s' if attempt > 1 else ''})", True
                ) from None
        sleep(pause)


def _tell(
    contact: Mapping[str, Any],
    option: str,
    payload: Mapping[str, str],
    params: Params,
    context: Context,
) -> Dict[str, Any]:
    told: Dict[str, Any] = {"type": str(contact.get("type")), "to": ""}
    try:
        channel = open_channel(contact, context, option)
        told["to"] = channel.to
        if context.check_mode:
            return {**told, "sent": False, "error": ""}
        told["attempts"] = _deliver(channel, payload, params, time.sleep)
        return {**told, "sent": True, "error": ""}
    except Failed as error:
        return {**told, "sent": False, "error": error.reason}
    except KeyturnError as error:
        return {**told, "sent": False, "error": error.message}


def _wants(contact: Any, event: str, option: str) -> bool:
    """Whether a contact hears of an event; one that is defined wrongly does, so that this is seen."""
    try:
        return event in events_of(contact, option)
    except (BadInput, AttributeError, TypeError):
        return True


def _completed(params: Params, context: Context) -> Params:
    """The parameters with what the policy and the keyring know. A keyring that cannot be read must not keep anybody uninformed."""
    policy = params.get("policy") or {}
    found = dict(params)
    found["contacts"] = params.get("contacts") or policy.get("contacts") or []
    found["owner"] = params.get("owner") or policy.get("owner") or ""
    if not params.get("keyring") or (params["rotation_id"] and params["phase"]):
        return found
    try:
        document = open_keyring(params, context).document
    except KeyturnError:
        return found
    stage = (document.pending or document.current) if document else None
    if stage:
        found["rotation_id"] = params["rotation_id"] or stage.rotation_id
        found["phase"] = params["phase"] or stage.status
    return found


def run(params: Params, context: Context) -> Result:
    """Tell every contact that wants to hear of this event; what could not be told is a warning."""
    params = _completed(params, context)
    payload = payload_of(params, context)
    told = []
    for number, contact in enumerate(params["contacts"]):
        option = f"{OPTION}[{number}]"
        if _wants(contact, params["event"], option):
            told.append(_tell(contact, option, payload, params, context))
    for item in told:
        if item["error"]:
            context.warn(
                f"{payload['credential']}: the notification '{params['event']}' to {item['type']} {item['to']} "
                f"was not sent: {item['error']}"
            )
    would = [item for item in told if item["sent"] or (context.check_mode and not item["error"])]
    return {"changed": bool(would), "notifications": told, "payload": payload}


SPEC = {
    **KEYRING_OPTIONS,
    "contacts": {"type": "list", "elements": "dict", "default": []},
    "policy": {"type": "dict", "default": {}},
    "event": {"type": "str", "required": True, "choices": list(EVENTS)},
    "rotation_id": {"type": "str", "default": ""},
    "phase": {"type": "str", "default": ""},
    "owner": {"type": "str", "default": ""},
    "text": {"type": "str", "default": ""},
    "timeout": {"type": "str", "default": "10s"},
    "interval": {"type": "str", "default": "1s"},
    "retries": {"type": "int", "default": 2},
}
MODULE = ModuleCore("notify", SPEC, run)
