# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first rotation of a stream key replaces nothing that the keyring does not know, however many runs it takes."""

from __future__ import annotations

from pathlib import Path

from estate.playbook import Ansible
from ingest import Ingest, new_key
from machines import required
from stream_world import StreamWorld


def test_what_a_person_writes_while_a_first_rotation_waits_is_not_replaced(
    scratch: Path, ansible: Ansible
) -> None:
    handed, live = scratch / "handed.key", new_key()
    issuer = {
        "type": "operator",
        "platform": "restream",
        "make": "on its page",
        "end": "on its page",
        "overlap": True,
        "values": {"key": f"ref+file://{handed}"},
    }
    with required(), Ingest() as ingest:
        ingest.allow()
        world = StreamWorld(scratch, ansible, ingest, issuer, lists=True)
        waits = world.run("rotate_stream_keys").check(2)
        assert "Waiting" in waits.output and not world.live_file.exists()
        handed.touch(0o600)
        handed.write_text(new_key())
        world.live_file.write_text(live)
        for arguments in (["--check"], []):
            refused = world.run("rotate_stream_keys", *arguments).check(2)
            assert "1 gate is closed. (1) unknown: " in refused.stdout
            assert "abandon playbook first" in refused.stdout
            assert live not in refused.output
            assert world.live_file.read_text() == live
        world.live_file.unlink()
        # What the rotation itself wrote, it knows: a proof that failed is tried again.
        ingest.stop_callback()
        failed = world.run("rotate_stream_keys", keyturn_wait="7s").check(2)
        assert "the ingest refused the stream" in failed.stdout
        assert ingest.allow_list.read_text() == f"{handed.read_text()}\n"
        ingest.start_callback()
        world.run("rotate_stream_keys").check()
        assert world.live_file.read_text() == handed.read_text() == world.key("current")
