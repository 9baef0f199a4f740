# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene whose every run is watched, with the log of its database server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estate.playbook import PlaybookResult
from scene import Flow, Scene
from show.leaks import SHORTEST

from leaks.detectors import VERIFIER, Beside, Detector, Log, Written
from leaks.flows import SENT_VERIFIERS
from leaks.trace import Tracer
from leaks.watch import Watch, keyrings_written, of_ansible


class SceneWatch:
    """A scene and what watches its runs, which are as loud as they can be.

    :ivar made: every secret that was seen.
    """

    def __init__(self, scene: Scene, tracer: Tracer, env: Mapping[str, str]) -> None:
        self.scene, self.tracer, self.env = scene, tracer, dict(env)
        self.made: dict[str, str] = {}
        self._learnt_to = tracer.mark()
        self.watch = Watch(self._detectors(), self._secrets)

    def _detectors(self) -> list[Detector]:
        scene = self.scene
        logs = [Log("ledger", [scene.ledger(host) for host in scene.hosts])]
        database: Any = getattr(scene, "database", None)
        if database:
            log = database.server.log_path
            logs.append(Log("PostgreSQL's log", [log], SENT_VERIFIERS, may_hold=(VERIFIER,)))
        elsewhere = [path for log in logs for path in log.paths]
        found = of_ansible(scene.ansible, self.tracer, scene.folder, scene.holders(), elsewhere)
        for detector in found:
            if isinstance(detector, Written | Beside):
                detector.apart = (*detector.apart, *scene.folders())
        return [*found, *logs]

    def _secrets(self) -> dict[str, str]:
        """Every secret that any version of a keyring held, and those that were given."""
        begun, self._learnt_to = self._learnt_to, self.tracer.mark()
        for host in self.scene.hosts:
            found = keyrings_written(self.tracer, begun, self.scene.keyring(host))
            self.made.update({f"{name} ({host})": value for name, value in found.items()})
        self.scene.remember()
        for name, value in self.scene.seen.items():
            verifier = VERIFIER if value.startswith("SCRAM-SHA-256$") else ""
            self.made[f"{verifier}{name}"] = value
        return {name: value for name, value in self.made.items() if len(value) >= SHORTEST}

    def run(self, flow: Flow, *arguments: str, told: str = "") -> PlaybookResult:
        """Run a flow as loudly as it can be, under watch."""
        scene = self.scene
        with self.watch.over(f"{scene.name}: {flow.name}{told}"):
            loud = ("-vvvv", "--diff", *arguments)
            return scene.run(flow.playbook, *loud, extra=scene.given(flow), **self.env)

    def places(self) -> set[str]:
        """The places in which a secret was found."""
        return {row.place for row in self.watch.rows if row.hits}
