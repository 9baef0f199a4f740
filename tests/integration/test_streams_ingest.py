# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test streams by both programs to a real ingest: every answer that an ingest has is told from every other one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions._not_publishing import (
    NotPublishing,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    MissingLibrary,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams import (
    Pattern,
    Streamed,
    Wanted,
    read_target,
    stream,
)
from estate.ports import reserve
from estate.processes import descendants, wait_until
from ingest import Ingest, new_key
from machines import required
from publisher import Publisher, shown_by_processes, silent_server

SMALL = Pattern(160, 90, 10, 200_000, 64_000, 0.4)
METHODS = ("ffmpeg", "pyav")
both = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(scope="session")
def ingest(run_dir: Path) -> Iterator[Ingest]:
    place = run_dir / "streams-ingest"
    place.mkdir(mode=0o711)
    with required(), Ingest(place, ("live", "test", "app/one")) as started:
        yield started


def publish(url: str, key: str, method: str, **more: object) -> Streamed:
    """One test stream, of which nothing shows the key."""
    wanted = more.pop("wanted", Wanted())
    assert isinstance(wanted, Wanted)
    pattern = more.pop("pattern", SMALL)
    assert isinstance(pattern, Pattern)
    seconds = more.pop("seconds", 10.0)
    assert isinstance(seconds, float)
    environ = more.pop("environ", dict(os.environ))
    assert isinstance(environ, Mapping)
    found = stream(
        read_target(url, more.pop("application", None), "probe"),
        Secret(key),
        pattern,
        method,
        wanted,
        environ,
        seconds,
        "probe.received",
    )
    assert key not in repr(found) and key not in str(found.as_dict())
    return found


@both
def test_a_listed_key_is_accepted_and_the_stream_arrives(ingest: Ingest, method: str) -> None:
    key = new_key()
    ingest.allow(key)
    pattern = replace(SMALL, seconds=1.5)
    found = publish(ingest.url(), key, method, pattern=pattern, wanted=Wanted(stat=ingest.stat_url))
    assert (found.ended.outcome, found.method) == ("accepted", method)
    assert found.ended.frames == 15 and found.ended.sent > 1000 and found.ended.seconds >= 1.3
    assert found.received.startswith(
        "its statistics showed the stream in application live, 160x90, "
    )
    assert key in ingest.callback_log.read_text()


@both
def test_a_key_that_is_not_listed_is_refused(ingest: Ingest, method: str) -> None:
    ingest.allow(new_key())
    found = publish(ingest.url(), new_key(), method, wanted=Wanted(stat=ingest.stat_url))
    assert (found.ended.outcome, found.received) == ("refused", "")
    assert "takes connections to application live; the ingest refused" in found.ended.detail


@both
def test_a_callback_that_is_down_is_told_as_what_it_may_be(ingest: Ingest, method: str) -> None:
    key = new_key()
    ingest.allow(key)
    ingest.stop_callback()
    try:
        found = publish(ingest.url(), key, method)
    finally:
        ingest.start_callback()
    assert found.ended.outcome == "refused"
    assert "(such as an on_publish callback) is down" in found.ended.detail


@both
def test_applications_are_told_by_their_whole_names_and_from_keys(
    ingest: Ingest, method: str
) -> None:
    key = new_key()
    ingest.allow(key)
    longer = replace(SMALL, seconds=3.0)
    deep = {"application": "app/one", "wanted": Wanted(stat=ingest.stat_url), "pattern": longer}
    named = publish(ingest.url("app/one"), key, method, **deep)
    assert named.ended.outcome == "accepted" and "application app/one" in named.received
    found = publish(ingest.url("nothing"), key, method)
    assert found.ended.outcome == "wrong_application"
    assert "no connection to an application 'nothing'" in found.ended.detail
    elsewhere = publish(
        ingest.url(), key, method, wanted=Wanted(stat=ingest.stat_url, application="other")
    )
    assert elsewhere.ended.outcome == "wrong_application"
    assert "has no application 'other'; it has live, test, app/one" in elsewhere.ended.detail


