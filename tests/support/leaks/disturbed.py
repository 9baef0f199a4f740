# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of one credential that are disturbed: each of them under all detectors, or what they left at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from estate.playbook import PlaybookResult
from rotation import Estate

from leaks.detectors import VERIFIER, Beside, Detector, Folder, Log, OpenAtLast, Printed
from leaks.flows import given, held, logs, made_for, of_servers
from leaks.search import QuickSearch
from leaks.watch import PLANTS, SETTINGS, Watch


def detectors(estate: Estate) -> list[Detector]:
    """Those that need not be asked before; what is started and written meanwhile is for a tracer."""
    work, folder = estate.ansible.work_dir, estate.folder
    captured, log = work / "captured", estate.ansible.log_path
    servers = [place for place in of_servers(estate) if place.name != "ledger"]
    # What the operator keeps there, and the pooler its settings.
    kept = [*folder.glob("*-admin.json"), folder / "in-use.password", folder / PLANTS]
    kept += estate.kept.files()
    settings = [estate.pooler.ini_path] if estate.pooler else []
    beside = (work, *logs(servers), *kept, *settings)
    return [
        Folder("output", [captured]),
        Log("Ansible's log", [log]),
        Folder("files left", [work], apart=(captured, log)),
        Beside("files beside", [folder], apart=beside, made_for=made_for(estate)),
        OpenAtLast("readable by others", [folder], apart=[captured, log, *logs(servers)]),
        *servers,
        Printed("ledger", lambda: estate.kept.ledger_text().encode()),
    ]


def leaked(estate: Estate, passwords: Iterable[str], verifiers: Iterable[str]) -> list[str]:
    """Where any secret is that must not be there, by names.

    :param passwords: those that were seen on the way, and ``verifiers``; what is known anyway is added.
    """
    search = QuickSearch()
    search.know({**given(estate), **held(estate), **estate.kept.identities()})
    search.know({f"password {number}": value for number, value in enumerate(sorted(passwords))})
    search.know({f"{VERIFIER}{number}": value for number, value in enumerate(sorted(verifiers))})
    found = []
    for place in detectors(estate):
        place.stop()
        found += [f"{place.name}: {hit}" for hit in place.found_by(search)[1]]
    return found


@dataclass
class WatchedEstate(Estate):
    """An estate whose every run is watched, and as loud as it can be.

    :ivar watch: as soon as there is one.
    :param name: what the table calls its runs.
    """

    watch: Watch | None = None
    name: str = ""

    def run(
        self, playbook: str, *arguments: str, extra: Mapping[str, Any] | None = None, **env: str
    ) -> PlaybookResult:
        """Run one of the collection's playbooks; see :meth:`rotation.Estate.run`."""
        wanted = json.loads(env.get("KEYTURN_KILL", "null"))
        how, where = ("disturbed", f"{wanted[2]} '{wanted[0]}'") if wanted else ("", "")
        loud = {**env, **{name: SETTINGS[name] for name in SETTINGS if "CALLBACK" in name}}
        assert self.watch
        with self.watch.over(", ".join(filter(None, [self.name, playbook, how])), where):
            done = super().run(playbook, "-vvvv", "--diff", *arguments, extra=extra, **loud)
            self.watch.killed(done.returncode == -9)
        return done
