# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module's core is run: inside Ansible's own process or as an ordinary module, with the same arguments and result."""

from __future__ import annotations

import os
import select
import traceback
from contextlib import closing
from dataclasses import dataclass, field
from typing import AbstractSet, Any, Callable, Dict, List, Mapping, Optional, Set

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request
from ansible_collections.keyturn.runbooks.plugins.module_utils._state import (
    document_state,
    state_diff,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

Params = Dict[str, Any]
Result = Dict[str, Any]

KEYRING_OPTIONS: Mapping[str, Any] = {
    "keyring": {"type": "str", "no_log": False},
    "credential": {"type": "str"},
    "ledger": {"type": "str"},
    "run": {"type": "dict"},
    "replay": {"type": "list", "elements": "dict", "default": []},
    "take_over": {"type": "bool", "default": False},
    "transition": {"type": "str"},
    "grace": {"type": "str", "default": "48h"},
}
"""The options of every module that reads a keyring; documented in the fragment ``keyturn.runbooks.keyring``."""


def _nothing(_params: Params) -> AbstractSet[str]:
    return frozenset()


@dataclass(frozen=True)
class ModuleCore:
    """A module without its surroundings.

    :param name: the module's name in this collection.
    :param run: does the job; raises :class:`KeyturnError`.
    :param constraints: ``mutually_exclusive``, ``required_if`` and so on.
    :param host: it works on a machine's files or processes: ``prepare`` runs on the controller, ``run`` on that machine.
    :param prepare: turns references into values, in the process that may resolve them.
    :param conclude: runs where ``prepare`` ran, after ``run`` succeeded.
    :param concludes_failures: ``conclude`` also runs after a failure on another machine, which may have done a part.
    :param steps: ``run`` does the keyring's transition itself.
    :param surroundings: lays the module's own options, such as those of a login, over the environment for all that it does.
    :param public: texts in secret options that may be shown, such as a path where a value may stand, too.
    """

    name: str
    argument_spec: Mapping[str, Any]
    run: Callable[[Params, Context], Result]
    constraints: Mapping[str, Any] = field(default_factory=dict)
    host: bool = False
    prepare: Optional[Callable[[Params, Context], Params]] = None
    conclude: Optional[Callable[[Params, Result, Context], Result]] = None
    concludes_failures: bool = False
    steps: bool = False
    surroundings: Optional[Callable[[Params, Context], Context]] = None
    public: Callable[[Params], AbstractSet[str]] = _nothing


def asked(core: ModuleCore, params: Params, **own: Any) -> Params:
    """The parameters for another module's core: its defaults, what both share, and what is its own."""
    defaults = {name: option.get("default") for name, option in core.argument_spec.items()}
    shared = {name: params[name] for name in KEYRING_OPTIONS}
    return {**defaults, **shared, "transition": None, **own}


def prepared(core: ModuleCore, params: Params, context: Context) -> Params:
    """The parameters with references resolved."""
    return core.prepare(params, context) if core.prepare else params


def concluded(
    core: ModuleCore, params: Params, result: Result, context: Context, rotation: str = ""
) -> Result:
    """The result after what has to follow a success: the module's own, then the keyring's step that the task names.

    :param rotation: what the module worked on, where it is known: the step is refused for another one.
    """
    done = core.conclude(params, result, context) if core.conclude else result
    if not _records(core, params):
        return done
    return _recorded(params, done, context, rotation)


def _records(core: ModuleCore, params: Params) -> bool:
    return bool(params.get("transition")) and not core.steps


def diffs_of(result: Mapping[str, Any]) -> List[Any]:
    """The diffs of a result, which may be one alone or a list."""
    found = result.get("diff") or []
    return list(found) if isinstance(found, list) else [found]


def _recorded(params: Params, result: Result, context: Context, rotation: str) -> Result:
    access = open_keyring(params, context)
    request = Request(
        transition=params["transition"],
        run=access.run,
        proved_for=rotation,
        evidence=tuple(result.get("evidence") or ()),
        grace=parse_duration(params["grace"], "grace"),
    )
    before = access.document
    stepped = access.step(request)
    result = {
        **result,
        "changed": bool(result.get("changed")) or stepped,
        "keyring": document_state(access.document, context.now()),
    }
    if context.check_mode:
        result["replay"] = access.replay
    if context.diff:
        result["diff"] = [
            *diffs_of(result),
            state_diff(before, access.document, f"keyring of {access.credential}"),
        ]
    return result


def execute(core: ModuleCore, params: Params, context: Context) -> Result:
    """Run the whole of a module in this process.

    :raises KeyturnError: as its parts do.
    """
    if core.surroundings:
        context = core.surroundings(params, context)
    ready = prepared(core, params, context)
    rotation = ""
    if _records(core, ready):
        document = open_keyring(ready, context).document
        working = (document.pending or document.current) if document else None
        rotation = working.rotation_id if working else ""
    return concluded(core, ready, core.run(ready, context), context, rotation)


# Ansible's own classes, which are not there on a managed host.
_OF_ANSIBLE = frozenset({"AnsibleError"})


def _of_ansible(error: BaseException, kinds: AbstractSet[str], host: str) -> Result:
    """What Ansible says of a connection or of becoming another user."""
    said = " ".join(str(getattr(error, "message", error)).split()).rstrip(".")
    if "AnsibleConnectionFailure" in kinds:
        whose = f"the connection to {host}" if host else "its connection"
        message = f"the host of this task cannot be reached: {said}. See to {whose}, then run the same playbook again"
        return {"failed": True, "changed": False, "msg": message, "kind": "Unreachable"}
    message = f"Ansible could not run this task: {said}. See to the connection, become and environment settings of its host"
    return {"failed": True, "changed": False, "msg": message, "kind": "Host"}


def failure(error: BaseException, host: str = "") -> Result:
    """A failed result; an unexpected error is told by its kind and place, because its text may quote a value.

    :param host: where the task was to run, if it is known.
    """
    if isinstance(error, KeyturnError):
        return {
            "failed": True,
            "changed": False,
            "msg": error.message,
            "kind": type(error).__name__,
            **error.details,
        }
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & _OF_ANSIBLE:
        return _of_ansible(error, kinds, host)
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " < ".join(
        f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}"
        for frame in reversed(frames)
    )
    message = (
        f"internal error {type(error).__name__} at {places}. This is a defect of keyturn.runbooks: report it with this line. "
        "Nothing is lost: the keyring says where the rotation stands, and running the playbook again goes on from there"
    )
    return {"failed": True, "changed": False, "msg": message, "kind": "Internal"}


