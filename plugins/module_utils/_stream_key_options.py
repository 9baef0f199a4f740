# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of ``stream_key`` mean, and which of them make no sense."""

from __future__ import annotations

import re
from typing import Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import KeyringAccess
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_file import attributes_of
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import Params
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    KEYRING,
    Reference,
    looks_like_reference,
    parse_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._backup import (
    EACH_DAY,
    Keep,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._task import value_of
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_HIDDEN = re.compile(r"[^!-~]")


def stream_key_value(value: Optional[Secret], option: str) -> Secret:
    """A stream key, without the line break at the end of a file that held it.

    :raises BadInput: when it cannot be one: it is a part of a URL.
    """
    text = value.reveal() if value is not None else ""
    text = text[:-1] if text.endswith("\n") else text
    known = value is None or value.known
    if known and not text:
        raise BadInput(
            f"{option}: it is missing or empty; give the stream key, or a reference to it"
        )
    if known and _HIDDEN.search(text):
        raise BadInput(
            f"{option}: it has a blank, a control character or another one that no stream key has; look at how it was copied"
        )
    return Secret(text, known)


def pending_value(
    params: Params, context: Context, access: Optional[KeyringAccess]
) -> Optional[Secret]:
    """The key to come; none where none is given, or the keyring has none to show now."""
    given = params.get("pending")
    if given is None:
        return None
    if looks_like_reference(given):
        reference = parse_reference(given, "pending")
        document = access.document if access else None
        if reference.scheme == KEYRING and document is not None:
            stage = document.stage(reference.fragment[0])
            if stage is None or not stage.accepted:
                return None
    return stream_key_value(value_of(given, context, "pending", access), "pending")


def check_options(params: Params) -> None:
    """Refuse options that make no sense, alone or together.

    :raises BadInput: naming the option.
    """
    attributes_of(params)
    keep_of(params)
    if not params["path"] and not params["vault"]:
        raise BadInput("path: give the key's file, or 'vault', or both")
    for name, needed in (("env_file", "path"), ("pending", "vault")):
        if params.get(name) is not None and not params[needed]:
            raise BadInput(f"{name}: it has no meaning without '{needed}'; give that, too")
    if not _NAME.match(params["env_name"]):
        raise BadInput(
            f"env_name: '{params['env_name']}' is no name of a variable; expected letters, digits and underscores, no digit first"
        )
    if params["env_file"] and params["env_file"] == params["path"]:
        raise BadInput(
            "env_file: it is the file of the key itself; name the file that has its path"
        )


def keep_of(params: Params) -> Optional[Keep]:
    """Which copies of the key's file stay; none where none are made.

    :raises BadInput: for a wrong duration.
    """
    age = parse_duration(params["keep"], "keep")
    return Keep(age, None, EACH_DAY) if params["backup"] else None


def vault_reference(params: Params) -> Reference:
    """The path in Vault.

    :raises BadInput: for another kind of place, or a part of one.
    """
    reference = parse_reference(params["vault"], "vault")
    if reference.scheme != "vault" or reference.fragment or "version" in reference.params:
        raise BadInput(
            "vault: expected a path of the KV engine, version 2, without a field: ref+vault://MOUNT/PATH"
        )
    return reference
