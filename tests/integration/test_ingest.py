# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ingest of the tests itself: it takes listed keys only, and which of its logs show them is known."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from estate.errors import EstateError
from ingest import Ingest, new_key
from machines import required
from publisher import Publisher, shown_by_processes, silent_server


def test_listed_keys_are_taken_and_others_refused(scratch: Path) -> None:
    good, bad = new_key(), new_key()
    with required(), Ingest(scratch) as ingest:
        ingest.allow(good)
        with Publisher(ingest, good) as live:
            assert ingest.publishing() == [good]
            assert shown_by_processes(good) == []
            assert live.running
            assert ingest.drop(good) == 1
        assert ingest.publishing() == []
        with pytest.raises(EstateError, match="the publisher ended"):
            Publisher(ingest, bad).start()
        ingest.allow(bad)
        with Publisher(ingest, bad):
            assert ingest.publishing() == [bad]
        ingest.stop_callback()
        with pytest.raises(EstateError, match="the publisher ended"):
            Publisher(ingest, bad).start()
        # Keys stand in the logs of a server that nobody told to keep them out.
        assert set(ingest.logs_with(good)) == {
            "error.log", "http-access.log", "on_publish.log", "rtmp-access.log",
        }  # fmt: skip
        assert "on_publish.log" in ingest.logs_with(bad)


def test_a_careful_ingest_writes_no_key_down(scratch: Path) -> None:
    good, bad = new_key(), new_key()
    with required(), Ingest(scratch, ("live", "test"), careful=True) as ingest:
        ingest.allow(good)
        with Publisher(ingest, good, "test"):
            assert (ingest.publishing("test"), ingest.publishing()) == ([good], [])
        with pytest.raises(EstateError):
            Publisher(ingest, bad).start()
        with Publisher(ingest, good):
            ingest.stop_callback()
        assert (ingest.logs_with(good), ingest.logs_with(bad)) == ([], [])
        assert "publish app=live 403" in ingest.callback_log.read_text()
        # nginx tells that the callback is down, and not whom it would have asked about.
        with pytest.raises(EstateError):
            Publisher(ingest, good).start()
        assert ingest.logs_with(good) == []


def test_a_key_in_a_command_line_is_found() -> None:
    key = new_key()
    assert shown_by_processes(key) == []
    with subprocess.Popen(["sleep", "30"], env={"KEY": key}) as shown:
        assert shown_by_processes(key) == [f"/proc/{shown.pid}/environ"]
        shown.kill()


def test_the_silent_server_takes_a_connection_and_says_nothing() -> None:
    with silent_server() as port, socket.create_connection(("127.0.0.1", port), 5) as line:
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)
