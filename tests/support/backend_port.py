# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every place that keyrings and values are written to is to the tests over all of them."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._open import (
    Address,
    open_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Place
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import Store, open_store

OPTION = "keyturn_keyring"
WHERE = "keyturn_sinks"
NO_TEXT = bytes(range(256))
"""Bytes that are no text in UTF-8."""


@dataclass(frozen=True)
class Upstream:
    """Where a server listens, for a proxy in front of it."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


class Backend(ABC):
    """One kind of place.

    :ivar kind: what tables call it.
    :ivar environ: the task's environment.
    :ivar largest: bytes of a keyring that it takes.
    :ivar beyond: bytes of one that it refuses; 0: more than anybody has.
    :ivar race: how many writes each of the racing processes does.
    :ivar keeps_versions: earlier versions of a keyring stay known.
    :ivar keeps_bytes: its server keeps what is no text, too.
    :ivar compares: a sink's write is refused by the server itself when somebody else wrote in between.
    :ivar field: the field that sinks are tried with; empty for a place that holds one text.
    :ivar server_compares: it is the server that compares, and not a lock and a read under it.
    :ivar largest_value: bytes of a value that a sink takes.
    :ivar beyond_value: bytes of one that it refuses; 0: more than anybody has.
    :ivar refused_names: of the names that are tried, those that its server does not take; ``refused_values`` and
        ``refused_fields`` likewise.
    :ivar tiers: bytes up to which the server keeps a value in a tier of its own, and what it calls that.
    """

    kind = ""
    largest = 1_000_000
    beyond = 0
    largest_value = 500_000
    beyond_value = 0
    race = 50
    refused_names: tuple[str, ...] = ()
    refused_values: tuple[str, ...] = ()
    refused_fields: tuple[str, ...] = ()
    tiers: tuple[tuple[int, str], ...] = ()
    server_compares = True
    keeps_versions = False
    compares = True
    keeps_bytes = False
    field = ""

    def __init__(self) -> None:
        self.environ: dict[str, str] = {}
        self.warnings: list[str] = []
        self.sessions: dict[Any, Any] = {}

    def context(self, **changes: Any) -> Context:
        """The surroundings of one call; logins and connections are shared by all calls of a test."""
        about = {"environ": dict(self.environ), "warn": self.warnings.append}
        return Context(sessions=self.sessions, **about, **changes)

    def end(self) -> None:
        """End the calls of the test as a task does: what they shared is closed, and none of it fails to."""
        told = len(self.warnings)
        self.context().close()
        assert not self.warnings[told:], self.warnings
        assert not self.sessions

    def store(self, name: str = "db_app") -> Store:
        """A keyring's store, opened by its reference."""
        return open_store(parse_reference(self.keyring(name), OPTION), self.context(), OPTION)

    def place(self, name: str = "app", context: Context | None = None) -> Place:
        """A sink's place, opened as ``publish`` does."""
        [sink] = parse_sinks([{"ref": self.sink(name), "template": "x", **self.sink_options()}])
        ref = sink.ref
        address = Address(ref.scheme, ref.path, ref.params, ref.place, WHERE)
        return open_place(address, sink.options, context or self.context())

    def sink_options(self) -> dict[str, Any]:
        """What a sink's definition needs beside its reference."""
        return {}

    @abstractmethod
    def keyring(self, name: str) -> str:
        """The reference of a keyring."""

    @abstractmethod
    def sink(self, name: str) -> str:
        """The reference of a sink, with its field."""

    @abstractmethod
    def held(self, name: str) -> str | None:
        """What the sink holds, read past the collection; none when it is not there."""

    @abstractmethod
    def put(self, name: str, value: str) -> None:
        """Write it past the collection, as somebody else would."""

    @abstractmethod
    def writes(self, name: str) -> int | str:
        """What the server itself counts or names the sink's present version by; it differs after every write."""

    @abstractmethod
    def others(self, name: str) -> dict[str, str]:
        """All other fields of the sink, and what else it is to keep, read past the collection."""

    @abstractmethod
    def keyring_version(self, name: str = "db_app") -> str:
        """What the server itself names the keyring's present version by; it differs after every write."""

    @abstractmethod
    def note_keyring(self) -> str:
        """What an operator has to come back to the keyring as it is: a version where older ones are kept, else a copy."""

    @abstractmethod
    def go_back(self, noted: str) -> None:
        """Make the keyring what it was then, as docs/stores.md says, past the collection."""

    def spoil_keyring(self) -> bytes:
        """Make the keyring bytes that are no text, past the collection; those."""
        raise NotImplementedError(f"{self.kind} keeps texts")

    def spoiled(self) -> bytes:
        """What stands in the spoiled keyring's place, read past the collection."""
        raise NotImplementedError(f"{self.kind} keeps texts")

    def spoil(self, name: str) -> bytes:
        """Make the sink's field bytes that are no text, and those of another one, ``BINARY``, too.

        ``others`` gives them as Python's ``surrogateescape`` has them.
        """
        raise NotImplementedError(f"{self.kind} keeps texts")

    def keyring_left_over(self) -> list[str]:
        """What a killed writer left beside the keyring."""
        return []

    def left_over(self, name: str) -> list[str]:
        """What a killed writer left beside the sink."""
        return []

    def keyring_of(self, size: int) -> str:
        """The longest text of which the server is given so many bytes at most."""
        raise NotImplementedError(f"{self.kind} has no tiers")

    def keyring_tier(self) -> str:
        """The tier of the keyring's present version, read past the collection."""
        raise NotImplementedError(f"{self.kind} has no tiers")

    def tier(self, name: str) -> str:
        """The tier of a sink, read past the collection."""
        return self.others(name).get("Tier", "")

    def upstream(self) -> Upstream | None:
        """Where its server listens; none where there is no server."""
        return None

    def through(self, port: int, ca: Path | None) -> None:
        """Go on through a proxy at this port of 127.0.0.1, by TLS where a CA is given."""
        raise NotImplementedError(f"{self.kind} has no server")

    def heal(self, environ: dict[str, str]) -> None:
        """Go on as before a fault, with this environment and the server as it was."""
        self.environ = dict(environ)

    def patience(self, seconds: float) -> None:
        """Set the deadline of one call with all its retries."""
        raise NotImplementedError(f"{self.kind} has no server")

    def values(self) -> list[str]:
        """What must never show: the identity that the server is asked with."""
        return []
