# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of a value that a person gives: what is in use today and is to be adopted."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    resolve,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value

_USUAL: FrozenSet[str] = frozenset({"password", "value"})


def given_fields(
    value: Mapping[str, Any], issuer: Mapping[str, Any], context: Context
) -> Dict[str, Value]:
    """The fields with their references resolved; those that the issuer calls secret are wrapped.

    :param value: field → reference or text.
    :raises BadInput: for an issuer's value without its password.
    :raises KeyturnError: as a reference gives cause.
    """
    secret = open_issuer(issuer, context).secret_fields if issuer.get("type") else _USUAL
    fields: Dict[str, Value] = {}
    for name, item in value.items():
        text = str(item)
        reference = looks_like_reference(text)
        found = resolve(text, context, f"value.{name}") if reference else Secret(text)
        fields[str(name)] = found if name in secret else found.reveal()
    if fields and issuer.get("type") and "password" in secret and "password" not in fields:
        raise BadInput(
            "value.password (keyturn_adopt): missing; give the value in use as a reference, such as ref+file:///PATH"
        )
    return fields
