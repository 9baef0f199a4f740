# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``ssm_secret``: parameters of AWS's Parameter Store, one or many, with one write for each that differs."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import AwsCaller
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    SALT_BYTES,
    fingerprint,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._shown import ABSENT
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._task import (
    made_value,
    value_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_batch import Batch, Done
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_names import (
    check_parameter_name,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_options import (
    AWS_OPTIONS,
    with_aws_options,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import SECURE
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_plan import (
    ALWAYS,
    CHANGED,
    DELETE,
    NEVER,
    Rules,
    Wish,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

_ATTRIBUTES: Mapping[str, Any] = {
    "type": {
        "type": "str",
        "choices": ["SecureString", "String", "StringList"],
        "aliases": ["string_type"],
    },
    "key_id": {"type": "str", "aliases": ["kms_key_id"]},
    "tier": {"type": "str", "choices": ["Standard", "Advanced", "Intelligent-Tiering"]},
    "description": {"type": "str"},
    "data_type": {"type": "str"},
    "tags": {"type": "dict", "aliases": ["resource_tags"]},
}
_SENT = {"key_id": "KeyId", "tier": "Tier", "description": "Description", "data_type": "DataType"}
_ONE: Mapping[str, Any] = {
    "name": {"type": "str", "required": True},
    "value": {"type": "str", "no_log": True},
    "generate": {"type": "dict"},
    **_ATTRIBUTES,
}
_SHOWN_ERRORS = 5


def _refuse_values(item: Mapping[str, Any], option: str) -> None:
    """:raises BadInput: for what only one that is to be there can have."""
    extra = [name for name in ("value", "generate", "tags") if item.get(name) is not None]
    if extra:
        raise BadInput(f"{option}{extra[0]}: it has no meaning with state=absent; leave it out")


def _wish(
    item: Mapping[str, Any],
    params: Params,
    context: Context,
    option: str,
    access: Optional[KeyringAccess],
) -> Wish:
    name = check_parameter_name(str(item["name"]), f"{option}name")
    about = {key: params.get(key) if item.get(key) is None else item[key] for key in _ATTRIBUTES}
    given = {_SENT[key]: str(about[key]) for key in _SENT if about[key] not in (None, "")}
    tags = {str(key): str(value) for key, value in (about["tags"] or {}).items()}
    if params["state"] == "absent":
        _refuse_values(item, option)
        return Wish(name, None)
    wish, value = item.get("generate"), item.get("value")
    if wish is not None and value is not None:
        raise BadInput(f"{option}generate: {name} has a 'value' too; give one of them")
    if wish is not None:
        made = made_value(wish, context, f"{option}generate")
        return Wish(name, made, str(about["type"] or SECURE), given, tags, first=True)
    found = value_of(value, context, f"{option}value", access)
    if found is None:
        raise BadInput(
            f"{option}value: missing for {name}; give a reference or a text, or 'generate', or say state: absent"
        )
    return Wish(name, found, str(about["type"] or SECURE), given, tags)


def _wishes(params: Params, context: Context, access: Optional[KeyringAccess]) -> List[Wish]:
    many = params.get("parameters")
    if params["state"] == "absent":
        _refuse_values(params, "")
    if many is None:
        return [_wish(params, params, context, "", access)]
    wishes = [
        _wish(item, params, context, f"parameters[{index}].", access)
        for index, item in enumerate(many)
    ]
    seen: Dict[str, int] = {}
    for index, wish in enumerate(wishes):
        # AWS takes a name without a slash and the same one with it for one parameter.
        plain = wish.name.lstrip("/") if wish.name.count("/") < 2 else wish.name
        if seen.setdefault(plain, index) != index:
            raise BadInput(
                f"parameters[{index}].name: {wish.name} is in the list twice; name a parameter once"
            )
    return wishes


def _told(done: Done, salt: bytes) -> Dict[str, Any]:
    """What a result shows of one parameter."""
    wish, before = done.wish, done.before
    shown = ABSENT if before is None else fingerprint(salt, wish.name, before.value)
    removed = wish.value is None and done.error is None
    after = shown
    if removed:
        after = ABSENT
    elif wish.value is not None and done.action not in ("", DELETE) and done.error is None:
        after = fingerprint(salt, wish.name, wish.value)
    told: Dict[str, Any] = {
        "name": wish.name,
        "changed": done.changed,
        "version": done.version if not removed else None,
        "version_before": before.version if before else None,
        "fingerprint": after,
        "fingerprint_before": shown,
    }
    if done.error:
        told["error"] = done.error.message
        told["kind"] = type(done.error).__name__
    return told


def _lines(told: Sequence[Mapping[str, Any]], whys: Sequence[Sequence[str]]) -> Dict[str, str]:
    """A diff as Ansible shows it, of those that change."""
    before, after = [], []
    for item, why in zip(told, whys):
        if item["changed"]:
            also = f" ({', '.join(sorted(why))})" if why else ""
            before.append(f"{item['name']}: {item['fingerprint_before']}\n")
            after.append(f"{item['name']}: {item['fingerprint']}{also}\n")
    header = "AWS parameters"
    shown = {"before_header": header, "after_header": header}
    return {**shown, "before": "".join(before), "after": "".join(after)}


def _failed(told: List[Dict[str, Any]], errors: Sequence[KeyturnError]) -> KeyturnError:
    """One error for all that failed, with what became of each."""
    first = errors[0]
    message = first.message
    if len(errors) > 1:
        messages = list(dict.fromkeys(error.message for error in errors))[:_SHOWN_ERRORS]
        message = f"{len(errors)} of {len(told)} parameters were not brought up to date: {'; '.join(messages)}"
    changed = any(item["changed"] for item in told)
    failed = type(first)(message, **{**first.details, "parameters": told})
    failed.details["changed"] = changed
    return failed


def _access(params: Params, context: Context) -> Optional[KeyringAccess]:
    if not params.get("keyring"):
        return None
    access = open_keyring(params, context)
    access.refuse_others()
    return access


def run(params: Params, context: Context) -> Result:
    """Read, plan and write.

    :raises BadInput: for a list that makes no sense; nothing was asked of AWS then.
    :raises KeyturnError: for parameters that could not be brought up to date, after all others were.
    """
    threads = int(params["threads"])
    if threads < 1:
        raise BadInput("threads: expected 1 or more")
    seconds = parse_duration(params["timeout"], "timeout").total_seconds()
    access = _access(params, context)
    over, settings = with_aws_options(params, context, threads)
    wishes = _wishes(params, over, access)
    keyed = access if access and access.document else None
    salt = keyed.document.salt if keyed and keyed.document else context.randbytes(SALT_BYTES)
    guard = keyed.guard if keyed else no_guard
    rules = Rules(params["overwrite_value"], params["labels"], params["accept_drift"], context.diff)
    caller = AwsCaller(settings, over, "ssm_secret", "ssm")
    told: List[Dict[str, Any]] = []
    whys: List[Sequence[str]] = []
    errors: List[KeyturnError] = []
    with caller.lent(seconds):
        for done in Batch(caller, rules, threads, guard, context.check_mode).run(wishes):
            told.append(_told(done, salt))
            whys.append(done.why)
            if done.error:
                errors.append(done.error)
    if errors:
        raise _failed(told, errors)
    result: Result = {"changed": any(item["changed"] for item in told), "parameters": told}
    if context.diff:
        result["diff"] = _lines(told, whys)
    return result


MODULE = ModuleCore(
    name="ssm_secret",
    argument_spec={
        **KEYRING_OPTIONS,
        **AWS_OPTIONS,
        **_ONE,
        "name": {"type": "str"},
        "parameters": {"type": "list", "elements": "dict", "options": dict(_ONE)},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "overwrite_value": {
            "type": "str",
            "choices": [NEVER, CHANGED, ALWAYS],
            "default": CHANGED,
        },
        "labels": {"type": "bool", "default": False},
        "accept_drift": {"type": "bool", "default": False},
        "threads": {"type": "int", "default": 12},
        "timeout": {"type": "str", "default": "10m"},
    },
    run=run,
    constraints={
        "required_one_of": [["name", "parameters"]],
        "mutually_exclusive": [
            ["name", "parameters"],
            ["value", "parameters"],
            ["generate", "parameters"],
        ],
    },
)
