# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One report of many credentials, made of what ``keyring_info`` returned for each. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._due import ended_at_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._outcome import lingering
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_duration,
    format_time,
    parse_time,
)

KIND = "keyturn.status"
SCHEMA = 1
# What a person looks at first.
STATES = ("overdue", "unreadable", "due", "never_rotated", "soon", "fresh", "on_demand")
FAIL_ON = ("nothing", "unreadable", "overdue", "due")
# Which stand in the way of the next rotation however far off that is. What the others say passes by itself.
_LASTING = frozenset({"clock", "leftover", "issuer"})
_NO_MORE_THAN_STATES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "nothing": frozenset(),
        "unreadable": frozenset({"unreadable"}),
        "overdue": frozenset({"overdue", "unreadable"}),
        "due": frozenset({"overdue", "unreadable", "due", "never_rotated"}),
    }
)

Result = Mapping[str, Any]


def holder(claim: Result) -> str:
    """How a claim's run is named."""
    return f"run {claim['run_id']} on {claim['host']} (process {claim['pid']})"


def _closed(result: Result, purpose: str) -> dict[str, str]:
    """The closed gates of a purpose, but for the claim, of which more is known."""
    return {
        gate["name"]: gate["message"]
        for gate in result["gates"][purpose]
        if not gate["passed"] and gate["name"] != "claim"
    }


def _who_waits(result: Result) -> str:
    """Whom a rotation waits for and since when; empty where it waits for nobody."""
    waiting, owner = result.get("waiting"), result.get("owner")
    if not waiting:
        return ""
    since = f" since {waiting['since']}" if waiting["since"] else ""
    return f"waits for a person{f' ({owner})' if owner else ''}{since}"


def _of_wait(result: Result) -> list[str]:
    claim, who = result["keyring"]["claim"], _who_waits(result)
    if not who or (claim and claim.get("alive")):
        return []
    return [f"{who}. {result['waiting']['what']}"]


def _of_claim(result: Result) -> list[str]:
    claim = result["keyring"]["claim"]
    if claim is None and result.get("waiting"):
        return []
    if claim is None:
        begun = "begun and not at its end: run the same playbook again (rotate_db, rotate_stream_keys or rotate), it goes on from there"
        return [begun] if result["due"]["under_way"] and not _of_emergency(result) else []
    if claim.get("alive"):
        return []
    if claim.get("alive") is False:
        return [
            f"{holder(claim)} is dead: run the same playbook again, it takes over and goes on from there"
        ]
    gates = result["gates"]["rotate"]
    return [gate["message"] for gate in gates if gate["name"] == "claim"]


def _of_emergency(result: Result) -> list[str]:
    """What is left to do for a value that an emergency named, unless somebody is at work on it."""
    claim, stages = result["keyring"]["claim"], result["keyring"]["stages"]
    named = [
        name for name in ("current", "previous") if (stages.get(name) or {}).get("compromised")
    ]
    if not named or (claim and claim.get("alive")):
        return []
    return [
        f"{' and '.join(named)}: compromised, and not ended yet: run the respond_compromise playbook again, it goes on from there"
    ]


def _of_rest(result: Result) -> list[str]:
    """What places may keep of a value that an emergency named and that is refused, unless somebody is at work on it."""
    claim = result["keyring"]["claim"]
    if claim and claim.get("alive"):
        return []
    return [
        f"what places keep of the compromised value of rotation {rotation} is not destroyed, as far as is known: run the "
        "destroy_old_versions playbook"
        for rotation in lingering(result["keyring"])
    ]


def _of_end(result: Result) -> list[str]:
    """What is the matter with a value that a reset ended, unless somebody is at work on it."""
    due, claim = result["due"], result["keyring"]["claim"]
    ended = due.get("ended")
    if not ended or (claim and claim.get("alive")):
        return []
    said = ended_at_issuer(parse_time(ended, "ended"))
    # What is under way, and what stands in the way of a rotation, says itself how to go on.
    known = due["under_way"] or "leftover" in _closed(result, "rotate")
    return [said if known else f"{said}. Run rotate_stream_keys or rotate: it need not be forced"]


def _of_gates(result: Result) -> list[str]:
    due, found = result["due"], []
    rotate = _closed(result, "rotate")
    if not due["due"] and due["state"] != "soon":
        rotate = {name: message for name, message in rotate.items() if name in _LASTING}
    previous = result["keyring"]["stages"].get("previous")
    # The end of the one before asks for the one in use, which is dead there.
    if previous and not due.get("ended"):
        retire = _closed(result, "retire")
        if not retire:
            rotate.pop("previous", None)
            which = (
                "the value of the rotation that failed is still kept"
                if previous["failed"]
                else "the grace of the previous value is over"
            )
            # Who waits for a person to end it has said so, and a compromised one has its own way on.
            waits = previous["status"] == "retiring" and result.get("waiting")
            if not (waits or previous["compromised"]):
                found.append(f"{which}: run the retire_due playbook")
        elif "grace" not in retire:
            others = {name: text for name, text in retire.items() if rotate.get(name) != text}
            found += [f"retire, gate {name}: {text}" for name, text in others.items()]
    return [f"rotate, gate {name}: {message}" for name, message in rotate.items()] + found