@both
def test_somebody_who_is_live_is_not_disturbed(ingest: Ingest, method: str) -> None:
    key = new_key()
    ingest.allow(key)
    with Publisher(ingest, key) as live:
        asked = publish(ingest.url(), key, method)
        assert (asked.ended.outcome, asked.method) == ("already_publishing", method)
        assert "somebody is live with this key" in asked.ended.detail
        calls = ingest.callback_log.read_text().count(key)
        # Where the statistics tell it, nothing is sent at all.
        seen = publish(ingest.url(), key, method, wanted=Wanted(stat=ingest.stat_url))
        assert (seen.ended.outcome, seen.method) == ("already_publishing", "")
        assert "in application live, from 127.0.0.1, for " in seen.ended.detail
        assert ingest.callback_log.read_text().count(key) == calls
        assert live.running and ingest.publishing() == [key]
        # The same key in another application is another stream.
        assert publish(ingest.url("test"), key, method).ended.outcome == "accepted"


def test_what_stands_behind_a_key_is_no_part_of_its_name(ingest: Ingest) -> None:
    key = new_key()
    asking = f"{key}?bandwidthtest=true"
    ingest.allow(key)
    wanted = Wanted(stat=ingest.stat_url)
    longer = replace(SMALL, seconds=2.0)
    arrived = publish(ingest.url(), asking, "ffmpeg", wanted=wanted, pattern=longer)
    assert arrived.received.startswith("its statistics showed the stream")
    gate = NotPublishing.from_definition({"stat": ingest.stat_url, "streams": "own"}, "gate")
    with Publisher(ingest, key):
        assert publish(ingest.url(), asking, "ffmpeg", wanted=wanted).method == ""
        assert len(gate.publishing(Context(), [Secret(asking)])) == 1
        assert gate.publishing(Context(), [Secret(f"{key}x?a"), Secret("?a")]) == []
        other = Stage("r1", "observed", {"key": Secret(new_key())})
        others = Document("restream", bytes(32), current=other)
        assert gate.closed(Context(), others) == []
        mine = replace(other, fields={"key": Secret(key)})
        assert len(gate.closed(Context(), replace(others, previous=mine))) == 1
        first = Document("restream", bytes(32), pending=other)
        for unknown in (None, first):
            (said,) = gate.closed(Context(), unknown)
            assert "the keyring knows no key in use" in said


@both
def test_a_stream_that_is_dropped_was_accepted(ingest: Ingest, method: str) -> None:
    key = new_key()
    ingest.allow(key)

    def drop() -> None:
        wait_until(lambda: key in ingest.publishing(), 10, "the test stream")
        ingest.drop(key)

    dropper = threading.Thread(target=drop)
    dropper.start()
    found = publish(ingest.url(), key, method, pattern=replace(SMALL, seconds=8.0), seconds=15.0)
    dropper.join()
    assert found.ended.outcome == "dropped"
    assert found.ended.seconds < 6


