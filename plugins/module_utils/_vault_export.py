# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``vault_export``: values of a store as the environment of a command, or as a private file of variables.

On the controller the references are resolved (:func:`prepare`); where the command or the file is, they are used (:func:`run`).
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_file import (
    FILE_OPTIONS,
    place_of,
    tidy_copies,
    with_copies,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._environ import program_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
    ProbeFailed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._export_run import (
    Command,
    execute,
    find,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._program import (
    read_argv,
    read_codes,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve_mapping
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env import EnvCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_dialects import DIALECTS
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_text import KEY, edit
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import TextCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._task import (
    Given,
    fields_result,
    given,
    seal,
    set_fields,
    unseal,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

WHOLE = ""
PRIVATE = "0600"
_FIELD = re.compile(r"\Afields\.")
_STARTING = re.compile(
    r"(?:LD_|DYLD_|BASH_FUNC_|PYTHON|PERL5|RUBY|GIT_)|(?:PATH|IFS|ENV|BASH_ENV|SHELLOPTS|NODE_OPTIONS)\Z"
)
"""Names of variables that decide which code a program runs: whoever may write to the store must not choose that.

There are more of them than any list can have (``TAR_OPTIONS``, ``MAKEFLAGS``, ``JAVA_TOOL_OPTIONS``, ...). So the keys that a
command gets are named in the task, and the list is for files and for those that are named without a thought.
"""


def _named(key: str, params: Params) -> bool:
    """Whether the task says what this key of a store becomes, or what all of them begin with."""
    return key in (params["only"] or ()) or key in (params["names"] or {}) or bool(params["prefix"])


def _renamed(key: str, params: Params, source: str) -> str:
    if params["argv"] and not _named(key, params):
        raise BadInput(
            f"sources: {source}: the key '{key}' is not named in this task; many a variable decides what code a program runs, and "
            "whoever may write to the store must not choose that. List the keys that the command needs in 'only', or give 'prefix'"
        )
    name = str((params["names"] or {}).get(key) or f"{params['prefix']}{key}")
    if not KEY.match(name):
        raise BadInput(
            f"sources: {source}: the key '{key}' makes no name of a variable; give it one with 'names', or choose keys with 'only'"
        )
    if _STARTING.match(name):
        raise BadInput(
            f"sources: {source}: the key '{key}' would set {name}, which decides what code a program runs; if that is meant, say "
            "it in 'variables'"
        )
    return name


def _of_source(source: str, params: Params, context: Context) -> Dict[str, Tuple[str, Secret]]:
    """What one source gives, by its keys: the variable's name and the value."""
    found = resolve_mapping(source, context, "sources")
    only = params["only"]
    wanted = [key for key in found if only is None or key in only]
    return {key: (_renamed(key, params, source), found[key]) for key in wanted}


def _collected(params: Params, context: Context) -> Given:
    """All variables, in the order in which they are given.

    :raises BadInput: when there are none, a name is given twice, or is no name.
    :raises Absent: when no source has a key that is asked for.
    """
    own = _own(params, context)
    variables: Dict[str, Optional[Secret]] = {}
    origin: Dict[str, str] = {}
    seen: List[str] = []
    for source in params["sources"]:
        for key, (name, value) in _of_source(source, params, context).items():
            _once(name, origin, source)
            variables[name] = value
            seen.append(key)
    missing = [key for key in params["only"] or () if key not in seen]
    if missing:
        raise Absent(f"only: no source has the key '{missing[0]}'; see which keys there are")
    for name, item in own.fields.items():
        if not KEY.match(name) or item is None:
            raise BadInput(f"variables.{name}: expected a name of a variable, and a value for it")
        _once(name, origin, "variables")
        variables[name] = item
    if not variables:
        raise BadInput("sources, variables: nothing to export; name a reference in one of them")
    return replace(own, fields=variables)


def _own(params: Params, context: Context) -> Given:
    """Those of ``variables``, which messages name by that option."""
    try:
        return given({**params, "fields": params["variables"], "generate": {}}, context)
    except KeyturnError as error:
        error.message = _FIELD.sub("variables.", error.message)
        raise


def _once(name: str, origin: Dict[str, str], source: str) -> None:
    if name in origin:
        raise BadInput(
            f"{source}: the variable {name} comes from {origin[name]} too; rename one with 'names', or choose keys with 'only'"
        )
    origin[name] = source


def _text(found: Given, params: Params) -> str:
    texts = {name: value.reveal() for name, value in found.fields.items() if value is not None}
    return edit("", texts, _where(params), DIALECTS.get(params["dialect"]))


def _where(params: Params) -> str:
    return f"vault_export ({params['dest'] or params['argv'][0]})"


def prepare(params: Params, context: Context) -> Params:
    """Resolve the references on the controller.

    :raises BadInput: for wrong options, names, and values that the file or an environment cannot hold.
    :raises KeyturnError: as the references give cause.
    """
    _refuse_idle(params)
    if params["argv"]:
        read_argv(params["argv"], "argv")
        read_codes(params["rc"], "rc")
        parse_duration(params["timeout"], "timeout")
    found = _collected(params, context)
    if params["dest"]:
        EnvCodec(params["dialect"]).check(found.fields, _where(params))
    else:
        _check_environment(found.fields)
    return {**params, "variables": {}, "contents": seal(found)}


def _refuse_idle(params: Params) -> None:
    """:raises BadInput: for an option that is for the other of the two, the command and the file."""
    one, other, idle = (
        ("dest", "argv", _OF_COMMANDS) if params["dest"] else ("argv", "dest", _OF_FILES)
    )
    for name, default in idle.items():
        if params.get(name, default) != default:
            raise BadInput(
                f"{name}: it has no meaning with '{one}', and is for '{other}' alone; leave it out"
            )


def _check_environment(values: Mapping[str, Optional[Secret]]) -> None:
    for name, value in values.items():
        if value is not None and "\0" in value.reveal():
            raise BadInput(
                f"{name}: the value holds a NUL character, which no environment can hold"
            )


def _command(params: Params, found: Given, context: Context) -> Command:
    values = {name: value for name, value in found.fields.items() if value is not None}
    return Command(
        read_argv(params["argv"], "argv"),
        program_environ(context.environ),
        values,
        params["chdir"],
        parse_duration(params["timeout"], "timeout").total_seconds(),
        params["return_output"],
    )


def _needless(params: Params) -> str:
    """Why the command is not run at all; empty when it is."""
    creates, removes = params["creates"], params["removes"]
    if creates and os.path.lexists(creates):
        return f"{creates} is there already"
    if removes and not os.path.lexists(removes):
        return f"{removes} is not there"
    return ""


def _run_command(params: Params, found: Given, context: Context) -> Result:
    reason = _needless(params)
    # Ansible takes any 'rc' but 0 for a failure, also none, unless the result says that it is no failure.
    result: Result = {"changed": not reason, "names": list(found.fields)}
    if reason:
        return {**result, "msg": f"not run: {reason}"}
    command = _command(params, found, context)
    if context.check_mode:
        find(command)
        return result
    ended = execute(command)
    told = {"stdout": ended.stdout, "stderr": ended.stderr} if params["return_output"] else {}
    if ended.rc not in read_codes(params["rc"], "rc"):
        hint = "" if told else "; with 'return_output' its output is told, without the values"
        raise ProbeFailed(
            f"{_where(params)}: '{command.argv[0]}' ended with exit code {ended.rc}{hint}",
            rc=ended.rc,
            **told,
        )
    return {**result, "rc": ended.rc, "failed": False, **told}


def _write_file(params: Params, found: Given, context: Context) -> Result:
    where, path = _where(params), params["dest"]
    options = {**params, "mode": params["mode"] or PRIVATE}
    place = place_of(path, TextCodec(), options, where, context)
    whole = replace(found, fields={WHOLE: Secret(_text(found, params))})
    outcome = set_fields(place, where, whole, True, context)
    result = fields_result(where, whole, outcome, context)
    told = tidy_copies(place, outcome)
    done = with_copies(result, told)
    names = {"names": list(found.fields), "file": path}
    return {
        **names,
        **{key: value for key, value in done.items() if not key.startswith("version")},
    }


def run(params: Params, context: Context) -> Result:
    """Run the command, or write the file, where they are.

    :raises KeyturnError: as the command or the file gives cause.
    """
    found = unseal(params.get("contents"), "vault_export")
    return (_write_file if params["dest"] else _run_command)(params, found, context)


_COMMAND_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "chdir": {"type": "path"},
        "creates": {"type": "path"},
        "removes": {"type": "path"},
        "rc": {"type": "list", "elements": "int", "default": [0]},
        "timeout": {"type": "str", "default": "5m"},
        "return_output": {"type": "bool", "default": False},
    }
)


def _defaults(options: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType({name: option.get("default") for name, option in options.items()})


_OF_COMMANDS, _OF_FILES = _defaults(_COMMAND_OPTIONS), _defaults(FILE_OPTIONS)
MODULE = ModuleCore(
    name="vault_export",
    argument_spec={
        **KEYRING_OPTIONS,
        **FILE_OPTIONS,
        **_COMMAND_OPTIONS,
        "sources": {"type": "list", "elements": "str", "default": []},
        "only": {"type": "list", "elements": "str"},
        "names": {"type": "dict", "default": {}},
        "prefix": {"type": "str", "default": ""},
        "variables": {"type": "dict", "no_log": True, "default": {}},
        "argv": {"type": "list", "elements": "str"},
        "dest": {"type": "path"},
        "contents": {"type": "dict", "no_log": True},
    },
    constraints={
        "mutually_exclusive": [["argv", "dest"]],
        "required_one_of": [["argv", "dest"]],
    },
    run=run,
    host=True,
    prepare=prepare,
)
