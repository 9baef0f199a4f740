# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``notify_affected``: list those whom a new value affects before it comes, and tell each once when it is in use."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils import _gate_checks
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected import (
    by_reason,
    counted,
    read_affected,
    refuse_too_many,
    some,
    users_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_job import (
    Job,
    diff_of,
    problems_of,
    result_of,
    with_diff,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_list import (
    REFUSED,
    UNCERTAIN,
    Kept,
    Place,
    beside,
    ending,
    is_in_use,
    is_of_this_rotation,
    is_same,
    is_switched,
    taken_anew,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_source import (
    check_source,
    read_source,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_tell import (
    Account,
    faults_of,
    note,
    tell_all,
    would_tell,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_ways import (
    check_way,
    open_way,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._due import being_rolled_back
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._gate_port import Case, Facts
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import parse_policy

LISTED, TOLD = "listed", "told"


# Before the switch


def _is_due(job: Job, document: Optional[Document]) -> bool:
    """Whether a rotation goes on or begins, by its policy. Everything else that may stop it is asked by the rotation itself."""
    params = job.params
    if being_rolled_back(document):
        return False
    facts = Facts(force=params["force"], reason=job.access.run.why)
    case = Case(document, parse_policy(params["policy"]), job.context.now(), facts)
    return _gate_checks.policy(case).passed


def _list(job: Job, document: Optional[Document]) -> Kept:
    """The list for the rotation that goes on or begins.

    :raises Refused: there are more users than anybody expects.
    """
    affected = job.affected

    def too_many(count: int) -> None:
        refuse_too_many(count, affected)

    rows = read_source(affected.of, job.context, f"{affected.option}.of", too_many)
    too_many(len(rows))
    users = users_of(rows, affected)
    return taken_anew(job.kept, document, users, job.credential, job.context.now())


def _listed(job: Job) -> Result:
    if not _is_due(job, job.access.document):
        return result_of(job, job.kept, "no rotation is due, so nobody is affected", False)
    if is_switched(job.access.document):
        return _too_late(job)
    found = _list(job, job.access.document)
    problems = problems_of(
        found, job, open_way(job.affected.by, job.context, f"{job.affected.option}.by")
    )
    changed = not is_same(job.kept, found)
    if changed and job.context.check_mode:
        job.place.check_write()
    elif changed:
        job.place.write(found)
    count = counted(len(found.users))
    said = f"{job.affected.breaks} {count} {'is' if len(found.users) == 1 else 'are'} affected, and will be told"
    if problems:
        told = "; ".join(by_reason(problems))
        job.context.warn(
            f"{job.credential}: {len(problems)} of {count} cannot be told: {told}. Correct their rows before the "
            "rotation, or tell them by hand"
        )
    job.context.progress(said)
    result = result_of(job, found, said, changed)
    if job.context.diff:
        result["diff"] = diff_of(list(job.kept.users) if job.kept else [], list(found.users))
    return result


def _too_late(job: Job) -> Result:
    """What there is after the switch has begun: nothing may keep that rotation from its end, and rows may be others by now."""
    if is_of_this_rotation(job.kept, job.access.document):
        return result_of(job, job.kept, "those affected were listed before the switch", False)
    job.context.warn(
        f"{job.credential}: the rotation under way was begun without a list of those whom it affects, and the old value may be worth "
        f"nothing by now: nobody is told by this run. {job.affected.breaks} See to it by hand"
    )
    return result_of(job, None, "it is too late to list those affected", False)


# After it


def _predicted(job: Job) -> Tuple[Optional[Kept], Optional[Document]]:
    """In check mode: the list as it would be kept by the steps that were predicted, and the keyring after them."""
    document = job.access.document
    stored = open_keyring({**job.params, "replay": []}, job.context).document
    current = document.current if document else None
    comes = current is not None and current.rotation_id != ending(stored)
    read = job.access.replay and comes and not is_switched(stored)
    return (_list(job, stored) if read else job.kept), document


def _untried(kept: Kept, done: Account) -> str:
    """Who is left from earlier runs, which told why: else a run that tries them no more would look like one that has nobody left."""
    new = {*done.refused, *done.uncertain}
    ids = [name for name in kept.marked(REFUSED, UNCERTAIN) if name not in new]
    if not ids:
        return ""
    them = "is left, who is" if len(ids) == 1 else "are left, who are"
    return f"; {counted(len(ids))} {them} not tried by itself (ids {some(ids)})"


def _told(job: Job) -> Result:
    checking = job.context.check_mode
    kept, document = _predicted(job) if checking else (job.kept, job.access.document)
    if kept is None or document is None:
        return result_of(job, kept, "nobody was listed as affected, so nobody is told", False)
    if not is_in_use(kept, document):
        return result_of(
            job, kept, "no rotation is at its end that somebody would be told of", False
        )
    if checking:
        left = would_tell(job, kept)
        others = len(kept.users) - len(left)
        said = f"{counted(len(left))} would be told{f'; {others} would not' if others else ''}"
        return with_diff(job, left, result_of(job, kept, said, bool(left)))
    after, done = tell_all(job, kept, document)
    said = f"{counted(done.sent)} told" if done.sent else "nobody was told"
    said += _untried(after, done)
    gone = [name for name in kept.users if name not in after.users]
    result = with_diff(job, gone, result_of(job, after, said, not is_same(kept, after)))
    faults = faults_of(job, after, done)
    note(job, after, done, bool(faults))
    if faults:
        details = {name: result[name] for name in result if name != "msg"}
        raise Refused(f"{job.credential}: {said}. {faults}", **details)
    if done.sent:
        job.context.progress(said)
    return result


def run(params: Params, context: Context) -> Result:
    """List those who are affected, or tell them.

    :raises BadInput, Refused: naming the option, and what to do.
    :raises KeyturnError: as keyring, list, source and references give cause.
    """
    affected = read_affected(params["affected"])
    check_source(affected.of, f"{affected.option}.of")
    check_way(affected.by, f"{affected.option}.by")
    access = open_keyring(params, context)
    place = Place(affected.keep or beside(str(params["keyring"])), context)
    job = Job(params, context, affected, access, place, place.read(params["credential"] or ""))
    return _listed(job) if params["state"] == LISTED else _told(job)


SPEC: Dict[str, Any] = {
    **KEYRING_OPTIONS,
    "keyring": {"type": "str", "required": True, "no_log": False},
    "affected": {"type": "dict", "required": True},
    "state": {"type": "str", "default": TOLD, "choices": [LISTED, TOLD]},
    "policy": {"type": "dict", "default": {}},
    "force": {"type": "bool", "default": False},
    "again": {"type": "bool", "default": False},
}
MODULE = ModuleCore("notify_affected", SPEC, run)
