# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units on another host: one that goes live is asked before a promotion and before an end, one that is down fails a verification."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate.playbook import Ansible
from ingest import Ingest
from machines import Application, SystemdMachine, required
from stream_world import FORCE, Meanwhile, StreamWorld


@pytest.fixture
def encoder(machine: SystemdMachine) -> Application:
    """A unit that streams when somebody starts it; when it is reloaded it says what a file says."""
    return Application(machine, "ExecReload=/bin/cat /srv/%N/says")


@pytest.fixture
def world(scratch: Path, ansible: Ansible, encoder: Application) -> Iterator[StreamWorld]:
    with required(), Ingest() as ingest:
        ingest.allow()
        made = StreamWorld(scratch, ansible, ingest, {"type": "rtmp_ingest"}, lists=True)
        place = {"type": "systemd", "host": "m1", "unit": encoder.unit, "settle": "0s"}
        unit = {"name": "encoder", **place, "inactive": "skip", "active": "refuse"}
        made.write(keyturn_consumers=[unit])
        hosts = yaml.safe_load((scratch / "inventory" / "hosts.yml").read_text())
        hosts["all"]["hosts"] = {"m1": encoder.machine.variables("m1")}
        (scratch / "inventory" / "hosts.yml").write_text(yaml.safe_dump(hosts))
        made.run("rotate_stream_keys").check()
        yield made


def write(world: StreamWorld, **variables: Any) -> None:
    """Change the platform's definition, and leave the machines."""
    hosts = (world.folder / "inventory" / "hosts.yml").read_text()
    world.write(**variables)
    (world.folder / "inventory" / "hosts.yml").write_text(hosts)


def test_a_unit_that_is_down_or_complains_fails_the_verification(
    world: StreamWorld, encoder: Application
) -> None:
    [unit] = world.variables["keyturn_consumers"]
    place = {name: unit[name] for name in ("type", "host", "unit", "settle")}
    write(world, keyturn_consumers=[{"name": "encoder", **place, "log": {"forbid": ["denied"]}}])
    down = world.run("verify_stream_keys").check(2)
    assert f"consumer encoder on m1: {encoder.unit} is inactive (dead" in down.stdout
    encoder.start()
    world.run("verify_stream_keys").check()
    encoder.machine.write(f"{encoder.folder}/says", "publish was denied\n")
    encoder.machine.shell(f"systemctl reload {encoder.unit}")
    complains = world.run("verify_stream_keys").check(2)
    assert f"the log of {encoder.unit} has a line that must not be there" in complains.stdout
    assert "publish was denied" in complains.stdout


def test_an_encoder_that_starts_in_the_middle_keeps_the_key_and_nothing_is_returned(
    world: StreamWorld, encoder: Application
) -> None:
    first, told = world.key("current"), f"someone may be live: unit {encoder.unit} is active"
    # The first time is the look before anything is done, which the encoder's own look follows.
    meanwhile = Meanwhile(world.folder, "proof", skipped=True)
    probes = world.variables["keyturn_probes"]
    write(world, keyturn_probes=[*probes, {"type": "command", "argv": meanwhile.argv}])
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.run, "rotate_stream_keys", **FORCE)
        meanwhile.wait()
        encoder.start()
        meanwhile.go_on()
        refused = running.result().check(2)
    assert told in refused.stdout
    pending = world.document().pending
    assert pending
    assert (pending.status, world.key("current")) == ("proved", first)
    assert world.live_file.read_text() == first
    encoder.machine.shell(f"systemctl stop {encoder.unit}")
    world.run("rotate_stream_keys").check()
    current = world.document().current
    assert current
    assert current.rotation_id == pending.rotation_id
    encoder.start()
    before = world.state()
    assert told in world.run("retire_due").check(2).stdout
    assert world.state() == before
    encoder.machine.shell(f"systemctl stop {encoder.unit}")
    world.run("retire_due").check()
    assert "previous" not in world.known()
