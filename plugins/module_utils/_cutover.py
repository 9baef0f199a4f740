# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``cutover``: an issuer that knows one value at a time takes another, and whoever shows it follows at once.

Between the moment when the issuer takes the new value and the moment when the last consumer was seen using it, new logins fail.
So the step, the issuer, the sinks and the consumers that are reached from here are one task, without Ansible's own time between them.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence, Set

from ansible_collections.keyturn.runbooks.plugins.module_utils import (
    _consumer,
    _issue,
    _publish,
    _receipts,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import parse_consumer
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
    diffs_of,
    execute,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._state import (
    document_state,
    state_diff,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._transitions import Request


def _asked(params: Params, core: ModuleCore, context: Context, **own: Any) -> Params:
    """The parameters of another module's core: its defaults, what both share, and what is its own."""
    defaults = {name: option.get("default") for name, option in core.argument_spec.items()}
    shared = {name: params[name] for name in KEYRING_OPTIONS}
    return {**defaults, **shared, "transition": None, **own}


class _Job:
    """One cut-over; in check mode each part builds on what the parts before it predicted."""

    def __init__(self, params: Params, context: Context) -> None:
        self.params: Params = {**params, "replay": list(params["replay"] or [])}
        self.context = context
        self.changed = False
        self.diffs: List[Any] = []

    def do(self, core: ModuleCore, **own: Any) -> Result:
        """Run another module's core, and keep what it changed and predicted."""
        done = execute(core, _asked(self.params, core, self.context, **own), self.context)
        self.changed = self.changed or bool(done.get("changed"))
        self.params["replay"] = done.get("replay") or self.params["replay"]
        self.diffs += diffs_of(done)
        return done

    def step(self, access: KeyringAccess) -> None:
        """Write to the keyring which value is in force from now on, before the issuer hears of it."""
        document, name = access.need(), self.params["transition"]
        if name == "cutover" and document.pending is None:
            return
        working = document.pending or document.current
        request = Request(
            transition=name,
            run=access.run,
            rotation_id=working.rotation_id if working else "",
            overlap=False,
        )
        self.changed = access.step(request) or self.changed
        self.params["replay"] = access.replay
        if self.context.diff:
            title = f"keyring of {access.credential}"
            self.diffs.append(state_diff(document, access.document, title))


def _here(late: Sequence[Mapping[str, Any]]) -> List[Dict[str, Any]]:
    """The consumers that are told from here: those on other hosts, and those that come after one of them, are told there."""
    waiting: Set[str] = set()
    found = []
    for item in late:
        consumer = parse_consumer(item["definition"], "keyturn_consumers")
        if consumer.host or waiting & set(consumer.after):
            waiting.add(consumer.name)
        else:
            found.append(dict(item["definition"]))
    return found


def _bring(job: _Job) -> Result:
    """Issuer, sinks and consumers, each through its own module's core."""
    params = job.params
    about = {name: params[name] for name in ("issuer", "sinks", "consumers")}
    issued = job.do(_issue.MODULE, issuer=params["issuer"], operation="apply", stage="current")
    sinks: List[Any] = []
    if any(not sink.host for sink in parse_sinks(params["sinks"])):
        sinks = job.do(_publish.MODULE, sinks=params["sinks"], host="")["sinks"]
    late = execute(
        _receipts.MODULE, _asked(params, _receipts.MODULE, job.context, **about), job.context
    )
    told = []
    for definition in _here(late["consumers"]):
        done = job.do(_consumer.MODULE, definition=definition, **about)
        told.append({name: done[name] for name in ("consumer", "action", "seen")})
    return {"facts": issued["facts"], "sinks": sinks, "consumers": told}


def run(params: Params, context: Context) -> Result:
    """Do the step and all that has to follow it at once.

    :raises Refused: for an issuer that accepts two values: nothing has to be cut over there.
    :raises KeyturnError: as its parts do; once the step was written, the details hold the keyring's state.
    """
    access = open_keyring(params, context)
    if open_issuer(params["issuer"], context, "keyturn_issuer").overlap:
        raise Refused(
            f"{access.credential}: its issuer accepts the old and the new value together, so nothing is cut over; use the steps "
            "applied, proved and promote"
        )
    job = _Job(params, context)
    job.step(access)
    try:
        done = _bring(job)
    except KeyturnError as error:
        error.details.update(
            changed=job.changed and not context.check_mode,
            keyring=document_state(access.document, context.now()),
        )
        raise
    after = open_keyring({**params, "replay": job.params["replay"]}, context).document
    result = {"changed": job.changed, "keyring": document_state(after, context.now()), **done}
    if context.check_mode:
        result["replay"] = job.params["replay"]
    if context.diff:
        result["diff"] = job.diffs
    return result


SPEC = {
    **KEYRING_OPTIONS,
    "keyring": {"type": "str", "required": True, "no_log": False},
    "transition": {"type": "str", "default": "cutover", "choices": ["cutover", "rollback"]},
    "issuer": {"type": "dict", "required": True},
    "sinks": {"type": "list", "elements": "dict", "default": []},
    "consumers": {"type": "list", "elements": "dict", "default": []},
}
MODULE = ModuleCore("cutover", SPEC, run, steps=True)
