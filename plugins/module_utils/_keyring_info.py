# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``keyring_info``: what a keyring shows of itself."""

from __future__ import annotations

from typing import Any, Dict

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._gates import due_status
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import parse_policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._state import document_state


def run(params: Params, context: Context) -> Result:
    """Read the keyring and say how old, how far and how due it is."""
    access = open_keyring(params, context)
    now = context.now()
    state: Dict[str, Any] = document_state(access.document, now)
    return {
        "changed": False,
        "keyring": state,
        "due": due_status(access.document, parse_policy(params["policy"]), now),
    }


SPEC = {**KEYRING_OPTIONS, "policy": {"type": "dict", "default": {}}}
MODULE = ModuleCore("keyring_info", SPEC, run)
