# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of an incident as data: what happened to the credential, who used it, and what nobody could look at. Pure.

The same inputs give the same record: nothing in it depends on when it was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import (
    DENIED,
    DONE,
    LOGINS,
    READS,
    Event,
    Known,
    Window,
    event_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_judge import Rule, judge
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_time,
    parse_time,
)

KIND = "keyturn.incident"
SCHEMA = 1
_STAGES = ("pending", "current", "previous")
Plain = Dict[str, Any]


@dataclass(frozen=True)
class Sight:
    """One source, looked at or not.

    :param why: why it was not looked at; empty when it was.
    """

    name: str
    about: str
    events: Tuple[Event, ...] = ()
    seen: int = 0
    gaps: Tuple[str, ...] = ()
    kind: str = ""
    why: str = ""


@dataclass(frozen=True)
class Head:
    """What the record begins with."""

    credential: str
    reason: str
    who: str
    window: Window


@dataclass(frozen=True)
class History:
    """The credential's own past.

    :param lines: of its ledger, oldest first.
    :param faults: what is wrong with the chain, in sentences.
    :param why: why it could not be read; empty when it was.
    :param stages: what the keyring says now, by stage.
    """

    lines: Tuple[Mapping[str, Any], ...] = ()
    faults: Tuple[str, ...] = ()
    kind: str = ""
    why: str = ""
    stages: Tuple[Plain, ...] = ()


def _named(result: Mapping[str, Any], number: int) -> str:
    asked = result.get("item")
    item = asked if isinstance(asked, Mapping) else {}
    kind = str(result.get("type") or item.get("type") or f"source {number + 1}")
    own = str(item.get("name") or "")
    host = str(item.get("host") or "")
    return own or (f"{kind} on {host}" if host else kind)


def _events(given: Any, option: str) -> List[Any]:
    if not isinstance(given, list):
        raise BadInput(f"{option}.events: expected a list; register the result of incident_reads")
    return given


def sight_of(result: Any, number: int, window: Window, known: Known) -> Sight:
    """A source from its task's result, which may be a failure.

    :raises BadInput: for what is no result of ``incident_reads``, and for one of another window.
    """
    option = f"looked[{number}]"
    if not isinstance(result, Mapping):
        raise BadInput(f"{option}: expected a result of incident_reads")
    name = known.named(_named(result, number))
    if result.get("skipped"):
        return Sight(name, READS, kind="Skipped", why="the task was skipped")
    if result.get("failed") or result.get("unreachable") or "events" not in result:
        kind = str(result.get("kind") or ("Unreachable" if result.get("unreachable") else "Host"))
        said = " ".join(str(result.get("msg") or "it gave no answer").split())
        return Sight(name, READS, kind=known.named(kind), why=known.free(said))
    told = (str(result.get("since") or ""), str(result.get("until") or ""))
    if told != (format_time(window.since), format_time(window.until)):
        raise BadInput(
            f"{option}: {name} was looked at for another window ({' to '.join(told)}); give both tasks the same since and until"
        )
    events = tuple(
        known.event(event_of(item, f"{option}.events[{at}]"))
        for at, item in enumerate(_events(result["events"], option))
    )
    about = LOGINS if result.get("about") == LOGINS else READS
    told_gaps, seen = result.get("gaps"), result.get("seen")
    gaps = tuple(known.named(gap) for gap in (told_gaps if isinstance(told_gaps, list) else ()))
    return Sight(name, about, events, seen if isinstance(seen, int) else 0, gaps)


def _row(event: Event, source: str, verdict: str) -> Plain:
    told = {name: value for name, value in event.as_dict().items() if value and name != "behind"}
    if event.times == 1:
        del told["times"]
    return {"source": source, **told, "why": verdict}


def _counted(rows: Iterable[Plain]) -> List[Plain]:
    """Expected uses, one line for each kind of them."""
    found: Dict[Tuple[str, ...], Plain] = {}
    for row in rows:
        key = tuple(str(row[name]) for name in ("source", "principal", "action", "target", "why"))
        kept = found.setdefault(
            key,
            {
                "source": row["source"],
                "principal": row["principal"],
                "action": row["action"],
                "target": row["target"],
                "reason": row["why"],
                "count": 0,
                "first": row["at"],
                "last": row["at"],
            },
        )
        kept["count"] += row.get("times", 1)
        kept["first"], kept["last"] = min(kept["first"], row["at"]), max(kept["last"], row["at"])
    return [found[key] for key in sorted(found)]


def _uses(sights: Sequence[Sight], about: str, rules: Sequence[Rule]) -> Plain:
    """What was done, by how it is to be taken: what was not expected first."""
    unexpected: List[Plain] = []
    denied: List[Plain] = []
    failed: List[Plain] = []
    expected: List[Plain] = []
    for sight in sights:
        if sight.about != about:
            continue
        for event in sight.events:
            verdict = judge(event, rules)
            row = _row(event, sight.name, verdict.why)
            if event.outcome == DONE:
                (expected if verdict.expected else unexpected).append(row)
            else:
                row["expected"] = verdict.expected
                (denied if event.outcome == DENIED else failed).append(row)

    def by_time(row: Plain) -> Tuple[str, ...]:
        return tuple(str(row.get(name)) for name in ("at", "source", "principal", "action"))

    return {
        "unexpected": sorted(unexpected, key=by_time),
        "denied": sorted(denied, key=by_time),
        "failed": sorted(failed, key=by_time),
        "expected": _counted(expected),
    }


