# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers: what must pick up a credential, who lags behind, and in which order. Pure.

A consumer's *receipt* is the digest of what it reads, written once it was seen using it. Who has
another one, or none, lags. How each type picks up a value is in the modules beside this one.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils import _pgbouncer_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._define import (
    Consumer,
    parse_consumer,
    parse_consumers,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import (
    Sink,
    digests,
    render_sinks,
)

NEW = "(new)"


def _mac(salt: bytes, parts: Sequence[str]) -> str:
    mac = hmac.new(salt, digestmod=hashlib.sha256)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        mac.update(len(data).to_bytes(8, "big") + data)
    return mac.hexdigest()[:32]


def sinks_read(consumer: Consumer, sinks: Sequence[Sink]) -> tuple[str, ...]:
    """The names of the sinks and groups that a consumer reads: without ``reads``, all that hold something to pick up.

    :raises BadInput: when it names one that there is not.
    """
    if consumer.reads is None:
        # PgBouncer's file is no sink: it is written from the keyring by its own module.
        if consumer.type == "pgbouncer":
            return ()
        return tuple(sink.name for sink in sinks if not sink.tells_only)
    known = {name for sink in sinks for name in (sink.name, sink.group) if name}
    strange = [name for name in consumer.reads if name not in known]
    if strange:
        raise BadInput(
            f"consumer {consumer.name}: reads '{strange[0]}', but the sinks are: "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    return consumer.reads


def _current_parts(document: Document) -> list[str]:
    current = document.current
    if current is None:
        return []
    prints = [f"{name}={text}" for name, text in sorted(current.fingerprints.items())]
    return [current.rotation_id, *prints]


def expected(
    document: Document,
    sinks: Sequence[Sink],
    consumer: Consumer,
) -> str:
    """The receipt that a consumer should have now.

    One without sinks is told of each new current stage; PgBouncer of everything that its userlist
    follows from. Where check mode only predicts a value, the digest is of what is known about it.

    :raises BadInput: when it reads a sink that there is not, or one cannot be rendered.
    """
    names = sinks_read(consumer, sinks)
    made = digests(document, render_sinks(document, sinks)) if names else {}
    parts = [f"{name}={made[name]}" for name in sorted(names)]
    if consumer.type == "pgbouncer":
        parts.append(_pgbouncer_keyring.digest(document))
    parts = parts or _current_parts(document)
    predicted = any(NEW in part for part in parts)
    return f"{NEW if predicted else 'hmac'}:{_mac(document.salt, parts)}"


def lagging(
    document: Document,
    sinks: Sequence[Sink],
    consumers: Sequence[Consumer],
) -> list[str]:
    """The names of the consumers that were not seen using what they should use now.

    :raises BadInput: as :func:`expected`.
    """
    seen = {name: receipt.seen for name, receipt in document.receipts.items()}
    return [it.name for it in consumers if seen.get(it.name) != expected(document, sinks, it)]


def check_turn(consumer: Consumer, late: Sequence[str]) -> None:
    """Refuse a consumer whose forerunners have not picked up the value.

    :param late: the names of the consumers that lag.
    :raises Refused: naming those that must come first.
    """
    first = [name for name in consumer.after if name in late]
    if first:
        raise Refused(
            f"consumer {consumer.name}: it comes after {', '.join(first)}, not yet seen using the "
            "new value; see what stopped that one, then run the same playbook again",
            waits_for=first,
        )


def _nodes(consumers: Sequence[Consumer]) -> dict[str, str]:
    """Name → what moves together: its barrier, or itself."""
    return {
        consumer.name: f"barrier {consumer.barrier}" if consumer.barrier else consumer.name
        for consumer in consumers
    }


def _edges(consumers: Sequence[Consumer], option: str) -> dict[str, set[str]]:
    nodes = _nodes(consumers)
    edges: dict[str, set[str]] = {node: set() for node in nodes.values()}
    for consumer in consumers:
        for name in consumer.after:
            if name not in nodes:
                raise BadInput(
                    f"{option}: '{consumer.name}' comes after '{name}', which there is not; the "
                    f"consumers are: {', '.join(nodes)}"
                )
            if nodes[name] == nodes[consumer.name]:
                raise BadInput(
                    f"{option}: '{consumer.name}' comes after '{name}', with which it is to be "
                    "reloaded together"
                )
            edges[nodes[consumer.name]].add(nodes[name])
    return edges


def order(
    consumers: Sequence[Consumer], option: str = "keyturn_consumers"
) -> tuple[tuple[Consumer, ...], ...]:
    """The consumers in waves: each one after those that it comes after, a barrier in one wave.

    :raises BadInput: for an unknown name, a consumer after one of its own barrier, or a circle.
    """
    nodes, edges = _nodes(consumers), _edges(consumers, option)
    waves: list[tuple[Consumer, ...]] = []
    done: set[str] = set()
    while len(done) < len(edges):
        ready = {node for node, first in edges.items() if node not in done and first <= done}
        if not ready:
            left = ", ".join(sorted(set(edges) - done))
            raise BadInput(f"{option}: 'after' goes round in a circle: {left}")
        waves.append(tuple(it for it in consumers if nodes[it.name] in ready))
        done |= ready
    return tuple(waves)


def turns(late: Sequence[Consumer]) -> list[tuple[Consumer, ...]]:
    """Who is told by one task: those behind one barrier that are on one host, and everybody else alone.

    :param late: those to be told, in the order in which they are.
    """
    found: dict[tuple[str, str], list[Consumer]] = {}
    for consumer in late:
        alone = ("", consumer.name)
        key = (f"barrier {consumer.barrier}", consumer.host) if consumer.barrier else alone
        found.setdefault(key, []).append(consumer)
    return [tuple(items) for items in found.values()]


def told_elsewhere(consumers: Sequence[Consumer], sinks: Sequence[Sink]) -> frozenset[str]:
    """The names of those that cannot be told from the controller alone.

    They run on another host, or read a sink that is written there, or come after one that does.

    :raises BadInput: as :func:`order` and :func:`sinks_read`.
    """
    nodes = _nodes(consumers)
    left: set[str] = set()
    places = {name: bool(sink.host) for sink in sinks for name in (sink.name, sink.group) if name}
    for wave in order(consumers):
        for consumer in wave:
            late = {nodes[name] for name in consumer.after} & {nodes[name] for name in left}
            remote = any(places[name] for name in sinks_read(consumer, sinks))
            if consumer.host or late or remote:
                left.add(consumer.name)
    return frozenset(left)


__all__ = [
    "Consumer",
    "check_turn",
    "expected",
    "lagging",
    "order",
    "parse_consumer",
    "parse_consumers",
    "sinks_read",
    "told_elsewhere",
    "turns",
]
