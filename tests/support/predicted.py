# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dry run said beside what the run that followed it did, task by task and field by field.

Nothing is left out but how check mode hands its predictions on, and warnings, which tell of what was found there. What two runs
cannot have in common is named instead: a rotation that was not there before is ``(new)`` in both, a new time ``NOW``, what a
proof or a person is told ``TOLD`` whether it was done or only announced. What was there before stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LEFT_OUT = ("replay", "warnings", "deprecations", "invocation", "predicted", "attempts")
_ROTATION = re.compile(r"\br\d{14}[0-9a-f]{6}\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?")
_PRINT = re.compile(r"\bhmac:[0-9a-f]+|\(new\)(:[0-9a-f]+)?|\(some value\)")
_SPAN = r"\d+[wdhms](?: \d+[wdhms])*"
_AGO = re.compile(rf"\b{_SPAN}(?= ago| old)|(?<=in ){_SPAN}\b|\b\d+\.\d+ s\b")
# What was measured, and what is there only once it was done.
# What is in use at the end is said when it is.
_IN_USE = re.compile(r"\S+: Rotation \S+ is in use\b")
_LASTED = ("age", "age_seconds", "outage_seconds", "terminated", "pid")
_TOLD = {"sent", "seen", "action"}


@dataclass(frozen=True)
class Task:
    """One task of a run: its name, how it ended, what it returned."""

    name: str
    status: str
    result: Mapping[str, Any]


@dataclass
class Naming:
    """Names for what a run makes for itself.

    :param known: everything that was there before, as text.
    :param prefix: what the names of this credential's roles begin with.
    """

    known: str
    prefix: str
    given: dict[str, str] = field(default_factory=dict)

    def _name(self, found: str, kind: str) -> str:
        if found in self.known:
            return found
        number = sum(name.startswith(kind) for name in self.given.values()) + 1
        return self.given.setdefault(found, f"{kind} {number}")

    def text(self, text: str) -> str:
        """A text with names in it."""
        text = _ROTATION.sub(lambda found: found[0] if found[0] in self.known else "(new)", text)
        run = re.compile(r"\b[\w.-]+-\d+-\d{4,}\b")
        text = run.sub(lambda found: self._name(found[0], "RUN"), text)
        role = re.compile(rf"\b{re.escape(self.prefix)}_\w+")
        text = role.sub(lambda found: self._name(found[0], "ROLE"), text)
        text = _TIME.sub(lambda found: found[0] if found[0] in self.known else "NOW", text)
        text = _PRINT.sub(lambda found: found[0] if found[0] in self.known else "(new)", text)
        return _AGO.sub("SHORT", text)

    def of(self, item: Any, key: str = "") -> Any:
        """A result with names in it."""
        if isinstance(item, Mapping):
            return {
                self.text(str(name)): self.of(value, str(name))
                for name, value in item.items()
                if name not in LEFT_OUT
            }
        if isinstance(item, list):
            kept = [text for text in item if key != "say" or not _IN_USE.match(text)]
            return [self.of(value) for value in kept]
        if key in _LASTED and item is not None:
            return "MEASURED"
        if key in _TOLD and item != "none":
            return "TOLD"
        if key == "detail" and isinstance(item, str):
            return "PROVED"
        return self.text(item) if isinstance(item, str) else item


def read_tasks(record: Path) -> list[Task]:
    """What the plugin ``record`` wrote of each task, without the moments inside. The steps of a task count as tasks before it."""
    lines = (json.loads(line) for line in record.read_text().splitlines())
    return [task for line in lines if line.get("task", "start") != "start" for task in _tasks(line)]


def _tasks(line: Mapping[str, Any]) -> Iterator[Task]:
    result = dict(line["result"])
    for step in result.pop("steps", ()):
        yield Task(step["step"], "ok", step)
    yield Task(line["task"].rpartition(" : ")[2], line["status"], result)


def _fields(item: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a result with its path."""
    if isinstance(item, Mapping) and item:
        for name, value in item.items():
            yield from _fields(value, f"{where}.{name}" if where else str(name))
    elif isinstance(item, list) and item:
        for number, value in enumerate(item):
            yield from _fields(value, f"{where}[{number}]")
    else:
        yield where, item


def compare(dry: Sequence[Task], real: Sequence[Task], known: str, prefix: str) -> list[str]:
    """Where they differ; empty when everything was predicted."""
    predicted, done = ([(task.name, task.status) for task in run] for run in (dry, real))
    if predicted != done:
        first = next(
            (pair for pair in zip(predicted, done, strict=False) if pair[0] != pair[1]),
            f"{len(predicted)} tasks, {len(done)} done",
        )
        return [f"other tasks: {first}: {_messages(dry)} / {_messages(real)}"]
    one, other = Naming(known, prefix), Naming(known, prefix)
    faults = []
    for said, did in zip(dry, real, strict=True):
        before = dict(_fields(one.of(said.result)))
        after = dict(_fields(other.of(did.result)))
        faults += [
            f"'{said.name}': {name}: predicted {before.get(name, 'nothing')!r}, was {after.get(name, 'nothing')!r}"
            for name in {**before, **after}
            if before.get(name, "nothing") != after.get(name, "nothing")
        ]
    return faults


def _messages(run: Sequence[Task]) -> str:
    return "; ".join(str(task.result.get("msg")) for task in run if task.status == "failed")