def _line(line: Mapping[str, Any], known: Known) -> Plain:
    stages = line.get("stages")
    told = []
    for name in _STAGES:
        stage = stages.get(name) if isinstance(stages, Mapping) else None
        if isinstance(stage, Mapping):
            prints = stage.get("fingerprints")
            told.append(
                {
                    "stage": name,
                    "rotation_id": known.named(stage.get("rotation_id")),
                    "status": known.named(stage.get("status")),
                    "fingerprints": {
                        known.named(key): known.named(value)
                        for key, value in sorted(
                            prints.items() if isinstance(prints, Mapping) else ()
                        )
                    },
                }
            )
    names = ("phase", "outcome", "rotation_id", "who", "why")
    about = {name: known.named(line.get(name)) for name in names}
    about["message"] = known.free(line.get("message"))
    return {
        "number": line.get("number") if isinstance(line.get("number"), int) else None,
        "at": format_time(parse_time(str(line.get("time")), "ledger")),
        **{name: text for name, text in about.items() if text},
        "stages": told,
    }


def timeline(lines: Sequence[Mapping[str, Any]], window: Window, known: Known) -> List[Plain]:
    """The lines of the window, and the last one before it: what was in use when it began."""
    before: List[Plain] = []
    inside: List[Plain] = []
    for line in lines:
        try:
            at = parse_time(str(line.get("time")), "ledger")
        except BadInput:
            continue
        if at < window.since:
            before = [{**_line(line, known), "before": True}]
        elif at <= window.until:
            inside.append(_line(line, known))
    return [*before, *inside]


def _open(record: Plain, given: Sequence[str], history: History) -> List[str]:
    points = []
    for about, what in ((READS, "read"), (LOGINS, "login")):
        uses = record[about]
        for key, said in (("unexpected", "not expected"), ("denied", "denied")):
            if uses[key]:
                one = len(uses[key]) == 1
                points.append(
                    f"{len(uses[key])} {what}{'' if one else 's'} {'was' if one else 'were'} {said}: find out who that was and why"
                )
    points += [
        f"{item['source']} was not looked at ({item['kind']}): nobody knows what it would tell"
        for item in record["not_looked_at"]
    ]
    points += [f"{item['source']}: {gap}" for item in record["looked_at"] for gap in item["gaps"]]
    points += [f"the ledger does not hold: {fault}" for fault in history.faults]
    points += [
        f"the replaced value of rotation {stage['rotation_id']} is not ended yet"
        for stage in history.stages
        if stage["stage"] == "previous"
    ]
    if not any(item["about"] == READS for item in record["looked_at"]):
        points.append("no source was looked at that tells who read the value")
    return [*points, *given]


def build_record(
    head: Head,
    sights: Sequence[Sight],
    rules: Sequence[Rule],
    history: History,
    given: Sequence[str],
    known: Known,
) -> Plain:
    """The record: JSON types, in an order that the same inputs always give.

    :param given: further open points, by the operator.
    """
    missing = [
        {"source": sight.name, "kind": sight.kind, "why": sight.why}
        for sight in sights
        if sight.why
    ]
    if history.why:
        why = known.named(history.why)
        missing.append({"source": "the ledger", "kind": history.kind, "why": why})
    seen = [sight for sight in sights if not sight.why]
    record: Plain = {
        "kind": KIND,
        "schema": SCHEMA,
        "credential": known.named(head.credential),
        "reason": known.named(head.reason),
        "who": known.named(head.who),
        "since": format_time(head.window.since),
        "until": format_time(head.window.until),
        "stages": list(history.stages),
        "timeline": timeline(history.lines, head.window, known),
        READS: _uses(seen, READS, rules),
        LOGINS: _uses(seen, LOGINS, rules),
        "looked_at": [
            {
                "source": sight.name,
                "about": sight.about,
                "seen": sight.seen,
                "found": len(sight.events),
                "gaps": list(sight.gaps),
            }
            for sight in seen
        ],
        "not_looked_at": missing,
    }
    record["open_points"] = _open(record, [known.named(point) for point in given], history)
    return record


def summary_of(record: Mapping[str, Any]) -> Plain:
    """The counts."""
    counts = {
        about: {
            **{key: len(record[about][key]) for key in ("unexpected", "denied", "failed")},
            "expected": sum(item["count"] for item in record[about]["expected"]),
        }
        for about in (READS, LOGINS)
    }
    other = ("timeline", "looked_at", "not_looked_at", "open_points")
    return {**counts, **{key: len(record[key]) for key in other}}


def failing(record: Mapping[str, Any]) -> List[str]:
    """Why the incident is not understood yet, in sentences."""
    found = [
        f"{about} that were not expected: {len(record[about]['unexpected'])}"
        for about in (READS, LOGINS)
        if record[about]["unexpected"]
    ]
    found += [
        f"{item['source']} was not looked at: {item['why']}" for item in record["not_looked_at"]
    ]
    if not any(item["about"] == READS for item in record["looked_at"]):
        found.append("no source was looked at that tells who read the value")
    return found
