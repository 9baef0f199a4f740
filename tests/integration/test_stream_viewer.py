# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who watches all the time: not one frame is missing while a rotation is refused, and none is there that is not of a broadcast."""

from __future__ import annotations

from pathlib import Path

from estate.playbook import Ansible
from machines import required
from publisher import Publisher
from stream_hosts import Platform, Platforms
from stream_viewer import TEST, WATCH, Viewer, WatchedIngest

FRAME = 100  # milliseconds, of what a publisher of the tests sends


def test_a_viewer_sees_broadcasts_and_nothing_else(scratch: Path, ansible: Ansible) -> None:
    platforms = Platforms(scratch, ansible, None)
    with required(), WatchedIngest() as ingest, Viewer(ingest) as viewer:
        platform = Platform("restream", scratch, ingest)
        probes = platform.variables()["keyturn_probes"]
        platform.more["keyturn_probes"] = [{**probe, "url": ingest.url(TEST)} for probe in probes]
        platforms.all.append(platform)
        platforms.write()
        first, nothing = platform.known()["current"], platform.untouched()
        with Publisher(ingest, first) as live:
            viewer.wait(5)
            before = ingest.connections("live", WATCH)
            refused = platforms.run().check(2)
            assert "somebody is live (application live, from 127.0.0.1" in refused.stdout
            viewer.wait(5)
            after = ingest.connections("live", WATCH)
            assert live.running
        viewer.wait_for_end()
        [broadcast] = viewer.views
        assert len(before) == 4, "the publisher, the viewer, and both ends of what is between them"
        assert set(after) == set(before)
        assert broadcast.gaps(FRAME) == []
        assert platform.untouched() == nothing
        platforms.run().check()
        platform.is_done()
        assert (viewer.views, viewer.calls) == ([broadcast], 2), "a test stream was shown"
        with Publisher(ingest, platform.known()["current"]) as live:
            viewer.wait(10)
        viewer.wait_for_end()
        assert [view.gaps(FRAME) for view in viewer.views] == [[], []]
        assert viewer.calls == len(viewer.views) + 1
