# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``receipts``: which consumers were not seen using what they should use."""

from __future__ import annotations

from typing import List, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    Consumer,
    lagging,
    order,
    parse_consumers,
    sinks_read,
    turns,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import (
    Sink,
    parse_sinks,
    render_sinks,
)


def _has_something(document: Document, consumer: Consumer, sinks: Sequence[Sink]) -> bool:
    """Whether what it reads holds anything yet: before the first promotion an application has nothing to pick up."""
    names = sinks_read(consumer, sinks)
    rendered = [
        item
        for item in render_sinks(document, sinks)
        if item.sink.name in names or item.sink.group in names
    ]
    return not names or any(item.fields for item in rendered)


def behind(
    document: Document,
    sinks: Sequence[Sink],
    consumers: Sequence[Consumer],
) -> List[Consumer]:
    """The consumers that have yet to pick up what they read, in the order in which they are told.

    :raises BadInput: as the definitions give cause.
    """
    late = lagging(document, sinks, consumers)
    return [
        consumer
        for wave in order(consumers)
        for consumer in wave
        if consumer.name in late and _has_something(document, consumer, sinks)
    ]


def run(params: Params, context: Context) -> Result:
    """Compare; nothing is written. ``changed`` notifies whoever brings them up to date."""
    access = open_keyring(params, context)
    consumers = parse_consumers(params["consumers"])
    late = behind(access.need(), parse_sinks(params["sinks"]), consumers)
    if late and params["demand"]:
        names = ", ".join(item.name for item in late)
        raise Refused(
            f"{access.credential}: not seen using what they should use: {names}. Nothing told them, although it was asked for: "
            "run the same playbook again"
        )
    shown = [
        {"name": item.name, "host": item.host, "definition": dict(item.definition)} for item in late
    ]
    told = [
        {
            "name": ", ".join(item.name for item in turn),
            "host": turn[0].host,
            "definition": dict(turn[0].definition),
            "together": [{"definition": dict(item.definition)} for item in turn[1:]],
        }
        for turn in turns(late)
    ]
    return {"changed": bool(late), "consumers": shown, "turns": told}


SPEC = {
    **KEYRING_OPTIONS,
    "sinks": {"type": "list", "elements": "dict", "default": []},
    "consumers": {"type": "list", "elements": "dict", "default": []},
    "demand": {"type": "bool", "default": False},
}
MODULE = ModuleCore("receipts", SPEC, run)
