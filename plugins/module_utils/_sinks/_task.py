# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of a place that a task of its own sets: what ``vault_kv``, ``k8s_secret``, ``env_file`` and the like have in common.

A field is given as a reference, as a text, or as null to remove it; ``generate`` makes a value where the field is not there.
References are resolved where the task runs on the controller. On their way to another machine the values are one opaque text
in one ``no_log`` option, as those of ``publish`` are.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._generate import generate, recipe
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard, no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import SALT_BYTES
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import Params, Result
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    resolve,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import (
    Outcome,
    Wanted,
    bring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Place
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._shown import (
    difference,
    shown_fields,
)

FIELDS_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "fields": {"type": "dict", "no_log": True, "default": {}},
        "generate": {"type": "dict", "default": {}},
        "create": {"type": "bool", "default": True},
    }
)
"""The options of every module that sets fields; documented in the fragment ``keyturn.runbooks.fields``."""


@dataclass(frozen=True)
class Given:
    """What a task gives.

    :param fields: by name; none for one that should not be there.
    :param missing: values for fields that are not there.
    :param salt: for fingerprints: the keyring's, so that they can be compared with its own; without a keyring one of this call.
    :param guard: called before each write.
    """

    fields: Mapping[str, Optional[Secret]]
    missing: Mapping[str, Secret] = field(default_factory=dict)
    salt: bytes = b""
    guard: Guard = no_guard

    @property
    def names(self) -> List[str]:
        """All fields that are named."""
        return [*self.fields, *self.missing]


def value_of(
    item: Any, context: Context, option: str, access: Optional[KeyringAccess] = None
) -> Optional[Secret]:
    """One value: a reference resolved, a text as it is, none for null.

    :param option: how messages name where it was given.
    :raises BadInput: for something that is no single value.
    :raises KeyturnError: as its reference gives cause.
    """
    if item is None:
        return None
    if looks_like_reference(item):
        return resolve(item, context, option, access.document if access else None)
    if isinstance(item, bool):
        raise BadInput(
            f'{option}: put true and false in quotes, as the reader expects them: "true"'
        )
    if not isinstance(item, (str, int, float)):
        raise BadInput(f"{option}: expected a text or a reference, not a {type(item).__name__}")
    return Secret(str(item))


def given(params: Params, context: Context) -> Given:
    """The fields of a task, resolved.

    :raises BadInput: when nothing is given, or a field is given twice.
    :raises KeyturnError: as a reference or the keyring gives cause.
    """
    fields, wishes = params.get("fields") or {}, params.get("generate") or {}
    access = open_keyring(params, context) if params.get("keyring") else None
    if access:
        access.refuse_others()
    twice = sorted(set(fields) & set(wishes))
    if twice:
        raise BadInput(f"generate.{twice[0]}: it is in 'fields' too; name a field once")
    resolved = {
        str(name): value_of(item, context, f"fields.{name}", access)
        for name, item in fields.items()
    }
    made = {
        str(name): made_value(wish, context, f"generate.{name}") for name, wish in wishes.items()
    }
    if access is None or access.document is None:
        return Given(resolved, made, context.randbytes(SALT_BYTES))
    return Given(resolved, made, access.document.salt, access.guard)


def made_value(wish: Any, context: Context, option: str) -> Secret:
    """A value made as ``generate`` says; in check mode one that is not known yet.

    :raises BadInput: for a wish that makes no sense.
    """
    if not isinstance(wish, Mapping):
        raise BadInput(
            f"{option}: expected a mapping such as {{type: hex, bytes: 32}}, as in keyturn_generate"
        )
    if context.check_mode:
        recipe(wish, context, option)
        return Secret.new()
    return Secret(generate(wish, context, option))


def _pairs(fields: Mapping[str, Optional[Secret]]) -> Dict[str, Any]:
    return {
        name: None if value is None else [value.reveal(), value.known]
        for name, value in fields.items()
    }


def seal(found: Given) -> Dict[str, str]:
    """What is given, as the opaque content of a ``no_log`` option on its way to another machine."""
    body = {
        "salt": base64.b64encode(found.salt).decode(),
        "fields": _pairs(found.fields),
        "missing": _pairs(found.missing),
    }
    return {"sealed": base64.b64encode(json.dumps(body).encode()).decode()}


def unseal(contents: Optional[Mapping[str, Any]], module: str) -> Given:
    """What :func:`seal` was given, on that machine.

    :param module: how messages name the module.
    :raises BadInput: when the module was called past its action plugin.
    """
    sealed = (contents or {}).get("sealed")
    if not sealed:
        raise BadInput(
            f"{module}: this module gets its values from its action plugin; call it as keyturn.runbooks.{module} in a task"
        )
    body = json.loads(base64.b64decode(sealed))
    fields = {
        name: None if pair is None else Secret(pair[0], pair[1])
        for name, pair in body["fields"].items()
    }
    missing = {name: Secret(pair[0], pair[1]) for name, pair in body["missing"].items()}
    return Given(fields, missing, base64.b64decode(body["salt"]))


def set_fields(place: Place, where: str, found: Given, create: bool, context: Context) -> Outcome:
    """Bring the place to what is given: no write when nothing differs, else one.

    :param where: how messages name the place.
    :raises KeyturnError: as the place gives cause.
    """
    wanted = Wanted(where, found.fields, create, found.missing)
    outcome = bring(place, wanted, found.guard, context)
    for note in outcome.observed.notes:
        context.warn(f"{where}: {note}")
    return outcome


def fields_result(where: str, found: Given, outcome: Outcome, context: Context) -> Result:
    """The result of a task that set fields: names, versions and fingerprints."""
    wanted = Wanted(where, found.fields, missing=found.missing)
    result: Result = {
        "changed": outcome.changed,
        "fields": shown_fields(found.salt, wanted, outcome),
        "version": outcome.version,
        "version_before": outcome.observed.version,
    }
    if context.diff:
        result["diff"] = difference(found.salt, wanted, outcome)
    return result
