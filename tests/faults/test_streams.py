# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stream keys and power cuts, full disks and ingests that refuse: who goes live now can, and the same command ends it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _files
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from estate.playbook import Ansible
from estate.processes import wait_until
from ingest import Ingest, new_key
from machines import required
from points import soak
from rotation import Point
from stream_course import StreamCourse
from stream_estate import ROLL_BACK, ROTATE, StreamEstate
from stream_faults import keep_fault
from stream_world import FORCE, Meanwhile

PROMOTE = Point("Look once more, and promote the proved value", None, "before")
Maker = Callable[..., StreamCourse]
SOON = {"keyturn_wait": "7s"}
FORWARD = "ends the rotation"


@pytest.fixture
def course(scratch: Path, ansible: Ansible) -> Iterator[Maker]:
    """Makes a platform with a key in use; see :class:`StreamEstate`."""
    folder = scratch / "estate"
    folder.mkdir(mode=0o711)
    with required(), Ingest() as ingest:

        def maker(overlap: bool, keys: Path | None = None) -> StreamCourse:
            estate = StreamEstate(folder, ansible, ingest, overlap, keys)
            estate.begin()
            return StreamCourse(estate)

        yield maker


# Every so manieth write of each flow, and one of each kind; ``make soak`` takes all.
def test_an_own_ingest_is_cut(course: Maker) -> None:
    made = course(True)
    estate = made.estate
    estate.one_key()
    rotation = made.undisturbed(ROTATE)
    made.cut(rotation, estate.one_key, 16)
    made.cut(made.undisturbed("retire_due"), estate.two_keys, 12)


def test_the_way_back_is_cut(course: Maker) -> None:
    made = course(True)
    estate = made.estate
    made.kinds.tried = {"append ledger.jsonl", "replace keyring.json"}

    def one_pending() -> None:
        estate.one_key()
        estate.cut(ROTATE, PROMOTE).check(-9)

    estate.two_keys()
    made.cut(made.undisturbed(ROLL_BACK), estate.two_keys, 12)
    one_pending()
    made.cut(made.undisturbed("abandon"), one_pending, 12)


def test_a_reset_is_cut(course: Maker) -> None:
    made = course(False)
    estate = made.estate
    estate.one_key()
    waiting = made.undisturbed(ROTATE, code=2)
    assert waiting.end["stages"]["pending"][0] == "intended"
    estate.click()
    rotation = made.undisturbed(ROTATE)
    made.cut(waiting, estate.one_key, 10)
    made.cut(rotation, estate.handed_over, 16)
    # It is the same as with several keys, but for the list.
    if soak():
        made.cut(made.undisturbed("retire_due"), estate.two_keys)


def test_what_must_hold_is_looked_at(course: Maker) -> None:
    estate = course(True).estate
    estate.survives("as it is")
    for path in (estate.allowed, estate.live_file, estate.held):
        kept = path.read_text()
        wrong = [new_key(), "", *([kept + new_key()] if path == estate.allowed else [])]
        for text in wrong:
            path.write_text(text)
            with pytest.raises(AssertionError, match="this moment"):
                estate.survives("this moment")
        path.write_text(kept)


