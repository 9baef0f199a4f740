# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A flow under all detectors: what it made is learnt, then everything that came to any place is searched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from estate.playbook import Ansible
from show.leaks import secrets_of

from leaks.detectors import (
    Arguments,
    Beside,
    Detector,
    Environment,
    Folder,
    Local,
    Log,
    Open,
    Written,
    is_or_succeeds,
    written,
)
from leaks.search import QuickSearch
from leaks.trace import Tracer

PLUGINS = Path(__file__).with_name("plugins")
# What plants are made of.
PLANTS = "plants"
KILLER = Path(__file__).parents[1] / "plugins"
# Paths below the home directory, which is each run's own, so that one warm process serves all runs.
SETTINGS = {
    "ANSIBLE_CALLBACK_PLUGINS": f"{PLUGINS}:{KILLER}",
    "ANSIBLE_CALLBACKS_ENABLED": "json_events,junit,kill_at",
    "ANSIBLE_CACHE_PLUGIN": "jsonfile",
    "ANSIBLE_CACHE_PLUGIN_CONNECTION": "~/facts",
}


@dataclass(frozen=True)
class Row:
    """One flow in one kind of place.

    :param size: bytes that were searched.
    :param secrets: how many secrets were searched for.
    :param hits: what was found, without a value.
    """

    flow: str
    place: str
    size: int
    secrets: int
    hits: list[str]


@dataclass
class Watch:
    """Runs flows under detectors.

    :param detectors: all of them are started before a flow, and asked after it.
    :param learn: gives the secrets that are known by now.
    :ivar rows: one for each flow and detector.
    """

    detectors: Sequence[Detector]
    learn: Callable[[], Mapping[str, str]]
    search: QuickSearch = field(default_factory=QuickSearch)
    rows: list[Row] = field(default_factory=list)

    @contextmanager
    def over(self, flow: str, where: str = "") -> Iterator[None]:
        """Watch while a flow runs; what it does is done inside.

        :param where: more of what it was, for a person who reads of a hit.
        """
        for detector in self.detectors:
            detector.start()
        yield
        for detector in self.detectors:
            detector.stop()
        self.search.know(self.learn())
        for detector in self.detectors:
            self._look(flow, detector, where)

    def killed(self, was: bool) -> None:
        """Whether the run was killed that is looked at next."""
        for detector in self.detectors:
            if isinstance(detector, Beside):
                detector.killed = was

    def _look(self, flow: str, detector: Detector, where: str) -> None:
        size, leaks = detector.found_by(self.search)
        hits = [f"{leak}{where and f', {where}'}" for leak in leaks]
        self.rows.append(Row(flow, detector.name, size, len(self.search.secrets), hits))

    def hits(self) -> list[str]:
        """Everything that was found, with its flow."""
        return [f"{row.flow}: {hit}" for row in self.rows for hit in row.hits]

    def missed(self, place: str, names: Iterable[str]) -> list[str]:
        """The secrets of these names that were not found in this kind of place."""
        hits = {hit.split(" (")[0] for row in self.rows if row.place == place for hit in row.hits}
        return [name for name in names if name not in hits]

    def told(self) -> list[dict[str, Any]]:
        """The rows as JSON types."""
        return [asdict(row) for row in self.rows]


def prepare(ansible: Ansible) -> None:
    """Have runs write to all the places that they could write to."""
    home = ansible.work_dir / "home"
    ansible.env.update(
        {
            **SETTINGS,
            "JUNIT_OUTPUT_DIR": str(home / "junit"),
            "KEYTURN_EVENTS": str(ansible.work_dir / "events.jsonl"),
        }
    )


def of_ansible(
    ansible: Ansible,
    tracer: Tracer,
    folder: Path,
    made_for: Sequence[Path],
    elsewhere: Sequence[Path] = (),
) -> list[Detector]:
    """The detectors of all that Ansible prints, writes and starts.

    :param folder: the estate's files, which nobody else may read.
    :param made_for: files that are there to hold secrets.
    :param elsewhere: files that other detectors look at.
    """
    work = ansible.work_dir
    captured, log, events = work / "captured", ansible.log_path, work / "events.jsonl"
    junit, facts = work / "home" / "junit", work / "home" / "facts"
    apart = (captured, log, events, junit, facts, tracer.folder)
    beside = (work, folder / PLANTS, *elsewhere)
    return [
        Folder("output", [captured]),
        Log("Ansible's log", [log]),
        Log("JSON callback", [events]),
        Folder("junit callback", [junit]),
        Folder("fact cache", [facts]),
        Arguments("command lines", tracer),
        Environment("environments", tracer),
        Local("sockets of the machine", tracer),
        Written("files written", tracer, made_for=made_for, apart=apart),
        Folder("files left", [work], apart=apart),
        Beside("files beside", [folder], apart=beside, made_for=made_for),
        Open("readable by others", tracer, roots=[folder], apart=apart),
    ]


def keyrings_written(tracer: Tracer, mark: int, keyring: Path) -> dict[str, str]:
    """The secrets of every version of a keyring in a file, also of those that lived for a moment."""
    found: dict[str, str] = {}
    for path, content in written(tracer, mark).items():
        if is_or_succeeds(Path(path), keyring):
            found.update(secrets_in(content))
    return found


def secrets_in(content: bytes) -> dict[str, str]:
    """The secrets of a keyring's text; none in one that is damaged, or that a kill cut short: nothing was made of it."""
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    return secrets_of(document) if isinstance(document, dict) else {}
