# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``env_file``: lines of an env file on a machine, everything else in it kept.

On the controller the references are resolved (:func:`prepare`); on the machine the file is read, compared and replaced under
its lock (:func:`run`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard, no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import Outcome
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._backup import (
    BackedUpPlace,
    Keep,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env import (
    COMMON,
    DIALECT_NAMES,
    EnvCodec,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import (
    Attributes,
    Codec,
    FilePlace,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._task import (
    FIELDS_OPTIONS,
    Given,
    fields_result,
    given,
    seal,
    set_fields,
    unseal,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

_MODE = re.compile(r"0?[0-7]{3}\Z")

FILE_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "dialect": {"type": "str", "choices": list(DIALECT_NAMES), "default": COMMON},
        "mode": {"type": "raw"},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "backup": {"type": "bool", "default": False},
        "backup_keep": {"type": "str", "default": "7d"},
        "backup_count": {"type": "int", "default": 10},
    }
)
"""The options of a module that writes a file of variables; documented in the fragment ``keyturn.runbooks.env``."""


class Sealed(Dict[str, Any]):
    """Values on their way to :func:`run`.

    :ivar guard: makes sure that the keyring's claim is still held. Only in the same process: a plain copy, as it goes to
        another machine, cannot reach the keyring.
    """

    guard: Guard = no_guard


def attributes_of(params: Params) -> Attributes:
    """What the options say of the file's mode and owners.

    :raises BadInput: for a mode that is no quoted octal number.
    """
    mode = params.get("mode")
    if mode is not None and not (isinstance(mode, str) and _MODE.match(mode)):
        raise BadInput('mode: expected a quoted octal number, such as "0640"')
    owner, group = params.get("owner"), params.get("group")
    return Attributes(int(mode, 8) if mode else None, owner or None, group or None)


def keep_of(params: Params) -> Optional[Keep]:
    """Which copies of the file stay; none when there are to be none.

    :raises BadInput: for a wrong duration or number.
    """
    age = parse_duration(params["backup_keep"], "backup_keep")
    if params["backup_count"] < 1:
        raise BadInput("backup_count: expected 1 or more; for no copies at all leave out 'backup'")
    return Keep(age, params["backup_count"]) if params["backup"] else None


def place_of(path: str, codec: Codec, params: Params, where: str, context: Context) -> FilePlace:
    """The file as a place, copied before it is replaced where the options say so.

    :raises BadInput: for wrong options.
    """
    attributes, keep = attributes_of(params), keep_of(params)
    if keep:
        return BackedUpPlace(path, codec, attributes, where, keep, context)
    return FilePlace(path, codec, attributes, where)


def tidy_copies(place: FilePlace, outcome: Outcome) -> Result:
    """Remove copies that do not stay; what the result says of copies."""
    if not isinstance(place, BackedUpPlace):
        return {"backup_file": None, "pruned": []}
    copies = place.copies
    return {
        "backup_file": copies[-1] if copies else None,
        "pruned": list(place.settle(outcome).pruned),
    }


def with_copies(result: Result, told: Result) -> Result:
    """The result with what became of copies; one that was removed is a change."""
    pruned: List[str] = told["pruned"]
    merged = {**result, **told, "changed": result["changed"] or bool(pruned)}
    if "diff" in result and pruned:
        shown = "".join(f"{path}: (a copy)\n" for path in pruned)
        merged["diff"] = {**result["diff"], "before": result["diff"]["before"] + shown}
    return merged


def _where(params: Params) -> str:
    return f"env_file ({params['path']})"


def prepare(params: Params, context: Context) -> Params:
    """Resolve the references on the controller, and refuse what is wrong before a host is asked.

    :raises BadInput: for wrong options, and values that the readers could not be given.
    :raises KeyturnError: as references and keyring give cause.
    """
    attributes_of(params)
    keep_of(params)
    found = given(params, context)
    if not found.names:
        raise BadInput("fields: nothing is asked for; give fields or generate")
    EnvCodec(params["dialect"]).check({**found.missing, **found.fields}, _where(params))
    contents = Sealed(seal(found))
    contents.guard = found.guard
    return {**params, "fields": {}, "contents": contents}


def _given(params: Params) -> Given:
    contents = params.get("contents")
    found = unseal(contents, "env_file")
    return replace(found, guard=contents.guard) if isinstance(contents, Sealed) else found


def run(params: Params, context: Context) -> Result:
    """Read, compare and replace the file, on the machine where it is.

    :raises KeyturnError: as the file gives cause; it is as it was then.
    """
    found, where = _given(params), _where(params)
    path = params["path"]
    place = place_of(path, EnvCodec(params["dialect"]), params, where, context)
    outcome = set_fields(place, where, found, params["create"], context)
    result = fields_result(where, found, outcome, context)
    del result["version"], result["version_before"]
    told = tidy_copies(place, outcome)
    # Not called 'path': an ordinary module would get the file's size and owner beside that from Ansible.
    return {"file": path, **with_copies(result, told)}


MODULE = ModuleCore(
    name="env_file",
    argument_spec={
        **KEYRING_OPTIONS,
        **FIELDS_OPTIONS,
        **FILE_OPTIONS,
        "path": {"type": "path", "required": True},
        "contents": {"type": "dict", "no_log": True},
    },
    run=run,
    host=True,
    prepare=prepare,
)
