# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of ``notify_affected``: what it works on, who cannot be told, and what it returns."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import KeyringAccess
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected import (
    Affected,
    problem_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_list import (
    FAILED,
    REFUSED,
    SENDING,
    UNCERTAIN,
    Kept,
    Place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_ways import Way
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

_DIFF_LINES = 1000


@dataclass
class Job:
    """One run of the module.

    :param wait: how the pace is kept.
    """

    params: Params
    context: Context
    affected: Affected
    access: KeyringAccess
    place: Place
    kept: Optional[Kept]
    wait: Callable[[float], None] = time.sleep

    @property
    def credential(self) -> str:
        """How messages name it."""
        return self.params["credential"] or (
            self.access.document.credential if self.access.document else ""
        )


def _secrets(document: Optional[Document]) -> List[str]:
    """Every value that no message may hold."""
    stages = [*document.stages.values(), *document.retained] if document else []
    values = [value for stage in stages for value in stage.fields.values()]
    return [
        item.reveal()
        for item in values
        if isinstance(item, Secret) and item.known and item.reveal()
    ]


def problems_of(kept: Kept, job: Job, way: Way) -> Dict[str, str]:
    """Who cannot be told, and why, in words without anything of a person."""
    secrets, affected, found = _secrets(job.access.document), job.affected, {}
    for name, user in kept.users.items():
        missing = [column for column in affected.columns if column not in user.row]
        if missing:
            raise BadInput(
                f"{affected.option}: column '{missing[0]}' is not in the list that was kept before the switch, which has "
                f"{', '.join(sorted(user.row))}; take it out of the message"
            )
        problem = problem_of(user.row, affected, secrets) or way.problem(
            user.row[affected.to].strip()
        )
        if problem:
            found[name] = problem
    return found


def result_of(job: Job, kept: Optional[Kept], said: str, changed: bool) -> Result:
    users = kept.users if kept else {}
    return {
        "changed": changed,
        "msg": f"{job.credential}: {said}",
        "affected": {
            "breaks": job.affected.breaks,
            "count": len(users) + len(kept.told if kept else ()),
            "left": len(users),
            "told": len(kept.told) if kept else 0,
            "failed": sorted(kept.marked(FAILED)) if kept else [],
            "refused": sorted(kept.marked(REFUSED)) if kept else [],
            "uncertain": sorted(kept.marked(SENDING, UNCERTAIN)) if kept else [],
            "rotation_id": kept.rotation if kept else "",
        },
    }


def _lines(ids: Sequence[str]) -> str:
    more = len(ids) - _DIFF_LINES
    return "".join(f"{name}\n" for name in ids[:_DIFF_LINES]) + (
        f"and {more} more\n" if more > 0 else ""
    )


def diff_of(before: Sequence[str], after: Sequence[str]) -> Dict[str, str]:
    header = "ids of affected users who are yet to be told"
    return {
        "before_header": header,
        "after_header": header,
        "before": _lines(before),
        "after": _lines(after),
    }


def with_diff(job: Job, gone: Sequence[str], result: Result) -> Result:
    return {**result, "diff": diff_of(gone, [])} if job.context.diff else result
