# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One stream platform on this machine: a real ingest, its credential in an inventory, and the playbooks that are run on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    parse_document,
)
from estate.playbook import Ansible, PlaybookResult
from estate.processes import wait_until
from ingest import Ingest

NAME = "restream"
STREAM = {"duration": "1s", "size": "160x90", "rate": 10, "video_bitrate": "100k"}
FORCE = {"keyturn_force": True}


def keys_of(document: Document) -> dict[str, str]:
    """The keys of all stages that have one."""
    keys = {name: stage.secret("key") for name, stage in document.stages.items()}
    return {name: key.reveal() for name, key in keys.items() if key}


class StreamWorld:
    """The platform and its credential.

    :param issuer: the ``keyturn_issuer``.
    :param lists: whether a sink writes the list of keys that the ingest takes.
    :ivar live_file: what the streaming service reads.
    """

    def __init__(
        self, folder: Path, ansible: Ansible, ingest: Ingest, issuer: Mapping[str, Any], lists: bool
    ) -> None:
        self.folder, self.ansible, self.ingest = folder, ansible, ingest
        self.keyring = folder / "keyring.json"
        self.live_file = folder / "restream.key"
        sinks = [
            {"name": "live", "ref": f"ref+file://{self.live_file}", "template": "{current.key}"}
        ]
        if lists:
            shown = "{current,pending,previous.key|join:\n}\n"
            where = f"ref+file://{ingest.allow_list}"
            allowed = {"name": "allowed", "ref": where, "template": shown, "absent": "remove"}
            sinks.insert(0, allowed)
        self.variables: dict[str, Any] = {
            "keyturn_owner": "broadcast",
            "keyturn_keyring": f"ref+file://{self.keyring}",
            "keyturn_policy": {
                "rotate": "age",
                "max_age": "90d",
                "grace": "0s",
                "escalation": "the desk of keys",
            },
            "keyturn_issuer": dict(issuer),
            "keyturn_sinks": sinks,
            "keyturn_gates": [
                {"type": "not_publishing", "stat": ingest.stat_url, "applications": ["live"]},
                {"type": "reachable", "host": "127.0.0.1", "port": ingest.port},
            ],
            "keyturn_probes": [
                {
                    "type": "stream",
                    "url": ingest.url(),
                    "received": {"stat": ingest.stat_url},
                    **STREAM,
                }
            ],
            "keyturn_wait": "20s",
            "keyturn_interval": "1s",
        }
        self.write()

    def write(self, **changes: Any) -> None:
        """Write the inventory, with some variables changed."""
        self.variables.update(changes)
        place = self.folder / "inventory"
        (place / "host_vars").mkdir(parents=True, exist_ok=True)
        hosts = {"all": {"children": {"stream_platforms": {"hosts": {NAME: None}}}}}
        (place / "hosts.yml").write_text(yaml.safe_dump(hosts))
        (place / "host_vars" / f"{NAME}.yml").write_text(yaml.safe_dump(self.variables))

    def run(self, playbook: str, *arguments: str, **extra: Any) -> PlaybookResult:
        """Run a playbook of the collection; no key that the keyring knows may stand in what it prints."""
        before = self.known()
        done = self.ansible.run(
            f"keyturn.runbooks.{playbook}",
            *arguments,
            inventory=self.folder / "inventory",
            extra_vars=extra,
        )
        for key in {*before.values(), *self.known().values()}:
            assert key not in done.output
        return done

    def document(self) -> Document:
        """The keyring."""
        return parse_document(self.keyring.read_text())

    def known(self) -> dict[str, str]:
        """The keys of all stages; nothing where there is no keyring."""
        return keys_of(self.document()) if self.keyring.exists() else {}

    def key(self, stage: str) -> str:
        """The key of a stage."""
        return self.known()[stage]

    def state(self) -> tuple[object, ...]:
        """Everything that a rotation could write, but for the line that tells of a refusal."""
        files = (self.live_file, self.ingest.allow_list)
        texts = [file.read_text() if file.exists() else "absent" for file in files]
        document = self.document()
        kept = [getattr(document, name) for name in ("pending", "current", "previous", "receipts")]
        return (*texts, *kept)


class Meanwhile:
    """A program that a proof or a consumer runs, which waits until the test has done something in that moment.

    :param skipped: not the first time that it runs.
    """

    def __init__(self, folder: Path, name: str, skipped: bool = False) -> None:
        self._reached, self._done = folder / f"{name}.reached", folder / f"{name}.done"
        script = f"touch {self._reached}; while [ ! -e {self._done} ]; do sleep 0.05; done"
        if skipped:
            once = folder / f"{name}.skipped"
            script = f"[ -e {once} ] || {{ touch {once}; exit 0; }}; {script}"
        self.argv = ["timeout", "30", "sh", "-c", script]

    def wait(self) -> None:
        """Until the run is there."""
        wait_until(self._reached.exists, 60, "the run to come to this point")

    def go_on(self) -> None:
        """Let the run go on."""
        self._done.touch()