@pytest.fixture
def small(scratch: Path) -> Iterator[Path]:
    """A file system of a few kilobytes."""
    if os.geteuid() != 0:
        pytest.skip("mounts are root's")
    place = scratch / "small"
    place.mkdir(mode=0o711)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=711", "none", str(place)]
    ended = subprocess.run(mount, capture_output=True, text=True, check=False)
    if ended.returncode:
        pytest.skip(f"cannot mount here: {ended.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> Callable[[], object]:
    """Leave no room there; returns what makes room again."""
    filling = place / "filling"
    with filling.open("wb", buffering=0) as stream:
        try:
            while stream.write(b"x" * 512):
                pass
        except OSError:
            pass
    return filling.unlink


def lock(place: Path) -> Callable[[], object]:
    """Take no write there; returns what takes them again."""

    def mounted(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True)

    mounted("ro")
    return lambda: mounted("rw")


@pytest.mark.parametrize(("disturb", "told"), [(fill, "no space left"), (lock, "read-only")])
def test_a_key_file_that_takes_no_write(
    course: Maker, small: Path, disturb: Callable[[Path], Callable[[], object]], told: str
) -> None:
    estate = course(True, small).estate
    first = estate.key("current")
    mend = disturb(small)
    try:
        refused = estate.run(ROTATE, **estate.wish(ROTATE)).check(2)
        assert told in refused.stdout
        assert str(estate.live_file) in refused.stdout
        assert estate.live_file.read_text() == estate.held.read_text() == first
        estate.survives(told)
    finally:
        mend()
    estate.run(ROTATE, **estate.wish(ROTATE)).check()
    assert estate.live_file.read_text() == estate.held.read_text() != first
    assert estate.phases().count("stage") == 2
    estate.survives("after it")
    keep_fault(f"the key file takes no write: {told}", (True, "the key in use stays", FORWARD))


def test_an_ingest_that_cannot_ask_who_may(course: Maker) -> None:
    """It refuses everybody: no key is taken for a bad one, and nothing that is in use is touched."""
    estate = course(True).estate
    first = estate.key("current")
    estate.ingest.stop_callback()
    refused = estate.run(ROTATE, **estate.wish(ROTATE), **SOON).check(2)
    estate.ingest.start_callback()
    assert "gives the same answer to a key that it does not know" in refused.stdout
    assert estate.live_file.read_text() == estate.held.read_text() == first
    pending = estate.document().pending
    assert pending and pending.status == "applied"
    estate.survives("refused")
    estate.run(ROTATE).check()
    current = estate.document().current
    assert current and current.rotation_id == pending.rotation_id
    seen = (True, "not promoted, and no key is taken for a bad one", FORWARD)
    keep_fault("the ingest refuses everybody, since it cannot ask who may", seen)


def test_an_ingest_that_goes_away_in_the_middle(course: Maker) -> None:
    """The relay has the new key when nobody can be asked any more whether it works."""
    estate = course(True).estate
    first, meanwhile = estate.key("current"), Meanwhile(estate.folder, "told")
    script = f"{estate.relay()['argv'][-1]}; {meanwhile.argv[-1]}"
    estate.write(keyturn_consumers=[{**estate.relay(), "argv": ["sh", "-c", script]}])
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(estate.run, ROTATE, **FORCE, **SOON)
        meanwhile.wait()
        estate.ingest.stop()
        meanwhile.go_on()
        failed = running.result().check(2)
    assert f"127.0.0.1:{estate.ingest.port}" in failed.stdout
    estate.survives("away")
    estate.ingest.start()
    estate.run(ROTATE).check()
    if estate.key("current") == first:
        # It had returned, and the rerun has ended that; the key that failed is in nobody's way.
        estate.one_key()
        estate.run(ROTATE, **FORCE).check()
    estate.one_key()
    assert estate.live_file.read_text() == estate.held.read_text() != first
    estate.survives("after it")
    seen = (True, "it names the ingest; both keys are accepted", "ends what was begun")
    keep_fault("the ingest goes away after the reload", seen)


def test_a_power_cut_while_the_test_stream_is_sent(course: Maker) -> None:
    """What was started for it ends by itself, and is not taken for somebody who is live for longer than that."""
    estate = course(True).estate
    first, asked = estate.key("current"), len(estate.ingest.callback_log.read_text())
    running = estate.ansible.start(
        f"keyturn.runbooks.{ROTATE}", inventory=estate.folder / "inventory", extra_vars=FORCE
    )
    wait_until(estate.ingest.publishing, 60, "the test stream")
    running.kill()
    assert first not in estate.ingest.callback_log.read_text()[asked:], "the key in use was sent"
    estate.survives("killed")
    wait_until(lambda: not estate.ingest.publishing(), 10, "the test stream to end")
    pending = estate.document().pending
    assert pending and pending.status == "applied"
    estate.run(ROTATE).check()
    current = estate.document().current
    assert current and current.rotation_id == pending.rotation_id
    seen = (True, "the stream ends by itself", FORWARD)
    keep_fault("a run is killed while the test stream is sent", seen)


def test_a_copy_is_whole_or_not_there(tmp_path: Path) -> None:
    """A power cut in the middle of the one copy of a day: a part of it would be taken for the copy until the next day."""
    path, kept, key = tmp_path / "restream.key", tmp_path / "restream.key.bak.20260131", new_key()
    path.write_text(key)
    if (pid := os.fork()) == 0:
        with patch.object(_files, "_write_all", lambda *_of: os.kill(os.getpid(), signal.SIGKILL)):
            copy(path, kept, key)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert not kept.exists()
    copy(path, kept, key)
    assert kept.read_text() == key
    assert kept.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyturnError):
        copy(path, kept, new_key())
    assert kept.read_text() == key
    assert {one.name for one in tmp_path.iterdir() if one.suffix != ".lock"} == {
        path.name,
        kept.name,
    }


def copy(path: Path, to: Path, text: str) -> None:
    """As a sink copies its file before it writes."""
    with _files.hold(str(path), "a test") as held:
        held.add_beside(to.name, text.encode())
