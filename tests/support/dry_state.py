# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states that a credential can be in: what matters of a world, and what a person would say of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    lagging,
    parse_consumers,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from likeness import Facts, digest
from world import World

TOLD_BY = {"keyring.json": ("stages", "claim", "lagging"), "ledger.jsonl": ("ledger",)}
"""The facts that a look at these files can depend on."""


@dataclass(frozen=True)
class State:
    """A state of the credential.

    :param name: what a person would say of it; the same for states that differ only in what is not written there.
    :param way: how it was come to.
    """

    key: str
    name: str
    way: str
    world: World
    facts: Facts


class Reader:
    """Tells which state a world is.

    :param definition: the credential's host_vars.
    :param folder: where keyring and ledger are, by the names of ``TOLD_BY``.
    """

    def __init__(self, definition: Mapping[str, Any], folder: Path) -> None:
        self.keyring, self.ledger = (folder / name for name in TOLD_BY)
        self._sinks = parse_sinks(definition["keyturn_sinks"])
        self._consumers = parse_consumers(definition["keyturn_consumers"])

    def text(self, world: World, path: Path) -> str:
        """A file's text in that world; empty when it is not there."""
        kept = world["files"].get(str(path))
        return base64.b64decode(kept["content"]).decode() if kept else ""

    def document(self, world: World) -> Document | None:
        """The keyring in that world."""
        text = self.text(world, self.keyring)
        return parse_document(text) if text else None

    def facts(self, world: World) -> dict[str, Any]:
        """What matters of a world, with stages for names."""
        document = self.document(world)
        stages = document.stages if document else {}
        return {
            "stages": {
                name: [stage.status, stage.failed, stage.adopted, stage.retire_after is not None]
                for name, stage in stages.items()
            },
            "claim": bool(document and document.claim),
            "lagging": lagging(document, self._sinks, self._consumers) if document else [],
            "ledger": self._ledger(world, document),
            **self.surroundings(world, stages),
        }

    def surroundings(self, world: World, stages: Mapping[str, Stage]) -> dict[str, Any]:
        """What matters of issuer, sinks and consumers."""
        raise NotImplementedError

    def server(self, facts: Facts, stage: str) -> str:
        """What whoever checks the value of a stage says to it."""
        raise NotImplementedError

    def told_by(self) -> dict[str, tuple[str, ...]]:
        """For each file, and for the servers, the facts that a look at it can depend on."""
        raise NotImplementedError

    def _ledger(self, world: World, document: Document | None) -> str:
        lines = len(self.text(world, self.ledger).splitlines())
        head = document.ledger.number if document and document.ledger else 0
        return "whole" if lines == head else "line lost"

    def state(self, world: World, way: str) -> State:
        """The state that a world is."""
        facts = self.facts(world)
        return State(digest(facts), self._spoken(facts), way, world, facts)

    def _spoken(self, facts: Facts) -> str:
        parts = []
        for name, (status, failed, adopted, due) in facts["stages"].items():
            words = [status, *["failed"] * failed, *["adopted"] * adopted]
            if name == "previous" and due:
                words.append("due")
            parts.append(f"{name} {' '.join(words)} ({self.server(facts, name)})")
        told = ", ".join(facts["lagging"])
        rest = [
            *([f"{told} not told"] if told else []),
            *(["claimed by a dead run"] if facts["claim"] else []),
            *(["ledger line lost"] if facts["ledger"] != "whole" else []),
        ]
        return "; ".join([*(parts or ["nothing"]), *rest])
