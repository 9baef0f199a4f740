# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stream platform that is attacked: an own ingest that takes several keys, or a platform where a person resets the one that there is.

The ingest reads its list in the folder of everything else, so that all that a run can change is in one place. A relay takes what the
key file holds when it is told to, and remembers it in a file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    chain_faults,
    tail_faults,
)
from estate.playbook import Ansible, PlaybookResult
from ingest import Ingest, new_key
from points import inside
from rotation import WATCHED, Point
from stream_world import FORCE, StreamWorld

ROTATE, ROLL_BACK = "rotate_stream_keys", "rollback_stream_keys"
HERE = "dashboard.example, Keys: Reset"


class StreamEstate(StreamWorld):
    """A platform with its list, a key file with a copy of each day, an env file and a relay.

    :param overlap: an own ingest with several keys; else the platform has one, which a person resets.
    :param keys: the folder of the key file, if not the one of everything else.
    :ivar handed: where the person puts a new key.
    :ivar held: what the relay uses.
    :ivar reset: the key that the person made last, which ended the one before.
    :ivar clicked: every key that the person made.
    :ivar since: the rotation that is to be replaced; see :meth:`settled`.
    """

    def __init__(
        self,
        folder: Path,
        ansible: Ansible,
        ingest: Ingest,
        overlap: bool,
        keys: Path | None = None,
    ) -> None:
        self.overlap, self.reset, self.since = overlap, "", ""
        self.clicked: list[str] = []
        self.allowed, self.handed = folder / "allowed-keys", folder / "handed.key"
        self.held, self.env_file = folder / "held.key", folder / "relay.env"
        self.ledger = folder / "ledger.jsonl"
        self.allowed.touch(mode=0o600)
        ingest.allow_list.symlink_to(self.allowed)
        issuer: dict[str, Any] = {"type": "rtmp_ingest", "stat": ingest.stat_url}
        if not overlap:
            values = {"key": f"ref+file://{self.handed}"}
            issuer = {"type": "operator", "overlap": False, "values": values, "make": HERE}
        super().__init__(folder, ansible, ingest, issuer, lists=False)
        self.live_file = (keys or folder) / "restream.key"
        self.env_file.write_text("# the relay\nBITRATE=6000k\n")
        self.env_file.chmod(0o600)
        self.write(
            keyturn_ledger=f"ref+file://{self.ledger}",
            keyturn_sinks=self.sinks(),
            keyturn_consumers=[self.relay()],
        )

    def sinks(self) -> list[dict[str, Any]]:
        """The list where there is one, the key file, and where the relay finds it."""
        key_file = {"name": "live", "ref": f"ref+file://{self.live_file}", "mode": "0600"}
        shown = "{current,pending,previous.key|join:\n}\n"
        listed = {"name": "allowed", "ref": f"ref+file://{self.allowed}", "template": shown}
        named = f"ref+file://{self.env_file}?format=env#/STREAM_KEY_FILE"
        return [
            *([listed] if self.overlap else []),
            {**key_file, "template": "{current.key}", "backup": {"keep": "7d"}},
            {"name": "env", "ref": named, "template": str(self.live_file)},
        ]

    def relay(self) -> dict[str, Any]:
        """It takes what the key file holds."""
        script = f"umask 077; cat {self.live_file} > {self.held}"
        argv = ["sh", "-c", script]
        return {"name": "relay", "type": "command", "argv": argv, "reads": ["live"]}

    def begin(self) -> None:
        """The first key is in use."""
        self.click()
        self.run(ROTATE).check()
        self.settled()

    def one_key(self) -> None:
        """One key is in use, and nothing else is known; the key file was not copied today."""
        if self.document().pending:
            self.click()
            self.run(ROTATE).check()
        if self.document().previous:
            self.run("retire_due").check()
        for copy in self.folder.glob(f"{self.live_file.name}.bak.*"):
            copy.unlink()
        self.settled()

    def two_keys(self) -> None:
        """A key is in use, and the one before it is kept."""
        self.one_key()
        self.click()
        self.run(ROTATE, **FORCE).check()

    def asked(self) -> None:
        """A person is asked for a new key, and has made none yet."""
        self.one_key()
        self.run(ROTATE, **FORCE).check(2)

    def handed_over(self) -> None:
        """The person has made it; the key in use is dead."""
        self.asked()
        self.click()

    def settled(self) -> None:
        """From now on a rotation is one that replaces what is in use now, and only once."""
        current = self.document().current
        assert current
        self.since = current.rotation_id

    def click(self) -> None:
        """What the person does: a new key, which ends the one before, is put where the run looks for it."""
        if self.overlap:
            return
        self.reset = new_key()
        self.ingest.allow(self.reset)
        self.hand(self.reset)

    def hand(self, key: str) -> None:
        """Put a key where the run looks for it."""
        self.clicked.append(key)
        self.handed.touch(0o600)
        self.handed.write_text(f"{key}\n")

    def run(
        self,
        playbook: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> PlaybookResult:
        """Run a playbook; no key that the keyring knows, and none that was handed over, may stand in what it prints."""
        before = {*self.known().values(), self.reset}
        done = self.ansible.run(
            f"keyturn.runbooks.{playbook}",
            *arguments,
            inventory=self.folder / "inventory",
            extra_vars=extra,
            env=env,
        )
        for key in {*before, *self.known().values()} - {""}:
            assert key not in done.output
        return done

    def traced(self, playbook: str, code: int = 0) -> list[Point]:
        """Run it undisturbed; every point where it could have been killed, in order. Every file that it changed has its point."""
        trace, before = self.folder / "trace", self._files()
        trace.unlink(missing_ok=True)
        env = {**WATCHED, "KEYTURN_TRACE": str(trace)}
        self.run(playbook, env=env, **self.wish(playbook)).check(code)
        points = [Point(*json.loads(line)) for line in trace.read_text().splitlines()]
        trace.unlink()
        told = {point.moment.split(" ")[1] for point in points if inside(point)}
        after = self._files()
        written = {path for path in {*before, *after} if before.get(path) != after.get(path)}
        # What the relay remembers is written by the program that tells it.
        untold = {path.name for path in written} - told - {self.held.name}
        assert not untold, f"{playbook}: written, and no point tells of it: {sorted(untold)}"
        return points

    def cut(self, playbook: str, point: Point) -> PlaybookResult:
        """Run it, killed at a point; a run that does not pass it comes to its end."""
        wanted = json.dumps([point.task, point.number, point.moment])
        env = {**WATCHED, "KEYTURN_KILL": wanted}
        return self.run(playbook, env=env, **self.wish(playbook))

    def wish(self, playbook: str) -> dict[str, Any]:
        """A rotation is forced until it has begun, so that it does not begin anew after its end."""
        return FORCE if playbook == ROTATE and self.rotation() == self.since else {}

    def _files(self) -> dict[Path, tuple[int, int, int]]:
        own = (self.ansible.work_dir, self.ingest.run_dir)
        found = {}
        for path in self.folder.rglob("*"):
            if path.is_file() and not any(place in path.parents for place in own):
                about = path.stat()
                found[path] = (about.st_ino, about.st_size, about.st_mtime_ns)
        return found

    def phases(self) -> list[str]:
        """The steps that the audit log tells of."""
        return [line["phase"] for line in self._lines()]

    def _lines(self) -> list[dict[str, Any]]:
        if not self.ledger.exists():
            return []
        return [json.loads(line) for line in self.ledger.read_text().splitlines()]

    def left(self) -> dict[str, Any]:
        """What a run leaves, with names of stages in the place of keys: two undisturbed runs leave the same."""
        document = self.document()
        found = document.stages
        names = {key: name for name, key in reversed(self.known().items())}
        rotations = {stage.rotation_id: name for name, stage in reversed(found.items())}
        lines = self._lines()
        return {
            "stages": {
                name: (stage.status, stage.failed, sorted(stage.fields))
                for name, stage in found.items()
            },
            "retained": len(document.retained),
            "claim": document.claim,
            "receipts": {
                name: rotations.get(receipt.rotation_id, "older")
                for name, receipt in document.receipts.items()
            },
            "accepted": {name: self.ingest.accepts(key) for name, key in self.known().items()},
            "list": [names.get(key, "other") for key in self.allowed.read_text().split()],
            "live": names.get(self.live_file.read_text(), "other"),
            "held": names.get(self.held.read_text(), "other"),
            "env": self.env_file.read_text(),
            "ledger": [*chain_faults(lines), *tail_faults(lines, document.ledger)],
            "files": sorted((path.name, path.stat().st_mode & 0o777) for path in self._files()),
        }

    def survives(self, where: str) -> None:
        """What has to hold at any moment: who goes live now can, and no key is anywhere that the keyring does not know."""
        document, known = self.document(), set(self.known().values())
        used = {self.live_file.read_text(), self.held.read_text()}
        if self.overlap:
            for key in used:
                assert self.ingest.accepts(key), f"{where}: a key in use is refused"
            listed = set(self.allowed.read_text().split())
            assert listed <= known, f"{where}: the ingest has a key that the keyring never had"
        else:
            self._is_said(where, document, used)
        assert used <= known, f"{where}: a key is in use that the keyring does not know"

    def _is_said(self, where: str, document: Document, used: set[str]) -> None:
        """Where the platform ended the key in use, the keyring has the rotation that goes on to the accepted one."""
        assert self.ingest.accepts(self.reset), where
        if self.reset not in used:
            going = document.pending or (document.current and document.current.status == "promoted")
            assert going, f"{where}: the key in use is dead, and nothing says so"

    def rotation(self) -> str:
        """The rotation that is worked on, or else the one in use."""
        document = self.document()
        stage = document.pending or document.current
        assert stage
        return stage.rotation_id
