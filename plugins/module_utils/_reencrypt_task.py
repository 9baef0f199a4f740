# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``reencrypt``: what is stored is brought under the newest key of a keyring.

On the controller the keys and logins are read (:func:`prepare`); where the places are reached they are used (:func:`run`).
"""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard, no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt import (
    Counts,
    Keys,
    Needed,
    Place,
    count,
    read_places,
    reencrypt,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

_QUIET = timedelta(seconds=30)


class Contents(Dict[str, Any]):
    """Keys and logins on their way to :func:`run`.

    :ivar guard: makes sure that the keyring is still the one that was read. Only in the same process: a plain copy, as it goes to
        another machine, cannot reach the keyring.
    """

    guard: Guard = no_guard


def _plain(keys: Keys, needed: Needed) -> Dict[str, Any]:
    newest, others = keys
    return {
        "newest": newest.reveal() if newest else None,
        "others": [key.reveal() for key in others],
        "needed": {
            name: {key: text.reveal() for key, text in found.items()}
            for name, found in needed.items()
        },
    }


def _mine(params: Params) -> List[Place]:
    """The places of the host that is meant.

    :raises BadInput: there is none, or one cannot be meant.
    """
    own = [place for place in read_places(params["places"], "places") if place.on == params["host"]]
    if not own:
        where = f"with host '{params['host']}'" if params["host"] else "without host"
        raise BadInput(
            f"places: there is none {where}, so nothing would be done; expected at least one. 'host' has to be that of the places"
        )
    return own


def _in_use(document: Document) -> None:
    """Refuse while a cut-over is under way: who has not heard of the new key could not open what it encrypts.

    :raises Refused: saying what to do.
    """
    current = document.current
    if current is not None and current.status != "observed":
        raise Refused(
            f"{document.credential}: the current value is not observed yet, so that some who read what is stored may not have its key: run "
            "the rotation playbook to its end first"
        )


def _unchanged(access: KeyringAccess, params: Params, context: Context) -> Guard:
    """Stop when the newest key may be another one by now. The keyring is not claimed: this may take hours, and nothing waits for it."""
    first, latest = _newest(access), access

    def guard() -> None:
        nonlocal latest
        context.still_wanted()
        if not latest.was_changed():
            return
        latest = open_keyring(params, context)
        if _newest(latest) != first:
            raise Conflict(
                f"{latest.credential}: another key came into use while this task was at work; nothing more was written. Run again"
            )

    return guard


def _newest(access: KeyringAccess) -> Tuple[str, str]:
    """Which value is in use, and how far."""
    current = access.document.current if access.document else None
    return (current.rotation_id, current.status) if current else ("", "")


def prepare(params: Params, context: Context) -> Params:
    """Read the keys and the logins on the controller, and refuse what is wrong before a place is asked.

    :raises BadInput, Refused: naming the option, and what to do.
    :raises KeyturnError: as references and keyring give cause.
    """
    places = _mine(params)
    access = open_keyring(params, context)
    document = access.need()
    access.refuse_others()
    _in_use(document)
    sealed = [_plain(place.keys(document), place.resolved(context)) for place in places]
    text = base64.b64encode(json.dumps(sealed).encode()).decode()
    contents = Contents(sealed=text)
    contents.guard = _unchanged(access, params, context)
    return {**params, "contents": contents}


def _unsealed(contents: Optional[Mapping[str, Any]]) -> List[Mapping[str, Any]]:
    sealed = (contents or {}).get("sealed")
    if not sealed:
        raise BadInput(
            "reencrypt: this module gets its keys from its action plugin; call it as keyturn.runbooks.reencrypt in a task"
        )
    found: List[Mapping[str, Any]] = json.loads(base64.b64decode(sealed))
    return found


def _telling(guard: Guard, place: Place, counts: Counts, context: Context) -> Guard:
    """The guard, and from time to time a line for whoever waits."""
    told = context.now()

    def tell() -> None:
        nonlocal told
        guard()
        if context.now() - told > _QUIET:
            told = context.now()
            context.progress(f"{place.where}: {counts.reencrypted} re-encrypted so far")

    return tell


def _do(
    place: Place, sealed: Mapping[str, Any], guard: Guard, counts: Counts, context: Context
) -> None:
    needed = {
        name: {key: Secret(text) for key, text in found.items()}
        for name, found in sealed["needed"].items()
    }
    newest = Secret(sealed["newest"]) if sealed["newest"] else None
    cipher = place.cipher((newest, tuple(map(Secret, sealed["others"]))))
    with place.opened(needed, context) as store:
        store.check_write()
        if context.check_mode:
            vars(counts).update(vars(count(store, cipher)))
        else:
            telling = _telling(guard, place, counts, context)
            reencrypt(store, cipher, telling, counts, place.definition.pause)


def run(params: Params, context: Context) -> Result:
    """Every place, also after one that failed.

    :raises KeyturnError: with all that went wrong; its details say what was done all the same.
    """
    contents = params.get("contents")
    guard = contents.guard if isinstance(contents, Contents) else no_guard
    found: List[Dict[str, Any]] = []
    faults: List[KeyturnError] = []
    closed: List[str] = []
    for place, sealed in zip(_mine(params), _unsealed(contents)):
        counts = Counts()
        try:
            _do(place, sealed, guard, counts, context)
        except KeyturnError as error:
            faults.append(error)
        else:
            faults += map(Refused, place.faults(counts))
            for note in place.notes(counts):
                context.warn(note)
            closed += place.closed(counts)
        found.append({"place": place.where, "type": place.type, **counts.result()})
    key = "to_do" if context.check_mode else "reencrypted"
    result: Result = {
        "changed": any(item[key] for item in found),
        "places": found,
        "closed": closed if context.check_mode else [],
    }
    if context.diff:
        result["diff"] = _diff(found, key)
    if faults:
        raise _all(faults, result)
    return result


def _all(faults: Sequence[KeyturnError], result: Result) -> KeyturnError:
    """One error of the kind of the first."""
    message = "; ".join(error.message for error in faults)
    return type(faults[0])(message, **{**faults[0].details, **result})


def _diff(found: Sequence[Mapping[str, Any]], key: str) -> Dict[str, str]:
    def lines(under_newest: Mapping[str, int], older: Mapping[str, int]) -> str:
        return "".join(
            f"{name}: {under_newest[name]} under the newest key, {older[name]} under older ones\n"
            for name in under_newest
        )

    done = {item["place"]: item["done"] for item in found}
    to_do = {item["place"]: item["to_do"] for item in found}
    changed = {item["place"]: item[key] for item in found}
    after = {name: done[name] + changed[name] for name in done}
    left = {name: to_do[name] - changed[name] for name in done}
    header = "what is stored"
    return {
        "before_header": header,
        "after_header": header,
        "before": lines(done, to_do),
        "after": lines(after, left),
    }


MODULE = ModuleCore(
    name="reencrypt",
    argument_spec={
        **KEYRING_OPTIONS,
        "places": {"type": "list", "elements": "dict", "required": True},
        "host": {"type": "str", "default": ""},
        "contents": {"type": "dict", "no_log": True},
    },
    run=run,
    host=True,
    prepare=prepare,
)
