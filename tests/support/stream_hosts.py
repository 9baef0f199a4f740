# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several stream platforms in one inventory, each with an ingest of its own; their keys may be in files of a real host with systemd.

Every platform begins with a key that is in use and older than its policy allows: a run rotates it without being told to, and a run
after the end of that does nothing.
"""

from __future__ import annotations

import json
import secrets
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    expected,
    parse_consumers,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Receipt,
    Stage,
    dump_text,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    chain_faults,
    tail_faults,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from estate.playbook import Ansible, PlaybookResult, RunningPlaybook
from estate.processes import wait_until
from ingest import Ingest, new_key
from machines import Application, SystemdMachine, digest
from stream_world import STREAM, Meanwhile, keys_of

ROTATE, HOST = "rotate_stream_keys", "relay1"
RELOADS = "ExecReload=/bin/kill -HUP $MAINPID"
# A host that does not answer any more is given up after three seconds.
ALIVE = "-o ServerAliveInterval=1 -o ServerAliveCountMax=2"
PATIENCE = 150


class Platform:
    """One platform.

    :param overlap: its ingest takes a list of keys; else a person resets the one that there is.
    :param unit: what reads the key file, on a host; without one the file is on this machine, and a program takes what it holds.
    :param seconds: of its test stream.
    :ivar file: the key file, where it is on this machine.
    :ivar more: variables beside those that all have.
    :ivar reset: the key that the person made last, which ended the one before.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        ingest: Ingest,
        overlap: bool = True,
        unit: Application | None = None,
        seconds: int = 1,
    ) -> None:
        self.name, self.ingest, self.overlap, self.unit = name, ingest, overlap, unit
        self.seconds = seconds
        self.keyring, self.ledger = folder / f"{name}.json", folder / f"{name}.jsonl"
        self.handed = folder / f"{name}.handed"
        self.file, self._held = folder / f"{name}.key", folder / f"{name}.held"
        self.reset, self.more = "", dict[str, Any]()
        self._begin(new_key())
        self.first = self.current.rotation_id

    def _begin(self, key: str) -> None:
        """A key that is in use for too long."""
        self.ingest.allow(key)
        self.reset = key
        since = datetime.now(timezone.utc) - timedelta(days=100)
        stage = Stage(f"first-{self.name}", "observed", {"key": Secret(key)}, adopted=True)
        stage = replace(stage, made=since, promoted=since, observed=since)
        document = Document(self.name, secrets.token_bytes(32))
        document = replace(document, current=document.with_fingerprints(stage))
        for path, text in (
            (self.keyring, dump_text(document)),
            (self.file, key),
            (self._held, key),
        ):
            path.touch(0o600)
            path.write_text(text)
        if self.unit:
            self.unit.machine.write(self.unit.file, key)
            self.unit.start()

    def variables(self) -> dict[str, Any]:
        """Its host variables."""
        issuer: dict[str, Any] = {"type": "rtmp_ingest", "stat": self.ingest.stat_url}
        if not self.overlap:
            values = {"key": f"ref+file://{self.handed}"}
            issuer = {"type": "operator", "overlap": False, "values": values, "make": "Keys: Reset"}
        policy = {"rotate": "age", "max_age": "90d", "grace": "0s", "escalation": "the key desk"}
        stream = {
            "type": "stream",
            "url": self.ingest.url(),
            **STREAM,
            "duration": f"{self.seconds}s",
        }
        return {
            "keyturn_owner": "broadcast",
            "keyturn_keyring": f"ref+file://{self.keyring}",
            "keyturn_ledger": f"ref+file://{self.ledger}",
            "keyturn_policy": policy,
            "keyturn_issuer": issuer,
            "keyturn_sinks": self.sinks(),
            "keyturn_gates": [
                {"type": "not_publishing", "stat": self.ingest.stat_url, "applications": ["live"]},
                {"type": "reachable", "host": "127.0.0.1", "port": self.ingest.port},
            ],
            "keyturn_consumers": [self.relay()],
            "keyturn_probes": [{**stream, "received": {"stat": self.ingest.stat_url}}],
            "keyturn_wait": f"{PATIENCE}s",
            "keyturn_interval": "1s",
            **self.more,
        }

    def sinks(self) -> list[dict[str, Any]]:
        """The list where there is one, and the key file."""
        shown = "{current,pending,previous.key|join:\n}\n"
        where = f"ref+file://{self.ingest.allow_list}"
        listed = {"name": "allowed", "ref": where, "template": shown, "absent": "remove"}
        path = self.unit.file if self.unit else self.file
        there = {"host": HOST} if self.unit else {}
        live = {"name": "live", "ref": f"ref+file://{path}", "template": "{current.key}", **there}
        return [*([listed] if self.overlap else []), {**live, "mode": "0600"}]

    def relay(self) -> dict[str, Any]:
        """Who reads the key file."""
        about = {"name": f"relay-{self.name}", "reads": ["live"]}
        if self.unit:
            place = {"type": "systemd", "host": HOST, "unit": self.unit.unit}
            return {**about, **place, "settle": "0s", "timeout": "20s"}
        script = f"umask 077; cat {self.file} > {self._held}"
        return {**about, "type": "command", "argv": ["sh", "-c", script]}

    def seen(self) -> None:
        """Every consumer was seen using the key in use."""
        document, told = self.document, self.variables()
        sinks, since = parse_sinks(told["keyturn_sinks"]), self.current.observed
        assert since
        receipts = {
            one.name: Receipt(expected(document, sinks, one), since, self.first)
            for one in parse_consumers(told["keyturn_consumers"])
        }
        self.keyring.write_text(dump_text(replace(document, receipts=receipts)))

    def click(self) -> None:
        """What the person does: a new key, which ends the one before, is put where the run looks for it."""
        self.reset = new_key()
        self.ingest.allow(self.reset)
        self.handed.touch(0o600)
        self.handed.write_text(f"{self.reset}\n")

    @property
    def document(self) -> Document:
        """The keyring."""
        return parse_document(self.keyring.read_text())

    @property
    def current(self) -> Stage:
        """The stage in use."""
        current = self.document.current
        assert current
        return current

    def known(self) -> dict[str, str]:
        """The keys of all stages."""
        return keys_of(self.document)

    @property
    def state(self) -> str:
        """Its stages in words, such as ``promoted grace``; a failed one has a mark."""
        stages = self.document.stages.values()
        return " ".join(f"{stage.status}{'!' * stage.failed}" for stage in stages)

    def in_file(self) -> str:
        """The key in the key file."""
        return self.unit.machine.read(self.unit.file) if self.unit else self.file.read_text()

    def held(self) -> str:
        """The key that the service uses."""
        if not self.unit:
            return self._held.read_text()
        named = {digest(key): key for key in {*self.known().values(), self.in_file()}}
        return named.get(self.unit.uses, "another one")

    def untouched(self) -> tuple[object, ...]:
        """What is the same as long as nothing is changed: each file on this machine with its time, and the keyring but for refusals."""
        paths = (self.file, self._held, self.ingest.allow_list)
        files = [(path.stat().st_ino, path.stat().st_mtime_ns, path.read_text()) for path in paths]
        document = self.document
        kept = [getattr(document, name) for name in ("pending", "current", "previous", "receipts")]
        return (*files, *kept)

    def is_tested(self) -> bool:
        """Whether a test stream with the pending key is being sent."""
        return self.known().get("pending") in self.ingest.publishing()

    def phases(self) -> list[str]:
        """The steps that its audit log tells of."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [json.loads(line)["phase"] for line in lines]

    def survives(self, where: str) -> None:
        """What has to hold at any moment: who goes live can, and no key is anywhere that the keyring does not know."""
        known, used = {*self.known().values()}, {self.in_file(), self.held()}
        where = f"{where}, {self.name} is {self.state}"
        assert used <= known, f"{where}: a key is in use that the keyring does not know"
        if self.overlap:
            refused = [key for key in used if not self.ingest.accepts(key)]
            assert not refused, f"{where}: a key in use is refused"
            listed = set(self.ingest.allow_list.read_text().split())
            assert listed <= known, f"{where}: the ingest has a key that the keyring never had"
            return
        assert self.ingest.accepts(self.reset), where
        document = self.document
        going = document.pending or self.current.status == "promoted"
        assert self.reset in used or going, f"{where}: the key in use is dead, and nothing says so"

    def is_done(self) -> None:
        """It is at the end of a rotation, and of no other one."""
        key = self.known()["current"]
        assert self.state == "observed grace", f"{self.name}: {self.state}"
        assert (self.in_file(), self.held()) == (key, key), self.name
        assert self.ingest.accepts(key), self.name
        assert self.phases().count("stage") == 1, f"{self.name}: a second key"
        lines = [json.loads(line) for line in self.ledger.read_text().splitlines()]
        faults = [*chain_faults(lines), *tail_faults(lines, self.document.ledger)]
        assert not faults, f"{self.name}: {faults}"
        assert self.document.claim is None, self.name


class Platforms:
    """Their inventory, and the playbooks that are run on all of them."""

    def __init__(self, folder: Path, ansible: Ansible, machine: SystemdMachine | None) -> None:
        self.folder, self.ansible, self._machine = folder, ansible, machine
        self.all: list[Platform] = []
        self._ingests = ExitStack()
        self._names: set[str] = set()

    def add(self, name: str, *service: str, overlap: bool = True, seconds: int = 1) -> Platform:
        """One more, with its ingest, and with its unit where there is a host.

        :param service: lines of the unit's ``[Service]`` section.
        :param seconds: of its test stream.
        """
        ingest = self._ingests.enter_context(Ingest(careful=True))
        unit = Application(self._machine, *service) if self._machine else None
        made = Platform(name, self.folder, ingest, overlap, unit, seconds)
        self.all.append(made)
        return made

    def close(self) -> None:
        """Stop the ingests, and the units."""
        self._ingests.close()
        for one in self.all:
            if one.unit:
                one.unit.machine.shell(f"systemctl stop {one.unit.unit} || true")

    def write(self) -> None:
        """Write the inventory; all use the keys that are in use now."""
        for one in self.all:
            one.seen()
        place = self.folder / "inventory"
        (place / "host_vars").mkdir(parents=True, exist_ok=True)
        names = dict.fromkeys(one.name for one in self.all)
        hosts: dict[str, Any] = {"children": {"stream_platforms": {"hosts": names}}}
        if self._machine:
            variables = self._machine.variables(HOST)
            variables["ansible_ssh_args"] += f" {ALIVE}"
            variables["ansible_pipelining"] = True
            hosts["hosts"] = {HOST: variables}
        (place / "hosts.yml").write_text(yaml.safe_dump({"all": hosts}))
        for one in self.all:
            self.write_variables(one)

    def write_variables(self, platform: Platform) -> None:
        """Write those of one."""
        path = self.folder / "inventory" / "host_vars" / f"{platform.name}.yml"
        path.write_text(yaml.safe_dump(platform.variables()))

    def keys(self) -> set[str]:
        """Every key that there is."""
        return {key for one in self.all for key in (*one.known().values(), one.reset)}

    def start(self, *arguments: str, playbook: str = ROTATE, **more: Any) -> RunningPlaybook:
        """Start a playbook."""
        inventory = self.folder / "inventory"
        name = f"keyturn.runbooks.{playbook}"
        return self.ansible.start(name, *arguments, inventory=inventory, extra_vars=more)

    def run(self, *arguments: str, playbook: str = ROTATE, **more: Any) -> PlaybookResult:
        """Run a playbook; no key may stand in what it prints."""
        before = self.keys()
        done = self.start(*arguments, playbook=playbook, **more).wait()
        for key in before | self.keys():
            assert key not in done.output
        return done

    def survive(self, where: str) -> None:
        """See :meth:`Platform.survives`."""
        for one in self.all:
            one.survives(where)


def told_of(done: PlaybookResult, name: str) -> str:
    """The messages of the failures of one host."""
    lines = [line for line in done.stdout.splitlines() if f"[{name}" in line]
    return "\n".join(line for line in lines if "fatal:" in line or "FAILED" in line)


def failed_hosts(done: PlaybookResult) -> set[str]:
    """Those for which the end of the run tells of a failure."""
    lines = done.stdout.partition("PLAY RECAP")[2].splitlines()
    told = {line.split()[0]: line for line in lines if " ok=" in line}
    good = ("unreachable=0 ", "failed=0 ")
    return {name for name, line in told.items() if not all(word in line for word in good)}


class Moment(Meanwhile):
    """One that several platforms come to, however busy the machine is."""

    def __init__(self, folder: Path, name: str, skipped: bool = False) -> None:
        super().__init__(folder, name, skipped)
        self.argv = ["timeout", str(PATIENCE), *self.argv[2:]]

    def wait(self) -> None:
        """Until the run is there."""
        wait_until(self._reached.exists, PATIENCE, "the run to come to this point")
