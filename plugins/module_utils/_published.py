# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``publish`` has done to each place, and what its result tells of that: names and fingerprints, never a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import Result
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import (
    Outcome,
    Wanted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._backup import Copies
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._open import Address
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._options import Options
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._shown import (
    difference,
    shown_fields,
)


@dataclass(frozen=True)
class Job:
    """One place with the sinks that are written there."""

    address: Address
    options: Options
    sinks: Tuple[Mapping[str, Any], ...]
    wanted: Wanted
    salt: bytes

    @property
    def told(self) -> Dict[str, str]:
        """By field, what everybody may read of the text that is written there, as the controller found it in the keyring."""
        return {name: text for sink in self.sinks for name, text in sink["told"].items()}

    @property
    def public(self) -> bool:
        """Whether everybody may read all that is written there."""
        return all(sink["public"] for sink in self.sinks)

    @property
    def only_adds(self) -> bool:
        """Whether it is a log."""
        return self.options.format == "log"


@dataclass
class Done:
    """What was done to one place.

    :ivar copies: what became of the copies of a file; none where none are made.
    :ivar unknown: its sinks that hold a value of which the keyring knows nothing, described.
    """

    job: Job
    outcome: Outcome
    copies: Optional[Copies] = None
    unknown: Tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was written or removed."""
        wrote = bool(self.job.wanted.fields) and self.outcome.changed
        gone = self.copies and (self.copies.pruned or self.copies.destroyed)
        return wrote or bool(gone)


def _sink_result(done: Done, sent: Mapping[str, Any]) -> Dict[str, Any]:
    job, outcome = done.job, done.outcome
    names = list(sent["fields"])
    about = {key: sent[key] for key in ("name", "ref", "host", "group", "digest", "held")}
    changed = any(name in outcome.changes for name in names) or bool(
        names and outcome.observed.drift
    )
    result = {
        **about,
        "changed": changed,
        "rendered": bool(names),
        "fields": shown_fields(job.salt, job.wanted, outcome, names, job.told),
        "version": outcome.version,
    }
    return {**result, "backup": done.copies.told()} if done.copies else result


def _difference(done: Done) -> Dict[str, str]:
    gone = (*done.copies.pruned, *done.copies.destroyed) if done.copies else ()
    pruned = [f"{path}: (a copy)\n" for path in gone]
    shown = difference(done.job.salt, done.job.wanted, done.outcome, told=done.job.told)
    return {**shown, "before": shown["before"] + "".join(pruned)}


def publish_result(done: Sequence[Done], context: Context) -> Result:
    """The result of the whole task.

    :param done: the places that were brought up to date, in order.
    """
    sinks = [_sink_result(item, sent) for item in done for sent in item.job.sinks]
    added = [sink["name"] for item in done if item.job.only_adds for sink in item.job.sinks]
    changed = [item["name"] for item in sinks if item["changed"]]
    # A line that is gone was there: logs end. Nobody goes on with an old value for want of it.
    behind = [name for name in changed if name not in added] if context.check_mode else []
    touched = [item for item in done if item.changed]
    unknown = [sentence for item in done for sentence in item.unknown]
    result: Result = {
        "changed": bool(touched),
        "sinks": sinks,
        "behind": behind,
        "unknown": unknown,
    }
    if context.diff:
        result["diff"] = [_difference(item) for item in touched]
    return result
