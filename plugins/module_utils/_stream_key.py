# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``stream_key``: one platform's stream key where a host keeps it, and in Vault.

On the host there are its file and the line of an env file that names this file (:func:`run`). In Vault, which the controller
writes, it is the field ``key``, with the one to come beside it as ``key_new`` (:func:`prepare`, :func:`conclude`). Every part is
looked at before any is written, so that one that cannot be done leaves the others as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_file import (
    Sealed,
    attributes_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Absent
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard, no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import SALT_BYTES
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
    diffs_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import (
    Outcome,
    Wanted,
    bring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._backup import (
    BackedUpPlace,
    Copies,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._define import WHOLE
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env import EnvCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import (
    Attributes,
    FilePlace,
    TextCodec,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._open import (
    Address,
    open_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._options import Options
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Place
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._shown import (
    difference,
    shown_fields,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._task import (
    Given,
    seal,
    unseal,
    value_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._stream_key_options import (
    check_options,
    keep_of,
    pending_value,
    stream_key_value,
    vault_reference,
)

OPTION = "stream_key"
KEY, KEY_NEW = "key", "key_new"


class Contents(Sealed):
    """What :func:`prepare` hands on.

    :ivar vault: what is to be in Vault; on the controller alone. None where the task names no Vault.
    """

    vault: Optional[Given] = None


@dataclass(frozen=True)
class Part:
    """One place of the key, and what is to be there.

    :param kind: what the result calls it.
    """

    kind: str
    place: Place
    wanted: Wanted


def _vault_part(params: Params, found: Given, context: Context) -> Part:
    reference = vault_reference(params)
    where = f"{OPTION} ({reference.text})"
    address = Address("vault", reference.path, reference.params, reference.text, where)
    return Part("vault", open_place(address, Options(), context), Wanted(where, found.fields))


def _looked_at(parts: List[Part], context: Context) -> None:
    """Find out what would stop one of the parts, before any is written.

    :raises KeyturnError: as the places give cause.
    """
    dry = replace(context, check_mode=True, foreseen={})
    for part in parts:
        bring(part.place, part.wanted, no_guard, dry)


def prepare(params: Params, context: Context) -> Params:
    """Resolve the references on the controller, and look at Vault before a host is asked.

    :raises BadInput: for wrong options, and a value that is no stream key.
    :raises KeyturnError: as references, the keyring and Vault give cause.
    """
    check_options(params)
    access = open_keyring(params, context) if params.get("keyring") else None
    if access:
        access.refuse_others()
    value = stream_key_value(value_of(params["value"], context, "value", access), "value")
    salt, guard = context.randbytes(SALT_BYTES), no_guard
    if access and access.document:
        salt, guard = access.document.salt, access.guard
    found = Given({KEY: value}, salt=salt, guard=guard)
    contents = Contents(seal(found))
    contents.guard = guard
    if params["vault"]:
        both = {KEY: value, KEY_NEW: pending_value(params, context, access)}
        contents.vault = replace(found, fields=both)
        _looked_at([_vault_part(params, contents.vault, context)], context)
    return {**params, "value": None, "pending": None, "contents": contents}


def _parts(params: Params, value: Secret, context: Context) -> List[Part]:
    """The parts on the host, in the order in which they are written."""
    path, env_file = params["path"], params["env_file"]
    if not path:
        return []
    where, keep = f"{OPTION} ({path})", keep_of(params)
    attributes = attributes_of(params)
    place = (
        BackedUpPlace(path, TextCodec(), attributes, where, keep, context)
        if keep
        else FilePlace(path, TextCodec(), attributes, where)
    )
    text = Secret(f"{value.reveal()}\n", value.known)
    parts = [Part("key_file", place, Wanted(where, {WHOLE: text}))]
    if env_file:
        where = f"{OPTION} (env_file: {env_file})"
        line = FilePlace(env_file, EnvCodec(), Attributes(), where)
        if not line.read((params["env_name"],)).exists:
            raise Absent(
                f"{where}: it is not there; make it as its service needs it, or leave out 'env_file'"
            )
        parts.append(Part("env_line", line, Wanted(where, {params["env_name"]: Secret(path)})))
    return parts


def _told(part: Part, outcome: Outcome, salt: bytes, context: Context) -> Dict[str, Any]:
    """What the result says of a part."""
    for note in outcome.observed.notes:
        context.warn(f"{part.wanted.where}: {note}")
    told: Dict[str, Any] = {
        "changed": outcome.changed,
        "fields": shown_fields(salt, part.wanted, outcome),
    }
    if part.kind == "vault":
        return {**told, "version": outcome.version, "version_before": outcome.observed.version}
    return {**told, "drift": list(outcome.observed.drift)}


def _difference(
    part: Part, outcome: Outcome, salt: bytes, copies: Optional[Copies]
) -> Dict[str, str]:
    shown = difference(salt, part.wanted, outcome)
    pruned = copies.pruned if copies else ()
    return {**shown, "before": shown["before"] + "".join(f"{path}: (a copy)\n" for path in pruned)}


def _bring(
    parts: List[Part], salt: bytes, guard: Guard, context: Context
) -> Tuple[Result, List[Dict[str, str]]]:
    """Bring each part to what is wanted; the result, and its diffs."""
    result: Result = {"changed": False}
    diffs: List[Dict[str, str]] = []
    for part in parts:
        outcome = bring(part.place, part.wanted, guard, context)
        result[part.kind] = _told(part, outcome, salt, context)
        copies = part.place.settle(outcome) if isinstance(part.place, BackedUpPlace) else None
        if copies:
            result["backup"] = copies.told()
            if copies.missing:
                context.warn(f"{part.wanted.where}: {copies.note}")
        if outcome.changed or (copies and copies.pruned):
            result["changed"] = True
            diffs.append(_difference(part, outcome, salt, copies))
    return result, diffs


def run(params: Params, context: Context) -> Result:
    """Read, compare and write the key's file and the line that names it, on the machine where they are.

    :raises KeyturnError: as the files give cause; where nothing was written yet, all is as it was.
    """
    contents = params.get("contents")
    found = unseal(contents, OPTION)
    value = found.fields[KEY]
    if value is None:
        raise TypeError("a key is always given")
    guard = contents.guard if isinstance(contents, Sealed) else no_guard
    parts = _parts(params, value, context)
    _looked_at(parts, context)
    result, diffs = _bring(parts, found.salt, guard, context)
    # Not called 'path': an ordinary module would get the file's size and owner beside that from Ansible.
    result = {"file": params["path"], **result}
    return {**result, "diff": diffs} if context.diff else result


def conclude(params: Params, result: Result, context: Context) -> Result:
    """Write Vault from the controller, once the host has the key.

    :raises KeyturnError: as Vault gives cause; ``details["changed"]`` tells whether the host was changed before.
    """
    vault = params["contents"].vault
    if vault is None:
        return result
    part = _vault_part(params, vault, context)
    try:
        told, diffs = _bring([part], vault.salt, vault.guard, context)
    except Exception as error:
        details = getattr(error, "details", None)
        if isinstance(details, dict) and not context.check_mode:
            details.setdefault("changed", bool(result.get("changed")))
        raise
    merged = {**result, **told, "changed": bool(result.get("changed")) or told["changed"]}
    return {**merged, "diff": [*diffs_of(result), *diffs]} if context.diff else merged


MODULE = ModuleCore(
    name=OPTION,
    argument_spec=MappingProxyType(
        {
            **KEYRING_OPTIONS,
            "path": {"type": "path"},
            "value": {"type": "raw", "no_log": True},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "mode": {"type": "raw", "default": "0600"},
            "backup": {"type": "bool", "default": True},
            "keep": {"type": "str", "default": "7d"},
            "env_file": {"type": "path"},
            "env_name": {"type": "str", "default": "STREAM_KEY_FILE"},
            "vault": {"type": "str", "no_log": False},
            "pending": {"type": "raw", "no_log": True},
            "contents": {"type": "dict", "no_log": True},
        }
    ),
    run=run,
    host=True,
    prepare=prepare,
    conclude=conclude,
)