def _read(result: Result) -> dict[str, Any]:
    due, keyring, gates = result["due"], result["keyring"], result["gates"]
    return {
        "state": due["state"],
        "owner": result.get("owner") or "",
        "error": None,
        "attention": [
            sentence
            for part in (_of_emergency, _of_rest, _of_end, _of_wait, _of_claim, _of_gates)
            for sentence in part(result)
        ],
        "waiting": result.get("waiting"),
        "clock_skew_seconds": result.get("clock_skew_seconds"),
        "due": due,
        "keyring": keyring,
        "gates": gates,
    }


def _unread(result: Result) -> dict[str, Any]:
    said = " ".join(str(result.get("msg") or "").split())
    # Before 2.19 Ansible adds the lines of the playbook to what it says of a variable.
    said = said.partition(" The error appears to be in ")[0]
    message = said or "it was not read: see why its host failed, above"
    return {
        "state": "unreadable",
        "owner": result.get("owner") or "",
        "error": {"kind": str(result.get("kind") or "Failed"), "message": message},
        "attention": [message],
        "waiting": None,
        "clock_skew_seconds": None,
        "due": None,
        "keyring": None,
        "gates": None,
    }


def plain(value: Any) -> Any:
    """JSON types, of whatever kind Ansible gives them."""
    # Most are these, and the question after them takes long.
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _left(entry: Result) -> timedelta:
    due = entry["due"] or {}
    if due.get("ended"):
        return timedelta.min
    age, most = due.get("age_seconds"), due.get("max_age_seconds")
    return timedelta.max if age is None or most is None else timedelta(seconds=most - age)


def summary(entries: Mapping[str, Mapping[str, Any]], states: Sequence[str]) -> dict[str, Any]:
    """How many credentials there are, and how many are in each state.

    :param states: in the order of a report; those that none is in are left out.
    """
    counts = Counter(entry["state"] for entry in entries.values())
    found = {state: counts[state] for state in states if counts[state]}
    return {"credentials": len(entries), "states": found}


def build_report(results: Mapping[str, Result], now: datetime) -> dict[str, Any]:
    """The report: JSON types, the credentials in the order in which they want looking at.

    :param results: by credential, what ``keyring_info`` returned; of one that failed its message, or nothing at all.
    """
    entries = {}
    for name, given in results.items():
        result = plain(given or {})
        entries[name] = _read(result) if "keyring" in result else _unread(result)
    order = sorted(
        entries.items(),
        key=lambda item: (STATES.index(item[1]["state"]), _left(item[1]), item[0]),
    )
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "at": format_time(now),
        "summary": summary(entries, STATES),
        "credentials": dict(order),
    }


def brief(report: Result) -> dict[str, Any]:
    """What is short enough to be handed from job to job."""
    credentials = {}
    for name, entry in report["credentials"].items():
        short = {key: entry[key] for key in ("state", "owner", "attention")}
        dates = {key: (entry["due"] or {}).get(key) for key in ("due_at", "retire_at")}
        credentials[name] = {**short, **dates}
    return {"at": report["at"], "summary": report["summary"], "credentials": credentials}


def is_left(entry: Mapping[str, Any]) -> bool:
    """Whether something was begun that no run is at work on."""
    claim = (entry["keyring"] or {}).get("claim")
    # Of a run on another machine nobody here can see whether it lives.
    at_work = claim and claim.get("alive") is not False
    return bool((entry["due"] or {}).get("under_way")) and not at_work


def failing(report: Result, fail_on: str) -> dict[str, str]:
    """The credentials that an audit does not let pass, each with why. What cannot be read is not known to be in time."""
    found = {}
    for name, entry in report["credentials"].items():
        # What was begun and not ended keeps the value before it accepted for as long as nobody goes on with it.
        left = fail_on in ("overdue", "due") and is_left(entry)
        if left or entry["state"] in _NO_MORE_THAN_STATES[fail_on]:
            why = entry["error"]["message"] if entry["error"] else entry["due"]["text"]
            state = "left in the middle of a rotation" if left else entry["state"].replace("_", " ")
            who = _who_waits(entry) if left else ""
            why = f"{who}; {why}" if who else why
            found[name] = f"{name} is {state}: {why}"
    return found


def since(text: str, now: str) -> str:
    """How long ago, by the report's own time."""
    return format_duration(parse_time(now, "at") - parse_time(text, "time")).split()[0]
