# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that a log must not show, on their way to the machine that reads the log: one opaque text in a ``no_log`` option."""

from __future__ import annotations

import base64
import json
from types import MappingProxyType
from typing import Any, Iterable, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import Params
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, reveal
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._task import value_of

REDACT_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "redact": {"type": "list", "elements": "raw", "no_log": True, "default": []},
        "contents": {"type": "dict", "options": {"sealed": {"type": "str", "no_log": True}}},
    }
)
"""The options of a module that shows lines of a log; documented in the fragment ``keyturn.runbooks.log``."""


def values_of(document: Optional[Document]) -> List[Secret]:
    """The values of stages that are or were in use; a retained key has no use where a log is read."""
    stages = (document.pending, document.current, document.previous) if document else ()
    return [
        value
        for stage in stages
        if stage
        for value in stage.fields.values()
        if isinstance(value, Secret) and value.known
    ]


def seal_values(values: Iterable[Secret]) -> Secret:
    """The values as one opaque text."""
    found = [value.reveal() for value in values]
    return Secret(base64.b64encode(json.dumps(found).encode()).decode())


def unseal_values(contents: Optional[Mapping[str, Any]]) -> Tuple[Secret, ...]:
    """What :func:`seal_values` was given; nothing when nothing was."""
    sealed = (contents or {}).get("sealed")
    values = json.loads(base64.b64decode(reveal(sealed))) if sealed else []
    return tuple(Secret(value) for value in values)


def prepare_redaction(params: Params, context: Context) -> Params:
    """Resolve ``redact`` on the controller, and add what the keyring holds.

    :raises KeyturnError: as a reference or the keyring gives cause.
    """
    access = open_keyring(params, context) if params.get("keyring") else None
    resolved = [
        value_of(item, context, f"redact[{number}]", access)
        for number, item in enumerate(params["redact"])
    ]
    known = [value for value in resolved if value is not None]
    known += values_of(access.document) if access else []
    return {**params, "redact": [], "contents": {"sealed": seal_values(known)}}
