# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``systemd_reload``: units of a machine are told to read what they read, and seen to have done so.

What is done with one unit is :class:`_consumers._systemd.SystemdUnit`, as for a consumer. All units are looked at before the first one
is told, and after one that did not come up the others are left as they are: what broke the first would break them too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._define import unit_name
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._lock import (
    hold_service,
    noted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import Task
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._systemd import (
    Plan,
    SystemdUnit,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import file_error
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_look import read_wanted
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._redact import (
    REDACT_OPTIONS,
    prepare_redaction,
    unseal_values,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

NAME = "systemd_reload"
_IDLE = "or say 'when_inactive: skip' (it reads its files when it starts) or 'when_inactive: start'"
_ROW = (
    "active_state",
    "reload_result",
    "exec_reload_status",
    "pid",
    "seconds",
    "log",
)


@dataclass
class _Unit:
    """One unit of the task, and what became of it."""

    adapter: SystemdUnit
    task: Task
    plan: Plan = field(default_factory=lambda: Plan("none", ""))
    result: str = "not_told"

    def row(self) -> Dict[str, Any]:
        """What the result says of it."""
        told = {name: self.task.told.get(name) for name in _ROW}
        first = {"unit": self.adapter.unit, "action": self.plan.action, "why": self.plan.why}
        return {**first, "result": self.result, **told}


def _names(params: Params) -> List[str]:
    names = [unit_name(str(name), f"{NAME}: units") for name in params["units"] if name]
    if not names:
        raise BadInput(f"{NAME}: units: give the name of one unit or more, such as relay.service")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise BadInput(f"{NAME}: units: {twice} is there twice")
    return names


def _check(params: Params) -> None:
    """Refuse what is wrong before anything is looked at.

    :raises BadInput: naming the option.
    """
    _names(params)
    for option in ("settle", "timeout"):
        parse_duration(params[option], f"{NAME}: {option}")
    if params["log"] is not None:
        read_wanted(params["log"], f"{NAME}: log.")
    if params["unless_fresh"] and not params["files"]:
        raise BadInput(f"{NAME}: unless_fresh: needs 'files', whose age is what counts")


def prepare(params: Params, context: Context) -> Params:
    """Resolve the references on the controller, and refuse what is wrong before a host is asked.

    :raises KeyturnError: as the options, the references and the keyring give cause.
    """
    _check(params)
    return prepare_redaction(params, context)


def _opened(params: Params, context: Context) -> List[_Unit]:
    definition = {
        "action": params["action"],
        "inactive": params["when_inactive"],
        "daemon_reload": params["daemon_reload"],
        "settle": params["settle"],
        "timeout": params["timeout"],
        "log": params["log"],
    }
    hidden = unseal_values(params.get("contents"))
    found = []
    for name in _names(params):
        task = Task(
            name,
            {**definition, "unit": name},
            context,
            files=tuple(params["files"]),
            title=NAME,
            idle_hint=_IDLE,
            hidden=hidden,
        )
        found.append(_Unit(SystemdUnit(task), task))
    return found


def _read_files_anew(units: Sequence[_Unit], params: Params, context: Context) -> bool:
    """Have systemd read changed files of units, where that is asked for; whether there was need."""
    if params["daemon_reload"] != "do":
        return False
    changed = [
        unit.adapter.unit for unit in units if unit.adapter.state().get("NeedDaemonReload") == "yes"
    ]
    if not changed:
        return False
    if context.check_mode:
        context.warn(
            f"{NAME}: the files of {', '.join(changed)} changed since systemd read them; a real run has them read first, so that what is "
            "told here of these units follows from the old ones"
        )
    else:
        units[0].adapter.daemon_reload()
    return True


def _refusal(unit: _Unit) -> Optional[KeyturnError]:
    """Plan one unit; why it cannot or must not be told."""
    try:
        unit.plan = unit.adapter.plan()
    except KeyturnError as error:
        unit.plan, unit.result = Plan("none", error.message), "refused"
        return error
    return None


def _plan(units: Sequence[_Unit], changed: bool) -> None:
    """Find out what to do with each; no unit is touched.

    :param changed: whether something else was done before.
    :raises KeyturnError: as the first that cannot or must not be told; it names all of them.
    """
    errors = [error for error in map(_refusal, units) if error]
    if errors:
        others = "".join(f"; {error.message}" for error in errors[1:])
        kind = type(errors[0])
        details = {"changed": changed, "units": [unit.row() for unit in units]}
        raise kind(f"{errors[0].message}{others}", **details)


def _newest(paths: Sequence[str]) -> float:
    """When the youngest of the files was written, in seconds since the epoch.

    :raises Absent, Denied: naming one that cannot be looked at.
    """
    try:
        return max(os.stat(path).st_mtime for path in paths)
    except FileNotFoundError as error:
        raise Absent(
            f"{NAME}: files: {error.filename} is not there on this host; correct its name, or write it first"
        ) from None
    except OSError as error:
        raise file_error(error, f"{NAME}: files", str(error.filename), "look at") from None


def _is_fresh(unit: _Unit, params: Params, done: Dict[str, float]) -> bool:
    """Whether it is to be left alone because it has read its files since they were written."""
    wanted = params["unless_fresh"] and unit.plan.action in ("reload", "restart")
    return bool(wanted and unit.adapter.fresh(_newest(unit.task.files), done))


def _predict(unit: _Unit, params: Params) -> None:
    if unit.plan.action == "none":
        unit.result = "skipped"
    elif _is_fresh(unit, params, noted(unit.adapter.service)):
        unit.plan, unit.result = (
            Plan("none", "it has read its files since they were written"),
            "fresh",
        )
    else:
        unit.result = "predicted"


def _tell(unit: _Unit, params: Params) -> None:
    """Tell one unit, and see that it came up with it."""
    if unit.plan.action == "none":
        unit.result = "skipped"
        return
    with hold_service(unit.adapter.service, 2 * unit.task.timeout) as service:
        if _is_fresh(unit, params, service.done):
            unit.plan = Plan("none", "it has read its files since they were written")
            unit.result = "fresh"
            return
        begun = unit.task.machine.clock()
        unit.result = "failed"
        action = unit.adapter.pick_up()
        if action != unit.plan.action:
            unit.plan = Plan(action, "it was started or stopped meanwhile")
        unit.result = "done" if action != "none" else "skipped"
        if action != "none":
            service.note(action, begun)


def _tell_all(units: Sequence[_Unit], params: Params, changed: bool) -> None:
    try:
        for unit in units:
            _tell(unit, params)
    except KeyturnError as error:
        left = [other.adapter.unit for other in units if other.result == "not_told"]
        more = f". Not told after that: {', '.join(left)}" if left else ""
        touched = changed or any(one.result in ("done", "failed") for one in units)
        details = {"changed": touched, "units": [one.row() for one in units]}
        raise type(error)(f"{error.message}{more}", **details) from None


def run(params: Params, context: Context) -> Result:
    """Tell the units, on their machine; in check mode only find out what would be done.

    :raises KeyturnError: one could not be told, or did not come up; ``units`` says what became of each.
    """
    _check(params)
    units = _opened(params, context)
    changed = _read_files_anew(units, params, context)
    _plan(units, changed and not context.check_mode)
    if context.check_mode:
        for unit in units:
            _predict(unit, params)
    else:
        _tell_all(units, params, changed)
    told = [unit for unit in units if unit.plan.action != "none"]
    return {
        "changed": bool(changed or told),
        "daemon_reloaded": changed,
        "units": [unit.row() for unit in units],
    }


_PATTERNS = {"type": "list", "elements": "str"}
_LOG: Dict[str, Optional[Any]] = {
    "type": "dict",
    "options": {"forbid": _PATTERNS, "require": _PATTERNS, "allow": _PATTERNS},
}
MODULE = ModuleCore(
    name=NAME,
    argument_spec={
        **KEYRING_OPTIONS,
        **REDACT_OPTIONS,
        "units": {"type": "list", "elements": "str", "required": True},
        "action": {"type": "str", "choices": ["auto", "reload", "restart"], "default": "auto"},
        "when_inactive": {
            "type": "str",
            "choices": ["refuse", "skip", "start"],
            "default": "refuse",
        },
        "daemon_reload": {"type": "str", "choices": ["refuse", "warn", "do"], "default": "warn"},
        "files": {"type": "list", "elements": "path", "default": []},
        "unless_fresh": {"type": "bool", "default": False},
        "settle": {"type": "str", "default": "1s"},
        "timeout": {"type": "str", "default": "60s"},
        "log": _LOG,
    },
    run=run,
    host=True,
    prepare=prepare,
)
