# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``fernet_key``: Fernet keys of a list by reference, and folders of numbered ones on a machine.

On the controller the list is resolved and looked at, so that no value of it travels; on the machine the folder is read, compared
and written under its lock.
"""

from __future__ import annotations

import base64
import json
import os
import re
from typing import Any, Dict, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet import (
    check_separator,
    list_facts,
    parse_list,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_folder import (
    CHECKED,
    PRESENT,
    ROTATED,
    Task,
    folder_result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_like import Like
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_plan import Rules
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import SALT_BYTES
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    parse_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import (
    Attributes,
    owners_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._task import value_of
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    parse_duration,
)

_MODE = re.compile(r"0?[0-7]{3}\Z")
_FEWEST = 2
_OTHERS = 0o007


def _where(params: Params) -> str:
    return f"fernet_key ({params['path']})"


def _mode(params: Params, option: str) -> Optional[int]:
    text = params.get(option)
    if text is None:
        return None
    if not (isinstance(text, str) and _MODE.match(text)):
        raise BadInput(f'{option}: expected a quoted octal number, such as "0600"')
    if int(text, 8) & _OTHERS:
        raise BadInput(
            f'{option}: {text} lets every user of the machine at the keys; expected a mode that ends with 0, such as "0600" or "0640"'
        )
    return int(text, 8)


def rules_of(params: Params) -> Rules:
    """What a rotation minds.

    :raises BadInput: for wrong options, and a rotation that nothing keeps from being done twice.
    """
    if params["max_active_keys"] < _FEWEST:
        raise BadInput(
            f"max_active_keys: expected {_FEWEST} or more: the primary and the staged key always stay"
        )
    age, number = params.get("max_age"), params.get("from_primary")
    if number is not None and number < 1:
        raise BadInput("from_primary: expected the number of a primary key, 1 or higher")
    if params["state"] == ROTATED and age is None and number is None:
        raise BadInput(
            "max_age: state 'rotated' needs max_age (how old the primary must be) or from_primary (its number): without one, a task "
            "that is run again would rotate again. For a rotation in each run set max_age to 0s"
        )
    return Rules(
        most=params["max_active_keys"],
        keep_for=parse_duration(params["keep_for"], "keep_for"),
        max_age=None if age is None else parse_duration(age, "max_age"),
        from_primary=number,
    )


def _check_options(params: Params) -> None:
    path = params.get("path")
    if path is None and params.get("value") is None:
        raise BadInput(
            "path: nothing is asked for; give 'path' for a folder of keys, 'value' for a list of keys, or both"
        )
    if path is None and params["state"] == ROTATED:
        raise BadInput(
            "path: state 'rotated' needs a folder of key files. A key in a store is rotated as a credential: see docs/fernet.md"
        )
    if path is not None and not os.path.isabs(path):
        raise BadInput("path: expected the absolute path of a folder")
    check_separator(params["separator"], "separator")
    rules_of(params)
    _mode(params, "mode")
    _mode(params, "directory_mode")


def _listed(
    params: Params, access: Optional[KeyringAccess], salt: bytes, context: Context
) -> Optional[Dict[str, Any]]:
    secret = value_of(params.get("value"), context, "value", access)
    if secret is None:
        return None
    reference = looks_like_reference(params["value"])
    where = f"value ({parse_reference(params['value'], 'value').text})" if reference else "value"
    facts = list_facts(parse_list(secret, params["separator"], where), salt)
    for positions in facts["duplicates"]:
        context.warn(f"{where}: positions {' and '.join(map(str, positions))} are the same key")
    return facts


def prepare(params: Params, context: Context) -> Params:
    """Look at the list on the controller, and refuse what is wrong before a host is asked.

    :raises BadInput: for wrong options, and naming the position of what is no Fernet key.
    :raises KeyturnError: as reference and keyring give cause.
    """
    _check_options(params)
    access = open_keyring(params, context) if params.get("keyring") else None
    document = access.document if access else None
    salt = document.salt if document else context.randbytes(SALT_BYTES)
    body = {
        "salt": base64.b64encode(salt).decode(),
        "listed": _listed(params, access, salt, context),
    }
    # One opaque text: Ansible would mask each text of a secret option in the result.
    sealed = base64.b64encode(json.dumps(body).encode()).decode()
    return {**params, "value": None, "contents": {"sealed": sealed}}


def _unsealed(params: Params) -> Tuple[bytes, Any]:
    sealed = (params.get("contents") or {}).get("sealed")
    if not sealed:
        raise BadInput(
            "fernet_key: this module gets what it needs from its action plugin; call it as keyturn.runbooks.fernet_key in a task"
        )
    body = json.loads(base64.b64decode(sealed))
    return base64.b64decode(body["salt"]), body["listed"]


def _task(params: Params, salt: bytes, context: Context) -> Task:
    where = _where(params)
    owners = Attributes(None, params.get("owner") or None, params.get("group") or None)
    uid, gid = owners_of(owners, where)
    return Task(
        path=params["path"].rstrip("/") or "/",
        where=where,
        state=params["state"],
        rules=rules_of(params),
        files=Like(_mode(params, "mode"), uid, gid),
        folder=Like(_mode(params, "directory_mode"), uid, gid),
        salt=salt,
        context=context,
        now=context.now(),
    )


def run(params: Params, context: Context) -> Result:
    """Look at a folder of keys and bring it to what is asked, on the machine where it is.

    :raises KeyturnError: as the folder gives cause.
    """
    salt, listed = _unsealed(params)
    result: Result = {"changed": False}
    if params.get("path") is not None:
        result = folder_result(_task(params, salt, context))
    if listed is not None:
        result["key_list"] = listed
    return result


MODULE = ModuleCore(
    name="fernet_key",
    argument_spec={
        **KEYRING_OPTIONS,
        "path": {"type": "path"},
        "state": {"type": "str", "choices": [PRESENT, ROTATED, CHECKED], "default": PRESENT},
        "max_active_keys": {"type": "int", "no_log": False, "default": 3},
        "keep_for": {"type": "str", "default": "49h"},
        "max_age": {"type": "str"},
        "from_primary": {"type": "int"},
        "mode": {"type": "raw"},
        "directory_mode": {"type": "raw"},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "value": {"type": "str", "no_log": True},
        "separator": {"type": "str", "default": ","},
        "contents": {"type": "dict", "no_log": True},
    },
    run=run,
    host=True,
    prepare=prepare,
)
