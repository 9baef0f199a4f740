# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first rotation of a stream key replaces nothing that the keyring does not know, however many runs it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from estate.playbook import Ansible
from ingest import Ingest, new_key
from machines import required
from stream_world import StreamWorld


@pytest.fixture
def world(scratch: Path, ansible: Ansible) -> Iterator[StreamWorld]:
    """A platform where a person makes the key, and its list of keys; nothing was rotated yet."""
    issuer = {
        "type": "operator",
        "platform": "restream",
        "make": "on its page",
        "end": "on its page",
        "overlap": True,
        "values": {"key": f"ref+file://{scratch / 'handed.key'}"},
    }
    with required(), Ingest() as ingest:
        ingest.allow()
        made = StreamWorld(scratch, ansible, ingest, issuer, lists=True)
        made.write(keyturn_ledger=f"ref+file://{scratch / 'ledger.jsonl'}")
        yield made


def test_what_a_person_writes_while_a_first_rotation_waits_is_not_replaced(
    world: StreamWorld,
) -> None:
    handed, ledger, live = world.folder / "handed.key", world.folder / "ledger.jsonl", new_key()
    waits = world.run("rotate_stream_keys").check(2)
    assert "Waiting" in waits.output and not world.live_file.exists()
    handed.touch(0o600)
    handed.write_text(new_key())
    world.live_file.write_text(live)
    for arguments in (["--check"], []):
        refused = world.run("rotate_stream_keys", *arguments).check(2)
        assert "1 gate is closed. (1) unknown: " in refused.stdout
        assert "abandon playbook first" in refused.stdout and live not in refused.output
        assert world.live_file.read_text() == live
    # What the user lets go is told, and known for good.
    place = f"sink 'live' (ref+file://{world.live_file})"
    world.write(keyturn_replace=True)
    predicted = world.run("rotate_stream_keys", "--check").check()
    world.ingest.stop_callback()
    failed = world.run("rotate_stream_keys", keyturn_wait="7s").check(2)
    assert "the ingest refused the stream" in failed.stdout
    for told in (predicted, failed):
        assert f"as the user said, in these places: {place}" in told.output
        assert "take it out now" in told.output
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    notes = [line["message"] for line in lines if line["outcome"] == "done" and "message" in line]
    assert [place in note for note in notes if "as the user said" in note] == [True]
    # What the rotation itself wrote, it knows: a proof that failed is tried again.
    assert world.ingest.allow_list.read_text() == f"{handed.read_text()}\n"
    world.ingest.start_callback()
    done = world.run("rotate_stream_keys").check()
    assert "as the user said" not in done.output
    assert world.live_file.read_text() == handed.read_text() == world.key("current")
