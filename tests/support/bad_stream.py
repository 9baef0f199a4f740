# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many stream platforms of one real ingest, each with one thing wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import yaml
from bad_input import BAD_INPUT, Case, Trial
from estate.playbook import Ansible
from ingest import Ingest, new_key
from stream_world import STREAM
from world import World, read_world

ROTATE = "rotate_stream_keys"


def read_streams() -> list[Case]:
    """The cases of stream platforms."""
    kept = yaml.safe_load((BAD_INPUT / "cases.yml").read_text())["streams"]
    said = yaml.safe_load((BAD_INPUT / "messages.yml").read_text())
    return [Case(name, ROTATE, said.get(name, ""), about) for name, about in kept.items()]


class StreamTrial(Trial):
    """An ingest that takes the key in use, and a folder for each case."""

    group = "stream_platforms"

    def __init__(self, place: Path, ansible: Ansible, ingest: Ingest, closed: int) -> None:
        self.ingest, self.password = ingest, new_key()
        super().__init__(place, cast(Any, None), ansible, closed, "")

    def __post_init__(self) -> None:
        self.ingest.allow(self.password)

    def facts(self, host: str) -> dict[str, Any]:
        """What the names in braces stand for."""
        return {
            "folder": str(self.place / host),
            "host": host,
            "url": self.ingest.url(),
            "stat": self.ingest.stat_url,
            "page": self.ingest.stat_url.replace("/stat", "/other"),
            "port": self.ingest.port,
            "closed": self.closed,
            "list": str(self.ingest.allow_list),
            "dashboard": {"key": f"ref+file://{self.place / host}/handed.key"},
        }

    def issuer(self, host: str) -> dict[str, Any]:
        """As it is right."""
        return {"type": "rtmp_ingest", "stat": self.ingest.stat_url}

    def _variables(self, host: str) -> dict[str, Any]:
        folder, ingest = self.place / host, self.ingest
        shown = "{current,pending,previous.key|join:\n}\n"
        live = {"name": "live", "ref": f"ref+file://{folder}/live.key"}
        probe = {"type": "stream", "url": ingest.url(), "received": {"stat": ingest.stat_url}}
        idle = {"type": "not_publishing", "stat": ingest.stat_url, "applications": ["live"]}
        return {
            "keyturn_keyring": f"ref+file://{folder}/keyring.json",
            "keyturn_policy": {"rotate": "age", "max_age": "90d", "grace": "0s"},
            "keyturn_issuer": self.issuer(host),
            "keyturn_sinks": [
                {"name": "allowed", "ref": f"ref+file://{ingest.allow_list}", "template": shown},
                {**live, "template": "{current.key}"},
            ],
            "keyturn_gates": [
                idle,
                {"type": "reachable", "host": "127.0.0.1", "port": ingest.port},
            ],
            "keyturn_probes": [{**probe, **STREAM}],
            "keyturn_adopt": {"key": f"ref+file://{folder}/in-use.key"},
            "keyturn_wait": "10s",
        }

    def files(self, host: str) -> Path:
        """A folder as it is right, with what wrong variables may point to beside it."""
        folder = self.place / host
        folder.mkdir(mode=0o711)
        self._private(folder / "in-use.key", self.password)
        self._private(folder / "profile.yaml", "names: [restream]\nrefs:\n  - {name: other}\n")
        return folder

    def world(self) -> World:
        """All folders, and what the ingest takes."""
        places = [str(self.place / host) for host in self.hosts]
        return read_world([*places, str(self.ingest.allow_list)], None)
