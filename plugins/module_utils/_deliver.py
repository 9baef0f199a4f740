# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``deliver``: a credential is brought to its sinks and its consumers, as far as they are reached from here.

It is one task because of issuers that know one value at a time: between the moment when such an issuer takes the new value and the
moment when the last consumer was seen using it, new logins fail. The step in the keyring, the issuer, the sinks and the consumers
follow each other without Ansible's own time between them. Everybody else gains that time, too.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

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
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    Consumer,
    parse_consumers,
    told_elsewhere,
    turns,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import Issuer, open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
    asked,
    diffs_of,
    execute,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import Sink, parse_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._state import (
    document_state,
    state_diff,
)


class _Job:
    """One delivery; in check mode each part builds on what the parts before it predicted.

    :ivar stepped: the keyring was asked for a step of its own, or for one that an earlier run had done.
    :ivar unbrought: the sinks that may not hold yet what they should.
    """

    def __init__(self, params: Params, context: Context) -> None:
        self.params: Params = {**params, "replay": list(params["replay"] or [])}
        self.context = context
        self.changed = False
        self.stepped = False
        self.unbrought = [sink.name for sink in parse_sinks(params["sinks"])]
        self.diffs: List[Any] = []

    def do(self, core: ModuleCore, **own: Any) -> Result:
        """Run another module's core, and keep what it changed and predicted."""
        done = execute(core, asked(core, self.params, **own), self.context)
        self.changed = self.changed or bool(done.get("changed"))
        self.params["replay"] = done.get("replay") or self.params["replay"]
        self.diffs += diffs_of(done)
        return done

    def step(self, access: KeyringAccess, issuer: Issuer) -> None:
        """Write to the keyring which value is in force from now on, before the issuer hears of it."""
        document, name = access.need(), self.params["transition"]
        self.stepped = True
        if name == "cutover" and document.pending is None:
            return
        working = document.pending or document.current
        request = Request(
            transition=name,
            run=access.run,
            rotation_id=working.rotation_id if working else "",
            overlap=issuer.overlap,
            returns=issuer.returns,
        )
        self.changed = access.step(request) or self.changed
        self.params["replay"] = access.replay
        if self.context.diff:
            title = f"keyring of {access.credential}"
            self.diffs.append(state_diff(document, access.document, title))


def _tell(
    job: _Job, sinks: Sequence[Sink], consumers: Sequence[Consumer], about: Mapping[str, Any]
) -> Result:
    """Tell whoever lags, in order; those that are reached from elsewhere, and those that come after one of them, are left."""
    all_of_them = {name: about[name] for name in ("sinks", "consumers")}
    look = asked(_receipts.MODULE, job.params, **all_of_them)
    late = execute(_receipts.MODULE, look, job.context)
    left = told_elsewhere(consumers, sinks)
    told: List[Any] = []
    waiting: List[str] = []
    by_name = {consumer.name: consumer for consumer in consumers}
    names = [item["name"] for item in late["consumers"]]
    waiting += [name for name in names if name in left]
    for turn in turns([by_name[name] for name in names if name not in left]):
        first, *rest = [dict(consumer.definition) for consumer in turn]
        others = [{"definition": definition} for definition in rest]
        done = job.do(_consumer.MODULE, definition=first, together=others, **about)
        for one in (done, *(done.get("together") or ())):
            told.append({name: one[name] for name in ("consumer", "action", "seen")})
            if one["action"] != "none" and not job.context.check_mode:
                job.context.progress(f"consumer {one['consumer']}: {one['action']}, seen using it")
    return {"consumers": told, "waiting": waiting}


def _to_be_used(access: KeyringAccess, params: Params, context: Context) -> bool:
    """Whether the issuer has something left to do for a value that has come into use, and is not observed yet."""
    current = access.document.current if access.document else None
    if current is None or current.status not in ("cutover", "promoted"):
        return False
    return open_issuer(params["issuer"], context, "keyturn_issuer").uses


def _bring(job: _Job, uses: bool) -> Result:
    """Issuer, sinks and consumers, each through its own module's core.

    :param uses: the issuer has something left to do for a value that has come into use.
    """
    params = job.params
    about = {name: params[name] for name in ("issuer", "sinks", "consumers")}
    facts: Dict[str, Any] = {}
    if job.stepped:
        issued = job.do(_issue.MODULE, issuer=params["issuer"], operation="apply", stage="current")
        facts = issued["facts"]
    if uses:
        job.do(_issue.MODULE, issuer=params["issuer"], operation="use", stage="current")
    sinks = parse_sinks(params["sinks"])
    written: List[Any] = []
    elsewhere = [sink.name for sink in sinks if sink.host]
    if len(elsewhere) < len(sinks):
        try:
            written = job.do(
                _publish.MODULE, sinks=params["sinks"], host="", consumers=params["consumers"]
            )["sinks"]
        except KeyturnError as error:
            left = error.details.get("unwritten")
            job.unbrought = job.unbrought if left is None else [*left, *elsewhere]
            raise
    job.unbrought = elsewhere
    told = _tell(job, sinks, parse_consumers(params["consumers"]), about)
    hosts = sorted({sink.host for sink in sinks if sink.host})
    return {"facts": facts, "sinks": written, "sink_hosts": hosts, **told}


def _issuer_of_step(params: Params, credential: str, context: Context) -> Optional[Issuer]:
    """The issuer, where a step is asked for; one that accepts two values has nothing to be cut over."""
    transition: Optional[str] = params["transition"]
    if transition is None:
        return None
    issuer = open_issuer(params["issuer"], context, "keyturn_issuer")
    if issuer.overlap and transition == "cutover":
        raise Refused(
            f"{credential}: its issuer accepts the old and the new value together, so nothing is cut over; use the steps "
            "applied, proved and promote"
        )
    return issuer


def run(params: Params, context: Context) -> Result:
    """Do the step, if one is asked for, and all that has to follow it at once.

    :raises Refused: for the step ``cutover`` at an issuer that accepts two values.
    :raises KeyturnError: as its parts do; once the step was written, the details hold the keyring's state.
    """
    access = open_keyring(params, context)
    issuer = _issuer_of_step(params, access.credential, context)
    job = _Job(params, context)
    if issuer:
        job.step(access, issuer)
    try:
        done = _bring(job, _to_be_used(access, params, context))
    except KeyturnError as error:
        changed = job.changed or bool(error.details.get("changed"))
        error.details["changed"] = changed and not context.check_mode
        error.details["unbrought"] = job.unbrought
        if context.diff:
            error.details["diff"] = [*job.diffs, *diffs_of(error.details)]
        if job.stepped:
            error.details["keyring"] = document_state(access.document, context.now())
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
    "transition": {"type": "str", "choices": ["cutover", "rollback"]},
    "issuer": {"type": "dict", "required": True},
    "sinks": {"type": "list", "elements": "dict", "default": []},
    "consumers": {"type": "list", "elements": "dict", "default": []},
}
MODULE = ModuleCore("deliver", SPEC, run, steps=True)
