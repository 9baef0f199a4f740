# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a text carries a value: as it is, or as a template's filters, JSON, shells and env files write it. Pure."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Dict, FrozenSet, Iterable, Iterator, List, Mapping, Pattern, Set
from urllib.parse import quote, quote_plus

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    fingerprint,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._port import Carries
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

SHORTEST = 8
"""Characters: a shorter value is in other texts by chance, so it counts only where it stands alone."""

_ESCAPED = re.compile(r"([\"\\$`])")


def forms(value: str) -> Set[str]:
    """What a value may look like in a place."""
    data = value.encode("utf-8", "surrogatepass")
    quoted = {quote(data, safe=""), quote(data), quote_plus(data)}
    quoted |= {re.sub(r"%[0-9A-F]{2}", lambda it: it.group().lower(), item) for item in quoted}
    encoded = {base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()}
    encoded |= {item.rstrip("=") for item in encoded}
    escaped = {
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        value.replace("'", "'\\''"),
        value.replace("'", "\\'"),
        _ESCAPED.sub(r"\\\1", value),
        value.replace("$", "$$"),
    }
    return {value, *quoted, *encoded, *escaped}


def _leaves(body: Any) -> Iterator[str]:
    if isinstance(body, str):
        yield body
    children = body.values() if isinstance(body, dict) else body
    if isinstance(body, (dict, list)):
        for child in children:
            yield from _leaves(child)


def _readings(text: str) -> Iterator[str]:
    """The text, and the texts in it where it is JSON."""
    yield text
    try:
        yield from _leaves(json.loads(text))
    except (ValueError, RecursionError):
        return


def carrier(values: Iterable[Secret]) -> Carries:
    """What tells of a text whether one of these values is in it."""
    long: Set[str] = set()
    short: List[Pattern[str]] = []
    for value in values:
        text = value.reveal().strip()
        if len(text) >= SHORTEST:
            long |= forms(text)
        elif text:
            short += [
                re.compile(rf"(?<![0-9A-Za-z]){re.escape(form)}(?![0-9A-Za-z])")
                for form in forms(text)
            ]

    def carries(text: str) -> bool:
        return any(
            any(form in reading for form in long) or any(it.search(reading) for it in short)
            for reading in _readings(text)
        )

    return carries


def telling(document: Document, stages: Iterable[Stage]) -> List[Secret]:
    """The values by which these stages are known: those of their secret fields that no other stage has as well.

    A field that stays the same over rotations says nothing of the one that was compromised.
    """
    live = [
        value
        for stage in document.stages.values()
        for value in stage.fields.values()
        if isinstance(value, Secret) and value.known
    ]
    return [
        value
        for stage in stages
        for value in stage.fields.values()
        if isinstance(value, Secret) and value.known and value not in live
    ]


def _secrets(body: Any) -> Iterator[Mapping[str, Any]]:
    """The secret fields of all stages of a keyring's text."""
    if isinstance(body, dict):
        found = body.get("secrets")
        if isinstance(found, dict):
            yield found
        for child in body.values():
            yield from _secrets(child)
    elif isinstance(body, list):
        for child in body:
            yield from _secrets(child)


def carrier_of_keyring(document: Document, stages: Iterable[Stage]) -> Carries:
    """What tells of an older version of a keyring whether it has the value of one of these stages.

    By the fingerprints alone, since the keyring itself has the values no more; each is made anew from what the version holds.
    """
    live = {
        (name, printed)
        for stage in document.stages.values()
        for name, printed in stage.fingerprints.items()
    }
    wanted: Dict[str, FrozenSet[str]] = {}
    for stage in stages:
        for name, printed in stage.fingerprints.items():
            if (name, printed) not in live:
                wanted[name] = wanted.get(name, frozenset()) | {printed}

    def carries(text: str) -> bool:
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            return False
        return any(
            isinstance(value, str)
            and name in wanted
            and fingerprint(document.salt, name, Secret(value)) in wanted[name]
            for fields in _secrets(body)
            for name, value in fields.items()
        )

    return carries