class _Module(AnsibleModule):  # type: ignore[misc]  # Ansible has no types
    """Ansible's module, which does not write its arguments to the system's log.

    A value inside of a list would stand there in Python's notation, in which Ansible's mask does not find one with a backslash
    or a quote.
    """

    def _log_invocation(self) -> None:
        self.log("Invoked")


def _end_without_reader() -> None:
    """End when nobody reads the result: the run that this module is a part of was ended, and may be taken over.

    :raises SystemExit: which nothing answers as an error.
    """
    stdout = select.poll()
    stdout.register(1, 0)
    if any(event & (select.POLLERR | select.POLLHUP) for _descriptor, event in stdout.poll(0)):
        raise SystemExit(1)


def _names(core: ModuleCore, params: Params) -> Set[str]:
    """User names in secret options: Ansible would mask them as a part of any word, such as of the name of the next host."""
    found = set()
    for name, option in core.argument_spec.items():
        given = params.get(name)
        if option.get("no_log") and isinstance(given, dict):
            user = given.get("username")
            others = [value for key, value in given.items() if key != "username"]
            if isinstance(user, str) and user not in others:
                found.add(user)
    return found


def run_module(core: ModuleCore) -> None:
    """The ``main`` of an ordinary module."""
    module = _Module(
        argument_spec=dict(core.argument_spec), supports_check_mode=True, **core.constraints
    )
    context = Context(
        check_mode=module.check_mode,
        diff=module._diff,
        warn=module.warn,
        still_wanted=_end_without_reader,
    )
    try:
        params = dict(module.params)
        module.no_log_values -= _names(core, params) | core.public(params)
        with closing(context):
            result = core.run(params, context) if core.host else execute(core, params, context)
    except Exception as error:
        result = failure(error)
    if result.get("failed"):
        module.fail_json(**{key: value for key, value in result.items() if key != "failed"})
    module.exit_json(**result)
