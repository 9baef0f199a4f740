# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stream platform whose every run is watched, from the logs of its ingest to the programs that send test streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from estate.playbook import PlaybookResult
from stream_estate import StreamEstate

from leaks.detectors import Detector, Log
from leaks.trace import Tracer
from leaks.watch import Watch, keyrings_written, of_ansible, secrets_in

INGEST = "logs of the ingest"


def made_for(estate: StreamEstate) -> list[Path]:
    """The files that are there to hold keys; the copies of a day bear its date."""
    today = datetime.now(timezone.utc)
    days = [f"{today + timedelta(days=more):%Y%m%d}" for more in (0, 1)]
    live = estate.live_file
    copies = [live.with_name(f"{live.name}.bak.{day}") for day in days]
    return [estate.keyring, estate.allowed, estate.handed, live, *copies]


@dataclass
class StreamWatch:
    """A platform and what watches its runs.

    :param name: what the table calls its flows.
    :ivar made: every key that was seen.
    """

    estate: StreamEstate
    tracer: Tracer
    name: str
    env: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._learnt_to = self.tracer.mark()
        self.watch = Watch(self.detectors(), self.secrets)

    def detectors(self) -> list[Detector]:
        """All of them."""
        estate = self.estate
        # Those that nginx makes when it starts are there by now.
        written = [*{*estate.ingest.logs(), estate.ingest.callback_log}]
        places = [Log(INGEST, written), Log("ledger", [estate.ledger])]
        elsewhere = [path for place in places for path in place.paths]
        found = of_ansible(estate.ansible, self.tracer, estate.folder, made_for(estate), elsewhere)
        return [*found, *places]

    def secrets(self) -> dict[str, str]:
        """Every key that any version of the keyring held, and those that were handed over."""
        begun, self._learnt_to = self._learnt_to, self.tracer.mark()
        self.made.update(keyrings_written(self.tracer, begun, self.estate.keyring))
        if self.estate.keyring.exists():
            self.made.update(secrets_in(self.estate.keyring.read_bytes()))
        handed = [*self.estate.clicked]
        self.made.update({f"handed over {number}": key for number, key in enumerate(handed)})
        return self.made

    @contextmanager
    def over(self, flow: str) -> Iterator[None]:
        """Watch what is done inside."""
        with self.watch.over(f"{self.name}: {flow}"):
            yield

    def run(
        self, flow: str, playbook: str, *arguments: str, code: int = 0, **extra: Any
    ) -> PlaybookResult:
        """Run a playbook as loudly as it can be, under watch."""
        with self.over(flow):
            loud = ("-vvvv", "--diff", *arguments)
            done = self.estate.run(playbook, *loud, env=self.env, **extra)
        return done.check(code)

    def found(self) -> set[str]:
        """The places in which a key was found."""
        return {row.place for row in self.watch.rows if row.hits}
