# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An ingest that was reloaded under a broadcast: no statistics show it any more, and the machine's own connections do."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions import closed
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from estate.playbook import Ansible
from ingest import Ingest
from machines import required
from publisher import Publisher
from stream_world import FORCE, Meanwhile, StreamWorld


@pytest.fixture
def world(scratch: Path, ansible: Ansible) -> Iterator[StreamWorld]:
    with required(), Ingest(reloads=True) as ingest:
        ingest.allow()
        made = StreamWorld(scratch, ansible, ingest, {"type": "rtmp_ingest"}, lists=True)
        machine = {"all": {"hosts": {"ingest1": {"ansible_connection": "local"}}}}
        (scratch / "inventory" / "machines.yml").write_text(yaml.safe_dump(machine))
        made.run("rotate_stream_keys").check()
        yield made


def said(world: StreamWorld, playbook: str, **extra: bool) -> str:
    """What a run that is refused because of a broadcast prints."""
    refused = world.run(playbook, **extra).check(2)
    assert f"somebody may be live: port {world.ingest.port} of ingest1 has 1" in refused.stdout
    return refused.stdout


def test_a_broadcast_that_no_page_shows_is_seen_on_the_machine(world: StreamWorld) -> None:
    ingest, first = world.ingest, world.key("current")
    [publishing, reachable] = world.variables["keyturn_gates"]
    connected = {"type": "not_connected", "host": "ingest1", "ports": [ingest.port]}
    world.write(keyturn_gates=[publishing, reachable, connected])
    before = world.state()
    with Publisher(ingest, first) as live:
        ingest.reload()
        assert closed([publishing], Context()) == []
        said(world, "rotate_stream_keys", **FORCE)
        assert (world.state(), live.running) == (before, True)
    meanwhile = Meanwhile(world.folder, "proof", skipped=True)
    probes = [*world.variables["keyturn_probes"], {"type": "command", "argv": meanwhile.argv}]
    world.write(keyturn_probes=probes)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(said, world, "rotate_stream_keys", **FORCE)
        meanwhile.wait()
        with Publisher(ingest, first) as live:
            ingest.reload()
            meanwhile.go_on()
            running.result()
            assert live.running
    pending = world.document().pending
    assert pending and (pending.status, world.key("current")) == ("proved", first)
    world.run("rotate_stream_keys").check()
    with Publisher(ingest, first):
        ingest.reload()
        # As an ordinary module there, too.
        said(world, "retire_due", keyturn_direct=False)
    assert world.key("previous") == first
    world.run("retire_due").check()
    assert "previous" not in world.known()
