# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each of those affected is told once: written down before and after each message, so that what a killed run leaves is known."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Callable, Dict, List, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._affected import (
    LEAVE,
    by_reason,
    counted,
    message_for,
    some,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_job import (
    Job,
    problems_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_list import (
    FAILED,
    REFUSED,
    SENDING,
    UNCERTAIN,
    Kept,
    digest_of,
    is_same,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_ways import (
    Way,
    open_way,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._channels import Failed
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

_AWAY = 10
"""After so many failures in a row of the kind that passes, it is the server that is away, and not the users."""
_QUIET = timedelta(seconds=30)


class _Pace:
    """At most so many messages in a second."""

    def __init__(self, per_second: float, wait: Callable[[float], None]) -> None:
        self._between, self._wait = 1 / per_second, wait
        self._next = 0.0

    def keep(self) -> None:
        """Wait until the next one may go."""
        left = self._next - time.monotonic()
        if left > 0:
            self._wait(left)
        self._next = time.monotonic() + self._between


@dataclass
class Account:
    """What became of it."""

    sent: int = 0
    failed: Dict[str, str] = field(default_factory=dict)
    refused: Dict[str, str] = field(default_factory=dict)
    uncertain: Dict[str, str] = field(default_factory=dict)
    in_a_row: int = 0
    away: bool = False


def _payload(job: Job, kept: Kept, name: str, document: Document) -> Dict[str, str]:
    message = message_for(kept.users[name].row, job.affected)
    return {
        "id": f"{kept.rotation}.{digest_of(document, name)}",
        "event": "affected",
        "credential": job.credential,
        "rotation_id": kept.rotation,
        "time": format_time(job.context.now()),
        "user": name,
        "to": message.to,
        "subject": message.subject,
        "body": message.body,
    }


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _write(job: Job, kept: Kept, done: Account, unnoted: str = "") -> None:
    """Write the list while messages go.

    :param unnoted: whose message was tried and is not noted yet.
    :raises KeyturnError: saying also what was done by then, and how to go on.
    """
    try:
        job.place.write(kept)
    except KeyturnError as error:
        lost = f"; what became of the message to {unnoted} is not noted, see when_uncertain"
        error.message = (
            f"{error.message.rstrip('.')}. {counted(done.sent)} {_were(done.sent)} told by this run{lost if unnoted else ''}. Mend that, "
            "and run the playbook notify_affected: it goes on with those who are left"
        )
        raise


def _tell_one(job: Job, kept: Kept, name: str, way: Way, done: Account, document: Document) -> Kept:
    """Tell one user: written down before and after, so that what a killed run leaves is known."""
    before = kept.with_mark(name, SENDING)
    _write(job, before, done)
    try:
        way.send(_payload(job, kept, name, document))
    except Failed as error:
        after = before.with_mark(name, _mark_of(name, error, done))
    else:
        done.sent, done.in_a_row = done.sent + 1, 0
        after = before.with_told(name, digest_of(document, name))
    _write(job, after, done, name)
    return after


def _mark_of(name: str, error: Failed, done: Account) -> str:
    """What stands at a user until this run has told of the failure: one that is ended before that is not the last to try."""
    if error.final:
        done.refused[name], done.in_a_row = error.reason, 0
        return FAILED
    done.in_a_row += 1
    if error.uncertain:
        done.uncertain[name] = error.reason
        return SENDING
    done.failed[name] = error.reason
    return FAILED


def left_to_tell(kept: Kept, again: bool) -> List[str]:
    """Whom a run tells.

    :param again: also those whose message was refused for good.
    """
    return kept.marked("", FAILED, SENDING, *((REFUSED,) if again else ()))


def _settled(job: Job, kept: Kept, done: Account) -> Kept:
    """The list without those whom no later run tries by itself."""
    leave = job.affected.when_uncertain == LEAVE
    final = {
        **dict.fromkeys(done.refused, REFUSED),
        **(dict.fromkeys(done.uncertain, UNCERTAIN) if leave else {}),
    }
    for name, mark in final.items():
        kept = kept.with_mark(name, mark)
    return kept


def _wanted(job: Job, kept: Kept, way: Way, done: Account) -> List[str]:
    """Whom to tell, by what is known before the first message."""
    unknown = kept.marked(SENDING)
    leave = job.affected.when_uncertain == LEAVE
    if unknown:
        how = "and it is not sent again" if leave else "and it is sent again"
        job.context.warn(
            f"{job.credential}: an earlier run ended while it told {some(unknown)}: whether that message went is not known, {how} "
            "(when_uncertain)"
        )
    if leave:
        done.uncertain.update(dict.fromkeys(unknown, "an earlier run ended in the midst"))
    problems = problems_of(kept, job, way)
    wanted = left_to_tell(kept, job.params["again"])
    done.refused.update({name: problems[name] for name in wanted if name in problems})
    return [name for name in wanted if name not in problems and name not in done.uncertain]


def would_tell(job: Job, kept: Kept) -> List[str]:
    """Whom a run would tell; nobody is told."""
    way = open_way(job.affected.by, job.context, f"{job.affected.option}.by")
    return _wanted(job, kept, way, Account())


def tell_all(job: Job, kept: Kept, document: Document) -> Tuple[Kept, Account]:
    """Tell everybody who is left, one after the other; a failure stops nobody else.

    :return: the list as it is kept then, and what became of it.
    :raises KeyturnError: the list cannot be written, or somebody else wrote it; then nobody else was told.
    """
    done = Account()
    way = open_way(job.affected.by, job.context, f"{job.affected.option}.by")
    wanted = _wanted(job, kept, way, done)
    if not wanted and is_same(kept, _settled(job, kept, done)):
        return kept, done
    current = document.current
    after = replace(kept, rotation=current.rotation_id if current else "")
    pace, said = _Pace(job.affected.per_second, job.wait), job.context.now()
    for number, name in enumerate(wanted):
        job.context.still_wanted()
        pace.keep()
        after = _tell_one(job, after, name, way, done, document)
        if done.in_a_row >= _AWAY:
            done.away = True
            break
        if job.context.now() - said > _QUIET:
            said = job.context.now()
            job.context.progress(f"{number + 1} of {len(wanted)} affected users were told")
    settled = _settled(job, after, done)
    if settled is not after:
        _write(job, settled, done)
    return settled, done


def faults_of(job: Job, kept: Kept, done: Account) -> str:
    """What did not go well, and what to do; empty when all did."""
    parts = []
    # Not the same playbook: an answer to a compromise may be at its end by then, and would begin another.
    again = "run the playbook notify_affected: it tells only those who are left"
    if done.failed:
        told = "; ".join(by_reason(done.failed))
        parts.append(
            f"Of {counted(len(done.failed))} the message failed: {told}. Mend that, and {again}"
        )
    if done.uncertain:
        told = "; ".join(by_reason(done.uncertain))
        leave = job.affected.when_uncertain == LEAVE
        how = (
            "It is not sent again: ask them, or tell them by hand"
            if leave
            else f"To send it again, {again}"
        )
        parts.append(
            f"Of {counted(len(done.uncertain))} it is not known whether the message went: {told}. {how}"
        )
    if done.away:
        left = len(kept.marked(""))
        verb = "is" if left == 1 else "are"
        parts.append(
            f"After {_AWAY} failures in a row nobody else was tried; {counted(left)} {verb} left"
        )
    if done.refused:
        told = "; ".join(by_reason(done.refused))
        parts.append(
            f"{counted(len(done.refused))} cannot be told: {told}. Tell them by hand; where it was the server's mistake, mend it and run "
            "the playbook notify_affected, which tries them once more"
        )
    return ". ".join(parts)


def note(job: Job, kept: Kept, done: Account, failed: bool) -> None:
    """Write it down in keyring and ledger. Whoever was told was told by then: what fails here is a warning."""
    if not (done.sent or failed):
        return
    left = len(kept.users)
    text = f"affected users: {done.sent} {_were(done.sent)} told, {left} {'is' if left == 1 else 'are'} left"
    try:
        request = Request("note", job.access.run, rotation_id=kept.rotation)
        job.access.step(request, text, "failed" if failed else "done")
    except KeyturnError as error:
        job.context.warn(f"{job.credential}: what was told is not in the ledger: {error.message}")