@contextmanager
def greeting_server(ingest: Ingest) -> Iterator[int]:
    """Passes on the first connection to the ingest; takes the following ones and says nothing."""
    listening = socket.create_server(("127.0.0.1", 0))
    lines: list[socket.socket] = []

    def pump(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(4096):
                other.sendall(data)
        except OSError:
            pass
        finally:
            other.close()

    def serve() -> None:
        near = listening.accept()[0]
        far = socket.create_connection(("127.0.0.1", ingest.port))
        lines.extend((near, far))
        for pair in ((near, far), (far, near)):
            threading.Thread(target=pump, args=pair, daemon=True).start()
        try:
            while True:
                lines.append(listening.accept()[0])
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        for one in (listening, *lines):
            one.close()


@both
def test_an_ingest_that_falls_silent_is_not_waited_for(ingest: Ingest, method: str) -> None:
    key = new_key()
    began = time.monotonic()
    with greeting_server(ingest) as port:
        found = publish(f"rtmp://127.0.0.1:{port}/live", key, method, seconds=2.0)
    assert (found.ended.outcome, found.method) == ("no_answer", method)
    assert time.monotonic() - began < 3.5
    assert shown_by_processes(key) == []


def test_a_server_that_never_answers_is_not_given_the_key() -> None:
    began = time.monotonic()
    with silent_server() as port:
        found = publish(f"rtmp://127.0.0.1:{port}/live", new_key(), "auto", seconds=1.0)
    assert (found.ended.outcome, found.method) == ("no_answer", "")
    assert time.monotonic() - began < 2


def test_an_ingest_that_is_not_there_says_nothing_about_the_key(ingest: Ingest) -> None:
    free = reserve()
    nowhere = publish(f"rtmp://127.0.0.1:{free.number}/live", new_key(), "auto")
    assert nowhere.ended.outcome == "unreachable"
    assert nowhere.ended.detail == f"nothing listens at 127.0.0.1:{free.number}"
    unknown = publish("rtmp://ingest.invalid/live", new_key(), "auto")
    assert (unknown.ended.outcome, unknown.method) == ("unreachable", "")
    assert unknown.ended.detail == "the name ingest.invalid is not known"
    web = publish(ingest.stat_url.replace("http://", "rtmp://"), new_key(), "auto")
    assert (web.ended.outcome, "does not speak RTMP" in web.ended.detail) == ("unreachable", True)
    free.release()


def test_statistics_that_are_another_ingests_are_no_confirmation(
    ingest: Ingest, scratch: Path
) -> None:
    key = new_key()
    ingest.allow(key)
    with Ingest(scratch) as other:
        found = publish(ingest.url(), key, "auto", wanted=Wanted(stat=other.stat_url))
        assert (found.ended.outcome, found.received) == ("accepted", "")
        address = other.stat_url
    with pytest.raises(Unreachable, match=r"probe\.received\.stat .* nothing listens there"):
        publish(ingest.url(), key, "auto", wanted=Wanted(stat=address))


def fake_ffmpeg(folder: Path, says: str) -> Callable[[str], Mapping[str, str]]:
    """A PATH whose ffmpeg says another version, and would be seen if it were used."""
    program = folder / "ffmpeg"
    program.write_text(f'#!/bin/sh\n[ "$1" = -version ] || touch {folder}/used\necho "{says}"\n')
    program.chmod(0o755)
    return lambda before: {**os.environ, "PATH": f"{folder}:{before}"}


@pytest.mark.parametrize("says", ["ffmpeg version 9.0.2 Copyright", "ffmpeg version 4.4.1", "hm"])
def test_a_version_that_would_publish_an_empty_name_is_not_used(
    ingest: Ingest, scratch: Path, says: str
) -> None:
    key = new_key()
    ingest.allow(key)
    environ = fake_ffmpeg(scratch, says)(os.environ["PATH"])
    found = publish(ingest.url(), key, "auto", environ=environ)
    assert (found.ended.outcome, found.method) == ("accepted", "pyav")
    with pytest.raises(MissingLibrary, match=r"no test stream can be made here: ffmpeg "):
        publish(ingest.url(), key, "ffmpeg", environ=environ)
    assert not (scratch / "used").exists()


def test_keys_of_all_kinds_arrive_as_they_are(ingest: Ingest) -> None:
    odd = f"{new_key()}=a,b;c:d%41+e'f\"g#h$i|j\\k"
    ingest.allow(odd)
    for method in METHODS:
        assert publish(ingest.url(), odd, method).ended.outcome == "accepted", method
    slash = f"{new_key()}/part"
    ingest.allow(slash)
    assert publish(ingest.url(), slash, "auto").ended.outcome == "accepted"
    refused = publish(ingest.url(), slash, "pyav")
    assert (refused.ended.outcome, "use ffmpeg" in refused.ended.detail) == ("failed", True)


RUN = """
import os, sys
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils import _streams as s
url, method = sys.argv[1:]
target, pattern = s.read_target(url, None, "p"), s.Pattern(160, 90, 10, 200000, 64000, 60.0)
s.stream(target, Secret(sys.stdin.read()), pattern, method, s.Wanted(), dict(os.environ), 70.0, "p")
"""


@both
def test_a_run_that_is_killed_leaves_no_stream_behind(ingest: Ingest, method: str) -> None:
    key = new_key()
    ingest.allow(key)
    environ = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    words = [sys.executable, "-c", RUN, ingest.url(), method]
    with subprocess.Popen(words, stdin=subprocess.PIPE, env=environ) as run:
        assert run.stdin
        run.stdin.write(key.encode())
        run.stdin.close()
        wait_until(lambda: key in ingest.publishing(), 20, "the test stream")
        (child,) = descendants(run.pid)
        run.kill()
    wait_until(lambda: key not in ingest.publishing(), 10, "the end of the test stream")
    wait_until(lambda: not Path(f"/proc/{child}").exists(), 10, "the end of the program")
